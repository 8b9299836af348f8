"""Control agents: they live among those that evolve, under the same rules, and tell what selection was worth.

Frozen ones keep a founder's genome and are never culled: what a population is worth without evolution. Random ones are
culled by lot, as large a share as selection culls, and replaced by random genomes: the same turnover without choice.
Which founders are controls is a hash of the agent's number, so that every habitat and archetype has its share.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from agents import genome
from agents.population import Roster
from trader.core import rng
from trader.core.rng import Stream
from trader.core.rows import Operator

Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]


def appoint(seed: int, founders: Roster, frozen: float, random: float) -> Roster:
    """The founders, the given shares of them marked as controls by their operator."""
    size = len(founders)
    order = np.argsort(rng.uniform(seed, Stream.CONTROL, 0, founders.agent, 0), kind="stable")
    first = round(size * frozen)
    second = first + round(size * random)
    operator = founders.operator.copy()
    operator[order[:first]] = int(Operator.FROZEN)
    operator[order[first:second]] = int(Operator.RANDOM)
    return replace(founders, operator=operator)


def is_frozen(roster: Roster) -> Mask:
    """Which rows never change."""
    return np.asarray(roster.operator == int(Operator.FROZEN))


def is_random(roster: Roster) -> Mask:
    """Which rows are replaced by lot."""
    return np.asarray(roster.operator == int(Operator.RANDOM))


def draw_lots(seed: int, generation: int, roster: Roster, share: float) -> Mask:
    """The living random controls that make room in this generation: the given share, by lot."""
    candidates = np.flatnonzero(is_random(roster) & roster.living)
    lots = rng.uniform(seed, Stream.CONTROL, generation, roster.agent[candidates], 1)
    chosen = np.zeros(len(roster), np.bool_)
    chosen[candidates[np.argsort(lots, kind="stable")[: int(len(candidates) * share)]]] = True
    return chosen


def replacements(seed: int, generation: int, gone: Roster, next_agent: int, born_ms: int) -> Roster:
    """Random genomes in the habitats and archetypes of those that are gone, as newborn rows."""
    count = len(gone)
    agent = np.arange(next_agent, next_agent + count, dtype=np.int64)
    units = rng.uniform(seed, Stream.CONTROL, generation, agent[:, None], 2 + np.arange(len(genome.GENES))[None, :])
    genomes = genome.settle(genome.from_unit(units))
    for name in ("symbol", "timeframe"):
        genomes[:, genome.INDEX[name]] = gone.genomes[:, genome.INDEX[name]]
    nobody = np.full(count, -1, np.int64)
    return Roster(
        agent, gone.market, gone.timeframe, gone.archetype, np.full(count, generation, np.int64),
        np.full(count, born_ms, np.int64), nobody, nobody.copy(), np.full(count, int(Operator.RANDOM), np.int64),
        np.ones(count, np.bool_), genomes,
    )  # fmt: skip
