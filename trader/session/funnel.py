"""Why nothing trades: what became of every decision, counted by market and archetype.

Stages, from wide to narrow: `decided` (an agent's timeframe closed while it could trade), `signal` (the score was beyond the
agent's threshold while it was flat), `cooldown` (a signal within the pause after a trade), then for each order why it was refused
or went unfilled (the names of `rows.Reject`), `filled`, and `closed`. Counts are written once, when a session finishes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from agents import layout as at
from trader.core.rows import Reject

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from agents.population import Population

DECIDED, SIGNAL, COOLDOWN = range(3)
_FIRST_REJECT: Final = 10
FILLED, CLOSED = 50, 51

STAGES: Final[dict[int, str]] = {
    DECIDED: "decided",
    SIGNAL: "signal",
    COOLDOWN: "cooldown",
    **{_FIRST_REJECT + int(reason): reason.name.lower() for reason in Reject},
    FILLED: "filled",
    CLOSED: "closed",
}
"""Codes of `funnel.stage`."""


class Funnel:
    """Counts per (market, archetype, stage)."""

    def __init__(self) -> None:
        self.counts: dict[tuple[int, int, int], int] = {}

    def add(self, market: int, archetype: int, stage: int, count: int) -> None:
        """Count `count` more."""
        if count:
            key = (market, archetype, stage)
            self.counts[key] = self.counts.get(key, 0) + count

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

    def rows(self) -> list[tuple[int, int, int, int]]:
        """(market, archetype, stage, count) in order."""
        return [(*key, count) for key, count in sorted(self.counts.items())]
