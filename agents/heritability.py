"""How much of what parents promised their children keep, in one generation and over all so far.

Parents' shrunken fitness (x, mean of both) is known at the birth; the child's daily Sharpe ratio in its first generation
(y) comes from candles after it: out of sample. The slope of y on x within generations is the realised heritability (the
breeder's equation; Falconer and Mackay, "Introduction to quantitative genetics", 1996): 0 means that selection breeds
noise, 1 that children are worth what their parents promised. Sums are centred within each generation, so that a good
month for everybody is no heritability. The standard error is across children; they share candles, so it is too small.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FEWEST_CHILDREN: Final = 8
"""A generation with fewer judged children is left out."""
TALLIES: Final = 5
"""Of a tally: generations, children, and the centred sums of x x, x y and y y."""


@dataclass(frozen=True, slots=True)
class Heritability:
    """Slope with its standard error (NaN if unknown), and what it rests on."""

    slope: float
    standard_error: float
    children: int
    generations: int


def tally(promised: Floats, achieved: Floats) -> Floats:
    """The tally of one generation's children [N], NaN where a child was not judged; zeros if there are too few.

    Tallies of generations add up.
    """
    known = np.isfinite(promised) & np.isfinite(achieved)
    count = int(known.sum())
    if count < FEWEST_CHILDREN:
        return np.zeros(TALLIES)
    x, y = promised[known] - promised[known].mean(), achieved[known] - achieved[known].mean()
    return np.array([1.0, count, np.sum(x * x), np.sum(x * y), np.sum(y * y)])


def measured(tallied: Floats) -> Heritability:
    """Slope of one generation's tally, or of the sum of many."""
    generations, children, xx, xy, yy = tallied.tolist()
    freedom = children - generations - 1.0
    if xx <= 1e-18 or freedom <= 0.0:
        return Heritability(float("nan"), float("nan"), int(children), int(generations))
    slope = xy / xx
    error = float(np.sqrt(max(yy - slope * xy, 0.0) / freedom / xx))
    return Heritability(slope, error, int(children), int(generations))
