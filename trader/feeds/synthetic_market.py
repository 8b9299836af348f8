"""The synthetic market's arithmetic: correlated perpetuals with known regimes, clustered volatility and fat tails.

Per frame of the base timeframe (times in hours, so that every base has the same market):

- a market-wide regime, from a schedule or a Markov chain, that sets drift, size of moves and, in a range, a pull back
  to an anchor (the price at which the range began, slowly following);
- a variance per market v = w_0 + sum w_k E_k of exponential averages E_k of the squared shocks over 2 hours to 40 days,
  half of its own and half of the market's mean: a component GARCH (after Engle and Lee 1999 and Corsi 2009), whose sum
  of decays is close to the hyperbolic memory of real volatility;
- a shock sqrt(correlation) common + sqrt(1 - correlation) own, both Student-t with 4 degrees of freedom as normals of
  random precision, so that inside the candle the price is a Brownian motion of known variance and the extremes are
  drawn from their exact law given open and close (a stop or a take inside the candle is neither favoured nor punished);
- jumps between two candles, up or down with equal probability, of all markets together or of one alone;
- an hour-of-day shape of volatility and of volume; volume grows with volatility and with the candle's own move;
- a funding rate every eight hours.

Null: no regime, drift, pull or anchor, and funding with mean zero whatever happened before: simple returns are a
martingale difference. Every random number is a hash (synthetic_draws.py): frame n depends on (seed, n) and the state.

State [M, STATE_FIELDS]: price, slow average and anchor in ticks, hole flag, the averages E_k. Regimes:
trader/core/regime.py.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numba import njit

from trader.core.timeframes import DAY_MS, HOUR_MS
from trader.feeds.synthetic_draws import exponential, logarithm, normal, precision, uniform

PRICE, AVERAGE, ANCHOR, MISSING, FIRST_VARIANCE = range(5)
TICKS, PER_UNIT, SIGMA, VOLUME_HOUR, LOTS = range(5)
"""Columns of the parameters [M, 5]: first price in ticks, ticks in one unit of price, deviation of an hour's return,
volume of an ordinary hour in the base currency, lots of one base unit."""

MEMORY_HOURS: Final = np.array((2.0, 16.0, 120.0, 960.0))
"""Time constants of the variance's averages."""
MEMORY_WEIGHTS: Final = np.array((0.27, 0.33, 0.26, 0.13))
"""Their weights; what is left to 1 is the constant part."""
STATE_FIELDS: Final = FIRST_VARIANCE + len(MEMORY_HOURS)
_LARGEST_SQUARE: Final = 100.0
"""Bound of a squared shock where it enters the variance."""
_MEAN_SQUARE: Final = 1.08
"""Mean of what enters the variance, jumps included, measured: divided by it the variance has mean 1."""
_VARIANCE_BOUNDS: Final = (0.02, 40.0)

FUNDING_MS: Final = 8 * HOUR_MS
_JUMP_HOURS: Final = 600.0
"""Mean time between two jumps of all markets, and of one market alone."""
_JUMP_SIZE: Final = (2.0, 3.0)
"""Size of a jump in deviations of an hour: at least, and the mean of what an exponential draw adds."""
_LARGEST_JUMP: Final = 0.08
_LARGEST_DEVIATION: Final = 0.12
"""Standard deviation of one candle's move, so that a price never loses all of itself."""
_LARGEST_MOVE: Final = 0.5
_AVERAGE_HOURS: Final = 72.0
_HOLE_CANDLES: Final = 3.0
"""Mean length of a hole in candles."""
_REGIME, _NEXT, _COMMON, _COMMON_PRECISION, _OWN, _OWN_PRECISION, _HIGH, _LOW, _TURNOVER, _JUMP, _FUNDING, _HOLE = (
    range(1, 13)
)


@njit(cache=True, nogil=True)
def scheduled_regime(frame: int, lead: int, schedule: Any) -> int:
    """Regime of a frame under a schedule [S, 2] (code, first frame after it), repeated; `lead` frames come before."""
    place = max(frame - lead, 0) % schedule[len(schedule) - 1, 1]
    for row in range(len(schedule)):
        if place < schedule[row, 1]:
            return int(schedule[row, 0])
    return 0


@njit(cache=True, nogil=True)
def drawn_regime(seed: int, frame: int, regime: int, hours: float, mean_hours: Any, chain: Any) -> int:
    """Stay, or switch with the hazard hours / mean duration to a regime by the cumulative row of `chain` [5, 5]."""
    if uniform(seed, frame, 0, _REGIME, 0) >= hours / mean_hours[regime]:
        return regime
    draw = uniform(seed, frame, 0, _NEXT, 0)
    for other in range(1, 5):
        if draw < chain[regime, other]:
            return other
    return regime


@njit(cache=True, nogil=True)
def _extreme(start: float, end: float, variance: float, draw: float, sign: float) -> float:
    """Highest (sign 1) or lowest (sign -1) of a Brownian bridge, by the inverse of its distribution function."""
    width = math.sqrt((end - start) ** 2 - 2.0 * variance * logarithm(1.0 - draw))
    return 0.5 * (start + end + sign * width)


