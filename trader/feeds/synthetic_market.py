"""The synthetic market's arithmetic: correlated perpetuals with switching regimes, clustered volatility and fat tails.

Per frame: a market-wide regime (bull, bear, range, volatile) that switches with a fixed hazard; a variance per market
that follows GARCH(1, 1) (Bollerslev 1986); a return made of a common and an own Student-t shock with 4 degrees of
freedom (variance 1 after scaling), a drift by regime and, in a range, a pull back to a slow average; inside the candle
a bridge of twelve steps from open to close, whose extremes are high and low; volume with an intraday shape that grows
with the move; funding every eight hours that follows the distance from the slow average.

Every random number is a hash of (seed, frame, market, purpose), so frame n depends on (seed, n) and nothing else. Only
additions, multiplications, divisions and square roots: the same bits on every processor (Student-t with 4 degrees of
freedom by the polar method of R. W. Bailey, Mathematics of Computation 62 (1994), needs no logarithm).

State [M, 3]: price in ticks, variance multiplier, slow average in ticks. Regime codes are `rows.Regime`.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numba import njit

from trader.core.timeframes import DAY_MS, HOUR_MS

PRICE, VARIANCE, AVERAGE = range(3)
TICKS, PER_UNIT, SIGMA, BETA, VOLUME_HOUR, LOTS = range(6)
"""Columns of the parameters [M, 6]: first price in ticks, ticks in one unit of price, deviation of an hour's return,
weight of the common shock, volume of an ordinary hour in the base currency, lots of one base unit."""

FUNDING_MS: Final = 8 * HOUR_MS
_STEPS: Final = 12
_REGIME, _COMMON, _OWN, _PATH, _TURNOVER, _NEXT = range(1, 7)
_MEAN_HOURS: Final = np.array((1.0, 120.0, 96.0, 120.0, 36.0))
"""Mean duration of each regime in hours; index 0 is unused."""
_DRIFT: Final = np.array((0.0, 0.09, -0.09, 0.0, -0.02))
"""Drift of an hour in standard deviations of an hour."""
_SPREAD: Final = np.array((0.0, 1.0, 1.1, 0.8, 2.0))
"""Factor on the standard deviation."""
_PULL: Final = 0.06
"""In a range: part of the distance from the slow average that an hour takes back."""
_AVERAGE_HOURS: Final = 72.0


@njit(cache=True, nogil=True)
def _mix(value: Any) -> Any:
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@njit(cache=True, nogil=True)
def uniform(seed: int, frame: int, market: int, purpose: int, number: int) -> float:
    """In [0, 1), 53 bits: splitmix64's finaliser applied once for each key."""
    golden = np.uint64(0x9E3779B97F4A7C15)
    state = _mix(np.uint64(seed) + golden)
    state = _mix((state ^ np.uint64(frame)) + golden)
    state = _mix((state ^ np.uint64(market)) + golden)
    state = _mix((state ^ np.uint64(purpose * 4096 + number)) + golden)
    return float(state >> np.uint64(11)) * 2.0**-53


@njit(cache=True, nogil=True)
def student(seed: int, frame: int, market: int, purpose: int) -> float:
    """Student-t with 4 degrees of freedom, scaled to variance 1, cut at 8 standard deviations."""
    number = 0
    while True:
        a = 2.0 * uniform(seed, frame, market, purpose, number) - 1.0
        b = 2.0 * uniform(seed, frame, market, purpose, number + 1) - 1.0
        w = a * a + b * b
        number += 2
        if 0.0 < w < 1.0:
            break
    value = a * math.sqrt(4.0 * (1.0 / math.sqrt(w) - 1.0) / w) / math.sqrt(2.0)
    return min(max(value, -8.0), 8.0)


@njit(cache=True, nogil=True)
def _next_regime(seed: int, frame: int, regime: int, hours: float) -> int:
    """Stay, or switch to one of the other three regimes with equal probability."""
    if uniform(seed, frame, 0, _REGIME, 0) >= hours / _MEAN_HOURS[regime]:
        return regime
    other = 1 + int(uniform(seed, frame, 0, _NEXT, 0) * 3.0)
    return other if other < regime else other + 1


