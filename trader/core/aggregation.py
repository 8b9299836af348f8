"""Longer candles out of shorter ones, as the exchange would have built them.

A bucket of timeframe K holds the base candles whose open lies in [k * K + offset, (k + 1) * K + offset). Its open is
the first one's, its close the last one's, high and low the extremes, volume the sum in time order. Missing base candles
are simply not there: a bucket is built from what was seen. The first bucket of a stream counts only if its very first
base candle was seen, because nobody can tell what came before. `fold` is the one place where two candles become one;
the feature engine and `aggregate` both call it.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from trader.core.timeframes import divides, offset
from trader.core.types import CLOSE, HIGH, LOW, VOLUME


@njit(cache=True, nogil=True)
def bucket_of(time_ms: int, length_ms: int, offset_ms: int) -> int:
    """Number of the bucket in which a candle with this open time lies (floor division: before 1970 too)."""
    return (time_ms - offset_ms) // length_ms


@njit(cache=True, nogil=True)
def fold(partial: NDArray[np.float64], candle: NDArray[np.float64]) -> None:
    """Add the next base candle [5] to the bucket `partial` [5], in place."""
    partial[HIGH] = max(partial[HIGH], candle[HIGH])
    partial[LOW] = min(partial[LOW], candle[LOW])
    partial[CLOSE] = candle[CLOSE]
    partial[VOLUME] += candle[VOLUME]


@njit(cache=True, nogil=True)
def _aggregate(
    times: NDArray[np.int64], candles: NDArray[np.float64], base_ms: int, length_ms: int, offset_ms: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    out_times = np.empty(len(times), np.int64)
    out = np.empty((len(times), 5), np.float64)
    counts = np.zeros(len(times), np.int64)
    n = 0
    first = bucket_of(times[0], length_ms, offset_ms) * length_ms + offset_ms
    skipped = first if times[0] != first else first - length_ms
    for i in range(len(times)):
        start = bucket_of(times[i], length_ms, offset_ms) * length_ms + offset_ms
        if start == skipped:
            continue  # the bucket the stream begins in the middle of
        if n > 0 and out_times[n - 1] == start:
            fold(out[n - 1], candles[i])
        else:
            out_times[n] = start
            out[n] = candles[i]
            n += 1
        counts[n - 1] += 1
    # the last bucket is closed only by its own last base candle: nothing comes after it
    if n > 0 and times[-1] + base_ms != out_times[n - 1] + length_ms:
        n -= 1
    return out_times[:n], out[:n], counts[:n]


def aggregate(
    times: NDArray[np.int64], candles: NDArray[np.float64], base_ms: int, length_ms: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Closed candles of a longer timeframe.

    Args:
        times: int64 [T], open times in ms, strictly increasing, on the grid of `base_ms`.
        candles: float64 [T, 5], open, high, low, close, volume.
        base_ms: length of the given candles.
        length_ms: length of the wanted candles.

    Returns:
        Open times int64 [N], candles float64 [N, 5], and from how many base candles each was made, int64 [N].

    Raises:
        ValueError: `length_ms` is not a multiple of `base_ms`.
    """
    if not divides(base_ms, length_ms):
        raise ValueError(f"{length_ms} ms is not a whole number of candles of {base_ms} ms")
    if len(times) == 0:
        return times.copy(), candles.copy(), np.zeros(0, np.int64)
    result: tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]] = _aggregate(
        times, candles, base_ms, length_ms, offset(length_ms)
    )
    return result
