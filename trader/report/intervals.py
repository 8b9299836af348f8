"""Intervals by the stationary bootstrap of Politis and Romano (1994), single and paired.

Returns are dependent in time, so whole blocks are drawn: a block begins anywhere with equal chance, its length is
geometric with mean b, the series is closed to a circle. b is chosen by the data: the rule of Politis and White (2004)
with the correction of Patton, Politis and White (2009), taken for the returns and for their squares, the longer of the
two, because ratios depend on the variance as much as on the mean. It never exceeds min(3 √n, n ÷ 3).

An interval is the central 95 % of the replications (percentile method). Two series on the same steps are drawn with
the same blocks (paired), so that what both share cancels in their difference. Same data, same seed: same interval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trader.report.metrics import Floats

LEVEL: Final = 0.95
REPLICATIONS: Final = 2_000
FEWEST_RETURNS: Final = 20
"""Below so many returns there is no interval: blocks of a handful of numbers say nothing."""

_CELLS: Final = 2_000_000
"""Returns drawn at once: bounds the memory (16 MB) whatever the length of the run."""

Statistics = Callable[[Floats], dict[str, Floats]]
"""From returns [R, n] to values [R] by name."""


class Interval(NamedTuple):
    """Central 95 % of the replications; NaN where they could not be computed."""

    low: float
    high: float


def block_length(series: Floats) -> float:
    """Mean block length for the stationary bootstrap of one series [n], at least 1."""
    n = len(series)
    centred = series - series.mean()
    variance = float(centred @ centred) / n
    if n < 4 or variance <= 1e-30:
        return 1.0
    longest = int(np.ceil(np.sqrt(n)))
    quiet = max(5, int(np.log10(n)))
    lags = min(longest + quiet, n - 1)
    covariance = np.array([float(centred[lag:] @ centred[: n - lag]) / n for lag in range(lags + 1)])
    small = np.abs(covariance / variance) < 2 * np.sqrt(np.log10(n) / n)
    reach = next((lag for lag in range(1, lags - quiet + 2) if small[lag : lag + quiet].all()), lags)
    window = min(2 * reach, lags)
    lag = np.arange(1, window + 1)
    flat_top = np.clip(2 * (1 - lag / window), 0, 1)
    g = 2 * float((flat_top * lag * covariance[lag]).sum())
    long_run = variance + 2 * float((flat_top * covariance[lag]).sum())
    most = float(np.ceil(min(3 * np.sqrt(n), n / 3)))
    if abs(long_run) <= 1e-12 * variance:
        return most
    length = (g * g / long_run**2) ** (1 / 3) * n ** (1 / 3)
    return float(np.clip(length, 1.0, most))


def rule(returns: Floats) -> float:
    """Mean block length of a report: the longer of the one for the returns and the one for their squares."""
    return max(block_length(returns), block_length(returns**2))


def draws(n: int, length: float, seed: int, replications: int = REPLICATIONS) -> Iterator[NDArray[np.int64]]:
    """Indices [r, n] of the replications, in pieces; every piece is drawn from the one generator of the seed."""
    generator = np.random.Generator(np.random.PCG64(seed))
    at_once = max(1, _CELLS // n)
    steps = np.arange(n)
    for begin in range(0, replications, at_once):
        shape = (min(at_once, replications - begin), n)
        starts = generator.integers(0, n, shape)
        fresh = generator.random(shape) < 1.0 / length
        fresh[:, 0] = True
        since = np.maximum.accumulate(np.where(fresh, steps, 0), axis=1)
        yield (np.take_along_axis(starts, since, axis=1) + steps - since) % n


def intervals(returns: Floats, of: Statistics, *, seed: int, length: float | None = None) -> dict[str, Interval]:
    """Interval of every statistic of one series [n]; empty below `FEWEST_RETURNS`."""
    if len(returns) < FEWEST_RETURNS:
        return {}
    length = rule(returns) if length is None else length
    return _central([of(returns[index]) for index in draws(len(returns), length, seed)])


def paired(first: Floats, second: Floats, of: Statistics, *, seed: int) -> dict[str, Interval]:
    """Interval of every statistic's difference first − second, both [n] on the same steps."""
    assert len(first) == len(second), "paired series have the same steps"
    if len(first) < FEWEST_RETURNS:
        return {}
    length = max(rule(first), rule(second), rule(first - second))
    parts = []
    for index in draws(len(first), length, seed):
        ours, theirs = of(first[index]), of(second[index])
        parts.append({name: ours[name] - theirs[name] for name in ours})
    return _central(parts)


def _central(parts: list[dict[str, Floats]]) -> dict[str, Interval]:
    result = {}
    for name in parts[0]:
        values = np.concatenate([part[name] for part in parts])
        values = values[np.isfinite(values)]
        enough = len(values) >= REPLICATIONS // 2
        low, high = np.quantile(values, ((1 - LEVEL) / 2, (1 + LEVEL) / 2)) if enough else (np.nan, np.nan)
        result[name] = Interval(float(low), float(high))
    return result
