"""Level 2, MetaRL bandits: which multiplier of which parameter pays, by timeframe and regime, partly pooled over archetypes.

Every agent that evolves is an experiment in one parameter at a time. At a boundary a flat agent without a ticket draws
one: a parameter (by lot), and of its arms one with the probability that it is the best in the agent's context (timeframe,
regime of its market now, archetype), which is kept as the propensity. The other parameters stand where their bandit is
sure enough, else at 1. The ticket is redeemed by the next trade the agent decides, or runs out. So a trade belongs to one
ticket, and another bandit can be judged from the rows (`trader lab bandit`).

Reward: z = log growth of the agent's account by the trade, after costs, divided by the root mean square of such growths on
its timeframe (volatility-scaled, learned from the past only); z / 3 is clipped to [-1, 1] and mapped to [0, 1]. A ticket
that runs out is worth 1/2: nothing won, nothing lost. The strength of mutation is drawn for each child at birth and
rewarded by its shrunken fitness, when first judged, against what its parents had. Controls have no tickets.
"""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from agents import controls, signals
from agents import layout as at
from rl.bandits import PooledThompson, PooledWindowThompson
from trader.core import rng
from trader.core.rng import Stream
from trader.core.rows import Parameter, float_bits
from trader.session.levels import LevelSpec, LevelUpdate, from_text_array, text_array
from trader.session.outcomes import as_array, from_array, in_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from agents.population import Roster
    from trader.core.config import Config
    from trader.core.features import FeatureBlock
    from trader.core.types import Block
    from trader.session.books import Books
    from trader.session.outcomes import Outcome

ARMS: Final = (0.7, 0.85, 1.0, 1.2, 1.4)
NEUTRAL: Final = ARMS.index(1.0)
FLOOR: Final = 0.05
"""Share of the draws that is spread evenly over all arms."""

SURE: Final = 1.0
"""Standard deviations by which an arm must be better than the neutral one to stand while another parameter is tried."""

_TRADED: Final = tuple(Parameter)[: at.MULTIPLIERS]
_SCALE_MEMORY: Final = 0.995


class Ticket(NamedTuple):
    """What an agent has drawn: the bandit's ticket, its context, arm and propensity, when, and the account then (1e-8)."""

    ticket: int
    parameter: int
    timeframe_ms: int
    regime: int
    archetype: int
    arm: float
    propensity: float
    drawn_ms: int
    frame: int
    account: int

    @property
    def context(self) -> tuple[int, int, int, int]:
        """The bandit's key: archetypes are members of the group (parameter, timeframe, regime)."""
        return self.parameter, self.timeframe_ms, self.regime, self.archetype


