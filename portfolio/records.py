"""What allocation rules look at: the record of every agent, as arrays, and how shares drift between two allocations.

Axes: n agents, E epochs. No rule sees more than this, so a rule can be run on a table of returns as well as in a session.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MINIMUM_DAYS = 5
"""Fewer daily results than this are no estimate of a mean or a deviation."""


@dataclass(frozen=True, slots=True)
class Records:
    """n agents.

    taking_part: bool [n]. count, mean, deviation: float64 [n], of the daily results relative to capital, after costs
    (deviation 0 where nothing is known). niche: int64 [n], whose estimates are shrunk towards one another; group: int64
    [n], 0-based, who is treated as one asset by rules that look at covariances. held: float64 [n], the rule's own
    shares as results have moved them. returns: float64 [E, n], results of the last epochs as fractions.
    """

    taking_part: NDArray[np.bool_]
    count: Floats
    mean: Floats
    deviation: Floats
    niche: NDArray[np.int64]
    group: NDArray[np.int64]
    held: Floats
    returns: Floats


def drifted(shares: Floats, growth: Floats) -> Floats:
    """Shares [n] after each agent's wealth was multiplied by `growth` [n] >= 0: b_i x_i / sum b x; unchanged if all
    is lost. Works on arrays of exact fractions too."""
    wealth = shares * growth
    total = wealth.sum()
    return wealth / total if total > 0 else shares


def with_newcomers(shares: Floats, taking_part: NDArray[np.bool_], known: NDArray[np.bool_]) -> Floats:
    """Shares [n] with a sum of 1 over who takes part: newcomers (not `known`) get 1 / n each, the others keep their
    proportions."""
    count = int(taking_part.sum())
    if count == 0:
        return np.zeros(len(shares))
    old = np.where(taking_part & known, shares, 0.0)
    newcomers = taking_part & ~known
    fresh = int(newcomers.sum()) / count
    total = float(old.sum())
    if total <= 0.0:
        return np.where(taking_part, 1.0 / count, 0.0)
    return np.where(newcomers, 1.0 / count, old * ((1.0 - fresh) / total))


def inverse(deviation: Floats, taking_part: NDArray[np.bool_]) -> Floats:
    """Shares in inverse proportion to `deviation` [n], with a sum of 1. Who has none yet counts as the median."""
    known = taking_part & (deviation > 0.0)
    if not known.any():
        count = int(taking_part.sum())
        return np.where(taking_part, 1.0 / max(count, 1), 0.0)
    typical = float(np.median(deviation[known]))
    # a deviation far below the usual is an agent that hardly traded, not one without risk
    used = np.where(known, np.maximum(deviation, 0.25 * typical), typical)
    shares = np.where(taking_part, 1.0 / used, 0.0)
    return np.asarray(shares / shares.sum())
