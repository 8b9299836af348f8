"""Natural selection: who is culled, who breeds, and what the children inherit.

Parents are chosen by tournament within a niche, the archetype, on shrunken fitness (Goldberg and Deb, 1991). Genes
cross over in groups, so that what belongs together stays together. Mutation is self-adaptive (Schwefel; Beyer and
Schwefel, "Evolution strategies", 2002): each agent's mutation sizes are genes, are mutated first, log-normally, and then
used; positions fold back at the bounds. All of it works on whole arrays, and every draw is a hash of (seed, generation,
child), so a child does not depend on how many others are born.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agents import genome
from agents.population import Roster
from trader.core import rng
from trader.core.rng import Stream
from trader.core.rows import Operator

Strength = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float64]]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

CROSSOVER_SHARE: Final = 0.7
"""Children with two parents; the others are mutated copies of one."""
MIGRATION_SHARE: Final = 0.1
"""Children that leave their parent's habitat for a random one."""
MUTATED_SHARE: Final = 0.3
"""Genes of a child that mutate."""
LEARNING_RATE: Final = 1.0 / np.sqrt(2.0 * len(genome.GENES))
"""Of the mutation sizes themselves: Schwefel's 1 / sqrt(2 n)."""


def cull(ranking: Floats, share: float) -> NDArray[np.bool_]:
    """The worst `share` of the agents with a finite ranking (mask); ties go against the later row."""
    candidates = np.flatnonzero(np.isfinite(ranking))
    count = int(len(candidates) * share)
    order = candidates[np.lexsort((-candidates, ranking[candidates]))]
    chosen = np.zeros(len(ranking), np.bool_)
    chosen[order[:count]] = True
    return chosen


def tournament(
    seed: int, generation: int, children: Integers, fitness: Floats, candidates: Integers, starts: Integers,
    counts: Integers, size: int, place: int,
) -> Integers:  # fmt: skip
    """For each child, the fittest of `size` draws from its own stretch of `candidates` (row numbers).

    starts, counts: int64 [C], where each child's stretch begins and how long it is; place: which of its parents.
    """
    numbers = place * size + np.arange(size)
    draws = rng.uniform(seed, Stream.SELECTION, generation, children[:, None], numbers[None, :])
    rows = candidates[starts[:, None] + (draws * counts[:, None]).astype(np.int64)]
    return rows[np.arange(len(children)), np.argmax(fitness[rows], axis=1)]


def crossover(seed: int, generation: int, children: Integers, first: Floats, second: Floats) -> Floats:
    """Unit genomes that take each group of genes from either parent, with equal chance. Shapes [C, GENES]."""
    groups = np.arange(len(genome.GROUPS))
    from_second = rng.uniform(seed, Stream.CROSSOVER, generation, children[:, None], groups[None, :]) < 0.5
    mask = from_second[:, np.maximum(genome.GROUP_OF, 0)] & (genome.GROUP_OF >= 0)[None, :]
    return np.where(mask, second, first)


def mutate(
    seed: int, generation: int, children: Integers, units: Floats, strength: Floats | float = 1.0
) -> Floats:  # fmt: skip
    """Self-adaptive mutation of unit genomes [C, GENES], folded back into [0, 1]; `strength` [C] multiplies its sizes."""
    genes = len(genome.GENES)
    numbers = np.arange(genes)
    sizes = genome.from_unit(units)[:, genome.MUTATION_SIZE_OF] * np.broadcast_to(strength, len(units))[:, None]
    steps = rng.normal(seed, Stream.MUTATION, generation, children[:, None], numbers[None, :])
    own = sizes * np.exp(LEARNING_RATE * rng.normal(seed, Stream.MUTATION, generation, children[:, None], genes))
    chosen = rng.uniform(seed, Stream.MUTATION, generation, children[:, None], 4 * genes + numbers[None, :])
    moved = units + np.where(chosen < MUTATED_SHARE, own * steps, 0.0)
    evolving = np.array([gene.group == "evolution" for gene in genome.GENES])
    drift = units + LEARNING_RATE * steps / np.log(genome.HIGH[genome.INDEX["mutation_risk"]] / 0.01)
    return genome.reflect(np.where(evolving, drift, moved))


