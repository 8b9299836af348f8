"""Not one unit is lost in very many transfers: every rule of the pool, caps, cushion, and the breaker in all its ways."""

from __future__ import annotations

import pytest

from trader.session.books import Books
from trader.session.grants import RULES

REARM = ("recovery", "wait", "never")


def transfers(rows):
    """Movements of money that the rows tell: fills with the pool's money, funding, allocations."""
    moves = [rows.column(table, "funded") != 0 for table in ("entry", "partial", "exit", "funding")]
    return sum(int(move.sum()) for move in moves) + len(rows.rows("allocation"))


def counted(rule, rearm, seed, frames, size, make_block, make_config, run, monkeypatch):
    """Runs one session, checks it to the unit at every boundary; returns how many transfers it made and if it tripped."""
    sums, tripped = [], []
    absorb = Books.absorb

    def checked(self):
        absorb(self)
        self.check_agents()
        sums.append(sum(self.ledger.accounts.values()))
        tripped.append(self.halted)

    monkeypatch.setattr(Books, "absorb", checked)
    sets = (
        f"pool.rule={rule}", f"pool.rearm={rearm}", "pool.rearm_after=48", "pool.max_drawdown=0.001", "pool.cushion=true",
        "pool.caps={agent=0.02, archetype=0.3, market=0.6}", "pool.reserve=0.05", "levels.pool.every=12", f"session.seed={seed}",
        "levels.self_modifier.enabled=false",
    )  # fmt: skip
    engine, rows = run(make_config(*sets, size=size), make_block(frames=frames, seed=seed))
    monkeypatch.setattr(Books, "absorb", absorb)
    assert set(sums) == {0}
    results = int((rows.column("exit", "trade_pnl") * rows.column("exit", "funded")).sum())
    assert engine.books.equity_at_cost() == engine.books.deposited + results
    amounts = rows.column("allocation", "amount")
    assert (amounts != 0).all()
    return transfers(rows), any(tripped)


@pytest.mark.parametrize(("rule", "rearm"), [("mixture", "wait"), ("equal", "never"), ("half_kelly", "recovery")])
def test_hundreds_of_transfers_lose_nothing(rule, rearm, make_block, make_config, run, monkeypatch):
    made, tripped = counted(rule, rearm, 1, 1_000, 60, make_block, make_config, run, monkeypatch)
    assert made > 300
    assert tripped or rule != "equal"


@pytest.mark.nightly
def test_a_million_transfers_lose_nothing(make_block, make_config, run, monkeypatch):
    """With every rule and every way of rearming; the count is of rows that move money of the pool."""
    total, tripped, seed = 0, set(), 0
    while total < 1_000_000:
        for rule in sorted(RULES.values()):
            rearm = REARM[seed % len(REARM)]
            made, stopped = counted(rule, rearm, seed, 6_000, 1_000, make_block, make_config, run, monkeypatch)
            total += made
            tripped |= {rearm} if stopped else set()
            seed += 1
    print(f"{total} transfers in {seed} sessions")
    assert tripped == set(REARM)
