"""Level 4, the capital pool: once an epoch every living agent is brought to its share of the capital.

The rule (`portfolio.rules`) says the shares, from realised results of trading only; caps and the drawdown cushion cut
them; what can be moved now is moved, with a row that says why. `mixture` runs all rules side by side, each on its own
path, and follows each in proportion to what it would have earned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from agents import layout as at
from portfolio import risk
from portfolio.mixing import MIXTURE, Paths
from portfolio.pool import Plan, plan
from portfolio.records import Records
from portfolio.rules import discovered, equal
from portfolio.rules.half_kelly import shrunken_sharpe
from trader.broker import market as rule
from trader.core.money import FRACTION_SCALE, to_fraction
from trader.core.rows import AllocationLimit
from trader.session.books import POOL_CASH
from trader.session.levels import LevelSpec, LevelUpdate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trader.core.config import Config
    from trader.session.books import Books

RULES: Final = dict(enumerate((*discovered(), MIXTURE)))
"""Codes of `allocation.rule`."""
_CODES: Final = {name: code for code, name in RULES.items()}
RULE_EQUAL: Final = _CODES["equal"]

BAND: Final = 500_000
"""Half a percent: capital within this share of its target is left alone, so that rows tell of changes that matter."""

EPOCHS: Final = 32
"""Results of so many epochs are kept for the rules that look at covariances."""


def targets(books: Books, *, compounding: bool, reserve: float) -> NDArray[np.int64]:
    """Each living agent's equal share, in roster order."""
    return equal.targets(
        books.equity_at_cost(), books.deposited, books.fundable(), compounding=compounding,
        reserve=to_fraction(reserve),
    )  # fmt: skip


def taking_part(books: Books) -> NDArray[np.bool_]:
    """Who can be given capital now, bool [n] in roster order: funded agents, and shadows that are flat."""
    return books.receptive()


def endow(books: Books, compounding: bool, reserve: float, epoch: int, time_ms: int) -> None:
    """Give agents that have nothing and never traded their equal share, as far as caps and the pool's cash go."""
    roster = books.population.roster
    capital = books.capital()
    wanted = targets(books, compounding=compounding, reserve=reserve)
    penniless = (capital == 0) & (books.population.column(at.ORDERS) == 0) & taking_part(books)
    goal = np.where(penniless, wanted, capital)
    goal, cut = risk.capped(goal, books.equity_at_cost(), books.caps, roster.archetype, roster.market, penniless)
    steps = plan(goal, capital, books.free(), books.ledger.balance(POOL_CASH), 0)
    books.allocate(_marked(steps, cut), goal, epoch, time_ms, RULE_EQUAL)


def _marked(steps: Plan, cut: NDArray[np.bool_]) -> Plan:
    """The plan with `cap` as the limit of those that a cap cut and nothing else bounded."""
    limits = np.where(cut & (steps.limits == int(AllocationLimit.NONE)), int(AllocationLimit.CAP), steps.limits)
    return Plan(steps.amounts, limits)