def breed(
    seed: int, generation: int, roster: Roster, fitness: Floats, count: int, next_agent: int, born_ms: int,
    tournament_size: int, markets: int, timeframes: int, immigrants: float = 0.0,
    archetypes: Integers | None = None, strength: Strength | None = None, niche: Integers | None = None,
) -> Roster:  # fmt: skip
    """`count` children of the rows with finite fitness, as newborn rows.

    A child's niche (`niche` [N] of the roster; default: the archetype) is that of a parent drawn at random, so that
    niches keep their share of the survivors and gain only by surviving; within it two tournaments choose the
    parents. Habitat comes from parent a. A share of
    `immigrants` among the children has no parents: their genes are drawn as founders' are, from `archetypes`.
    `strength`, of children and their parents' rows, says how strongly they mutate.
    """
    children = np.arange(next_agent, next_agent + count, dtype=np.int64)
    able = np.flatnonzero(np.isfinite(fitness))
    niche = roster.archetype if niche is None else niche
    by_kind = able[np.argsort(niche[able], kind="stable")]
    kinds = niche[by_kind]
    drawn = rng.integers(seed, Stream.SELECTION, generation, children, 2 * tournament_size, len(by_kind))
    starts = np.searchsorted(kinds, kinds[drawn])
    counts = np.searchsorted(kinds, kinds[drawn], side="right") - starts
    first, second = (
        tournament(seed, generation, children, fitness, by_kind, starts, counts, tournament_size, place)
        for place in (0, 1)
    )
    crossed = rng.uniform(seed, Stream.CROSSOVER, generation, children, len(genome.GROUPS)) < CROSSOVER_SHARE
    mixed = crossover(
        seed, generation, children, genome.to_unit(roster.genomes[first]), genome.to_unit(roster.genomes[second])
    )
    units = np.where(crossed[:, None], mixed, genome.to_unit(roster.genomes[first]))
    size = 1.0 if strength is None else strength(children, first)
    genomes = genome.settle(genome.from_unit(mutate(seed, generation, children, units, size)))
    migrates = rng.uniform(seed, Stream.HABITAT, generation, children, 0) < MIGRATION_SHARE
    market = np.where(
        migrates, rng.integers(seed, Stream.HABITAT, generation, children, 1, markets), roster.market[first]
    )
    timeframe = np.where(
        migrates, rng.integers(seed, Stream.HABITAT, generation, children, 2, timeframes), roster.timeframe[first]
    )
    genomes[:, genome.INDEX["symbol"]] = market
    genomes[:, genome.INDEX["timeframe"]] = timeframe
    born = Roster(
        children, market, timeframe, roster.archetype[first], np.full(count, generation, np.int64),
        np.full(count, born_ms, np.int64), roster.agent[first], np.where(crossed, roster.agent[second], -1),
        np.where(crossed, int(Operator.CROSSOVER), int(Operator.MUTATION)).astype(np.int64),
        np.ones(count, np.bool_), genomes,
    )  # fmt: skip
    kinds_in_use = np.unique(roster.archetype) if archetypes is None else archetypes
    return _with_immigrants(seed, generation, born, immigrants, markets, timeframes, kinds_in_use)


def _with_immigrants(
    seed: int, generation: int, born: Roster, share: float, markets: int, timeframes: int, archetypes: Integers
) -> Roster:
    """Children, of whom about a share is replaced by agents that nobody bred; each child's draw is its own."""
    arriving = rng.uniform(seed, Stream.IMMIGRANT, generation, born.agent, 0) < share
    if not arriving.any():
        return born
    agent = born.agent[arriving]
    units = rng.uniform(seed, Stream.IMMIGRANT, generation, agent[:, None], 4 + np.arange(len(genome.GENES))[None, :])
    habitat = (markets, timeframes, len(archetypes))
    market, timeframe, kind = (
        rng.integers(seed, Stream.IMMIGRANT, generation, agent, 1 + number, below)
        for number, below in enumerate(habitat)
    )
    genomes = genome.settle(genome.from_unit(units))
    genomes[:, genome.INDEX["symbol"]] = market
    genomes[:, genome.INDEX["timeframe"]] = timeframe
    columns = {column.name: getattr(born, column.name).copy() for column in fields(born)}
    drawn = (market, timeframe, archetypes[kind], -1, -1, int(Operator.IMMIGRANT), genomes)
    names = ("market", "timeframe", "archetype", "parent_a", "parent_b", "operator", "genomes")
    for name, values in zip(names, drawn, strict=True):
        columns[name][arriving] = values
    return Roster(**columns)


def elite(fitness: Floats, share: float) -> NDArray[np.bool_]:
    """The best `share` of the agents with a finite fitness (mask); ties go to the earlier row.

    An elite is not culled; it is judged again by everything it has done since, like everybody else.
    """
    candidates = np.flatnonzero(np.isfinite(fitness))
    order = candidates[np.lexsort((candidates, -fitness[candidates]))]
    chosen = np.zeros(len(fitness), np.bool_)
    chosen[order[: int(len(candidates) * share)]] = True
    return chosen
