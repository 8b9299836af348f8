"""A session in memory is the session of `trader run`, and its archetypes' profits add up to the pool's."""

from __future__ import annotations

import numpy as np
import pytest

from trader.core.errors import UserError
from trader.lab.history import load_history
from trader.lab.simulation import simulate
from trader.session.api import run_session
from trader.store.columns import read_columns
from trader.store.store import open_store


@pytest.fixture(scope="module")
def made(small_config):
    config = small_config('feed.symbols=["BTC/USDT", "ETH/USDT"]', "feed.synthetic.holes=0.002")
    history = load_history(config)
    return config, history, simulate(config, history)


def test_equity_is_that_of_a_run(made, tmp_path):
    config, _, simulation = made
    summary = run_session(config, url=str(tmp_path / "a.db"))
    with open_store(str(tmp_path / "a.db"), create=False, read_only=True) as store:
        rows = read_columns(store, "v_equity", summary.values["run"], ("time_ms", "equity"))
    assert np.array_equal(rows["time_ms"], simulation.times)
    assert np.allclose(rows["equity"], simulation.equity, rtol=0, atol=1e-6)


def test_archetypes_add_up_to_the_pool(made):
    _, _, simulation = made
    total = simulation.archetypes.sum(axis=1)
    assert np.abs(total).max() > 1.0
    assert np.allclose(total, simulation.equity - simulation.start, rtol=0, atol=1e-5)
    assert simulation.exposures.sum() == pytest.approx((simulation.gross.sum(axis=1) / simulation.equity).mean())


def test_costs_and_positions_are_those_of_the_database(made, tmp_path):
    config, _, simulation = made
    summary = run_session(config, url=str(tmp_path / "a.db"))
    with open_store(str(tmp_path / "a.db"), create=False, read_only=True) as store:
        trades = read_columns(store, "v_trade", summary.values["run"], ("fees", "slippage", "funded", "exit_reason"))
        own = (trades["funded"] == 1) & (trades["exit_reason"] != "end")
        fills = read_columns(store, "v_fill", summary.values["run"], ("fee", "trade"))
    assert own.sum() == np.count_nonzero(simulation.closed < np.iinfo(np.int64).max) > 20
    known = float(trades["fees"][own].sum() + trades["slippage"][own].sum())
    assert known <= simulation.costs.sum() + 1e-6
    assert simulation.costs.sum() <= float(fills["fee"].sum() + trades["slippage"][own].sum()) + 1e-6
    assert (simulation.gross >= np.abs(simulation.net) - 1e-6).all()


def test_a_shorter_history_is_the_beginning_of_the_longer_one(made):
    config, history, simulation = made
    short = simulate(config, history.until(1500))
    assert len(short.equity) == 1500
    assert np.array_equal(short.equity, simulation.equity[:1500])
    assert history.until(1500).content != history.content


def test_histories_that_cannot_be(small_config):
    with pytest.raises(UserError, match="endless"):
        load_history(
            small_config().model_copy(update={"session": small_config().session.model_copy(update={"candles": None})})
        )
