"""One row of features: the formulas, out of the rings of one market and timeframe.

The rings hold the last candles of the timeframe, `long` [4, 2 TAPS] what exponential averages and long returns need,
`short` [7, 2 SHORT] what windows of up to SHORT candles need. They are mirrored (each value is written twice, one ring
length apart), so that a window is always one contiguous slice, oldest first. Formulas and scales are told, line by
line, in docs/features.md; the meaning of each indicator in indicators.py.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numba import njit

from trader.core.indicators import (
    LANES,
    RELATIVE_ZERO,
    TAPS,
    commodity_channel,
    deviation,
    exponential_weights,
    macd_signal_weights,
    macd_weights,
    mean,
    money_flow,
    position_in_range,
    slope,
    strength,
    weighted_sum,
)
from trader.core.regime import HORIZON, RECENT, label
from trader.core.timeframes import DAY_MS, HOUR_MS, MONDAY_MS, WEEK_MS
from trader.core.types import CLOSE, HIGH, LOW, OPEN

MARKET_FEATURES: Final[tuple[str, ...]] = (
    "return_1", "return_4", "return_12", "return_24", "return_72",
    "ema_distance", "macd", "macd_histogram", "slope_20", "slope_50",
    "rsi", "stochastic", "cci", "williams",
    "volatility_level", "volatility_ratio", "bollinger_width",
    "zscore_20", "zscore_50",
    "body", "shadow", "range",
    "relative_volume", "volume_flow", "money_flow",
    "donchian_20", "donchian_55",
    "day_wave", "day_ramp", "week_wave",
    "funding_rate", "funding_sum",
)  # fmt: skip
"""What is computed from candles and funding, in column order."""

LEARNED_FEATURES: Final[tuple[str, ...]] = ("hope_prediction", "hope_change", "memory_estimate", "memory_certainty")
"""What the sequence model and the memory add to a row after the market's own features; 0 where they are switched off."""

FEATURES: Final[tuple[str, ...]] = MARKET_FEATURES + LEARNED_FEATURES
"""Names in column order; docs/features.md has a line for each."""

BOUND: Final = 8.0
"""Features are clipped to [-BOUND, BOUND]."""

COLUMNS: Final = len(MARKET_FEATURES)
"""Columns that `describe` fills."""
FIRST_LEARNED: Final = COLUMNS
SHORT: Final = 128
CLOSES, RANGES, GAINS, LOSSES = range(4)
HIGHS, LOWS, TYPICALS, VOLUMES, RETURNS, SIGNED, FLOWS = range(7)
LONG_RINGS: Final = 4
SHORT_RINGS: Final = 7
SCRATCH: Final = LANES + 12
"""Room that `describe` computes in."""

WEIGHTS: Final = np.stack(
    (
        exponential_weights(2.0 / 27.0),
        macd_weights(),
        macd_signal_weights(),
        exponential_weights(1.0 / 14.0),
    )
)
"""[4, TAPS]: EMA 26, MACD, MACD signal, Wilder 14."""

FUNDING_SCALE: Final = 0.0002
"""Twice the usual funding rate of 0.01 % per 8 hours: the usual rate is 0.5."""
VOLATILITY_SCALE: Final = 0.01
"""ATR / close of an ordinary hour of a large coin; other timeframes by the square root of time."""


@njit(cache=True, nogil=True)
def _ratio(value: float, scale: float, level: float) -> float:
    """Value / scale, 0 where the scale is only rounding against its level."""
    return value / scale if scale > RELATIVE_ZERO * level else 0.0


@njit(cache=True, nogil=True)
def _contrast(a: float, b: float) -> float:
    """2 (a - b) / (a + b) for a, b >= 0: a bounded, symmetric way to say how much larger a is; 0 if both are 0."""
    return 2.0 * (a - b) / (a + b) if a + b > 0.0 else 0.0


