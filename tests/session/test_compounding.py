"""A planted constant edge: geometric growth where grants follow the pool's equity, linear where they follow the deposit."""

from __future__ import annotations

import numpy as np
import pytest

from trader.core.rows import Phase
from trader.core.types import Block

HOUR = 3_600_000
CYCLE = 4
EDGE = 0.01
TURNS = 150


def planted(cycles=TURNS, warmup=8):
    """Every fourth candle opens at 100 and closes at 101; a signal says to hold exactly it. Returns the block."""
    frames = warmup + cycles * CYCLE
    where = np.arange(frames) % CYCLE
    opened = np.where(where == 3, 100.0 * (1 + EDGE), 100.0)
    close = np.roll(opened, -1)
    candles = np.stack(
        (opened, np.maximum(opened, close), np.minimum(opened, close), close, np.full(frames, 1e9)), axis=1
    )
    said = np.full((frames, 1), np.nan)
    said[where == 1, 0] = 1.0  # enters at the open of candle 2
    said[where == 2, 0] = 0.0  # leaves at the open of candle 3
    nothing = np.full((frames, 1), np.nan)
    phase = np.where(np.arange(frames) < warmup, int(Phase.WARMUP), int(Phase.REPLAY)).astype(np.int64)
    times = 1_600_000_000_000 // HOUR * HOUR + np.arange(frames) * HOUR
    return Block(
        times, candles[:, None, :], np.ones((frames, 1), bool), nothing, nothing.copy(), np.zeros((frames, 1), np.int64),
        phase, signals=said,
    )  # fmt: skip


@pytest.mark.parametrize("compounding", [True, False])
def test_a_constant_edge_grows_as_the_pool_divides(compounding, make_config, run):
    config = make_config(
        'feed.timeframes=["1h"]', 'feed.signals="planted#sha256=0"', 'population.archetypes=["signal"]',
        "levels.evolution.enabled=false", f"levels.pool.every={CYCLE}", f"pool.compounding={str(compounding).lower()}",
        "exchange.slippage=0.0", "exchange.impact=0.0", "pool.capital=1000.0", size=1,
    )  # fmt: skip
    engine, rows = run(config, planted(), perpetual=True)
    fee = 0.0005  # the fixture's instruments; paid on the way in and out
    equity = rows.column("equity", "equity")[::CYCLE] / 1e11
    staked = 1 / (1 + fee) / 1.0025  # of the capital: the fee, and room for a worse open
    gain = staked * (EDGE - fee - fee * (1 + EDGE))
    number = np.arange(len(equity))
    expected = (1 + gain) ** number if compounding else 1 + gain * number
    assert len(rows.rows("exit")) == TURNS
    np.testing.assert_allclose(equity, expected, rtol=2e-6)
    other = 1 + gain * number if compounding else (1 + gain) ** number
    assert abs(equity[-1] / other[-1] - 1) > 0.3, "the two laws are far apart after so many turns"
    assert engine.equity() > 0
