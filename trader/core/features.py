"""Candles in, features out: incremental, causal, and the same bits for any cutting of the stream into blocks.

One compiled loop, `_advance`, serves live (blocks of one frame) and replay. It folds base candles into each timeframe's
bucket, closes buckets, keeps the last candles of every market and timeframe in rings, and computes a row of features
each time a candle closes. Every feature is a pure function of the last WARMUP closed candles of its timeframe (and of
the clock and the funding stamps): nothing older has any weight, so a longer history changes no bit.

Closing: a bucket closes at its last base candle; if that one is missing, when the next base candle of that market
arrives, before that frame is decided. A whole missing bucket is a hole: that timeframe starts again and is invalid
until WARMUP candles have closed. The first bucket counts only if its first base candle was seen.

Axes: T frames, M markets, K timeframes, F features. Rings are mirrored (each value is written twice, one ring length
apart), so that a window is always one contiguous slice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from trader.core.aggregation import bucket_of, fold
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
    signed_amount,
    slope,
    strength,
    true_range,
    weighted_sum,
)
from trader.core.regime import HORIZON, label
from trader.core.timeframes import DAY_MS, HOUR_MS, MONDAY_MS, WEEK_MS, divides, offset
from trader.core.types import CLOSE, HIGH, LOW, OPEN, VOLUME, Block

FEATURES: Final[tuple[str, ...]] = (
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
"""Names in column order; docs/features.md has a line for each."""

WARMUP: Final = 360
"""Closed candles of a timeframe after which its features are valid: the longest window is TAPS + 1 candles."""

STAMPS_MS: Final = DAY_MS
"""Three funding stamps of eight hours: what the funding features look back on, whatever the timeframe."""

BOUND: Final = 8.0
"""Features are clipped to [-BOUND, BOUND]."""

_F: Final = len(FEATURES)
_SHORT: Final = 128
_CLOSE, _RANGE, _GAIN, _LOSS = range(4)
_HIGH, _LOW, _TYPICAL, _VOLUME, _RETURN, _SIGNED, _FLOW = range(7)
_SHORT_RINGS: Final = 7
_BUCKET, _LAST, _COUNT, _LONG_AT, _SHORT_AT, _SKIP = range(6)
_NONE: Final = -(1 << 62)
_WEIGHTS: Final = np.stack(
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


@dataclass(frozen=True, slots=True)
class FeatureBlock:
    """What the engine says about T frames.

    features: float32 [T, M, K, F], of the newest closed candle of each timeframe at each frame; NaN while invalid.
    closed: bool [T, M, K], a candle of that timeframe closed at this frame. It may be invalid: look at `valid` too.
    valid: bool [T, M, K], the timeframe has WARMUP closed candles without a hole.
    atr: float64 [T, M, K], ATR-14 of the timeframe in price units; NaN while invalid.
    regime: int8 [T, M, K], `rows.Regime`; UNKNOWN while invalid.
    """

    features: NDArray[np.float32]
    closed: NDArray[np.bool_]
    valid: NDArray[np.bool_]
    atr: NDArray[np.float64]
    regime: NDArray[np.int8]


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
    row[12] = commodity_channel(typical[-20:]) / 100.0
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
    average = mean(volume[-20:])
    row[22] = _contrast(volume[-1], average)
    row[23] = 2.0 * _ratio(mean(signed[-20:]), average, 0.0)
    row[24] = (money_flow(flow[-14:]) - 50.0) / 25.0


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
def _push(ring: NDArray[np.float64], at: int, value: float) -> None:
    """Write into a mirrored ring [2 n]."""
    ring[at] = value
    ring[at + len(ring) // 2] = value


@njit(cache=True, nogil=True)
def _take_in(candle: Any, ints: Any, long: Any, short: Any) -> None:
    """A closed candle enters the rings of its timeframe."""
    last, volume = candle[CLOSE], candle[VOLUME]
    typical = (candle[HIGH] + candle[LOW] + last) / 3.0
    at, short_at = ints[_LONG_AT], ints[_SHORT_AT]
    # the first candle has no predecessor: its zeros leave the windows before WARMUP
    previous, previous_typical = last, typical
    if ints[_COUNT] > 0:
        previous, previous_typical = long[_CLOSE, (at - 1) % TAPS], short[_TYPICAL, (short_at - 1) % _SHORT]
    _push(long[_CLOSE], at, last)
    _push(long[_RANGE], at, true_range(candle[HIGH], candle[LOW], previous))
    _push(long[_GAIN], at, max(last - previous, 0.0))
    _push(long[_LOSS], at, max(previous - last, 0.0))
    _push(short[_HIGH], short_at, candle[HIGH])
    _push(short[_LOW], short_at, candle[LOW])
    _push(short[_TYPICAL], short_at, typical)
    _push(short[_VOLUME], short_at, volume)
    _push(short[_RETURN], short_at, last / previous - 1.0)
    _push(short[_SIGNED], short_at, signed_amount(volume, last, previous))
    _push(short[_FLOW], short_at, signed_amount(typical * volume, typical, previous_typical))
    ints[_LONG_AT] = (at + 1) % TAPS
    ints[_SHORT_AT] = (short_at + 1) % _SHORT
    ints[_COUNT] += 1


@njit(cache=True, nogil=True)
def _describe(
    candle: Any, close_ms: int, length_ms: int, ints: Any, long: Any, short: Any, funding: Any, weights: Any,
    scratch: Any, row: Any,
) -> tuple[float, int]:  # fmt: skip
    """Fill `row` [F] for the candle just taken in; returns its ATR and regime."""
    at, end = ints[_LONG_AT], ints[_SHORT_AT] + _SHORT
    lanes, top, bottom = scratch[:LANES], scratch[LANES : LANES + 6], scratch[LANES + 6 : LANES + 12]
    # one row of a ring, then a slice of it: numba knows that such a window is contiguous, of a 2-D slice it does not
    close = long[_CLOSE][at : at + TAPS]
    returns = short[_RETURN][end - 120 : end]
    atr = weighted_sum(weights[3], long[_RANGE][at : at + TAPS], lanes)
    gain = weighted_sum(weights[3], long[_GAIN][at : at + TAPS], lanes)
    loss = weighted_sum(weights[3], long[_LOSS][at : at + TAPS], lanes)
    sigma = deviation(returns, mean(returns))
    recent = deviation(returns[-24:], mean(returns[-24:]))
    _extremes(short[_HIGH][end - 56 : end], 1.0, top)
    _extremes(short[_LOW][end - 56 : end], -1.0, bottom)
    _returns_and_trend(close, atr, sigma, lanes, weights, row)
    _momentum(close, short[_TYPICAL][end - 20 : end], gain, loss, top, bottom, row)
    _volatility(close, atr, sigma, recent, math.sqrt(length_ms / HOUR_MS), row)
    _shape_and_channel(candle, atr, top, bottom, row)
    _volume(short[_VOLUME][end - 20 : end], short[_SIGNED][end - 20 : end], short[_FLOW][end - 20 : end], row)
    _clock_and_funding(close_ms, funding, row)
    for i in range(_F):
        row[i] = min(max(row[i], -BOUND), BOUND)
    return atr, label(close[-1] / close[-1 - HORIZON] - 1.0, sigma, recent)


@njit(cache=True, nogil=True)
def _close_bucket(
    partial: Any, length_ms: int, offset_ms: int, ints: Any, long: Any, short: Any, funding: Any, weights: Any,
    scratch: Any, row: Any, facts: Any,
) -> bool:  # fmt: skip
    """Close the open bucket of one market and timeframe; True if it counted."""
    bucket = ints[_BUCKET]
    ints[_BUCKET] = _NONE
    ints[_LAST] = bucket
    if ints[_SKIP] == 1:
        ints[_SKIP] = 0
        return False
    _take_in(partial, ints, long, short)
    if ints[_COUNT] >= WARMUP:
        close_ms = (bucket + 1) * length_ms + offset_ms
        facts[0], facts[1] = _describe(partial, close_ms, length_ms, ints, long, short, funding, weights, scratch, row)
    return True


@njit(cache=True, nogil=True)
def _step(
    time_ms: int, candle: Any, base_ms: int, length_ms: int, offset_ms: int, partial: Any, ints: Any, long: Any,
    short: Any, funding: Any, weights: Any, scratch: Any, row: Any, facts: Any,
) -> bool:  # fmt: skip
    """One base candle of one market, for one timeframe; True if a candle of the timeframe closed."""
    bucket = bucket_of(time_ms, length_ms, offset_ms)
    closed = False
    if ints[_BUCKET] != _NONE and ints[_BUCKET] != bucket:
        closed = _close_bucket(partial, length_ms, offset_ms, ints, long, short, funding, weights, scratch, row, facts)
    if ints[_LAST] != _NONE and bucket > ints[_LAST] + 1:
        ints[_COUNT] = 0
    if ints[_BUCKET] == _NONE:
        ints[_BUCKET] = bucket
        ints[_SKIP] = 1 if ints[_LAST] == _NONE and time_ms != bucket * length_ms + offset_ms else 0
        partial[:] = candle
    else:
        fold(partial, candle)
    if time_ms + base_ms == (bucket + 1) * length_ms + offset_ms:
        counted = _close_bucket(partial, length_ms, offset_ms, ints, long, short, funding, weights, scratch, row, facts)
        closed = closed or counted
    return closed


@njit(cache=True, nogil=True)
def _advance(
    times: Any, candles: Any, present: Any, rates: Any, base_ms: int, lengths: Any, ints: Any, partial: Any, long: Any,
    short: Any, funding: Any, rows: Any, facts: Any, weights: Any, features: Any, closed: Any, valid: Any, atr: Any,
    regime: Any,
) -> None:  # fmt: skip
    """The loop: one market and timeframe after the other (its rings stay in the cache), frames inside."""
    scratch = np.empty(LANES + 12)
    for m in range(candles.shape[1]):
        for k in range(lengths.shape[0]):
            stamps, row, fact = funding[m, k], rows[m, k], facts[m, k]
            count, bucket, long_rings, short_rings = ints[m, k], partial[m, k], long[m, k], short[m, k]
            for t in range(len(times)):
                if not math.isnan(rates[t, m]):
                    stamps[2], stamps[1], stamps[0] = stamps[1], stamps[0], rates[t, m]
                if present[t, m]:
                    closed[t, m, k] = _step(
                        times[t], candles[t, m], base_ms, lengths[k, 0], lengths[k, 1], bucket, count, long_rings,
                        short_rings, stamps, weights, scratch, row, fact,
                    )  # fmt: skip
                good = count[_COUNT] >= WARMUP
                valid[t, m, k] = good
                if good:
                    for f in range(_F):
                        features[t, m, k, f] = row[f]
                    atr[t, m, k] = fact[0]
                    regime[t, m, k] = np.int8(fact[1])
                else:
                    for f in range(_F):
                        features[t, m, k, f] = np.nan
                    atr[t, m, k] = np.nan
                    regime[t, m, k] = 0


def warmup_frames(base_ms: int, timeframes_ms: tuple[int, ...]) -> int:
    """Base candles of history after which every feature of every timeframe is valid and depends on nothing older.

    WARMUP candles of the longest timeframe, and at least a day, for the funding stamps; one candle more than either, so
    that a history may begin in the middle of a bucket.
    """
    longest = max(timeframes_ms)
    return -(-max((WARMUP + 1) * longest, STAMPS_MS + base_ms) // base_ms)


def _frozen(values: NDArray[Any]) -> NDArray[Any]:
    """A contiguous read-only view: numba compiles once more for writable arrays, so there is only one kind."""
    view = np.ascontiguousarray(values).view()
    view.flags.writeable = False
    return view


class FeatureEngine:
    """Features of M markets on K timeframes, fed with blocks of base candles in time order.

    State lies in a handful of arrays, all of them in `state()`: what a checkpoint needs and nothing else.
    """

    def __init__(self, markets: int, base_ms: int, timeframes_ms: tuple[int, ...]) -> None:
        for length in timeframes_ms:
            if not divides(base_ms, length):
                raise ValueError(f"timeframe of {length} ms is not a whole number of base candles of {base_ms} ms")
        count = len(timeframes_ms)
        self.markets = markets
        self.base_ms = base_ms
        self.timeframes_ms = timeframes_ms
        self._lengths = np.array([(length, offset(length)) for length in timeframes_ms], np.int64).reshape(count, 2)
        self._state: dict[str, NDArray[Any]] = {
            "time": np.full(1, _NONE, np.int64),
            "ints": np.zeros((markets, count, 6), np.int64),
            "partial": np.zeros((markets, count, 5)),
            "long": np.zeros((markets, count, 4, 2 * TAPS)),
            "short": np.zeros((markets, count, _SHORT_RINGS, 2 * _SHORT)),
            "funding": np.zeros((markets, count, 3)),
            "rows": np.zeros((markets, count, _F)),
            "facts": np.zeros((markets, count, 2)),
        }
        self._state["ints"][:, :, (_BUCKET, _LAST)] = _NONE

    def update(self, block: Block) -> FeatureBlock:
        """Features at every frame of the next block.

        Raises:
            ValueError: the block has another number of markets, or does not come after the one before it.
        """
        frames, markets = block.present.shape
        if markets != self.markets:
            raise ValueError(f"block has {markets} markets, the engine {self.markets}")
        shape = (frames, markets, len(self.timeframes_ms))
        out = FeatureBlock(
            np.empty((*shape, _F), np.float32), np.zeros(shape, np.bool_), np.empty(shape, np.bool_), np.empty(shape),
            np.empty(shape, np.int8),
        )  # fmt: skip
        if frames == 0:
            return out
        state = self._state
        if block.times[0] <= state["time"][0]:
            raise ValueError(f"block begins at {block.times[0]}, not after {state['time'][0]}")
        _advance(
            _frozen(block.times), _frozen(block.candles), _frozen(block.present), _frozen(block.stamp_rate),
            self.base_ms, self._lengths,
            state["ints"], state["partial"], state["long"], state["short"], state["funding"], state["rows"],
            state["facts"], _WEIGHTS, out.features, out.closed, out.valid, out.atr, out.regime,
        )  # fmt: skip
        state["time"][0] = block.times[-1]
        return out

    def state(self) -> dict[str, NDArray[Any]]:
        """A copy of everything the engine remembers."""
        return {name: values.copy() for name, values in self._state.items()}

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Continue from what `state` returned.

        Raises:
            ValueError: it belongs to an engine with other markets, timeframes or windows.
        """
        for name, values in self._state.items():
            if name not in state or state[name].shape != values.shape or state[name].dtype != values.dtype:
                raise ValueError(f"feature state {name!r} does not fit this engine")
        for name, values in self._state.items():
            values[...] = state[name]