class GrantLevel:
    """Allocation epochs by the configured rule."""

    def __init__(self, config: Config) -> None:
        pool = config.pool
        self.spec = LevelSpec(
            name="pool",
            every=config.levels.pool.every,
            parameters="capital granted to each agent; with the mixture, the wealth of every rule",
            context_flow="realised results of all agents since the last epoch, after costs",
            objective="largest deviation of an agent's capital from its share, as a share of the largest",
            update_rule=f"grant and recall towards the shares of the rule {pool.rule}, under caps and reserve",
        )
        self._rule = pool.rule
        rules = discovered()
        self._paths = Paths.start(tuple(rules.values()) if pool.rule == MIXTURE else (rules[pool.rule],))
        self._compounding = pool.compounding
        self._reserve = pool.reserve
        self._limit = pool.max_drawdown if pool.cushion else 0.0
        self._epoch = 0
        self._results = np.zeros(0, np.int64)
        self._capital = np.zeros(0, np.int64)
        self._returns = np.zeros((0, 0))

    def update(self, books: Books, frame: int, time_ms: int) -> LevelUpdate:
        """One epoch."""
        self._epoch += 1
        books.reap(frame, time_ms, RULE_EQUAL)
        roster = books.population.roster
        active = taking_part(books)
        self._learn(books)
        records = self._records(books, active)
        shares = self._paths.divide(records, roster.agent)
        goal, cut, handed_out = self._goal(books, shares, active)
        capital = books.capital()
        before = self._deviation(capital, goal, active)
        steps = plan(np.where(active, goal, capital), capital, books.free(), books.ledger.balance(POOL_CASH), BAND)
        score = shrunken_sharpe(records)
        amounts = books.allocate(
            _marked(steps, cut), goal, frame, time_ms, _CODES[self._rule], score,
            np.where(records.deviation > 0.0, records.deviation, np.nan),
        )  # fmt: skip
        after = self._deviation(capital + amounts, goal, active)
        self._remember(books)
        detail = {
            "epoch": self._epoch,
            "granted": int(amounts[amounts > 0].sum()),
            "recalled": -int(amounts[amounts < 0].sum()),
            "moved": int(np.count_nonzero(amounts)),
            "rule": self._rule,
            "capped": int(cut.sum()),
            "handed_out": round(handed_out, 9),
            "halted": books.halted,
            **self._wealth(),
            **exposure(books),
        }
        return LevelUpdate(self._epoch, before, after, kept=True, detail=detail)

    # --- what the rules see -------------------------------------------------------------------------------------

    def _learn(self, books: Books) -> None:
        """Results since the last epoch, for each agent that was there: growth of capital and one line of returns."""
        population = books.population
        place = {int(agent): i for i, agent in enumerate(population.roster.agent.tolist())}
        results = population.column(at.PNL)
        rows = np.array([place.get(int(agent), -1) for agent in self._paths.agents.tolist()], np.int64)
        there = rows >= 0
        change = np.zeros(len(rows))
        earned = results[rows[there]] - self._results[there]
        had = self._capital[there]
        change[there] = np.where(had > 0, earned / np.maximum(had, 1), 0.0)
        change = np.maximum(change, -1.0)
        if len(rows):
            self._paths.earn(1.0 + change)
        line = np.zeros((1, len(population)))
        line[0, rows[there]] = change[there]
        kept = np.zeros((len(self._returns), len(population)))
        kept[:, rows[there]] = self._returns[:, there]
        started = len(self._paths.agents) > 0
        self._returns = np.concatenate([kept, line])[-EPOCHS:] if started else kept

    def _records(self, books: Books, active: NDArray[np.bool_]) -> Records:
        """The agents' records, in roster order."""
        roster = books.population.roster
        days = books.population.days()
        count = days[at.DAY_COUNT]
        number = np.maximum(count, 1.0)
        mean = days[at.DAY_SUM] / number
        deviation = np.sqrt(np.maximum(days[at.DAY_SQUARES] / number - mean * mean, 0.0))
        group = roster.archetype * len(books.symbols) + roster.market
        return Records(active, count, mean, deviation, roster.archetype, group, np.zeros(len(roster)), self._returns)

    def _goal(
        self, books: Books, shares: NDArray[np.float64], active: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_], float]:
        """Target capital in 1e-8, whom a cap cut, and the share of the capital that is handed out at all."""
        roster = books.population.roster
        total = books.equity_at_cost()
        capital = max(total if self._compounding else min(books.deposited, total), 0)
        handed_out = 1.0 - self._reserve
        if self._limit:
            handed_out *= risk.cushion(books.equity, books.high, self._limit)
        goal = risk.amounts(shares, risk.amount_of(handed_out, capital))
        goal, cut = risk.capped(goal, total, books.caps, roster.archetype, roster.market, active)
        return goal, cut, handed_out

    def _remember(self, books: Books) -> None:
        self._results = books.population.column(at.PNL)
        self._capital = books.capital()

    def _wealth(self) -> dict[str, dict[str, float]]:
        """With the mixture, the share that each rule has in it."""
        if self._rule != MIXTURE:
            return {}
        total = float(self._paths.wealth.sum())
        pairs = zip(self._paths.rules, self._paths.wealth.tolist(), strict=True)
        return {"mixture": {item.name: round(wealth / total, 9) for item, wealth in pairs}}

    @staticmethod
    def _deviation(capital: NDArray[np.int64], goal: NDArray[np.int64], active: NDArray[np.bool_]) -> float:
        if not active.any() or goal.max() <= 0:
            return float("nan")
        return float(np.max(np.abs(capital[active] - goal[active])) / goal.max())

    # --- checkpoint ---------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Number of the last epoch, the rules' paths, and what every agent had then."""
        return {
            "epoch": np.array(self._epoch, np.int64),
            "agents": self._paths.agents.copy(),
            "shares": self._paths.shares.copy(),
            "wealth": self._paths.wealth.copy(),
            "results": self._results.copy(),
            "capital": self._capital.copy(),
            "returns": self._returns.copy(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Become what `state` described."""
        self._epoch = int(state["epoch"])
        self._paths.agents = np.asarray(state["agents"], np.int64).copy()
        self._paths.shares = np.array(state["shares"], np.float64)
        self._paths.wealth = np.array(state["wealth"], np.float64)
        self._results = np.asarray(state["results"], np.int64).copy()
        self._capital = np.asarray(state["capital"], np.int64).copy()
        self._returns = np.array(state["returns"], np.float64)


def exposure(books: Books) -> dict[str, float]:
    """Gross and net exposure of funded positions at the last close, in quote currency, and the fees of a round trip
    that netting opposing positions market by market would save."""
    population = books.population
    values, markets = [], []
    for m, market in enumerate(population.markets):
        state = market.state
        rows = np.flatnonzero((state[:, at.SIDE] != 0) & (state[:, at.FUNDED] != 0))
        vector = population.rules[m]
        price = float(population.totals[m][at.LAST_CLOSE]) / float(vector[rule.PRICE_SCALE])
        quantity = state[rows, at.SIDE] * state[rows, at.QUANTITY] / float(vector[rule.QUANTITY_SCALE])
        values.append(quantity * price)
        markets.append(np.full(len(rows), m, np.int64))
    fees = np.array([vector[rule.TAKER_FEE] / FRACTION_SCALE for vector in population.rules])
    gross, net, saved = risk.netting(np.concatenate(values), np.concatenate(markets), fees)
    return {"gross_exposure": round(gross, 8), "net_exposure": round(net, 8), "netting_would_save": round(saved, 8)}
