"""Statistics of the synthetic market beside real candles: python benchmarks/synthetic_statistics.py [--seeds N]

Hourly candles. Real ones: folder TRADER_REAL_DATA (source roshan7869-algotrading, Binance spot, 2018 to 2023).
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np

from trader.feeds.files import read_candles
from trader.feeds.synthetic import DEFAULT_START_MS, SyntheticFeed
from trader.feeds.synthetic_modes import SyntheticTerms

HOUR = 3_600_000
FRAMES = 50_000
LAGS = (1, 6, 24, 168, 720)


def describe(times, candles):
    """Figures of candles [T, 5], by name; returns are logarithmic, from close to close."""
    returns = np.diff(np.log(candles[:, 3]))
    centred = returns - returns.mean()
    size = np.abs(returns)
    volume = candles[1:, 4]
    hours = (times[1:] // HOUR) % 24
    by_hour = np.array([[size[hours == hour].mean(), volume[hours == hour].mean()] for hour in range(24)])
    figures = {
        "deviation %": 100.0 * centred.std(),
        "kurtosis": (centred**4).mean() / centred.var() ** 2,
        "acf r 1": correlation(returns[:-1], returns[1:]),
    }
    figures |= {f"acf |r| {lag}": correlation(size[:-lag], size[lag:]) for lag in LAGS}
    figures["range / |r|"] = (candles[:, 1] / candles[:, 2] - 1.0).mean() / size.mean()
    figures["volume ~ |r|"] = correlation(np.log(np.maximum(volume, 1e-9)), size)
    figures["acf volume 24"] = correlation(volume[:-24], volume[24:])
    figures["busiest / quietest hour |r|"], figures["same of volume"] = by_hour.max(axis=0) / by_hour.min(axis=0)
    return figures


def correlation(a, b):
    """Pearson's."""
    return float(np.corrcoef(a, b)[0, 1])


def cross(returns):
    """Smallest, mean and largest correlation between columns, and the mean of their sizes'."""
    above = np.triu_indices(returns.shape[1], 1)
    found = np.corrcoef(returns.T)[above]
    return found.min(), found.mean(), found.max(), np.corrcoef(np.abs(returns).T)[above].mean()


def synthetic(mode, seeds):
    """Mean figures over markets and seeds, and the cross-correlations."""
    figures, between = [], []
    for seed in range(seeds):
        feed = SyntheticFeed(
            symbols=None, base_ms=HOUR, seed=seed, end_ms=DEFAULT_START_MS + FRAMES * HOUR, market=SyntheticTerms(mode)
        )
        (block,) = feed.blocks(FRAMES)
        figures += [describe(block.times, block.candles[:, m]) for m in range(len(feed.symbols))]
        between.append(cross(np.diff(np.log(block.candles[:, :, 3]), axis=0)))
    return figures, np.mean(between, axis=0)


def real():
    """Figures of every real symbol, and the cross-correlations over their common hours."""
    folder = Path(os.environ.get("TRADER_REAL_DATA", "../shared/data")) / "candles/roshan7869-algotrading/binance"
    candles = [read_candles(path, HOUR) for path in sorted(folder.glob("*/1h.parquet"))]
    if not candles:
        return [], None
    common = set.intersection(*(set(one.times.tolist()) for one in candles))
    closes = np.array([one.values[np.isin(one.times, list(common)), 3] for one in candles]).T
    return [describe(one.times, one.values) for one in candles], cross(np.diff(np.log(closes), axis=0))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=10)
    seeds = parser.parse_args().seeds
    columns = {mode: synthetic(mode, seeds) for mode in ("regimes", "planted", "null")}
    found, between = real()
    print(f"| | {' | '.join(columns)} | real: least | mean | most |")
    print("|---|" + "---|" * (len(columns) + 3))
    for name in columns["regimes"][0][0]:
        means = [np.mean([one[name] for one in figures]) for figures, _ in columns.values()]
        values = [one[name] for one in found] or [float("nan")]
        shown = [*means, min(values), np.mean(values), max(values)]
        print(f"| {name} | {' | '.join(f'{value:.2f}' for value in shown)} |")
    ours = " | ".join(f"{pairs[1]:.2f}" for _, pairs in columns.values())
    theirs = " | ".join(f"{value:.2f}" for value in between[:3]) if between is not None else "- | - | -"
    print(f"| correlation of two markets | {ours} | {theirs} |")
    ours = " | ".join(f"{pairs[3]:.2f}" for _, pairs in columns.values())
    print(f"| the same of the sizes | {ours} | - | {between[3] if between is not None else float('nan'):.2f} | - |")


if __name__ == "__main__":
    main()
