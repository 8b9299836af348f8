"""Joining funding stamps to base candles.

Exchanges stamp funding a millisecond or two beside the full hour. A stamp belongs to the base candle whose open is
nearest within five seconds; where there is none (longer candles, a hole) to the first candle at or after it, because
that is the first moment at which this session can pay. Several stamps on one candle add up. The mark price of a stamp
is the open of the mark candle at that moment, from the finest mark file that has one, else NaN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from trader.feeds.files import Candles, Stamps

TOLERANCE_MS: Final = 5_000
"""How far a stamp may lie from the open of its candle: hundreds of times the jitter seen, far below any candle."""


def nearest(times: NDArray[np.int64], stamps: NDArray[np.int64]) -> NDArray[np.int64]:
    """Position in `times` [T] of the one nearest to each stamp [N] within the tolerance, -1 where there is none."""
    if len(times) == 0:
        return np.full(len(stamps), -1, np.int64)
    right = np.minimum(np.searchsorted(times, stamps), len(times) - 1)
    left = np.maximum(right - 1, 0)
    best = np.where(np.abs(times[right] - stamps) <= np.abs(stamps - times[left]), right, left)
    return np.where(np.abs(times[best] - stamps) <= TOLERANCE_MS, best, -1)


def join(
    times: NDArray[np.int64], stamps: Stamps, marks: Sequence[Candles]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rate and mark price of every candle.

    Args:
        times: int64 [T], opens of the market's base candles, the whole history, increasing.
        stamps: the funding file.
        marks: mark candles, finest timeframe first.

    Returns:
        rates float64 [T] and marks float64 [T], NaN where nothing is stamped. Stamps before the first candle or after
        the last are left out.
    """
    rates = np.full(len(times), np.nan)
    prices = np.full(len(times), np.nan)
    near = nearest(times, stamps.times)
    place = np.where(near >= 0, near, np.searchsorted(times, stamps.times))
    inside = (place < len(times)) & (stamps.times >= times[0] - TOLERANCE_MS)
    place = place[inside]
    rates[place] = 0.0
    np.add.at(rates, place, stamps.rates[inside])
    for candles in reversed(marks):  # the finest is written last
        at = nearest(candles.times, stamps.times[inside])
        prices[place[at >= 0]] = candles.values[at[at >= 0], 0]
    return rates, prices
