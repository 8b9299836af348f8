"""The inputs of HOPE made one candle at a time are those it was trained on."""

from __future__ import annotations

import numpy as np
import pytest

from memory import market_stream
from memory.markets import features, regime_market


@pytest.mark.parametrize("cut", [1, 37, 300])
def test_rows_equal_the_features_of_the_whole_series(cut):
    candles = regime_market(np.random.default_rng(3), 300).candles
    state = np.zeros(market_stream.STATE)
    parts = [
        market_stream.follow(state, np.ascontiguousarray(candles[i : i + cut, :5]), candles[i : i + cut, 5].copy())
        for i in range(0, len(candles), cut)
    ]
    np.testing.assert_allclose(np.concatenate(parts), features(candles), rtol=0, atol=1e-9)


def test_a_dead_market_gives_finite_rows():
    candles = np.full((100, 5), 0.1)
    candles[:, 4] = 0.0
    rows = market_stream.follow(np.zeros(market_stream.STATE), candles, np.full(100, 0.1))
    assert np.isfinite(rows).all()
