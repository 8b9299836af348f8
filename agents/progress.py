"""What a generation was worth: results since the last one, of those who evolve beside those who do not.

Daily results are kept as running sums; the difference to the sums at the last generation is what an agent did since
then, on candles that had no part in choosing it. The *benefit of selection* is the mean over evolving agents minus the
mean over a control group, of the profit in the generation (sum of daily results relative to capital) and of the daily
Sharpe ratio (`heritability.py`: what their children keep of it).
Standard errors are across agents; agents share candles, so they understate what another stretch of market would show.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents import layout as at
from agents.fitness import MINIMUM_DAYS

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Recent:
    """Per agent [N]: sum of daily results since the last generation, NaN without a day; daily Sharpe ratio, NaN with
    fewer than MINIMUM_DAYS."""

    profit: Floats
    sharpe: Floats


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean of one group minus mean of another, with the standard error across agents; NaN if a group is empty."""

    mean: float
    standard_error: float


def since(days: Floats, agent: Integers, earlier_days: Floats, earlier_agent: Integers) -> Recent:
    """Results [N] between two snapshots of `days` [DAY_FIELDS, N]; who was not there before starts from nothing."""
    before = np.zeros_like(days)
    order = np.argsort(earlier_agent, kind="stable")
    place = np.searchsorted(earlier_agent[order], agent)
    known = place < len(earlier_agent)
    known[known] = earlier_agent[order][place[known]] == agent[known]
    before[:, known] = earlier_days[:, order[place[known]]]
    count, total, squares = (days[row] - before[row] for row in (at.DAY_COUNT, at.DAY_SUM, at.DAY_SQUARES))
    enough = count >= MINIMUM_DAYS
    n = np.where(enough, count, 1.0)
    mean = total / n
    deviation = np.sqrt(np.maximum(squares / n - mean * mean, 0.0))
    moved = deviation > 1e-12
    sharpe = np.where(moved, mean / np.where(moved, deviation, 1.0), 0.0)
    return Recent(np.where(count > 0.0, total, np.nan), np.where(enough, sharpe, np.nan))


def difference(values: Floats, group: NDArray[np.bool_], other: NDArray[np.bool_]) -> Difference:
    """Mean over `group` minus mean over `other` of the finite values."""
    parts = [values[mask & np.isfinite(values)] for mask in (group, other)]
    if min(len(part) for part in parts) == 0:
        return Difference(float("nan"), float("nan"))
    error = float(np.sqrt(sum(part.var(ddof=1) / len(part) if len(part) > 1 else np.nan for part in parts)))
    return Difference(float(parts[0].mean() - parts[1].mean()), error)
