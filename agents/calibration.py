"""From scores to probabilities: isotonic regression of won trades on |score|, for each archetype, partly pooled.

Scores in [0, 1) fall into `layout.BINS` bins of equal width. A bin's rate is the share of its trades that made a profit
after costs, shrunk towards the archetype's rate over all bins, and the archetype's towards everybody's (`PRIOR` cases
each). Rates that fall as the score rises are pooled (pool adjacent violators; Barlow et al., "Statistical inference under
order restrictions", 1972): a higher score never means a lower probability. Shapes: A archetypes, B bins.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PRIOR: Final = 20.0
"""Cases that a bin without any is worth: those of its archetype; and an archetype's: those of everybody."""

ENOUGH: Final = 50.0
"""Cases of everybody before anything is called a probability."""


def isotonic(values: Floats, weights: Floats) -> Floats:
    """The non-decreasing sequence [B] nearest to `values` in weighted least squares; weights > 0."""
    level: list[float] = []
    weight: list[float] = []
    size: list[int] = []
    for value, share in zip(values.tolist(), weights.tolist(), strict=True):
        level.append(value)
        weight.append(share)
        size.append(1)
        while len(level) > 1 and level[-2] >= level[-1]:
            together = weight[-2] + weight[-1]
            level[-2] = (level[-2] * weight[-2] + level[-1] * weight[-1]) / together
            weight[-2], size[-2] = together, size[-2] + size[-1]
            del level[-1], weight[-1], size[-1]
    return np.repeat(level, size)


def probabilities(cases: Floats, wins: Floats) -> Floats:
    """Probability of a profit by archetype and bin, [A, B], from counts [A, B]; NaN as long as there are too few."""
    total = float(cases.sum())
    if total < ENOUGH:
        return np.full(cases.shape, np.nan)
    everybody = float(wins.sum()) / total
    mine = (wins.sum(1) + PRIOR * everybody) / (cases.sum(1) + PRIOR)
    return np.stack([
        isotonic((won + PRIOR * rate) / (seen + PRIOR), seen + PRIOR)
        for seen, won, rate in zip(cases, wins, mine, strict=True)
    ])  # fmt: skip