@njit(cache=True, nogil=True)
def _triangle(phase: float) -> float:
    """Triangular wave of a phase in [0, 1): 0 at 0, 1 at 1/4, 0 at 1/2, -1 at 3/4."""
    shifted = (phase + 0.75) % 1.0
    return 4.0 * abs(shifted - 0.5) - 1.0


@njit(cache=True, nogil=True)
def _extremes(window: Any, sign: float, out: Any) -> None:
    """Largest sign * value of the nested windows that stochastic, Williams %R and the channels need, in one pass.

    out [6]: the last 14 candles, the 14 before the last one, the 14 before the last two, the last 28, and the 20 and
    the 55 before the last one. All of them contain candles -14 to -3, most of them each other.
    """
    n = len(window)
    common = sign * window[n - 3]
    for i in range(n - 14, n - 3):
        common = max(common, sign * window[i])
    one, two = sign * window[n - 1], sign * window[n - 2]
    fifteen = sign * window[n - 15]
    out[0] = max(common, one, two)
    out[1] = max(common, two, fifteen)
    out[2] = max(common, fifteen, sign * window[n - 16])
    best = max(out[2], two)
    for i in range(n - 21, n - 16):
        best = max(best, sign * window[i])
    out[4] = best
    for i in range(n - 28, n - 21):
        best = max(best, sign * window[i])
    out[3] = max(best, one)
    a, b = best, best
    for i in range(n - 56, n - 28, 2):
        a = max(a, sign * window[i])
        b = max(b, sign * window[i + 1])
    out[5] = max(a, b)


@njit(cache=True, nogil=True)
def _returns_and_trend(close: Any, atr: float, sigma: float, lanes: Any, weights: Any, row: Any) -> None:
    """Columns 0 to 9. Returns in standard deviations of their horizon, distances in ATR."""
    last = close[-1]
    for i, horizon in enumerate((1, 4, 12, 24, 72)):
        row[i] = _ratio(last / close[-1 - horizon] - 1.0, sigma * math.sqrt(horizon), 1.0)
    macd = weighted_sum(weights[1], close, lanes)
    row[5] = 0.5 * _ratio(last - weighted_sum(weights[0], close, lanes), atr, last)
    row[6] = _ratio(macd, atr, last)
    row[7] = 2.0 * _ratio(macd - weighted_sum(weights[2], close, lanes), atr, last)
    row[8] = _ratio(slope(close[-20:]) * math.sqrt(20.0), atr, last)
    row[9] = _ratio(slope(close[-50:]) * math.sqrt(50.0), atr, last)


@njit(cache=True, nogil=True)
def _momentum(close: Any, typical: Any, gain: float, loss: float, top: Any, bottom: Any, row: Any) -> None:
    """Columns 10 to 13: oscillators, centred and brought to [-2, 2] (CCI: to about that)."""
    row[10] = (strength(gain, loss) - 50.0) / 25.0
    smooth = 0.0
    for back in range(3):
        smooth += position_in_range(close[len(close) - 1 - back], -bottom[back], top[back])
    row[11] = 4.0 * smooth / 3.0 - 2.0
    row[12] = commodity_channel(typical) / 100.0
    row[13] = 4.0 * position_in_range(close[-1], -bottom[3], top[3]) - 2.0


@njit(cache=True, nogil=True)
def _volatility(close: Any, atr: float, sigma: float, recent: float, root_hours: float, row: Any) -> None:
    """Columns 14 to 18."""
    last = close[-1]
    row[14] = _contrast(atr / last, VOLATILITY_SCALE * root_hours)
    row[15] = _contrast(recent, sigma)
    mean_20 = mean(close[-20:])
    mean_50 = mean(close[-50:])
    deviation_20 = deviation(close[-20:], mean_20)
    row[16] = _ratio(deviation_20, atr, last) - 1.0
    row[17] = _ratio(last - mean_20, deviation_20, last)
    row[18] = _ratio(last - mean_50, deviation(close[-50:], mean_50), last)


