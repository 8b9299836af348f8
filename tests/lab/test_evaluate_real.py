"""Evaluation and placebos on real candles: holes, a listing within the span, and the sums that must not depend on them."""

from __future__ import annotations

import numpy as np
import pytest

from trader.core.config import load
from trader.lab.history import load_history
from trader.lab.placebos import surrogate
from trader.lab.simulation import simulate

SETS = (
    'feed.kind="replay"', 'exchange.market_type="spot"', 'feed.base_timeframe="1h"', 'feed.start="2018-02-01"',
    'feed.end="2018-09-01"', "population.size=100", "levels.evolution.every=300", "levels.pool.every=100",
    "engine.threads=1", "evaluation.seeds=1", "evaluation.costs=[1.0]", "evaluation.draws=50", "feed.warmup=500",
    *(f"levels.{name}.enabled=false" for name in ("calibration", "bandits", "self_modifier")),
)  # fmt: skip


@pytest.fixture(scope="module")
def config(real_data):
    folder = real_data / "candles" / "roshan7869-algotrading"
    return load(None, [*SETS, f'feed.data=["{folder}"]'])


@pytest.mark.realdata
def test_a_population_on_five_symbols_is_judged(config, evaluated):
    found = evaluated(config)
    assert found["data"]["symbols"] == ["ADA/USDT", "BTC/USDT", "ETH/USDT", "LTC/USDT", "XRP/USDT"]
    assert found["audit"]["ok"]
    assert found["audit"]["foresight"] < 0.2
    assert found["verdict"].startswith(("Not shown: ", "Shown: "))
    assert found["activity"]["trades"] > 50
    assert found["oracle"] is None


@pytest.mark.realdata
def test_sums_and_placebos_survive_holes_and_listings(config):
    history = load_history(config)
    assert not history.block.present.all()
    for each in (history, surrogate(history, 1, 1)):
        found = simulate(config, each)
        assert len(found.opened) > 50
        assert np.allclose(found.archetypes.sum(axis=1), found.equity - found.start, rtol=0, atol=1e-5)
    assert np.allclose(history.marks()[-1], surrogate(history, 1, 1).marks()[-1], rtol=1e-6)
