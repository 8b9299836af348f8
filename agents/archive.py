"""The archive: for every niche (archetype and cell of behaviour) the fittest agent seen in it, judged again and again.

An entry is not a trophy. While its agent lives, its fitness is what the agent's whole record says today, in the cell
where it stands today. After its death it may be born again, and then the entry's worth is what the newborn achieves on
new candles; an entry that was luck so loses its place. (Noisy quality-diversity: Justesen et al., "MAP-Elites for noisy
domains by adaptive sampling", 2019.)
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from agents import genome

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Archive:
    """Entries, sorted by niche: `niche`, `agent` (the last that carried the genome), `fitness` (shrunken daily Sharpe
    ratio), habitat, archetype, island and genome [E, GENES]. At most one for each niche."""

    niche: Integers
    agent: Integers
    fitness: NDArray[np.float64]
    market: Integers
    timeframe: Integers
    archetype: Integers
    island: Integers
    genomes: NDArray[np.float64]

    @classmethod
    def empty(cls) -> Self:
        """Without entries."""
        columns: list[Any] = [np.zeros(0, np.int64) for _ in fields(cls)]
        columns[2], columns[-1] = np.zeros(0), np.zeros((0, len(genome.GENES)))
        return cls(*columns)

    def __len__(self) -> int:
        return len(self.niche)

    def take(self, rows: NDArray[Any]) -> Self:
        """The entries selected by an index or mask."""
        return type(self)(*(getattr(self, column.name)[rows] for column in fields(self)))

    def judged_again(self, seen: Self) -> Self:
        """The archive after a generation in which `seen` were judged: of each niche the fittest.

        Entries whose agent is among them are forgotten first: what counts is what is known of it now. Ties go to the
        lower agent number.
        """
        old = self.take(~np.isin(self.agent, seen.agent))
        both = type(self)(
            *(np.concatenate((getattr(old, column.name), getattr(seen, column.name))) for column in fields(self))
        )
        ranked = both.take(np.lexsort((both.agent, -both.fitness, both.niche)))
        first = np.ones(len(ranked), np.bool_)
        first[1:] = ranked.niche[1:] != ranked.niche[:-1]
        return ranked.take(first)

    def renumbered(self, rows: Integers, agents: Integers) -> Self:
        """With the newborn `agents` as those who carry the genomes of the entries `rows`."""
        agent = self.agent.copy()
        agent[rows] = agents
        columns = {column.name: getattr(self, column.name) for column in fields(self)}
        return type(self)(**(columns | {"agent": agent}))
