"""Money is neither made nor lost: in integers, after every candle, and again from the rows alone."""

from __future__ import annotations

import numpy as np
import pytest

from agents import layout as at
from portfolio.ledger import ImbalanceError
from trader.core.rows import TABLES


@pytest.fixture(scope="module")
def session(make_block, make_config, run):
    return run(make_config(), make_block())


def test_the_ledger_sums_to_zero_after_every_candle(make_block, make_config, run, monkeypatch):
    from trader.session.books import Books

    seen = []
    absorb = Books.absorb

    def checked(self):
        absorb(self)
        self.check_agents()
        seen.append(sum(self.ledger.accounts.values()))

    monkeypatch.setattr(Books, "absorb", checked)
    block = make_block(frames=900)
    run(make_config(), block, cuts=range(1, len(block)))
    assert len(seen) > 400
    assert set(seen) == {0}


def test_a_leak_stops_the_session(make_block, make_config, run, monkeypatch):
    from trader.session.engine import Engine

    leaky = Engine._run_markets

    def leaking(self, block, features):
        results = leaky(self, block, features)
        self.books.population.totals[0][at.TOTAL_CASH] += 1
        return results

    monkeypatch.setattr(Engine, "_run_markets", leaking)
    with pytest.raises(ImbalanceError, match="differ"):
        run(make_config(), make_block(frames=500))


def test_equity_is_deposits_plus_results(session):
    engine, rows = session
    trades = rows.column("exit", "trade_pnl").sum()
    assert engine.books.equity_at_cost() == engine.books.deposited + int(trades)
    assert engine.equity() == engine.books.equity_at_cost()


def test_every_trade_adds_up(session):
    rows = session[1]
    exits = {name: rows.column("exit", name) for name in TABLES["exit"].names}
    assert (exits["trade_pnl"] == exits["trade_gross"] - exits["trade_fees"] + exits["trade_funding"]).all()
    assert (exits["trade_pnl"] >= -exits["margin"]).all(), "a trade lost more than its margin"
    funding = {}
    for trade, amount in zip(rows.column("funding", "trade"), rows.column("funding", "amount"), strict=True):
        funding[trade] = funding.get(trade, 0) + amount
    told = dict(zip(exits["trade"].tolist(), exits["trade_funding"].tolist(), strict=True))
    assert all(told[trade] == amount for trade, amount in funding.items())


def test_fills_keep_to_the_candle_and_the_cap(session, make_block):
    rows, block = session[1], make_block()
    frame = {int(t): i for i, t in enumerate(block.times)}
    filled = np.zeros(block.present.shape)
    for table in ("entry", "partial", "exit"):
        for row in rows.rows(table):
            value = dict(zip(TABLES[table].names, row.tolist(), strict=True))
            kind = value.get("kind", 0)
            if kind in {6, 9}:
                continue
            t, m = frame[value["time_ms"]], value["market"]
            low, high = block.candles[t, m, 2], block.candles[t, m, 1]
            assert low - 1e-7 <= value["price"] / 1e8 <= high + 1e-7
            filled[t, m] += value["qty"] / 1e8
    cap = np.nan_to_num(block.candles[..., 4]) * 0.1
    assert (filled <= cap + 1e-6).all()
    assert (filled > 0).sum() > 100


def test_no_trade_begins_in_the_candle_that_decided_it(session):
    rows = session[1]
    assert (rows.column("entry", "time_ms") > rows.column("entry", "decided_ms")).all()


def test_thin_candles_are_shared_and_carried(make_block, make_config, run):
    """With next to no volume, entries shrink or are refused and exits take several candles."""
    engine, rows = run(make_config(), make_block(volume=60.0))
    assert len(rows.rows("partial")) > 20
    assert (rows.column("entry", "limited_by") == 1).sum() > 20
    engine.books.check_agents()