@njit(cache=True, nogil=True)
def _shape_and_channel(candle: Any, atr: float, top: Any, bottom: Any, row: Any) -> None:
    """Columns 19 to 21, 25, 26. The channels are those of the candles before: beyond -2 or 2 is a breakout."""
    opened, high, low, last = candle[OPEN], candle[HIGH], candle[LOW], candle[CLOSE]
    row[19] = _ratio(last - opened, atr, last)
    row[20] = _ratio((min(opened, last) - low) - (high - max(opened, last)), atr, last)
    row[21] = _ratio(high - low, atr, last) - 1.0
    row[25] = 4.0 * position_in_range(last, -bottom[4], top[4]) - 2.0
    row[26] = 4.0 * position_in_range(last, -bottom[5], top[5]) - 2.0


@njit(cache=True, nogil=True)
def _volume(volume: Any, signed: Any, flow: Any, row: Any) -> None:
    """Columns 22 to 24: volume against its mean, on-balance volume over 20 candles, money flow."""
    average = mean(volume)
    row[22] = _contrast(volume[-1], average)
    row[23] = 2.0 * _ratio(mean(signed), average, 0.0)
    row[24] = (money_flow(flow) - 50.0) / 25.0


@njit(cache=True, nogil=True)
def _clock_and_funding(close_ms: int, funding: Any, row: Any) -> None:
    """Columns 27 to 31: time of the close in the UTC day and in the week from Monday; known funding stamps."""
    day = (close_ms % DAY_MS) / DAY_MS
    row[27] = _triangle(day)
    row[28] = _triangle((day + 0.25) % 1.0)
    row[29] = _triangle(((close_ms - MONDAY_MS) % WEEK_MS) / WEEK_MS)
    row[30] = funding[0] / FUNDING_SCALE
    row[31] = (funding[0] + funding[1] + funding[2]) / (3.0 * FUNDING_SCALE)


@njit(cache=True, nogil=True)
def describe(
    candle: Any, close_ms: int, length_ms: int, at: int, short_at: int, long: Any, short: Any, funding: Any,
    weights: Any, scratch: Any, row: Any,
) -> tuple[float, int]:  # fmt: skip
    """Fill `row` [F] for the candle just taken in; returns its ATR and regime."""
    end = short_at + SHORT
    lanes, top, bottom = scratch[:LANES], scratch[LANES : LANES + 6], scratch[LANES + 6 : LANES + 12]
    # one row of a ring, then a slice of it: numba knows that such a window is contiguous, of a 2-D slice it does not
    close = long[CLOSES][at : at + TAPS]
    returns = short[RETURNS][end - 120 : end]
    atr = weighted_sum(weights[3], long[RANGES][at : at + TAPS], lanes)
    gain = weighted_sum(weights[3], long[GAINS][at : at + TAPS], lanes)
    loss = weighted_sum(weights[3], long[LOSSES][at : at + TAPS], lanes)
    sigma = deviation(returns, mean(returns))
    recent = deviation(returns[-24:], mean(returns[-24:]))
    _extremes(short[HIGHS][end - 56 : end], 1.0, top)
    _extremes(short[LOWS][end - 56 : end], -1.0, bottom)
    _returns_and_trend(close, atr, sigma, lanes, weights, row)
    _momentum(close, short[TYPICALS][end - 20 : end], gain, loss, top, bottom, row)
    _volatility(close, atr, sigma, recent, math.sqrt(length_ms / HOUR_MS), row)
    _shape_and_channel(candle, atr, top, bottom, row)
    _volume(short[VOLUMES][end - 20 : end], short[SIGNED][end - 20 : end], short[FLOWS][end - 14 : end], row)
    _clock_and_funding(close_ms, funding, row)
    for i in range(COLUMNS):
        row[i] = min(max(row[i], -BOUND), BOUND)
    last = close[-1]
    return atr, label(last / close[-1 - HORIZON] - 1.0, last / close[-1 - RECENT] - 1.0, sigma, recent)
