"""Technical indicators, each once: as a number out of a window of candles, and over whole arrays.

A window is a contiguous array, oldest first, whose last element is the newest closed candle. The feature engine calls
the window functions on its rings; the array functions (the bottom half) call the same ones for every position and put
NaN where the window is not full yet, as TA-Lib does.

Exponential averages have no end. The engine must not depend on when its history began, so there they are what they
numerically are anyway: a weighted sum over the last `TAPS` candles, with weights (1 - k)^age that add up to one. What
is cut off weighs (25/27)^352 = 1.7e-12 for the slowest average (EMA 26) and 4.7e-12 for Wilder's 14. `ema` and the
other array functions are the textbook recursions with TA-Lib's starting values.

Sources: J. W. Wilder, New Concepts in Technical Trading Systems (1978): ATR, RSI. D. Lambert, Commodities, Oct 1980:
CCI. G. Lane: stochastic. L. Williams: %R. G. Appel: MACD. J. Bollinger: bands. Definitions and warm-up as in TA-Lib.
No fastmath: every sum has one fixed order, so the same window gives the same bits everywhere.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TAPS: Final = 352
"""Length of the weighted sums: a multiple of 32, long enough for EMA 26 (see the top of the file)."""

LANES: Final = 32

RELATIVE_ZERO: Final = 1e-12
"""A spread smaller than this part of its level is rounding, not movement."""


def exponential_weights(factor: float, taps: int = TAPS) -> Floats:
    """Weights of an exponential average over `taps` values, oldest first, adding up to one.

    Args:
        factor: weight of the newest value in the recursion: 2 / (n + 1) for an EMA, 1 / n for Wilder's average.
        taps: number of weights.
    """
    weights = [factor]
    for _ in range(taps - 1):
        weights.append(weights[-1] * (1.0 - factor))
    total = math.fsum(weights)
    return np.array([weight / total for weight in reversed(weights)])


def macd_weights(fast: int = 12, slow: int = 26) -> Floats:
    """Weights [TAPS] whose weighted sum of closes is EMA(fast) - EMA(slow)."""
    return exponential_weights(2.0 / (fast + 1)) - exponential_weights(2.0 / (slow + 1))


def macd_signal_weights(fast: int = 12, slow: int = 26, signal: int = 9) -> Floats:
    """Weights [TAPS] whose weighted sum of closes is the EMA(signal) of the MACD line.

    The remainder that cutting leaves is given to the oldest weight, so that the sum is zero: a price level has no MACD.
    """
    full = np.convolve(macd_weights(fast, slow), exponential_weights(2.0 / (signal + 1)))
    # oldest first and both kernels reversed: the newest TAPS weights are the last ones
    weights = full[-TAPS:].copy()
    weights[0] -= math.fsum(weights)
    return weights


@njit(cache=True, nogil=True)
def weighted_sum(weights: Floats, window: Floats, lanes: Floats) -> float:
    """Sum of weights[i] * window[i] over TAPS = 11 * LANES values; `lanes` [LANES] is scratch.

    Eleven products a lane as one expression, then halving: a fixed order that the compiler vectorises without fastmath
    (31 ns instead of 140 for a plain loop, whose additions wait for each other).
    """
    for j in range(LANES):
        lanes[j] = (
            (
                (weights[j] * window[j] + weights[j + 32] * window[j + 32])
                + (weights[j + 64] * window[j + 64] + weights[j + 96] * window[j + 96])
            )
            + (
                (weights[j + 128] * window[j + 128] + weights[j + 160] * window[j + 160])
                + (weights[j + 192] * window[j + 192] + weights[j + 224] * window[j + 224])
            )
        ) + (
            (weights[j + 256] * window[j + 256] + weights[j + 288] * window[j + 288])
            + weights[j + 320] * window[j + 320]
        )
    for j in range(16):
        lanes[j] += lanes[j + 16]
    for j in range(8):
        lanes[j] += lanes[j + 8]
    total: float = ((lanes[0] + lanes[4]) + (lanes[1] + lanes[5])) + ((lanes[2] + lanes[6]) + (lanes[3] + lanes[7]))
    return total


@njit(cache=True, nogil=True)
def mean(window: Floats) -> float:
    """Arithmetic mean. The sums of the four quarters do not wait for each other."""
    n = len(window)
    q = n // 4
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    for i in range(q):
        a += window[i]
        b += window[q + i]
        c += window[2 * q + i]
        d += window[3 * q + i]
    for i in range(4 * q, n):
        a += window[i]
    return ((a + b) + (c + d)) / n


@njit(cache=True, nogil=True)
def deviation(window: Floats, centre: float) -> float:
    """Population standard deviation around a given mean (TA-Lib's STDDEV divides by n)."""
    n = len(window)
    q = n // 4
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    for i in range(q):
        a += (window[i] - centre) ** 2
        b += (window[q + i] - centre) ** 2
        c += (window[2 * q + i] - centre) ** 2
        d += (window[3 * q + i] - centre) ** 2
    for i in range(4 * q, n):
        a += (window[i] - centre) ** 2
    return math.sqrt(((a + b) + (c + d)) / n)


@njit(cache=True, nogil=True)
def highest(window: Floats) -> float:
    """Largest value."""
    n = len(window)
    a, b = window[0], window[n - 1]
    for i in range(0, n - 1, 2):
        a = max(a, window[i])
        b = max(b, window[i + 1])
    return max(a, b)


@njit(cache=True, nogil=True)
def lowest(window: Floats) -> float:
    """Smallest value."""
    n = len(window)
    a, b = window[0], window[n - 1]
    for i in range(0, n - 1, 2):
        a = min(a, window[i])
        b = min(b, window[i + 1])
    return min(a, b)


@njit(cache=True, nogil=True)
def slope(window: Floats) -> float:
    """Slope of the least-squares line through the window, per candle (LINEARREG_SLOPE)."""
    n = len(window)
    centre = 0.5 * (n - 1)
    # value i and its mirror image have opposite weights
    half = n // 2
    quarter = half // 2
    a, b = 0.0, 0.0
    for i in range(quarter):
        a += (centre - i) * (window[n - 1 - i] - window[i])
        b += (centre - quarter - i) * (window[n - 1 - quarter - i] - window[quarter + i])
    for i in range(2 * quarter, half):
        a += (centre - i) * (window[n - 1 - i] - window[i])
    return (a + b) / (n * (n * n - 1.0) / 12.0)


@njit(cache=True, nogil=True)
def commodity_channel(typical: Floats) -> float:
    """CCI of a window of typical prices (high + low + close) / 3; 0 where nothing moved."""
    centre = mean(typical)
    spread = 0.0
    for value in typical:
        spread += abs(value - centre)
    spread /= len(typical)
    if spread <= RELATIVE_ZERO * abs(centre):
        return 0.0
    return (typical[-1] - centre) / (0.015 * spread)


@njit(cache=True, nogil=True)
def signed_amount(amount: float, now: float, before: float) -> float:
    """The amount with the sign of a price change; 0 if there was none but rounding (typical prices are thirds)."""
    if abs(now - before) <= RELATIVE_ZERO * abs(before):
        return 0.0
    return amount if now > before else -amount


@njit(cache=True, nogil=True)
def money_flow(flow: Floats) -> float:
    """MFI in [0, 100] of typical price * volume, signed by the change of the typical price; 50 without flow."""
    up = 0.0
    total = 0.0
    for value in flow:
        up += max(value, 0.0)
        total += abs(value)
    return 100.0 * up / total if total > 0.0 else 50.0


@njit(cache=True, nogil=True)
def position_in_range(value: float, low: float, high: float) -> float:
    """Where a value stands between low (0) and high (1); 0.5 if they are equal. Outside it goes below 0 and above 1."""
    return (value - low) / (high - low) if high - low > RELATIVE_ZERO * abs(high) else 0.5


@njit(cache=True, nogil=True)
def strength(up: float, down: float) -> float:
    """RSI in [0, 100] from the average gain and loss; 50 where nothing moved."""
    return 100.0 * up / (up + down) if up + down > 0.0 else 50.0


@njit(cache=True, nogil=True)
def true_range(high: float, low: float, previous_close: float) -> float:
    """Wilder's true range."""
    return max(high - low, abs(high - previous_close), abs(low - previous_close))


# --- over whole arrays -----------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def sma(values: Floats, n: int) -> Floats:
    """Simple moving average over n values."""
    out = np.full(len(values), np.nan)
    for i in range(n - 1, len(values)):
        out[i] = mean(values[i - n + 1 : i + 1])
    return out


@njit(cache=True, nogil=True)
def stddev(values: Floats, n: int) -> Floats:
    """Population standard deviation over n values."""
    out = np.full(len(values), np.nan)
    for i in range(n - 1, len(values)):
        window = values[i - n + 1 : i + 1]
        out[i] = deviation(window, mean(window))
    return out


@njit(cache=True, nogil=True)
def maximum(values: Floats, n: int) -> Floats:
    """Highest of the last n values."""
    out = np.full(len(values), np.nan)
    for i in range(n - 1, len(values)):
        out[i] = highest(values[i - n + 1 : i + 1])
    return out


@njit(cache=True, nogil=True)
def minimum(values: Floats, n: int) -> Floats:
    """Lowest of the last n values."""
    out = np.full(len(values), np.nan)
    for i in range(n - 1, len(values)):
        out[i] = lowest(values[i - n + 1 : i + 1])
    return out


@njit(cache=True, nogil=True)
def linear_regression_slope(values: Floats, n: int) -> Floats:
    """Slope of the least-squares line through the last n values, per candle."""
    out = np.full(len(values), np.nan)
    for i in range(n - 1, len(values)):
        out[i] = slope(values[i - n + 1 : i + 1])
    return out


@njit(cache=True, nogil=True)
def exponential(values: Floats, n: int, factor: float, first: int) -> Floats:
    """Recursive average that starts, at index first + n - 1, with the mean of values[first : first + n]."""
    out = np.full(len(values), np.nan)
    start = first + n - 1
    if start >= len(values):
        return out
    out[start] = mean(values[first : start + 1])
    for i in range(start + 1, len(values)):
        out[i] = out[i - 1] + factor * (values[i] - out[i - 1])
    return out


def ema(values: Floats, n: int) -> Floats:
    """Exponential moving average, k = 2 / (n + 1), started with the mean of the first n values."""
    result: Floats = exponential(values, n, 2.0 / (n + 1), 0)
    return result


def macd(values: Floats, fast: int = 12, slow: int = 26, signal: int = 9) -> tuple[Floats, Floats, Floats]:
    """MACD line, its signal line, and their difference."""
    # the fast average starts late, so that both begin at the same candle (TA-Lib)
    line = exponential(values, fast, 2.0 / (fast + 1), slow - fast) - ema(values, slow)
    signal_line = exponential(line, signal, 2.0 / (signal + 1), slow - 1)
    line[: slow + signal - 2] = np.nan
    return line, signal_line, line - signal_line


def bollinger(values: Floats, n: int = 20, width: float = 2.0) -> tuple[Floats, Floats, Floats]:
    """Upper, middle and lower Bollinger band."""
    middle = sma(values, n)
    spread = width * stddev(values, n)
    return middle + spread, middle, middle - spread


@njit(cache=True, nogil=True)
def ranges(high: Floats, low: Floats, close: Floats) -> Floats:
    """True range of every candle; NaN for the first, which has no previous close."""
    out = np.full(len(close), np.nan)
    for i in range(1, len(close)):
        out[i] = true_range(high[i], low[i], close[i - 1])
    return out


def atr(high: Floats, low: Floats, close: Floats, n: int = 14) -> Floats:
    """Wilder's average true range, in price units."""
    result: Floats = exponential(ranges(high, low, close), n, 1.0 / n, 1)
    return result


def rsi(close: Floats, n: int = 14) -> Floats:
    """Wilder's relative strength index in [0, 100]."""
    change = np.diff(close, prepend=close[:1])
    up = exponential(np.maximum(change, 0.0), n, 1.0 / n, 1)
    down = exponential(np.maximum(-change, 0.0), n, 1.0 / n, 1)
    total = up + down
    out = 100.0 * np.divide(up, total, out=np.full_like(total, 0.5), where=total > 0.0)
    return np.where(np.isnan(total), np.nan, out)


@njit(cache=True, nogil=True)
def stochastic_fast(high: Floats, low: Floats, close: Floats, n: int) -> Floats:
    """Raw %K in [0, 100]: where the close stands in the range of the last n candles."""
    out = np.full(len(close), np.nan)
    for i in range(n - 1, len(close)):
        bottom = lowest(low[i - n + 1 : i + 1])
        out[i] = 100.0 * position_in_range(close[i], bottom, highest(high[i - n + 1 : i + 1]))
    return out


def stochastic(
    high: Floats, low: Floats, close: Floats, n: int = 14, smooth: int = 3, signal: int = 3
) -> tuple[Floats, Floats]:
    """Slow stochastic: %K smoothed by a simple average, and %D, the average of that."""
    slow = sma(stochastic_fast(high, low, close, n), smooth)
    return slow, sma(slow, signal)


def willr(high: Floats, low: Floats, close: Floats, n: int = 14) -> Floats:
    """Williams %R in [-100, 0]."""
    result: Floats = stochastic_fast(high, low, close, n) - 100.0
    return result


@njit(cache=True, nogil=True)
def cci(high: Floats, low: Floats, close: Floats, n: int = 20) -> Floats:
    """Commodity channel index."""
    typical = (high + low + close) / 3.0
    out = np.full(len(close), np.nan)
    for i in range(n - 1, len(close)):
        out[i] = commodity_channel(typical[i - n + 1 : i + 1])
    return out


@njit(cache=True, nogil=True)
def mfi(high: Floats, low: Floats, close: Floats, volume: Floats, n: int = 14) -> Floats:
    """Money flow index in [0, 100]."""
    typical = (high + low + close) / 3.0
    flow = np.zeros(len(close))
    out = np.full(len(close), np.nan)
    for i in range(1, len(close)):
        flow[i] = signed_amount(typical[i] * volume[i], typical[i], typical[i - 1])
        if i >= n:
            out[i] = money_flow(flow[i - n + 1 : i + 1])
    return out


def roc(close: Floats, n: int = 10) -> Floats:
    """Rate of change in percent over n candles."""
    out = np.full(len(close), np.nan)
    out[n:] = (close[n:] / close[:-n] - 1.0) * 100.0
    return out


def obv(close: Floats, volume: Floats) -> Floats:
    """On-balance volume, starting with the first candle's volume."""
    signed = np.sign(np.diff(close)) * volume[1:]
    return np.cumsum(np.concatenate((volume[:1], signed)))
