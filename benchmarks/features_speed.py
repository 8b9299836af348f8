"""Speed of the feature engine and of the feeds, on real candles where they are, else on synthetic ones.

    python benchmarks/features_speed.py [FOLDER]

Prints microseconds per market-candle (processor time of this thread, best of five rounds taken in turn, so that other
load disturbs all rows alike) for blocks of 1,024 frames and for one frame at a time, beside TA-Lib computing the
eighteen indicators behind the features over the same whole arrays; and frames per second of the feeds.
FOLDER is a source folder of the candle store; the default is the 5-symbol hourly set under TRADER_REAL_DATA.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np
import talib

from trader.core.features import FEATURES, FeatureEngine
from trader.feeds.replay import ReplayFeed
from trader.feeds.synthetic import SyntheticFeed

HOUR = 3_600_000
LENGTHS = (HOUR, 4 * HOUR, 24 * HOUR)


def load(folder):
    if folder.is_dir():
        began = time.perf_counter()
        feed = ReplayFeed([folder], exchange_id="binance", market_type="spot", symbols=None, base_ms=HOUR, quote="USDT")
        blocks = list(feed.blocks(1024))
        seconds = time.perf_counter() - began
    else:
        feed = SyntheticFeed(symbols=None, base_ms=HOUR, seed=0)
        source = feed.blocks(1024)
        next(source)
        began = time.perf_counter()
        blocks = [next(source) for _ in range(50)]
        seconds = time.perf_counter() - began
    return feed, blocks, seconds


def engine_time(markets, blocks, size, limit):
    """Processor seconds and market-candles of a pass over `limit` frames in pieces of `size`."""
    engine = FeatureEngine(markets, HOUR, LENGTHS)
    seconds, done, candles = 0.0, 0, 0
    for block in blocks:
        for start in range(0, len(block), size):
            part = block[start : start + size]
            began = time.thread_time()
            engine.update(part)
            seconds += time.thread_time() - began
            done += len(part)
            candles += int(part.present.sum())
            if done >= limit:
                return seconds, candles
    return seconds, candles


def talib_time(blocks):
    """Processor seconds of TA-Lib over all markets, base timeframe only, and market-candles."""
    seconds, candles = 0.0, 0
    for m in range(blocks[0].present.shape[1]):
        rows = np.concatenate([block.candles[block.present[:, m], m] for block in blocks])
        _, h, low, c, v = (np.ascontiguousarray(rows[:, i]) for i in range(5))
        began = time.thread_time()
        for n in (1, 4, 12, 24, 72):
            talib.ROC(c, n)
        for function, n in ((talib.EMA, 26), (talib.RSI, 14), (talib.LINEARREG_SLOPE, 20), (talib.LINEARREG_SLOPE, 50),
                            (talib.STDDEV, 120), (talib.STDDEV, 50)):  # fmt: skip
            function(c, n)
        talib.MACD(c)
        talib.BBANDS(c, 20, 2.0, 2.0)
        talib.ATR(h, low, c, 14)
        talib.STOCH(h, low, c, 14, 3, 0, 3, 0)
        talib.CCI(h, low, c, 20)
        talib.WILLR(h, low, c, 28)
        talib.MFI(h, low, c, v, 14)
        seconds += time.thread_time() - began
        candles += len(c)
    return seconds, candles


def main():
    data = Path(os.environ.get("TRADER_REAL_DATA", "../shared/data"))
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else data / "candles/roshan7869-algotrading"
    feed, blocks, seconds = load(folder)
    frames = sum(map(len, blocks))
    print(f"{feed.kind} feed: {frames} frames of {len(feed.symbols)} markets in {seconds:.3f} s")
    began = time.perf_counter()
    FeatureEngine(len(feed.symbols), HOUR, LENGTHS).update(blocks[0][:1])
    print(f"first call (compiles, or loads what is cached): {time.perf_counter() - began:.2f} s")
    rounds = [
        (
            engine_time(len(feed.symbols), blocks, 1024, frames),
            engine_time(len(feed.symbols), blocks, 1, 20_000),
            talib_time(blocks),
        )
        for _ in range(5)
    ]
    names = (
        f"{len(FEATURES)} features x {len(LENGTHS)} timeframes, blocks of 1,024",
        "the same, one frame at a time",
        "TA-Lib, 18 indicators x 1 timeframe, whole arrays",
    )
    for i, name in enumerate(names):
        best = min(seconds / candles * 1e6 for seconds, candles in (row[i] for row in rounds))
        print(f"{best:8.3f} us per market-candle  {name}")


if __name__ == "__main__":
    main()
