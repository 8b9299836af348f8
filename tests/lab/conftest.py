"""Small evaluations: a made-up market, few agents, a database and a folder of their own."""

from __future__ import annotations

import pytest

from trader.core.config import load
from trader.lab.evaluate import evaluate
from trader.lab.sessions import Wishes

SMALL = (
    'feed.kind="synthetic"', 'feed.symbols=["BTC/USDT"]', 'feed.timeframes=["1h", "4h"]', "session.candles=3000",
    "session.seed=3", "population.size=60", "levels.evolution.every=200", "levels.pool.every=100", "engine.threads=1",
    "evaluation.seeds=2", "evaluation.draws=50",
)  # fmt: skip


@pytest.fixture(scope="session")
def small_config():
    """A config that is evaluated in a few seconds, with `--set` texts over it."""

    def make(*sets):
        return load(None, [*SMALL, *sets])

    return make


@pytest.fixture
def evaluated(tmp_path):
    """Evaluate a config in a folder of this test."""

    def run(config, **wishes):
        return evaluate(config, Wishes(str(tmp_path / "trials.db"), tmp_path / "kept", **wishes))

    return run
