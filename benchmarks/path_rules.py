"""Which extreme of an hour came first, judged by its minutes: how often each path rule is right.

    python benchmarks/path_rules.py CANDLE_FOLDER [--coarse 60]

CANDLE_FOLDER: a source folder with 1m candles (docs/candle-store.md). For every whole hour the first minute that touches the
hour's high is compared with the first that touches its low; hours where one minute touches both are left out. Prints the share
each rule orders rightly (for `pessimistic`: of longs and shorts together, one of whom it always tells wrong), `random` with
the draws that sessions make, `detail` with 30, 15 and 5 minutes as the finer candles; and P(high first) by
d = (open - close) / (high - low), which `exchange.path = "random"` draws from.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from trader.broker.path import _MEASURED, draw_thousand
from trader.core.aggregation import aggregate
from trader.feeds.detail import EXTREME, TIED, ways
from trader.feeds.files import Candles

EDGES = (0.0, 0.2, 0.5, 0.8, 1.01)
MINUTE_MS = 60_000
FINER = (30, 15, 5)


def hours(path: Path, coarse: int) -> np.ndarray:
    """[n, 6 + finer]: open, high, low, close, ts of whole hours; 1 if the high came first, 0 if the low, NaN if undecided;
    then the same by what each finer length says (0.5 where it leaves both orders open)."""
    table = pq.read_table(path)
    ts = table["ts"].to_numpy()
    values = np.stack([table[name].to_numpy() for name in ("open", "high", "low", "close", "volume")], axis=1)
    bucket = ts // (coarse * MINUTE_MS)
    out = []
    for group in np.split(np.arange(len(ts)), np.flatnonzero(np.diff(bucket)) + 1):
        if len(group) != coarse:
            continue
        opened, high, low, close = values[group].T[:4]
        first_high, first_low = int(np.argmax(high)), int(np.argmin(low))
        first = np.nan if first_high == first_low else float(first_high < first_low)
        out.append((opened[0], high.max(), low.min(), close[-1], ts[group[0]], first))
    found = np.array(out)
    said = [detail_says(ts, values, found, coarse, finer) for finer in FINER if coarse % finer == 0 and finer < coarse]
    return np.column_stack([found, *said])


def detail_says(ts: np.ndarray, values: np.ndarray, base: np.ndarray, coarse: int, finer: int) -> np.ndarray:
    """1 where the way through candles of `finer` minutes reaches the base candle's high first, 0 the low, else 0.5."""
    times, candles, _ = aggregate(ts, values, MINUTE_MS, finer * MINUTE_MS)
    whole = np.column_stack([base[:, :4], np.zeros(len(base))])
    counts, way = ways(base[:, 4].astype(np.int64), whole, coarse * MINUTE_MS, Candles(times, candles))
    said = np.where(base[:, 3] < base[:, 0], 1.0, np.where(base[:, 3] > base[:, 0], 0.0, 0.5))  # no visits: by colour
    ends = np.cumsum(counts)
    for row in np.flatnonzero(counts):
        last, before = way[ends[row] - 1], way[ends[row] - 2]
        said[row] = 0.5 if before[TIED] else float(last[EXTREME] < 0)
    return said


def drawn(opened: np.ndarray, high: np.ndarray, low: np.ndarray, close: np.ndarray, ts: np.ndarray) -> np.ndarray:
    """What `random` says, with seed 0."""
    colour = np.where(close < opened, 1.0, np.where(close > opened, 0.0, 0.5))
    tenths = np.floor(np.abs(opened - close) * 10 / np.maximum(high - low, 1e-300))
    chance = np.select([tenths >= 8, tenths >= 5, tenths >= 2], _MEASURED[:0:-1], _MEASURED[0])
    draws = np.array([draw_thousand(0, int(time_ms)) for time_ms in ts])
    return np.where(draws < chance, colour, 1.0 - colour)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--coarse", type=int, default=60)
    options = parser.parse_args()
    data = np.concatenate([hours(path, options.coarse) for path in sorted(options.folder.rglob("1m.parquet"))])
    decided = data[np.isfinite(data[:, 5])]
    opened, high, low, close, ts, first = decided.T[:6]
    print(f"{len(first)} decided of {len(data)} candles of {options.coarse} minutes")
    d = (opened - close) / np.maximum(high - low, 1e-300)
    rules = {
        "fixed open-high-low-close": np.ones_like(first),
        "nearest extreme first": np.where(high - opened < opened - low, 1.0, 0.0),
        "colour (falling: high first)": np.where(close < opened, 1.0, np.where(close > opened, 0.0, 0.5)),
        "pessimistic": np.full_like(first, 0.5),
        "random": drawn(opened, high, low, close, ts),
    }
    for place, finer in enumerate(FINER):
        if 6 + place < decided.shape[1]:
            rules[f"detail, {finer} minutes"] = decided[:, 6 + place]
    for name, says in rules.items():
        print(f"{name:<30} right {np.mean(1 - np.abs(says - first)):.1%}")
    for low_edge, high_edge in pairwise(EDGES):
        inside = (np.abs(d) >= low_edge) & (np.abs(d) < high_edge)
        agrees = np.where(d[inside] > 0, first[inside], 1 - first[inside])
        span = f"|d| in [{low_edge:.1f}, {min(high_edge, 1.0):.1f})"
        print(f"{span}  n {inside.sum():6d}  P(colour's extreme first) {agrees.mean():.3f}")


if __name__ == "__main__":
    main()
