"""Do the bandits and the self-modifier help after a regime switch? Whole sessions, each beside the same without that level.

    python benchmarks/levels_switch.py [--planted 10] [--null 20] [--candles 8000] [--size 200] [--period 1000]

Planted: a made-up market with an edge whose trend turns every `--period` hours (bull, bear, range). For every seed three
sessions trade the same candles: all on, without bandits, without the self-modifier. Compared is the growth (logarithm of
equity) over the 200 candles after each switch, from the third switch on; mean over switches, then the mean over seeds with
Student's 95 % interval of the paired differences. Null: the same on a market without any edge, whole session; a seed is
significant if the paired daily difference is above zero (one-sided t-test, Holm over seeds, each level for itself).
Promised: nothing about the planted difference but its interval; on the null market at most one of 20 seeds significant.
"""

from __future__ import annotations

import argparse
import logging

import numpy as np
import structlog
from scipy import stats as distributions

from trader.core.config import load
from trader.lab.history import load_history
from trader.lab.simulation import simulate
from trader.lab.stats import holm

AFTER = 200
SKIPPED = 3
LEVELS = ("bandits", "self_modifier")


def growth(mode: str, seed: int, options: argparse.Namespace, off: str | None) -> np.ndarray:
    """Logarithm of equity at each close."""
    schedule = ", ".join(f'["{name}", {options.period}]' for name in ("bull", "bear", "range"))
    sets = [
        "feed.kind=synthetic", f"feed.synthetic.mode={mode}", f"session.candles={options.candles}", f"session.seed={seed}",
        f"population.size={options.size}", "exchange.market_type=swap", "engine.threads=1", "levels.evolution.every=360",
        *([f"feed.synthetic.schedule=[{schedule}]"] if mode == "planted" else []),
        *([f"levels.{off}.enabled=false"] if off else []),
    ]  # fmt: skip
    config = load(None, sets)
    found = simulate(config, load_history(config))
    return np.log(np.concatenate(([found.start], found.equity)))


def after_switches(curve: np.ndarray, period: int) -> float:
    """Mean growth over the candles after each switch."""
    starts = np.arange(SKIPPED * period, len(curve) - AFTER, period)
    return float(np.mean(curve[starts + AFTER] - curve[starts]))


def interval(values: np.ndarray) -> str:
    """Mean and Student's 95 % interval."""
    error = values.std(ddof=1) / np.sqrt(len(values))
    half = float(distributions.t.ppf(0.975, len(values) - 1)) * error
    return f"{values.mean():+.5f} [{values.mean() - half:+.5f}, {values.mean() + half:+.5f}]"


def main() -> None:
    """Print the planted differences and the null market's count."""
    parser = argparse.ArgumentParser()
    for name, default in (("planted", 10), ("null", 20), ("candles", 8000), ("size", 200), ("period", 1000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    gains: dict[str, list[float]] = {name: [] for name in LEVELS}
    for seed in range(options.planted):
        whole = growth("planted", seed, options, None)
        line = f"planted seed {seed}: growth {whole[-1] - whole[0]:+.4f}"
        for name in LEVELS:
            other = growth("planted", seed, options, name)
            gains[name].append(after_switches(whole, options.period) - after_switches(other, options.period))
            line += f"; without {name} {other[-1] - other[0]:+.4f}, after switches {gains[name][-1]:+.5f}"
        print(line, flush=True)
    for name in LEVELS:
        if options.planted > 1:
            print(f"worth of {name} in {AFTER} candles after a switch: {interval(np.array(gains[name]))}", flush=True)
    chances: dict[str, list[float]] = {name: [] for name in LEVELS}
    for seed in range(options.null):
        whole = growth("null", seed, options, None)
        for name in LEVELS:
            daily = np.diff((whole - growth("null", seed, options, name))[::24])
            chances[name].append(float(distributions.ttest_1samp(daily, 0.0, alternative="greater").pvalue))
        print(
            f"null seed {seed}: p " + ", ".join(f"{name} {values[-1]:.3f}" for name, values in chances.items()),
            flush=True,
        )
    for name, values in chances.items():
        if values:
            found = int((holm(np.array(values)) < 0.05).sum())
            print(f"null market, {name}: {found} of {len(values)} seeds significant at 5 % after Holm")


if __name__ == "__main__":
    main()
