"""Which extreme of a candle is visited first.

`colour`: a falling candle goes open-high-low-close, a rising one open-low-high-close. On real minutes inside hours it
orders 87.0 % of candles rightly, where fixed order gets 50.0 % and nearest-extreme 79.9 % (benchmarks/path_rules.py:
BTC, ETH and LTC perpetuals, July and August 2023). `random` draws with the measured probability, which depends on
|open - close| / (high - low). `pessimistic` always visits first what hurts the position. `detail` follows finer candles:
their visits [V, 2] (price in units, tied), each beyond all before it; a candle without visits goes by its colour.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from trader.broker.market import PATH, PATH_SEED, Path

_PESSIMISTIC = int(Path.PESSIMISTIC)
_RANDOM = int(Path.RANDOM)

# P(the colour rule's extreme comes first), measured for |d| in [0, .2), [.2, .5), [.5, .8), [.8, 1], in 1/1000
_MEASURED = (641, 883, 982, 995)

VISIT_PRICE, VISIT_TIED, VISIT_FIELDS = range(3)

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


@njit(cache=True, nogil=True)
def draw_thousand(seed: int, time_ms: int) -> int:
    """A number in [0, 1000) that depends on the seed and the candle's time only (splitmix64's finaliser)."""
    x = np.uint64(seed) ^ (np.uint64(time_ms) * _GOLDEN)
    x = (x ^ (x >> np.uint64(30))) * _FIRST
    x = (x ^ (x >> np.uint64(27))) * _SECOND
    x = x ^ (x >> np.uint64(31))
    return np.int64((x >> np.uint64(32)) * np.uint64(1000) >> np.uint64(32))  # type: ignore[return-value]


@njit(cache=True, nogil=True)
def take_first(
    side: int, opened: int, high: int, low: int, close: int, time_ms: int, market: NDArray[np.int64]
) -> bool:
    """True if a position of `side` meets its take before its adverse level, when the candle reaches both."""
    if market[PATH] == _PESSIMISTIC or close == opened or high == low:
        return False
    favourable_first = close < opened if side > 0 else close > opened
    if market[PATH] == _RANDOM:
        tenths = abs(opened - close) * 10 // (high - low)
        chance = _MEASURED[0]
        if tenths >= 8:
            chance = _MEASURED[3]
        elif tenths >= 5:
            chance = _MEASURED[2]
        elif tenths >= 2:
            chance = _MEASURED[1]
        if draw_thousand(market[PATH_SEED], time_ms) >= chance:
            favourable_first = not favourable_first
    return favourable_first


@njit(cache=True, nogil=True)
def take_visited_first(side: int, take: int, adverse: int, visits: NDArray[np.int64]) -> bool:
    """True if a position of `side` meets its take before its adverse level on the way of these visits [V, 2].

    Of two tied visits the one that hurts the position comes first.
    """
    i = 0
    while i < visits.shape[0]:
        pair = 1 + visits[i, VISIT_TIED]
        for k in range(pair):
            # a tied pair is a high, then a low: for a long the low comes first
            price = visits[i + (pair - 1 - k if side > 0 else k), VISIT_PRICE]
            if side * (price - adverse) <= 0:
                return False
            if side * (price - take) >= 0:
                return True
        i += pair
    return False
