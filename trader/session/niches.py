"""Niches of natural selection: islands, behaviour, and the archive that is judged again. Off with one island and one cell.

Parents are chosen within island, archetype and cell of behaviour; who is culled is decided on each island for itself.
Every `levels.evolution.migration_every` generations the best of an island move on to the next; a share
`levels.evolution.archived` of the children are agents of the archive that have died, born again.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from agents import behaviour, evolution, islands
from agents import layout as at
from agents.archive import Archive
from agents.genome import INDEX
from trader.core import rng
from trader.core.rng import Stream
from trader.core.rows import Operator

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from agents.population import Population, Roster
    from trader.core.config import Config


def niches_of(config: Config) -> Niches | None:
    """The niches a configuration asks for; None if it does not."""
    population = config.population
    return Niches(config) if population.islands > 1 or population.grid > 1 else None


class Niches:
    """Where every agent belongs, and the archive."""

    def __init__(self, config: Config) -> None:
        settings = config.levels.evolution
        self._seed = config.session.seed
        self._islands, self._grid = config.population.islands, config.population.grid
        self._every, self._migrants, self._archived = settings.migration_every, settings.migrants, settings.archived
        self._agent = np.zeros(0, np.int64)
        self._island = np.zeros(0, np.int64)
        self._archive = Archive.empty()
        self._told: dict[str, Any] = {}

    def begin(
        self, population: Population, fitness: NDArray[np.float64], able: NDArray[np.bool_], generation: int
    ) -> None:  # fmt: skip
        """Settle those without an island, let the best migrate when it is time, and judge the archive again.

        fitness [N]: shrunken; able [N]: who evolves and was judged.
        """
        roster = population.roster
        island = self._islands_of(roster.agent)
        arrived = 0
        if self._islands > 1 and generation % self._every == 0:
            after = islands.moved(island, np.where(able, fitness, np.nan), self._islands, self._migrants)
            arrived, island = int((after != island).sum()), after
        order = np.argsort(roster.agent, kind="stable")
        self._agent, self._island = roster.agent[order], island[order]
        self._told = {"islands": np.bincount(island[able], minlength=self._islands).tolist(), "migrated": arrived}
        if self._grid > 1:
            shown = able & (population.column(at.CLOSED) > 0)
            niche = self._behaviour(population)
            seen = Archive(
                niche[shown], roster.agent[shown], fitness[shown], roster.market[shown], roster.timeframe[shown],
                roster.archetype[shown], island[shown], roster.genomes[shown],
            )  # fmt: skip
            self._archive = self._archive.judged_again(seen)
            mean = float(self._archive.fitness.mean()) if len(self._archive) else None
            self._told |= {"archive": len(self._archive), "archive_fitness": mean, "reborn": 0}

    def culled(self, ranking: NDArray[np.float64], roster: Roster, share: float) -> NDArray[np.bool_]:
        """The worst `share` of every island (mask)."""
        island = self._islands_of(roster.agent)
        chosen = np.zeros(len(ranking), np.bool_)
        for number in range(self._islands):
            chosen |= evolution.cull(np.where(island == number, ranking, np.nan), share)
        return chosen

    def niches(self, population: Population) -> NDArray[np.int64]:
        """Niche of every agent [N]: parents of one child share it."""
        return self._behaviour(population) * self._islands + self._islands_of(population.roster.agent)

    def born(self, newborn: Roster, generation: int, living: NDArray[np.int64]) -> Roster:
        """The children, some of them agents of the archive instead that are not among the `living`."""
        wanted = rng.uniform(self._seed, Stream.ISLAND, generation, newborn.agent, 1) < self._archived
        gone = np.flatnonzero(~np.isin(self._archive.agent, living))
        count = min(int(wanted.sum()), len(gone))
        if self._grid == 1 or count == 0:
            return newborn
        lots = rng.uniform(self._seed, Stream.ISLAND, generation, self._archive.niche[gone], 2)
        rows = np.sort(gone[np.argsort(lots, kind="stable")[:count]])
        chosen = np.flatnonzero(wanted)[:count]
        entries = self._archive.take(rows)
        columns = {column.name: getattr(newborn, column.name).copy() for column in fields(newborn)}
        for name in ("market", "timeframe", "archetype", "genomes"):
            columns[name][chosen] = getattr(entries, name)
        columns["genomes"][chosen, INDEX["symbol"]] = entries.market
        columns["genomes"][chosen, INDEX["timeframe"]] = entries.timeframe
        columns["parent_a"][chosen], columns["parent_b"][chosen] = entries.agent, -1
        columns["operator"][chosen] = int(Operator.ARCHIVED)
        return replace(newborn, **columns)

    def enrol(self, newborn: Roster) -> None:
        """Let the children live on their parent's island, and the archive know who was born again."""
        again = np.flatnonzero(newborn.operator == int(Operator.ARCHIVED))
        order = np.argsort(self._archive.agent, kind="stable")
        rows = order[np.searchsorted(self._archive.agent[order], newborn.parent_a[again])]
        island = self._islands_of(newborn.parent_a)
        orphans = newborn.parent_a < 0
        island[orphans] = islands.landed(self._seed, newborn.agent[orphans], self._islands)
        island[again] = self._archive.island[rows]
        self._archive = self._archive.renumbered(rows, newborn.agent[again])
        self._agent = np.concatenate((self._agent, newborn.agent))
        self._island = np.concatenate((self._island, island))
        if self._grid > 1:
            self._told["reborn"] = len(again)

    def told(self) -> dict[str, Any]:
        """For the level's row: agents judged on each island, how many moved on, entries of the archive, their mean
        fitness, how many were born again."""
        return {"niches": self._told}

    def _behaviour(self, population: Population) -> NDArray[np.int64]:
        """Archetype and cell, as one number [N]."""
        cell = behaviour.cells(
            population.days(), population.column(at.CLOSED), population.column(at.WINS), self._grid
        )  # fmt: skip
        return np.asarray(population.roster.archetype * self._grid**2 + cell)

    def _islands_of(self, agent: NDArray[np.int64]) -> NDArray[np.int64]:
        """Island of each agent [N]; of those unknown, where they land."""
        island = islands.landed(self._seed, agent, self._islands)
        place = np.searchsorted(self._agent, agent)
        known = place < len(self._agent)
        known[known] = self._agent[place[known]] == agent[known]
        island[known] = self._island[place[known]]
        return island

    def state(self) -> dict[str, Any]:
        """Islands and archive, as arrays. A pure read."""
        entries = {f"archive.{column.name}": getattr(self._archive, column.name).copy() for column in fields(Archive)}
        return {"agent": self._agent.copy(), "island": self._island.copy(), **entries}

    def restore(self, state: dict[str, Any]) -> None:
        """Become what `state` described."""
        self._agent, self._island = np.array(state["agent"]), np.array(state["island"])
        self._archive = Archive(*(np.array(state[f"archive.{column.name}"]) for column in fields(Archive)))
