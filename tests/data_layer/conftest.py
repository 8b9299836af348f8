"""Candles for the tests of the data layer: random walks on a grid, with holes, as blocks."""

from __future__ import annotations

import numpy as np
import pytest

from trader.core.types import Block

START_MS = 1_704_067_200_000  # 2024-01-01 00:00 UTC, a Monday


def random_candles(rng, count, price=100.0):
    """float64 [count, 5]: a random walk with gaps between close and open, fat tails, and now and then a dead candle."""
    move = rng.standard_t(3, count) * 0.004
    close = price * np.exp(np.cumsum(move))
    opened = np.concatenate(([price], close[:-1])) * np.exp(rng.normal(0.0, 0.0005, count))
    high = np.maximum(opened, close) * np.exp(np.abs(rng.normal(0.0, 0.002, count)))
    low = np.minimum(opened, close) * np.exp(-np.abs(rng.normal(0.0, 0.002, count)))
    volume = rng.gamma(1.5, 1000.0, count) * (rng.random(count) > 0.02)
    return np.column_stack((opened, high, low, close, volume))


def block_of(times, candles, present=None, rates=None):
    """Block of times int64 [T] and candles [T, M, 5]."""
    times = np.asarray(times, np.int64)
    shape = candles.shape[:2]
    present = np.ones(shape, np.bool_) if present is None else present
    candles = np.where(present[:, :, None], candles, np.nan)
    rates = np.full(shape, np.nan) if rates is None else rates
    return Block(
        times, candles, present, rates, np.full(shape, np.nan), np.zeros(shape, np.int64), np.zeros(shape[0], np.int64)
    )


def gapped_block(seed, frames=2500, markets=2, base_ms=900_000, holes=3, longest=12, first=0):
    """A block with holes of random places and lengths in every market; frames without any market are gone."""
    rng = np.random.default_rng(seed)
    times = START_MS + (first + np.arange(frames)) * base_ms
    candles = np.stack([random_candles(rng, frames) for _ in range(markets)], axis=1)
    present = np.ones((frames, markets), np.bool_)
    for m in range(markets):
        for _ in range(holes):
            start = rng.integers(0, frames)
            present[start : start + rng.integers(1, longest + 1), m] = False
    rates = np.where(
        (times[:, None] % 28_800_000 == 0) & present, rng.normal(0.0001, 0.0002, (frames, markets)), np.nan
    )
    kept = present.any(axis=1)
    return block_of(times[kept], candles[kept], present[kept], rates[kept])


@pytest.fixture(scope="session")
def candle_maker():
    return random_candles


@pytest.fixture(scope="session")
def blocks_of():
    return block_of


@pytest.fixture(scope="session")
def gapped():
    return gapped_block