@njit(cache=True, nogil=True)
def _jump(seed: int, frame: int, market: int, hours: float) -> float:
    """A jump in deviations of an hour; 0 in nearly every frame. Market 0: all markets."""
    if uniform(seed, frame, market, _JUMP, 0) >= hours / _JUMP_HOURS:
        return 0.0
    size = _JUMP_SIZE[0] + _JUMP_SIZE[1] * exponential(seed, frame, market, _JUMP, 1)
    return size if uniform(seed, frame, market, _JUMP, 2) < 0.5 else -size


@njit(cache=True, nogil=True)
def expected_move(opened: float, anchor: float, first: float, sigma: float, hours: float, drift: float, pull: float,
                  home: float) -> float:  # fmt: skip
    """What a candle's return is expected to be, knowing the state: drift (deviations an hour), pull, faint way home."""
    back = pull * (opened / anchor - 1.0) if pull > 0.0 else 0.0
    return hours * (drift * sigma - back + home * (first / opened - 1.0))


@njit(cache=True, nogil=True)
def _variance(state: Any) -> float:
    """Variance of an hour's shock in multiples of its mean."""
    total = 1.0
    for k in range(len(MEMORY_HOURS)):
        total += MEMORY_WEIGHTS[k] * (state[FIRST_VARIANCE + k] - 1.0)
    return min(max(total, _VARIANCE_BOUNDS[0]), _VARIANCE_BOUNDS[1])


@njit(cache=True, nogil=True)
def _candle(
    seed: int, frame: int, market: int, hours: float, common: float, common_variance: float, jump: float,
    correlation: float, size: float, busy: float, drift: float, pull: float, home: float, params: Any, state: Any,
    candle: Any,
) -> float:  # fmt: skip
    """One candle of one market: price and candle [5] move on; returns the squared shock of the variance's input."""
    sigma = params[SIGMA]
    variance = _variance(state)
    jumped = jump + _jump(seed, frame, market + 1, hours)
    gap = min(max(jumped * sigma * math.sqrt(variance), -_LARGEST_JUMP), _LARGEST_JUMP)
    opened = max(math.floor(state[PRICE] * (1.0 + gap) + 0.5), 10.0)
    own_variance = 1.0 / precision(seed, frame, market + 1, _OWN_PRECISION)
    own = normal(seed, frame, market + 1, _OWN) * math.sqrt(own_variance)
    shock = math.sqrt(correlation) * common + math.sqrt(1.0 - correlation) * own
    spread = correlation * common_variance + (1.0 - correlation) * own_variance
    scale = sigma * size * math.sqrt(hours * variance)
    if scale * scale * spread > _LARGEST_DEVIATION**2:
        shrunk = _LARGEST_DEVIATION / (scale * math.sqrt(spread))
        scale *= shrunk
    expected = expected_move(opened, state[ANCHOR], params[TICKS], sigma, hours, drift, pull, home)
    move = min(max(expected + scale * shock, -_LARGEST_MOVE), _LARGEST_MOVE)
    closed = max(math.floor(opened * (1.0 + move) + 0.5), 10.0)
    walk = (opened * scale) ** 2 * spread
    high = _extreme(opened, closed, walk, uniform(seed, frame, market + 1, _HIGH, 0), 1.0)
    low = _extreme(opened, closed, walk, uniform(seed, frame, market + 1, _LOW, 0), -1.0)
    candle[0] = opened / params[PER_UNIT]
    candle[1] = math.floor(high + 0.5) / params[PER_UNIT]
    candle[2] = max(math.floor(low + 0.5), 1.0) / params[PER_UNIT]
    candle[3] = closed / params[PER_UNIT]
    turnover = 0.25 + 0.45 * exponential(seed, frame, market + 1, _TURNOVER, 0) + 0.3 * abs(shock)
    volume = params[VOLUME_HOUR] * hours * busy * turnover * size * math.sqrt(variance)
    candle[4] = max(math.floor(volume * params[LOTS] + 0.5), 1.0) / params[LOTS]
    state[PRICE] = closed
    return variance * min(shock * shock + jumped * jumped / hours, _LARGEST_SQUARE) / _MEAN_SQUARE


@njit(cache=True, nogil=True)
def _remember(squares: Any, hours: float, ranging: bool, state: Any) -> None:
    """After all candles of a frame: variances, slow averages and anchors [M] move on."""
    mean = squares.mean()
    for m in range(len(squares)):
        square = 0.5 * (squares[m] + mean)
        for k in range(len(MEMORY_HOURS)):
            part = min(hours / MEMORY_HOURS[k], 0.5)
            state[m, FIRST_VARIANCE + k] += part * (square - state[m, FIRST_VARIANCE + k])
        closed = state[m, PRICE]
        step = min(hours / _AVERAGE_HOURS, 1.0)
        state[m, AVERAGE] += step * (closed - state[m, AVERAGE])
        state[m, ANCHOR] += (step if ranging else 1.0) * (closed - state[m, ANCHOR])


