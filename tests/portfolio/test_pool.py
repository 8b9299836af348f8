"""Books that balance, grants that are there, and rules that share out what there is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from portfolio import CapitalPool, ImbalanceError, Ledger
from portfolio.pool import plan
from portfolio.rules import equal

AGENTS = st.integers(0, 4)
AMOUNTS = st.integers(0, 10**12)


class PoolMachine(RuleBasedStateMachine):
    """Any sequence of movements keeps the books balanced; what cannot be paid is refused and changes nothing."""

    def __init__(self):
        super().__init__()
        self.pool = CapitalPool(10**13)

    def attempt(self, call, *arguments, **options):
        before = self.pool.balances()
        try:
            call(*arguments, **options)
        except ValueError:
            assert self.pool.balances() == before

    @rule(agent=AGENTS, amount=AMOUNTS)
    def grant(self, agent, amount):
        self.attempt(self.pool.grant, agent, amount)

    @rule(agent=AGENTS, amount=AMOUNTS)
    def recall(self, agent, amount):
        self.attempt(self.pool.recall, agent, amount)

    @rule(agent=AGENTS, amount=AMOUNTS)
    def reserve(self, agent, amount):
        self.attempt(self.pool.reserve, agent, amount)

    @rule(agent=AGENTS, pnl=st.integers(-(10**11), 10**11), fee=st.integers(-1, 10**9))
    def result(self, agent, pnl, fee):
        self.attempt(self.pool.post, agent, pnl=pnl, fee=fee)

    @rule(agent=AGENTS, amount=st.none() | AMOUNTS)
    def release(self, agent, amount):
        self.attempt(self.pool.release, agent, amount)

    @invariant()
    def balanced(self):
        self.pool.check()


TestPool = PoolMachine.TestCase
TestPool.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_a_tampered_balance_is_found():
    pool = CapitalPool(100)
    pool.ledger.accounts["pool:cash"] += 1
    with pytest.raises(ImbalanceError, match="off by 1"):
        pool.check()
    pool.ledger.accounts["market"] = -1
    with pytest.raises(ImbalanceError, match="equity"):
        pool.check()


def test_the_ledger_refuses_nonsense():
    ledger = Ledger()
    for debit, credit, amount in (("a", "b", -1), ("a", "a", 1), ("a", "b", 1 << 62)):
        with pytest.raises(ValueError, match=r"positive|two accounts|range"):
            ledger.post(debit, credit, amount)
    assert ledger.accounts == {}
    ledger.move("a", "b", -5)
    assert ledger.accounts == {"b": -5, "a": 5}


@settings(max_examples=300, deadline=None)
@given(
    capital=st.lists(st.integers(0, 10**14), min_size=1, max_size=30),
    pool_cash=st.integers(0, 10**14),
    data=st.data(),
)
def test_a_plan_never_spends_what_is_not_there(capital, pool_cash, data):
    capital = np.array(capital, np.int64)
    n = len(capital)
    goal = np.array(data.draw(st.lists(st.integers(0, 10**14), min_size=n, max_size=n)), np.int64)
    free = np.array([data.draw(st.integers(0, int(c))) for c in capital], np.int64)
    steps = plan(goal, capital, free, pool_cash, 0)
    assert int(steps.amounts.sum()) <= pool_cash
    assert (-steps.amounts <= free).all()
    after = capital + steps.amounts
    assert (np.abs(after - goal) <= np.abs(capital - goal)).all()
    whole = steps.limits == 0
    assert (after[whole] == goal[whole]).all()


def test_small_differences_are_left_alone():
    goal = np.array([1_000, 1_000, 1_000])
    steps = plan(goal, np.array([1_004, 995, 990]), np.array([1_004, 995, 990]), 10**6, 500_000)
    assert steps.amounts.tolist() == [0, 0, 10]


@given(
    total=st.integers(-(10**12), 10**15), deposited=st.integers(1, 10**15),
    living=st.lists(st.booleans(), min_size=1, max_size=20),
    compounding=st.booleans(), reserve=st.integers(0, 10**8),
)  # fmt: skip
def test_equal_shares(total, deposited, living, compounding, reserve):
    living = np.array(living)
    shares = equal.targets(total, deposited, living, compounding=compounding, reserve=reserve)
    assert (shares[~living] == 0).all()
    assert len(set(shares[living].tolist())) <= 1
    assert 0 <= int(shares.sum()) <= max(total, 0)
    if not compounding:
        assert int(shares.sum()) <= deposited
