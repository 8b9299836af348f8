"""The way through a base candle, taken from finer candles of the same market (`exchange.path = "detail"`).

Which of two levels a price meets first depends on nothing but the moments at which it goes beyond all it has been at
before. So a way is kept as its visits: prices in time order, each above or below everything before it, beginning after
the open of the base candle. A finer candle is visited at its open, then at its two extremes in the order of its colour
(falling: high first); one that does not move leaves both orders open (`tied`). Finer prices are moved into the base
candle; after the last one the base candle itself is visited alike, for what of its extremes they never reached (holes in
the finer candles). A candle without finer ones, or one of whose extremes is its open, has no visits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from trader.core.types import CLOSE, HIGH, LOW, OPEN, Visits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trader.feeds.files import Candles

Floats = NDArray[np.float64]

PRICE, EXTREME, TIED, WAY_FIELDS = range(4)
"""Columns of a way: float64 [visits, WAY_FIELDS]; extreme +1 is a new high, -1 a new low."""

_AT_ONCE: Final = 4096
"""Base candles a pass: the scratch array is sized for the worst case."""


@dataclass(frozen=True, slots=True)
class Detail:
    """Finer candles of one market: their length in ms, and the candles."""

    length_ms: int
    candles: Candles


@njit(cache=True)
def _add(way: Floats, fixed: int, count: int, price: float, extreme: float) -> int:
    """Append a visit; further on the same side it takes the place of the last one. Returns the new count."""
    if count > fixed and way[count - 1, EXTREME] == extreme:
        way[count - 1, PRICE] = price
        return count
    way[count, PRICE] = price
    way[count, EXTREME] = extreme
    way[count, TIED] = 0.0
    return count + 1


@njit(cache=True)
def _swing(
    way: Floats, fixed: int, count: int, opened: float, high: float, low: float, close: float, top: float, bottom: float
) -> tuple[int, int]:
    """Visits of a candle's two extremes, in the order of its colour, where they lie beyond top and bottom.

    Returns (rows that nothing is merged into any more, rows).
    """
    above, below = high > top, low < bottom
    if above and below and close == opened:
        way[count] = (high, 1.0, 1.0)
        way[count + 1] = (low, -1.0, 0.0)
        return count + 2, count + 2
    if above and close < opened:
        count = _add(way, fixed, count, high, 1.0)
    if below:
        count = _add(way, fixed, count, low, -1.0)
    if above and not close < opened:
        count = _add(way, fixed, count, high, 1.0)
    return fixed, count


@njit(cache=True)
def _way(base: Floats, finer: Floats, way: Floats, start: int) -> int:
    """The way through one candle `base` [>= 4] by its finer candles [N, >= 4], into rows of `way` from `start` on.

    Returns the number of rows then.
    """
    top = bottom = base[OPEN]
    fixed = count = start
    for i in range(len(finer)):
        opened = min(max(finer[i, OPEN], base[LOW]), base[HIGH])
        high = min(max(finer[i, HIGH], base[LOW]), base[HIGH])
        low = min(max(finer[i, LOW], base[LOW]), base[HIGH])
        if opened > top:
            count = _add(way, fixed, count, opened, 1.0)
        elif opened < bottom:
            count = _add(way, fixed, count, opened, -1.0)
        top, bottom = max(top, opened), min(bottom, opened)
        fixed, count = _swing(way, fixed, count, finer[i, OPEN], high, low, finer[i, CLOSE], top, bottom)
        top, bottom = max(top, high), min(bottom, low)
    if len(finer) == 0:
        return start
    _, count = _swing(way, fixed, count, base[OPEN], base[HIGH], base[LOW], base[CLOSE], top, bottom)
    return count if count - start > 1 else start


@njit(cache=True)
def _ways(base: Floats, edges: NDArray[np.int64], finer: Floats, way: Floats, counts: NDArray[np.int64]) -> int:
    """Ways through candles `base` [T, >= 4], candle i's finer ones are rows edges[i] to edges[i + 1] of `finer`."""
    total = 0
    for i in range(len(base)):
        after = _way(base[i], finer[edges[i, 0] : edges[i, 1]], way, total)
        counts[i] = after - total
        total = after
    return total


def ways(times: NDArray[np.int64], values: Floats, base_ms: int, finer: Candles) -> tuple[NDArray[np.int64], Floats]:
    """The ways through a market's base candles.

    Args:
        times: int64 [T], opens of the base candles, increasing.
        values: float64 [T, 5].
        base_ms: their length.
        finer: candles of a shorter length that divides it.

    Returns:
        counts int64 [T], how many visits each candle has; ways float64 [sum of counts, WAY_FIELDS].
    """
    counts = np.zeros(len(times), np.int64)
    parts = [np.zeros((0, WAY_FIELDS))]
    edges = np.stack((np.searchsorted(finer.times, times), np.searchsorted(finer.times, times + base_ms)), axis=1)
    for first in range(0, len(times), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        inside = int(np.sum(edges[part, 1] - edges[part, 0]))
        scratch = np.empty((3 * inside + 2 * _AT_ONCE, WAY_FIELDS))
        used = _ways(values[part], edges[part], finer.values, scratch, counts[part])
        parts.append(scratch[:used].copy())
    return counts, np.concatenate(parts)


def visits_of(
    markets: Sequence[tuple[NDArray[np.int64], Floats, Detail | None]], base_ms: int, start_ms: int | None
) -> Visits:
    """Visits of all markets: (times [T], values [T, 5], finer candles or None) each, from `start_ms` on."""
    places, prices = [np.zeros((0, 5), np.int64)], [np.zeros(0)]
    for m, (times, values, detail) in enumerate(markets):
        if detail is None:
            continue
        first = 0 if start_ms is None else int(np.searchsorted(times, start_ms))
        counts, found = ways(times[first:], values[first:], base_ms, detail.candles)
        begins = np.repeat(np.cumsum(counts) - counts, counts)
        place = np.empty((len(found), 5), np.int64)
        place[:, 0] = np.repeat(times[first:], counts)
        place[:, 1] = m
        place[:, 2] = np.arange(len(found)) - begins + 1
        place[:, 3:] = found[:, [EXTREME, TIED]]
        places.append(place)
        prices.append(found[:, PRICE])
    place, price = np.concatenate(places), np.concatenate(prices)
    order = np.lexsort((place[:, 2], place[:, 1], place[:, 0]))
    return Visits(place[order], price[order])
