"""Level 4, the capital pool: once an epoch every living agent is brought to its share of the capital."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from agents import layout as at
from portfolio.pool import plan
from portfolio.rules import equal
from trader.core.money import to_fraction
from trader.session.books import POOL_CASH
from trader.session.levels import LevelSpec, LevelUpdate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trader.core.config import Config
    from trader.session.books import Books

RULE_EQUAL: Final = 0
RULES: Final = {RULE_EQUAL: "equal"}
"""Codes of `allocation.rule`."""

BAND: Final = 500_000
"""Half a percent: capital within this share of its target is left alone, so that rows tell of changes that matter."""


def targets(books: Books, *, compounding: bool, reserve: float) -> NDArray[np.int64]:
    """Each living agent's share, in roster order."""
    return equal.targets(
        books.equity_at_cost(),
        books.deposited,
        books.fundable(),
        compounding=compounding,
        reserve=to_fraction(reserve),
    )


def endow(books: Books, compounding: bool, reserve: float, epoch: int, time_ms: int) -> None:
    """Give agents that have nothing and never traded their share, as far as the pool's cash goes."""
    capital = books.capital()
    wanted = targets(books, compounding=compounding, reserve=reserve)
    penniless = (capital == 0) & (books.population.column(at.ORDERS) == 0) & books.receptive()
    goal = np.where(penniless, wanted, capital)
    books.allocate(
        plan(goal, capital, books.free(), books.ledger.balance(POOL_CASH), 0), goal, epoch, time_ms, RULE_EQUAL
    )


class GrantLevel:
    """Allocation epochs with equal shares."""

    def __init__(self, config: Config) -> None:
        self.spec = LevelSpec(
            name="pool",
            every=config.levels.pool.every,
            parameters="capital granted to each agent",
            context_flow="realised results of all agents",
            objective="largest deviation of an agent's capital from its share, as a share of it",
            update_rule="grant and recall towards equal shares of the pool's capital",
        )
        self._compounding = config.pool.compounding
        self._reserve = config.pool.reserve
        self._epoch = 0

    def update(self, books: Books, frame: int, time_ms: int) -> LevelUpdate:
        """One epoch."""
        self._epoch += 1
        books.reap(frame, time_ms, RULE_EQUAL)
        goal = targets(books, compounding=self._compounding, reserve=self._reserve)
        living = books.receptive()
        capital = books.capital()
        before = self._deviation(capital, goal, living)
        steps = plan(np.where(living, goal, capital), capital, books.free(), books.ledger.balance(POOL_CASH), BAND)
        amounts = books.allocate(steps, goal, frame, time_ms, RULE_EQUAL)
        after = self._deviation(capital + amounts, goal, living)
        detail = {
            "epoch": self._epoch,
            "granted": int(amounts[amounts > 0].sum()),
            "recalled": -int(amounts[amounts < 0].sum()),
            "moved": int(np.count_nonzero(amounts)),
        }
        return LevelUpdate(self._epoch, before, after, kept=True, detail=detail)

    @staticmethod
    def _deviation(capital: NDArray[np.int64], goal: NDArray[np.int64], living: NDArray[np.bool_]) -> float:
        if not living.any() or goal.max() <= 0:
            return float("nan")
        return float(np.max(np.abs(capital[living] - goal[living])) / goal.max())

    def state(self) -> dict[str, Any]:
        """The number of the last epoch."""
        return {"epoch": np.array(self._epoch, np.int64)}

    def restore(self, state: dict[str, Any]) -> None:
        """Become what `state` described."""
        self._epoch = int(state["epoch"])
