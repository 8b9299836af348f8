"""Islands: sub-populations that breed among themselves, with migration along a ring.

Each agent lives on one island; parents of a child live on the same. Every few generations the best of each island move
on to the next (stepping-stone model; Cohoon et al., "Punctuated equilibria: a parallel genetic algorithm", 1987). Where
an agent without parents lives is a hash of its number, so that it does not depend on how many others are born.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trader.core import rng
from trader.core.rng import Stream

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def landed(seed: int, agent: Integers, islands: int) -> Integers:
    """The islands [N] of agents without parents."""
    return np.asarray(rng.integers(seed, Stream.ISLAND, 0, agent, 0, islands), np.int64)


def moved(island: Integers, fitness: Floats, islands: int, share: float) -> Integers:
    """The islands [N] after the best `share` of each (at least one, of those with a finite fitness) moved on by one."""
    result = island.copy()
    for number in range(islands if islands > 1 else 0):
        able = np.flatnonzero((island == number) & np.isfinite(fitness))
        best = able[np.lexsort((able, -fitness[able]))]
        result[best[: max(int(len(able) * share), 1)]] = (number + 1) % islands
    return result
