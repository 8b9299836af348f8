"""Control agents: what the population would be worth without selection, measured on the same candles.

Two groups stand beside the agents that evolve. *Frozen* agents are twins of founders: the same genome, market and
timeframe, kept for the whole session. *Random* agents are drawn anew each generation, as founders are. Neither breeds, is
culled for its fitness, or gets capital: controls trade virtual accounts, so that they move no price and take no share
of the pool. If the evolving agents are not better than both, selection has found nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from agents.population import Roster, strangers
from trader.core.rng import Stream
from trader.core.rows import Operator

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Shares:
    """How many agents of a population evolve, are frozen and are drawn anew."""

    evolving: int
    frozen: int
    random: int


def shares(size: int, frozen: float, random: float) -> Shares:
    """Counts of a population of `size`; a share above 0 has at least one agent, if one is left that evolves."""
    counts = [min(max(round(size * share), int(share > 0.0)), size) for share in (frozen, random)]
    while sum(counts) >= size and max(counts) > 0:
        counts[int(np.argmax(counts))] -= 1
    return Shares(size - sum(counts), *counts)


def is_frozen(roster: Roster) -> Mask:
    """Which agents are twins of founders."""
    return np.asarray(roster.operator == int(Operator.FROZEN))


def is_random(roster: Roster) -> Mask:
    """Which agents are replaced each generation."""
    return np.asarray(roster.operator == int(Operator.RANDOM))


def is_control(roster: Roster) -> Mask:
    """Which agents are controls of either kind."""
    return is_frozen(roster) | is_random(roster)


def frozen_twins(founders: Roster, count: int) -> Roster:
    """`count` twins of founders (numbered after them), taken at equal distances so that all cells have their share."""
    first = int(founders.agent.max()) + 1
    twins = founders.take(np.arange(count) * len(founders) // max(count, 1))
    return replace(
        twins,
        agent=np.arange(first, first + count, dtype=np.int64),
        parent_a=twins.agent,
        operator=np.full(count, int(Operator.FROZEN), np.int64),
    )


def random_agents(
    seed: int, generation: int, first_agent: int, count: int, markets: int, timeframes: int,
    archetypes: NDArray[np.int64], born_ms: int,
) -> Roster:  # fmt: skip
    """`count` agents drawn as founders are, for one generation."""
    agent = np.arange(first_agent, first_agent + count, dtype=np.int64)
    drawn = strangers(seed, Stream.CONTROL, generation, agent, markets, timeframes, archetypes, born_ms)
    return replace(drawn, operator=np.full(count, int(Operator.RANDOM), np.int64))
