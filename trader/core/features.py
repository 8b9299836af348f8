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
from trader.core.feature_row import (
    CLOSES,
    COLUMNS,
    FEATURES,
    FIRST_LEARNED,
    FLOWS,
    GAINS,
    HIGHS,
    LEARNED_FEATURES,
    LONG_RINGS,
    LOSSES,
    LOWS,
    RANGES,
    RETURNS,
    SCRATCH,
    SHORT,
    SHORT_RINGS,
    SIGNED,
    TYPICALS,
    VOLUMES,
    WEIGHTS,
    describe,
)
from trader.core.indicators import TAPS, signed_amount, true_range
from trader.core.timeframes import DAY_MS, divides, offset
from trader.core.types import CLOSE, HIGH, LOW, VOLUME, Block

__all__ = [
    "FEATURES", "FIRST_LEARNED", "LEARNED_FEATURES", "STAMPS_MS", "WARMUP", "FeatureBlock", "FeatureEngine", "warmup_frames",
]  # fmt: skip

WARMUP: Final = 360
"""Closed candles of a timeframe after which its features are valid: the longest window is TAPS + 1 candles."""

STAMPS_MS: Final = DAY_MS
"""Three funding stamps of eight hours: what the funding features look back on, whatever the timeframe."""

_BUCKET, _LAST, _COUNT, _LONG_AT, _SHORT_AT, _SKIP = range(6)
_NONE: Final = -(1 << 62)
_CANDLE: Final = 2
"""Where the closed candle stands in the facts of a market and timeframe, behind ATR and regime."""


@dataclass(frozen=True, slots=True)
class FeatureBlock:
    """What the engine says about T frames.

    features: float32 [T, M, K, F], of the newest closed candle of each timeframe at each frame; NaN while invalid.
    closed: bool [T, M, K], a candle of that timeframe closed at this frame. It may be invalid: look at `valid` too.
    valid: bool [T, M, K], the timeframe has WARMUP closed candles without a hole.
    atr: float64 [T, M, K], ATR-14 of the timeframe in price units; NaN while invalid.
    regime: int8 [T, M, K], `rows.Regime`; UNKNOWN while invalid.
    candles: float64 [T, M, K, 5], the newest closed candle of each timeframe (open, high, low, close, volume), on
    the frames where one closed; zeros on all others.
    The learned features are 0 until the session's readers write them.
    """

    features: NDArray[np.float32]
    closed: NDArray[np.bool_]
    valid: NDArray[np.bool_]
    atr: NDArray[np.float64]
    regime: NDArray[np.int8]
    candles: NDArray[np.float64]


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
        previous, previous_typical = long[CLOSES, (at - 1) % TAPS], short[TYPICALS, (short_at - 1) % SHORT]
    _push(long[CLOSES], at, last)
    _push(long[RANGES], at, true_range(candle[HIGH], candle[LOW], previous))
    _push(long[GAINS], at, max(last - previous, 0.0))
    _push(long[LOSSES], at, max(previous - last, 0.0))
    _push(short[HIGHS], short_at, candle[HIGH])
    _push(short[LOWS], short_at, candle[LOW])
    _push(short[TYPICALS], short_at, typical)
    _push(short[VOLUMES], short_at, volume)
    _push(short[RETURNS], short_at, last / previous - 1.0)
    _push(short[SIGNED], short_at, signed_amount(volume, last, previous))
    _push(short[FLOWS], short_at, signed_amount(typical * volume, typical, previous_typical))
    ints[_LONG_AT] = (at + 1) % TAPS
    ints[_SHORT_AT] = (short_at + 1) % SHORT
    ints[_COUNT] += 1


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
    facts[_CANDLE:] = partial
    if ints[_COUNT] >= WARMUP:
        close_ms = (bucket + 1) * length_ms + offset_ms
        facts[0], facts[1] = describe(
            partial, close_ms, length_ms, ints[_LONG_AT], ints[_SHORT_AT], long, short, funding, weights, scratch, row
        )
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
    regime: Any, newest: Any,
) -> None:  # fmt: skip
    """The loop: one market and timeframe after the other (its rings stay in the cache), frames inside."""
    scratch = np.empty(SCRATCH)
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
                    if closed[t, m, k]:
                        newest[t, m, k] = fact[_CANDLE:]
                good = count[_COUNT] >= WARMUP
                valid[t, m, k] = good
                if good:
                    for f in range(COLUMNS):
                        features[t, m, k, f] = row[f]
                    features[t, m, k, COLUMNS:] = 0.0
                    atr[t, m, k] = fact[0]
                    regime[t, m, k] = np.int8(fact[1])
                else:
                    features[t, m, k] = np.nan
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
            "long": np.zeros((markets, count, LONG_RINGS, 2 * TAPS)),
            "short": np.zeros((markets, count, SHORT_RINGS, 2 * SHORT)),
            "funding": np.zeros((markets, count, 3)),
            "rows": np.zeros((markets, count, COLUMNS)),
            "facts": np.zeros((markets, count, _CANDLE + 5)),
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
            np.empty((*shape, len(FEATURES)), np.float32), np.zeros(shape, np.bool_), np.empty(shape, np.bool_),
            np.empty(shape), np.empty(shape, np.int8), np.zeros((*shape, 5)),
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
            state["facts"], WEIGHTS, out.features, out.closed, out.valid, out.atr, out.regime,
            out.candles,
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
