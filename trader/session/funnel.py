"""Why nothing trades: what became of every decision, counted by market and archetype.

A decision is a close of an agent's timeframe. Stages, from wide to narrow, each the sum of what stands under it:

    decided = held + halted + below_threshold + signal
    signal  = cooldown + one for every reason of `rows.Reject` + filled

`held`: the agent had a position or an order under way; `halted`: it might not enter (culled and not yet gone, or the circuit
breaker); `below_threshold`: its score asked for nothing it may do; `signal`: a score beyond the threshold while it was flat;
`cooldown`: within the pause after a trade; then why an order was refused, went unfilled or was withdrawn; `filled`; and
`closed`, the same trades at their end. Everything is counted where it happens but `below_threshold`, which is what is left.
Written once, when a session finishes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from agents import layout as at
from trader.core.rows import OrderKind, Reject

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from agents.market_agents import MarketAgents
    from agents.population import Population

DECIDED, HELD, HALTED, BELOW, SIGNAL, COOLDOWN = range(6)
_FIRST_REJECT: Final = 10
FILLED, CLOSED = 50, 51

STAGES: Final[dict[int, str]] = {
    DECIDED: "decided",
    HELD: "held",
    HALTED: "halted",
    BELOW: "below_threshold",
    SIGNAL: "signal",
    COOLDOWN: "cooldown",
    **{_FIRST_REJECT + int(reason): reason.name.lower() for reason in Reject},
    FILLED: "filled",
    CLOSED: "closed",
}
"""Codes of `funnel.stage`."""

_DECIDED_OF_ENTRY: Final = at.EVENT_BODY + 13
_DECIDED_OF_REJECT: Final = at.EVENT_BODY + 3
_SENT: Final = at.EVENT_BODY + 6


class Funnel:
    """Counts per (market, archetype, stage)."""

    def __init__(self) -> None:
        self.counts: dict[tuple[int, int, int], int] = {}

    def add(self, market: int, archetype: int, stage: int, count: int) -> None:
        """Count `count` more."""
        if count:
            key = (market, archetype, stage)
            self.counts[key] = self.counts.get(key, 0) + count

    def add_rejects(self, markets: list[int], archetypes: list[int], reason: Reject) -> None:
        """Count one order for each of these, not sent or withdrawn for one reason."""
        for market, archetype in zip(markets, archetypes, strict=True):
            self.add(market, archetype, _FIRST_REJECT + int(reason), 1)

    def add_closes(
        self, market: int, closes: NDArray[np.bool_], times: NDArray[np.int64], events: NDArray[np.int64],
        agents: MarketAgents,
    ) -> None:  # fmt: skip
        """Count the decisions of a market's agents in a block that has just run, and those at which they were held or
        halted. closes: bool [T, K]; times: int64 [T]; events: the kernel's [E, EVENT_FIELDS]."""
        until = np.zeros((len(times) + 1, closes.shape[1]), np.int64)
        np.cumsum(closes, axis=0, out=until[1:])
        held = self._held(until, times, events, agents)
        if not agents.groups:
            return
        inactive = agents.state[:, at.ACTIVE] == 0
        starts = [start for _, _, start, _ in agents.groups]  # groups follow each other without gaps
        sums = np.add.reduceat(np.stack((held, inactive, held * inactive)), starts, axis=1).tolist()
        closed = until[-1].tolist()
        for (timeframe, archetype, start, stop), of_held, stopped, of_stopped in zip(agents.groups, *sums, strict=True):
            total = closed[timeframe]
            self.add(market, archetype, DECIDED, total * (stop - start))
            self.add(market, archetype, HELD, of_held)
            self.add(market, archetype, HALTED, total * stopped - of_stopped)

    @staticmethod
    def _held(
        until: NDArray[np.int64], times: NDArray[np.int64], events: NDArray[np.int64], agents: MarketAgents
    ) -> NDArray[np.int64]:
        """Closes of the block, per agent [n], at which it had a position or an order under way.

        From the decision's own close (which is a signal) to the close before the candle in which it is flat again:
        closes up to the ends, less closes up to the beginnings; each is one row of `until` [T + 1, K].
        """
        state = agents.state
        timeframe = np.repeat(np.arange(len(agents.segments) - 1), np.diff(agents.segments))
        held = np.zeros(len(state), np.int64)
        if len(state) == 0:
            return held
        by_agent = np.argsort(state[:, at.AGENT])
        row = by_agent[np.searchsorted(state[by_agent, at.AGENT], events[:, at.EVENT_BODY])]
        kind = events[:, at.EVENT_KIND]
        unfilled = (kind == at.EVENT_REJECT) & (events[:, _SENT] == 1)
        ends = (kind == at.EVENT_EXIT) | unfilled
        np.add.at(held, row[ends], until[events[ends, at.EVENT_CANDLE], timeframe[row[ends]]])
        for chosen, column in ((kind == at.EVENT_ENTRY, _DECIDED_OF_ENTRY), (unfilled, _DECIDED_OF_REJECT)):
            _take_beginnings(held, until, times, events[chosen, column], row[chosen], timeframe)
        busy = (state[:, at.SIDE] != 0) | (state[:, at.PENDING] != at.NOTHING_PENDING)
        held[busy] += until[-1, timeframe[busy]]
        queued = np.flatnonzero((state[:, at.SIDE] == 0) & (state[:, at.PENDING] == int(OrderKind.ENTRY)))
        _take_beginnings(held, until, times, state[queued, at.PENDING_DECIDED], queued, timeframe)
        return held

    def add_events(self, events: NDArray[np.int64], market: NDArray[np.int64], population: Population) -> None:
        """Count the kernel's events [E, EVENT_FIELDS] of the markets [E]."""
        roster = population.roster
        by_agent = np.argsort(roster.agent)
        place = np.searchsorted(roster.agent[by_agent], events[:, at.EVENT_BODY])
        archetype = roster.archetype[by_agent[place]]
        kind = events[:, at.EVENT_KIND]
        stage = np.full(len(events), -1, np.int64)
        stage[kind == at.EVENT_ENTRY] = FILLED
        stage[kind == at.EVENT_EXIT] = CLOSED
        refused = kind == at.EVENT_REJECT
        stage[refused] = _FIRST_REJECT + events[refused, at.EVENT_BODY + 5]
        chosen = stage >= 0
        keys, counts = np.unique(
            np.stack((market[chosen], archetype[chosen], stage[chosen])), axis=1, return_counts=True
        )
        for (m, kind_of, step), count in zip(keys.T.tolist(), counts.tolist(), strict=True):
            self.add(m, kind_of, step, count)

    def add_agents(self, population: Population, chosen: NDArray[np.bool_]) -> None:
        """Count the signals of agents (mask over the roster) that leave, or are there at the end."""
        roster = population.roster
        for stage, field in ((SIGNAL, at.SIGNALS), (COOLDOWN, at.COOLED)):
            values = population.column(field)
            for row in np.flatnonzero(chosen & (values > 0)).tolist():
                self.add(int(roster.market[row]), int(roster.archetype[row]), stage, int(values[row]))

    def finish(self) -> None:
        """Give what is left of the decisions its stage."""
        for market, archetype, stage in list(self.counts):
            if stage == DECIDED:
                taken = sum(self.counts.get((market, archetype, one), 0) for one in (HELD, HALTED, SIGNAL))
                self.add(market, archetype, BELOW, self.counts[market, archetype, DECIDED] - taken)

    def totals(self) -> dict[str, int]:
        """Counts over all markets and archetypes by stage, from wide to narrow."""
        found: dict[int, int] = {}
        for (_, _, stage), count in self.counts.items():
            found[stage] = found.get(stage, 0) + count
        return {STAGES[stage]: found[stage] for stage in sorted(found)}

    def rows(self) -> list[tuple[int, int, int, int]]:
        """(market, archetype, stage, count) in order."""
        return [(*key, count) for key, count in sorted(self.counts.items())]


def _take_beginnings(
    held: NDArray[np.int64], until: NDArray[np.int64], times: NDArray[np.int64], decided: NDArray[np.int64],
    row: NDArray[np.int64], timeframe: NDArray[np.int64],
) -> None:  # fmt: skip
    """Subtract the closes up to the candles at which orders were decided, where that was in this block."""
    here = decided >= times[0]
    candle = np.searchsorted(times, decided[here])
    np.subtract.at(held, row[here], until[candle + 1, timeframe[row[here]]])


def card_lines(totals: dict[str, int]) -> dict[str, str]:
    """The funnel as lines of the end card; none without decisions."""
    if not totals.get("decided"):
        return {}
    first = _told(totals, ("below_threshold", "held", "halted"))
    inner = [
        name for name in totals if name not in ("decided", "held", "halted", "below_threshold", "signal", "closed")
    ]
    told = f"{totals['decided']:,} decisions: {first}, signal {totals.get('signal', 0):,}"
    second = _told(totals, tuple(inner))
    return {"funnel": told, "signals": second} if second else {"funnel": told}


def _told(totals: dict[str, int], names: tuple[str, ...]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {totals[name]:,}" for name in names if totals.get(name))