@njit(cache=True, nogil=True)
def _missing(seed: int, frame: int, market: int, holes: float, was: bool) -> bool:
    """Whether a candle is missing: a two-state chain with the share `holes` and a mean length of _HOLE_CANDLES."""
    draw = uniform(seed, frame, market + 1, _HOLE, 0)
    if was:
        return draw >= 1.0 / _HOLE_CANDLES
    return draw < holes / ((1.0 - holes) * _HOLE_CANDLES)


@njit(cache=True, nogil=True)
def _funding(seed: int, frame: int, market: int, fair: bool, state: Any) -> float:
    """Rate of one stamp: the usual 0.01 % and what the distance from the slow average adds; fair: mean zero, unforeseen."""
    if fair:
        rate = 0.0004 * (uniform(seed, frame, market + 1, _FUNDING, 0) - 0.5)
    else:
        rate = min(max(0.0001 + 0.004 * (state[PRICE] / state[AVERAGE] - 1.0), -0.003), 0.003)
    return math.floor(rate * 1e8 + 0.5) / 1e8


@njit(cache=True, nogil=True)
def generate(
    seed: int, first: int, lead: int, start_ms: int, base_ms: int, params: Any, correlation: float, holes: float,
    fair_funding: bool, home: float, drift: Any, size: Any, pull: float, mean_hours: Any, chain: Any, schedule: Any,
    size_of_day: Any, volume_of_day: Any, state: Any, regime: Any, candles: Any, rates: Any, present: Any, labels: Any,
    expected: Any, anchors: Any,
) -> None:  # fmt: skip
    """Frames first, first + 1, ... as many as `candles` has room for.

    Args:
        seed: non-negative.
        first: number of the first frame.
        lead: frames before the first traded one, where a schedule begins.
        start_ms: open time of frame 0.
        base_ms: length of a candle.
        params: float64 [M, 5].
        correlation: of any two markets' shocks, in [0, 1].
        holes: share of missing candles, in [0, 0.5].
        fair_funding: rates with mean zero, drawn anew at each stamp.
        home: part of the distance to its first price that a price goes back in an hour.
        drift: float64 [5], by regime, in deviations of an hour.
        size: float64 [5], by regime, factor on the deviation.
        pull: part of the distance from the anchor that an hour of a range takes back.
        mean_hours: float64 [5], mean duration by regime.
        chain: float64 [5, 5], cumulative probabilities of the next regime.
        schedule: int64 [S, 2], (regime, first frame after it); S = 0: the chain decides.
        size_of_day: float64 [candles of a day or 1], factor on the deviation by time of day.
        volume_of_day: float64, the same shape, factor on the volume beyond that of the deviation.
        state: float64 [M, STATE_FIELDS] before frame `first`; moved on.
        regime: int64 [1], likewise; 0 without regimes.
        candles: float64 [T, M, 5], filled.
        rates: float64 [T, M], filled with the funding stamped at each open, NaN where there is none.
        present: bool [T, M], filled; where it is False the candle is to be hidden.
        labels: int8 [T], filled with the regime.
        expected: float64 [T, M], filled with the return from close to close that the state before it lets expect.
        anchors: float64 [T, M], filled with the anchor before the candle, in units of price.
    """
    hours = base_ms / HOUR_MS
    markets = candles.shape[1]
    squares = np.empty(markets)
    for t in range(candles.shape[0]):
        frame = first + t
        time_ms = start_ms + frame * base_ms
        if len(schedule) > 0:
            regime[0] = scheduled_regime(frame, lead, schedule)
        elif regime[0] > 0:
            regime[0] = drawn_regime(seed, frame, regime[0], hours, mean_hours, chain)
        now = regime[0]
        labels[t] = now
        slot = (time_ms % DAY_MS) // base_ms % len(size_of_day)
        common_variance = 1.0 / precision(seed, frame, 0, _COMMON_PRECISION)
        common = normal(seed, frame, 0, _COMMON) * math.sqrt(common_variance)
        jump = _jump(seed, frame, 0, hours)
        # a candle longer than eight hours carries several stamps
        stamps = max(base_ms // FUNDING_MS, 1) if time_ms % FUNDING_MS == 0 else 0
        pulled = min(pull, 0.5 / hours) if now == 3 else 0.0
        for m in range(markets):
            rates[t, m] = stamps * _funding(seed, frame, m, fair_funding, state[m]) if stamps else np.nan
            anchors[t, m] = state[m, ANCHOR] / params[m, PER_UNIT]
            expected[t, m] = expected_move(
                state[m, PRICE], state[m, ANCHOR], params[m, TICKS], params[m, SIGMA], hours, drift[now], pulled, home
            )
            squares[m] = _candle(
                seed, frame, m, hours, common, common_variance, jump, correlation, size[now] * size_of_day[slot],
                volume_of_day[slot], drift[now], pulled, home, params[m], state[m], candles[t, m],
            )  # fmt: skip
            missing = holes > 0.0 and _missing(seed, frame, m, holes, state[m, MISSING] > 0.0)
            state[m, MISSING] = 1.0 if missing else 0.0
            present[t, m] = not missing
        _remember(squares, hours, now == 3, state)
