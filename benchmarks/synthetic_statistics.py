"""Statistics of the synthetic market beside real candles: python benchmarks/synthetic_statistics.py"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from trader.feeds.files import read_candles
from trader.feeds.synthetic import DEFAULT_START_MS, SyntheticFeed

HOUR = 3_600_000
FRAMES = 40_000


def describe(candles):
    """Deviation, kurtosis, autocorrelations of the size at 1 and 24 candles, range over size, of candles [T, 5]."""
    returns = np.diff(np.log(candles[:, 3]))
    centred = returns - returns.mean()
    size = np.abs(returns)
    remembered = [np.corrcoef(size[:-lag], size[lag:])[0, 1] for lag in (1, 24)]
    spread = (candles[:, 1] / candles[:, 2] - 1.0).mean() / size.mean()
    return centred.std(), (centred**4).mean() / centred.var() ** 2, *remembered, spread


def main():
    feed = SyntheticFeed(symbols=None, base_ms=HOUR, seed=3, end_ms=DEFAULT_START_MS + FRAMES * HOUR)
    (block,) = feed.blocks(FRAMES)
    rows = [(f"synthetic {symbol}", block.candles[:, m]) for m, symbol in enumerate(feed.symbols)]
    folder = Path(os.environ.get("TRADER_REAL_DATA", "../shared/data")) / "candles/roshan7869-algotrading/binance"
    rows += [
        (f"real {path.parent.name}", read_candles(path, HOUR).values) for path in sorted(folder.glob("*/1h.parquet"))
    ]
    print(f"{'':20} {'deviation':>10} {'kurtosis':>9} {'acf 1':>6} {'acf 24':>7} {'range':>6}")
    for name, candles in rows:
        deviation, kurtosis, first, day, spread = describe(candles)
        print(f"{name:20} {deviation:10.5f} {kurtosis:9.1f} {first:6.2f} {day:7.2f} {spread:6.2f}")


if __name__ == "__main__":
    main()
