"""Detection delay and false alarms per 10,000 bars: HOPE's trigger, its pre-gate, ADWIN and Page-Hinkley.

    python benchmarks/hope_detection.py [--markets 40]

Planted switches (volatility x2, trend flip, correlation break) in the middle of 3,000 bars; "none" has no switch.
A detection is the first report within 400 bars of the switch; delay is its median, missed counts the rest. False alarms
are reports on "none" and before the switch, from bar 200 on. The trigger reports when it *modifies*: a switch after
which modifying does not help is not its business, so misses on volatility are not failures of the trigger.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks.hope_common import labelled, planted_markets
from memory import engine, trigger
from memory.drift import PH_BOTH, PH_DOWN, adwin_run, page_hinkley_run
from memory.hope import HOPE

BARS, AT, WINDOW, FIRST = 3000, 1500, 400, 200
KINDS = ("volatility", "trend", "correlation")


def reports(hope: HOPE, markets: list) -> dict[str, list[np.ndarray]]:
    """Bars at which each detector reports, per market."""
    data = labelled(hope, markets)
    out = hope.replay(data.x, np.zeros((BARS, 4)))
    frozen = (out[..., engine.OUT + 1] - data.center) / data.scale
    size = np.minimum(np.abs(data.y), 4.0)
    error = np.zeros_like(size)
    error[:, 1:] = np.minimum(np.abs(data.y[:, 1:] - frozen[:, :-1]), 4.0)
    raw = data.x[..., 0] / 0.006
    rng = np.random.default_rng(0)
    rate = out[..., engine.O_TRIGGERED].mean()
    shuffled = rng.random(out.shape[:2]) < rate
    return {
        "trigger (stage 1 and 2)": [np.flatnonzero(row) for row in out[..., engine.O_TRIGGERED]],
        "pre-gate (stage 1)": [np.flatnonzero(row) for row in out[..., engine.O_ALARM]],
        "random trigger, same rate": [np.flatnonzero(row) for row in shuffled],
        "ADWIN |r| (river defaults)": [adwin_run(np.abs(row), 0.002, 32) for row in np.clip(raw, -4, 4)],
        "ADWIN raw r": [adwin_run(row, 0.002, 32) for row in np.clip(raw, -4, 4)],
        "ADWIN own error": [adwin_run(row, 0.002, 32) for row in error],
        "Page-Hinkley |r|": [page_hinkley_run(row, 50.0, 0.1, 0.9999, PH_BOTH, 30) for row in size],
        "Page-Hinkley own error": [page_hinkley_run(row, 50.0, 0.1, 0.9999, PH_BOTH, 30) for row in error],
    }


def tune(hope: HOPE, count: int, seed: int) -> None:
    """Print false alarms and delays of the pre-gate's detectors over a grid, on markets of their own."""
    grids = {"none": planted_markets("none", count, BARS, AT, seed)}
    grids |= {kind: planted_markets(kind, count, BARS, AT, seed) for kind in KINDS}
    series = {}
    for kind, markets in grids.items():
        data = labelled(hope, markets)
        out = hope.replay(data.x, np.zeros((BARS, 4)))
        frozen = (out[..., engine.OUT + 1] - data.center) / data.scale
        y, f = data.y[:, 1:], frozen[:, :-1]
        loss = lambda e: np.where(np.abs(e) < 2.5, 0.5 * e * e, 2.5 * (np.abs(e) - 1.25))  # noqa: E731
        skill = np.clip(loss(y) - loss(y - f), -trigger.LOSS_CLIP, trigger.LOSS_CLIP)
        series[kind] = {"size": np.minimum(np.abs(y), 4.0), "skill": skill, "error": np.minimum(loss(y - f), 3.0) / 3.0}
    for delta in (0.05, 0.1, 0.2):
        for threshold in (10.0, 20.0, 30.0, 40.0, 60.0):
            _line(
                f"PH size {threshold:4.0f} {delta}",
                series,
                "size",
                lambda v, t=threshold, d=delta: page_hinkley_run(v, t, d, 0.9995, PH_BOTH, 30),
            )
    for delta in (0.02, 0.05, 0.1):
        for threshold in (4.0, 6.0, 8.0, 12.0, 16.0):
            _line(
                f"PH skill {threshold:4.0f} {delta}",
                series,
                "skill",
                lambda v, t=threshold, d=delta: page_hinkley_run(v, t, d, 0.9995, PH_DOWN, 30),
            )
    for delta in (1e-1, 1e-2, 2e-3, 1e-4):
        for name in ("size", "error"):
            _line(
                f"ADWIN {name} {delta}",
                series,
                name,
                lambda v, d=delta: adwin_run(v / (4.0 if v.max() > 1.01 else 1.0), d, 16),
            )


def _line(name: str, series: dict, key: str, run) -> None:
    cells = []
    quiet = [run(row) for row in series["none"][key]]
    false = sum((h >= FIRST).sum() for h in quiet) / (len(quiet) * (BARS - FIRST)) * 1e4
    for kind in KINDS:
        median, missed, _ = summary([run(row) for row in series[kind][key]])
        cells.append(f"{kind} {median:4.0f} ({missed:3.0%})")
    print(f"{name:24s} false/10k {false:6.2f}  " + "  ".join(cells))


def summary(hits: list[np.ndarray]) -> tuple[float, float, float]:
    """(median delay, share missed, false alarms per 10,000 bars before the switch)."""
    delays, false = [], 0
    for h in hits:
        false += int(((h >= FIRST) & (h < AT)).sum())
        after = h[(h >= AT) & (h < AT + WINDOW)]
        delays.append(after[0] - AT if len(after) else np.inf)
    finite = np.array([d for d in delays if np.isfinite(d)])
    median = float(np.median(finite)) if len(finite) else float("nan")
    return median, 1.0 - len(finite) / len(delays), false / (len(hits) * (AT - FIRST)) * 1e4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--markets", type=int, default=40)
    parser.add_argument("--seed", type=int, default=9000)
    parser.add_argument("--weights", default="auto")
    parser.add_argument("--backbone", default="attention")
    parser.add_argument("--tune", action="store_true")
    args = parser.parse_args()
    hope = HOPE(weights=args.weights, backbone=args.backbone)
    print(
        f"weights: {hope.provenance.predictor}; trained: {hope.trained}; "
        f"{args.markets} markets a kind, seed {args.seed}"
    )
    if args.tune:
        tune(hope, args.markets, args.seed + 1)
        return
    quiet = reports(hope, planted_markets("none", args.markets, BARS, AT, args.seed))
    found = {kind: reports(hope, planted_markets(kind, args.markets, BARS, AT, args.seed)) for kind in KINDS}
    print(
        "detector                      | "
        + " | ".join(f"{k}: delay, missed" for k in KINDS)
        + " | false per 10k (none; before)"
    )
    for name, hits in quiet.items():
        false = sum((h >= FIRST).sum() for h in hits) / (len(hits) * (BARS - FIRST)) * 1e4
        cells = [summary(found[kind][name]) for kind in KINDS]
        before = float(np.mean([c[2] for c in cells]))
        print(
            f"{name:29s} | "
            + " | ".join(f"{c[0]:5.0f} bars, {c[1]:4.0%}" for c in cells)
            + f" | {false:.2f}; {before:.2f}"
        )


if __name__ == "__main__":
    main()
