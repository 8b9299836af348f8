"""How good an agent is, as far as its own trading can tell: a shrunken daily Sharpe ratio, after all costs.

raw = mean / standard deviation (n - 1) of the agent's daily results relative to its capital. Without skill raw sqrt(n) is
Student's t with n - 1 degrees of freedom, whose variance is (n - 1) / (n - 3), so the squared standard error is
(n - 1) / (n (n - 3)) + raw^2 / (2 n). For many days that is (1 + raw^2 / 2) / n (Lo, "The statistics of Sharpe ratios",
2002); for a week it is twice as much: without it newborns' luck would pass for skill. Within its niche (its archetype) the
estimate is shrunk to the niche's mean by empirical Bayes (Efron and Morris, 1975): B = tau^2 / (tau^2 + se^2), with tau^2
the variance of raw beyond what the standard errors explain. Selection uses the shrunken value only: the best raw value of a
thousand agents says more about luck than about skill.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agents import layout as at

Floats = NDArray[np.float64]

MINIMUM_DAYS: Final = 5
"""Fewer daily results than this are no estimate: the agent is not judged yet."""


@dataclass(frozen=True, slots=True)
class Fitness:
    """Per agent [N]: raw and shrunken daily Sharpe ratio, standard error; NaN where an agent is not judged."""

    raw: Floats
    shrunk: Floats
    standard_error: Floats
    judged: NDArray[np.bool_]


def estimate(days: Floats, niche: NDArray[np.int64]) -> Fitness:
    """Fitness from daily results [DAY_FIELDS, N] and the niche of each agent [N]."""
    count = days[at.DAY_COUNT]
    judged = count >= MINIMUM_DAYS
    n = np.where(judged, count, 1.0)
    mean = days[at.DAY_SUM] / n
    variance = np.maximum(days[at.DAY_SQUARES] / n - mean * mean, 0.0) * n / np.maximum(n - 1.0, 1.0)
    deviation = np.sqrt(variance)
    raw = np.where(deviation > 0.0, mean / np.where(deviation > 0.0, deviation, 1.0), 0.0)
    error = np.sqrt((n - 1.0) / (n * np.maximum(n - 3.0, 1.0)) + 0.5 * raw * raw / n)
    shrunk = np.full(len(raw), np.nan)
    for group in np.unique(niche[judged]):
        members = judged & (niche == group)
        shrunk[members] = shrink(raw[members], error[members])
    nothing = np.full(len(raw), np.nan)
    return Fitness(np.where(judged, raw, nothing), shrunk, np.where(judged, error, nothing), judged)


def shrink(raw: Floats, standard_error: Floats) -> Floats:
    """Posterior means of estimates of one group: each moved towards the group's mean by the share that is noise."""
    centre = float(raw.mean())
    spread = float(raw.var(ddof=1)) if len(raw) > 1 else 0.0
    signal = max(spread - float(np.mean(standard_error**2)), 0.0)
    return (
        centre + signal / (signal + standard_error**2) * (raw - centre) if signal > 0.0 else np.full_like(raw, centre)
    )
