"""The look-ahead sweep on real candles: 50 random moments, every later candle changed in three ways."""

from __future__ import annotations

import numpy as np
import pytest

from trader.core.config_levels import LevelsConfig

WINDOW = 2_000
MOMENTS_A_WINDOW = 5


EVERY_LEVEL = (
    *(f"levels.{name}.enabled=true" for name in LevelsConfig.model_fields), "levels.hope.every=40",
    "levels.memory.every=24", "levels.evolution.policy_births=0.6",
    *(f"levels.{name}.every=120" for name in ("dqn", "a3c", "ppo")),
)  # fmt: skip


@pytest.mark.realdata
@pytest.mark.parametrize("window", [20, *(pytest.param(n, marks=pytest.mark.nightly) for n in range(21, 26))])
def test_the_future_changes_no_row_of_the_past_with_every_level_on(spot_hours, make_config, run, look_ahead, window):
    rng = np.random.default_rng(window)
    first = int(rng.integers(0, len(spot_hours) - WINDOW))
    block, config = (
        spot_hours[first : first + WINDOW],
        make_config('feed.timeframes=["1h", "4h"]', *EVERY_LEVEL, size=100),
    )
    base = run(config, block)[1]
    assert {row[2] for row in base.rows("level")} == set(LevelsConfig.model_fields)
    assert len(base.rows("policy")) > 20
    for frame, how in zip(rng.integers(800, WINDOW - 5, 3).tolist(), ("larger", "shuffled", "removed"), strict=True):
        other = run(config, look_ahead.changed_after(block, frame, how, rng))[1]
        look_ahead.assert_same_past(base, other, int(block.times[frame]), decisions=how == "larger")


@pytest.mark.realdata
@pytest.mark.parametrize("window", range(10))
def test_the_future_changes_no_row_of_the_past_on_real_candles(spot_hours, make_config, run, look_ahead, window):
    rng = np.random.default_rng(window)
    first = int(rng.integers(0, len(spot_hours) - WINDOW))
    block = spot_hours[first : first + WINDOW]
    config = make_config('feed.timeframes=["1h", "4h"]', size=200)
    base = run(config, block)[1]
    assert len(base.rows("entry")) > 100
    for frame in rng.integers(500, WINDOW - 5, MOMENTS_A_WINDOW).tolist():
        for how in ("larger", "shuffled", "removed"):
            other = run(config, look_ahead.changed_after(block, frame, how, rng))[1]
            look_ahead.assert_same_past(base, other, int(block.times[frame]), decisions=how == "larger")