class BanditLevel:
    """The bandits, the open tickets and the scale of rewards."""

    def __init__(self, config: Config, markets: int, timeframes_ms: Sequence[int]) -> None:
        settings = config.levels.bandits
        self.spec = LevelSpec(
            name="bandits",
            every=settings.every,
            parameters="evidence for each multiplier of each parameter, by timeframe, regime and archetype",
            context_flow="closed trades of all agents that evolve, tickets that ran out, first judgements of the newborn",
            objective="mean reward: of neutral multipliers before, of all that were drawn after",
            update_rule="Thompson sampling with forgetting, partly pooled over archetypes",
        )
        self._seed = config.session.seed
        self._patience = settings.patience * settings.every
        self._timeframes = tuple(timeframes_ms)
        options: dict[str, Any] = {
            "seed": self._seed & 0x7FFFFFFF, "floor": FLOOR, "strength": settings.pooling, "posterior": "normal",
            "sigma": 0.25,
        }  # fmt: skip
        self.bandit: PooledThompson | PooledWindowThompson = (
            PooledThompson(ARMS, discount=settings.discount, **options)
            if settings.forgetting == "discounted"
            else PooledWindowThompson(ARMS, window=settings.window, **options)
        )
        self._regime = np.zeros((markets, len(self._timeframes)), np.int64)
        self._open: dict[int, Ticket] = {}
        self._births: dict[int, Ticket] = {}
        self._waiting: list[Outcome] = []
        self._judged: list[tuple[int, float]] = []
        self._scale = np.zeros((len(self._timeframes), 2))  # weight and sum of squared growths
        self._numbers = np.zeros(1, np.int64)

    # --- what comes in ----------------------------------------------------------------------------------------------

    def take(self, outcomes: list[Outcome]) -> None:
        """Keep closed trades until the boundary."""
        self._waiting.extend(outcomes)

    def see(self, block: Block, features: FeatureBlock) -> None:  # noqa: ARG002  # every watcher has these
        """The regime of every market and timeframe now."""
        self._regime = features.regime[-1].astype(np.int64)

    def judge(self, agents: NDArray[np.int64], fitness: NDArray[np.float64], promised: NDArray[np.float64]) -> None:
        """First judgements of newborn agents, beside what their parents had: kept until the boundary."""
        spread = float(np.std(fitness)) if len(fitness) > 1 else 0.0
        if spread > 0.0:
            gains = (fitness - promised) / spread
            self._judged.extend(zip(agents.tolist(), gains.tolist(), strict=True))

    def strengths(
        self, children: NDArray[np.int64], parents: NDArray[np.int64], roster: Roster, time_ms: int
    ) -> NDArray[np.float64]:
        """Draw how strongly each child mutates; `parents` are rows of the roster."""
        keys = [
            (int(Parameter.MUTATION_STRENGTH), self._timeframes[k], int(self._regime[m, k]), kind)
            for m, k, kind in zip(
                roster.market[parents].tolist(), roster.timeframe[parents].tolist(),
                roster.archetype[parents].tolist(), strict=True,
            )
        ]  # fmt: skip
        drawn = self.bandit.select_many(keys)
        for child, key, decision in zip(children.tolist(), keys, drawn, strict=True):
            self._births[child] = Ticket(
                decision.ticket, *key, float(decision.arm), decision.propensity, time_ms, -1, 0
            )  # fmt: skip
        return np.array([float(decision.arm) for decision in drawn])

    # --- the boundary -----------------------------------------------------------------------------------------------

    def update(self, books: Books, frame: int, time_ms: int) -> LevelUpdate:
        """Redeem what has closed, let old tickets run out, draw new ones, and set the multipliers."""
        self._numbers[0] += 1
        lines = [*self._redeem_trades(), *self._redeem_births()]
        expired = self._expire(books, frame)
        self._emit(books, time_ms, lines + expired)
        standing = self._draw(books, frame, time_ms)
        rewards = np.array([reward for _, _, _, reward in lines])
        neutral = np.array([reward for _, ticket, _, reward in lines if ticket.arm == 1.0])
        before, after = (float(part.mean()) if len(part) else float("nan") for part in (neutral, rewards))
        detail = {
            "redeemed": len(lines), "ran_out": len(expired), "open": len(self._open),
            "standing": {name: round(value, 6) for name, value in standing.items()},
        }  # fmt: skip
        return LevelUpdate(int(self._numbers[0]), before, after, kept=True, detail=detail)

    def _redeem_trades(self) -> list[tuple[int, Ticket, int, float]]:
        """Rewards of the tickets whose trade has closed: (agent, ticket, trade, reward)."""
        found = []
        for outcome in in_order(self._waiting):
            ticket = self._open.get(outcome.agent)
            if ticket is None or outcome.decided_ms <= ticket.drawn_ms:
                continue
            growth = float(np.log1p(max(outcome.pnl / ticket.account, -0.99)))
            found.append((outcome.agent, ticket, outcome.trade, self._reward(growth, outcome.timeframe_ms)))
            del self._open[outcome.agent]
        self._waiting.clear()
        for _, ticket, _, reward in found:
            self.bandit.update(ticket.ticket, reward)
        return found

    def _reward(self, growth: float, timeframe_ms: int) -> float:
        """In [0, 1]; the scale knows the growths before this one (this one too, if it is the first)."""
        scale = self._scale[self._timeframes.index(timeframe_ms)]
        fresh = scale * _SCALE_MEMORY + (1.0, growth * growth)
        weight, squares = scale if scale[0] > 0.0 else fresh
        scale[:] = fresh
        z = growth / float(np.sqrt(squares / weight)) if squares > 0.0 else 0.0
        return 0.5 + 0.5 * float(np.clip(z / 3.0, -1.0, 1.0))

    def _redeem_births(self) -> list[tuple[int, Ticket, int, float]]:
        """Rewards of the newborn that have been judged."""
        found = []
        for agent, gain in self._judged:
            ticket = self._births.pop(agent, None)
            if ticket is not None:
                reward = 0.5 + 0.5 * float(np.clip(gain / 3.0, -1.0, 1.0))
                self.bandit.update(ticket.ticket, reward)
                found.append((agent, ticket, -1, reward))
        self._judged.clear()
        return found

    def _expire(self, books: Books, frame: int) -> list[tuple[int, Ticket, int, float]]:
        """Tickets of agents that are gone are void; those without a trade for too long are worth nothing won or lost."""
        roster = books.population.roster
        busy = (books.population.column(at.SIDE) != 0) | (
            books.population.column(at.PENDING) != at.NOTHING_PENDING
        )  # fmt: skip
        living = dict(zip(roster.agent.tolist(), (busy & roster.living).tolist(), strict=True))
        for agent in self._open.keys() - living.keys():
            self.bandit.forget(self._open.pop(agent).ticket)
        lines = []
        for agent, ticket in list(takewhile(lambda item: frame - item[1].frame >= self._patience, self._open.items())):
            if not living[agent]:  # tickets stand in the order in which they were drawn
                self.bandit.update(ticket.ticket, 0.5)
                lines.append((agent, ticket, -1, 0.5))
                del self._open[agent]
        for agent in [agent for agent in self._births if agent not in living]:
            self.bandit.forget(self._births.pop(agent).ticket)
        return lines

    def _draw(self, books: Books, frame: int, time_ms: int) -> dict[str, float]:
        """New tickets for flat agents without one, and their multipliers; returns the mean standing of each parameter."""
        population = books.population
        roster = population.roster
        eligible = roster.living & ~controls.is_control(roster) & (roster.archetype != signals.number())
        for field, value in ((at.SIDE, 0), (at.PENDING, at.NOTHING_PENDING), (at.ACTIVE, 1)):
            eligible &= population.column(field) == value
        account = population.column(at.CASH) + population.column(at.MARGIN)
        eligible &= (account > 0) & ~np.isin(roster.agent, np.fromiter(self._open, np.int64, len(self._open)))
        rows = np.flatnonzero(eligible)
        agents = roster.agent[rows]
        tried = rng.integers(self._seed, Stream.BANDIT, frame, agents, 0, len(_TRADED))
        places = list(
            zip(
                roster.market[rows].tolist(),
                roster.timeframe[rows].tolist(),
                roster.archetype[rows].tolist(),
                strict=True,
            )
        )
        keys = [
            (int(_TRADED[number]), self._timeframes[k], int(self._regime[m, k]), kind)
            for (m, k, kind), number in zip(places, tried.tolist(), strict=True)
        ]
        multipliers = self._standing([(self._timeframes[k], int(self._regime[m, k]), kind) for m, k, kind in places])
        means = multipliers.mean(0).tolist() if len(rows) else [1.0] * len(_TRADED)
        drawn = self.bandit.select_many(keys) if keys else []
        for i, (agent, key, decision) in enumerate(zip(agents.tolist(), keys, drawn, strict=True)):
            multipliers[i, tried[i]] = float(decision.arm)
            self._open[agent] = Ticket(
                decision.ticket, *key, float(decision.arm), decision.propensity, time_ms, frame, int(account[rows[i]])
            )  # fmt: skip
        population.multiply(rows, multipliers)
        return {parameter.name.lower(): mean for parameter, mean in zip(_TRADED, means, strict=True)}

    def _standing(self, places: list[tuple[int, int, int]]) -> NDArray[np.float64]:
        """Multipliers [n, MULTIPLIERS] of (timeframe, regime, archetype): the best known arm where it is surely better."""
        distinct = {place: number for number, place in enumerate(dict.fromkeys(places))}
        if not distinct:
            return np.ones((0, len(_TRADED)))
        table_rows = np.array([
            [self.bandit.row((int(parameter), *place)) for parameter in _TRADED] for place in distinct
        ])  # fmt: skip
        mean, deviation = self.bandit.beliefs(table_rows.ravel())
        best = np.argmax(mean, axis=1)
        index = np.arange(len(best))
        gain = mean[index, best] - mean[:, NEUTRAL]
        sure = gain > SURE * np.hypot(deviation[index, best], deviation[:, NEUTRAL])
        table = np.array(ARMS)[np.where(sure, best, NEUTRAL)].reshape(len(distinct), len(_TRADED))
        return table[[distinct[place] for place in places]]

    def _emit(self, books: Books, time_ms: int, lines: list[tuple[int, Ticket, int, float]]) -> None:
        if not lines:
            return
        tickets = [ticket for _, ticket, _, _ in lines]
        contexts = np.array([self.bandit.row(ticket.context) for ticket in tickets])
        columns = np.arange(len(tickets)), np.array([self.bandit.arms.index(ticket.arm) for ticket in tickets])
        means, evidence = self.bandit.beliefs(contexts)[0][columns], self.bandit.evidence(contexts)[0][columns]

        def whole(name: str) -> NDArray[np.int64]:
            return np.array([getattr(ticket, name) for ticket in tickets], np.int64)

        def real(values: list[float] | NDArray[np.float64]) -> NDArray[np.int64]:
            return float_bits(np.array(values))

        books.emit(
            "bandit",
            (
                time_ms, whole("timeframe_ms"), whole("regime"), whole("parameter"), real([t.arm for t in tickets]),
                real([t.propensity for t in tickets]), whole("ticket"), np.array([line[0] for line in lines]),
                np.array([line[2] for line in lines]), real([line[3] for line in lines]), real(means), real(evidence),
                whole("drawn_ms"),
            ),
            len(lines),
        )  # fmt: skip

    # --- checkpoint -------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """The bandits and the tickets as JSON text in bytes (numbers come back exactly), the rest as arrays."""
        held = {name: [[agent, *ticket] for agent, ticket in held.items()] for name, held in self._held()}
        return {
            "bandit": text_array(self.bandit.state_dict()), "tickets": text_array(held), "scale": self._scale.copy(),
            "regime": self._regime.copy(), "numbers": self._numbers.copy(),
            "judged": np.array(self._judged, np.float64).reshape(len(self._judged), 2),
            "waiting": as_array(self._waiting),
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Become what `state` described."""
        self.bandit.load_state_dict(from_text_array(state["bandit"]))
        held = from_text_array(state["tickets"])
        for name, tickets in self._held():
            tickets.clear()
            tickets.update({agent: Ticket._make(values) for agent, *values in held[name]})
        self._scale, self._regime = np.array(state["scale"]), np.array(state["regime"])
        self._numbers[:] = state["numbers"]
        self._judged = [(int(agent), gain) for agent, gain in state["judged"].tolist()]
        self._waiting = from_array(state["waiting"])

    def _held(self) -> tuple[tuple[str, dict[int, Ticket]], ...]:
        return ("open", self._open), ("births", self._births)