@njit(cache=True, nogil=True)
def _path_extremes(seed: int, frame: int, market: int, start: float, end: float, spread: float) -> tuple[float, float]:
    """Highest and lowest of a bridge of _STEPS steps from start to end; `spread`: standard deviation of the whole walk.

    Steps are uniform with the right variance: a walk of twelve is close enough to normal.
    """
    total = 0.0
    step = spread * math.sqrt(12.0 / _STEPS)
    for i in range(_STEPS):
        total += step * (uniform(seed, frame, market, _PATH, i) - 0.5)
    walk = 0.0
    high = max(start, end)
    low = min(start, end)
    for i in range(_STEPS):
        walk += step * (uniform(seed, frame, market, _PATH, i) - 0.5)
        part = (i + 1.0) / _STEPS
        value = start + part * (end - start) + (walk - part * total)
        high = max(high, value)
        low = min(low, value)
    return high, low


@njit(cache=True, nogil=True)
def _market_frame(
    seed: int, frame: int, market: int, time_ms: int, hours: float, regime: int, common: float, params: Any, state: Any,
    candle: Any,
) -> None:  # fmt: skip
    """One candle of one market; `state` [3] moves on, `candle` [5] is filled."""
    opened, variance, average = state[PRICE], state[VARIANCE], state[AVERAGE]
    sigma = params[SIGMA] * math.sqrt(hours * variance) * _SPREAD[regime]
    own = student(seed, frame, market, _OWN)
    shock = params[BETA] * common + math.sqrt(1.0 - params[BETA] ** 2) * own
    drift = _DRIFT[regime] * params[SIGMA] * hours
    if regime == 3:
        drift -= _PULL * min(hours, 8.0) * (opened / average - 1.0)
    # never more than a third down in a candle, and a faint pull to the first price keeps decades in bounds
    change = max(drift + sigma * shock + 0.0001 * hours * (params[TICKS] / opened - 1.0), -0.33)
    closed = max(math.floor(opened * (1.0 + min(change, 0.5)) + 0.5), 10.0)
    high, low = _path_extremes(seed, frame, market, opened, closed, opened * sigma * (0.9 + 0.7 * abs(shock)))
    candle[0] = opened / params[PER_UNIT]
    candle[1] = math.floor(high + 0.5) / params[PER_UNIT]
    candle[2] = max(math.floor(low + 0.5), 1.0) / params[PER_UNIT]
    candle[3] = closed / params[PER_UNIT]
    phase = ((time_ms + 9 * HOUR_MS) % DAY_MS) / DAY_MS  # busiest at 15:00 UTC, quietest at 03:00
    shape = 0.6 + 1.6 * abs(phase - 0.5)
    turnover = 0.3 + 0.7 * uniform(seed, frame, market, _TURNOVER, 0) + 0.6 * abs(shock)
    volume = params[VOLUME_HOUR] * hours * shape * turnover * math.sqrt(variance) * _SPREAD[regime]
    candle[4] = math.floor(volume * params[LOTS] + 0.5) / params[LOTS]
    loss = 0.05 * min(1.0, math.sqrt(hours))
    variance = loss + 2.0 * loss * variance * min(shock * shock, 36.0) + (1.0 - 3.0 * loss) * variance
    state[PRICE] = closed
    state[VARIANCE] = min(max(variance, 0.1), 12.0)
    state[AVERAGE] = average + min(hours / _AVERAGE_HOURS, 1.0) * (closed - average)


@njit(cache=True, nogil=True)
def generate(
    seed: int, first: int, start_ms: int, base_ms: int, params: Any, state: Any, regime: Any, candles: Any, rates: Any
) -> None:
    """Frames first, first + 1, ... as many as `candles` has room for.

    Args:
        seed: non-negative.
        first: number of the first frame.
        start_ms: open time of frame 0.
        base_ms: length of a candle.
        params: float64 [M, 6].
        state: float64 [M, 3], the state before frame `first`; moved on.
        regime: int64 [1], likewise.
        candles: float64 [T, M, 5], filled.
        rates: float64 [T, M], filled with the funding stamped at each open, NaN where there is none.
    """
    hours = base_ms / HOUR_MS
    for t in range(candles.shape[0]):
        frame = first + t
        time_ms = start_ms + frame * base_ms
        regime[0] = _next_regime(seed, frame, regime[0], hours)
        common = student(seed, frame, 0, _COMMON)
        # a candle longer than eight hours carries several stamps
        stamps = max(base_ms // FUNDING_MS, 1) if time_ms % FUNDING_MS == 0 else 0
        for m in range(candles.shape[1]):
            premium = 0.004 * (state[m, PRICE] / state[m, AVERAGE] - 1.0)
            rate = math.floor(min(max(0.0001 + premium, -0.003), 0.003) * 1e8 + 0.5) / 1e8
            rates[t, m] = rate * stamps if stamps else np.nan
            _market_frame(seed, frame, m, time_ms, hours, regime[0], common, params[m], state[m], candles[t, m])
