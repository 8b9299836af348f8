"""Market regime of a candle, from closed candles only: a pure function of the last 120 returns and 72 closes.

Volatile comes first: the standard deviation of the last 24 returns is well above that of the last 120. Otherwise the
move over the last 72 candles is compared with what a random walk of the same volatility would do in that time,
sigma * sqrt(72) (the t-statistic of the drift): far above zero is a bull market, far below a bear market, the rest is a
range. The label is not smoothed over time: hysteresis would make it depend on when the history began.
"""

from __future__ import annotations

import math
from typing import Final

from numba import njit

HORIZON: Final = 72
"""Candles over which the drift is measured."""
DRIFT: Final = 0.8
"""Standard deviations of a random walk beyond which a drift is a trend."""
VOLATILE: Final = 1.4
"""Ratio of the 24-candle to the 120-candle standard deviation above which the market is volatile."""


@njit(cache=True, nogil=True)
def label(move: float, deviation: float, recent_deviation: float) -> int:
    """Code of `rows.Regime`.

    Args:
        move: return over the last HORIZON candles, as a fraction.
        deviation: standard deviation of one-candle returns over the last 120.
        recent_deviation: the same over the last 24.
    """
    if recent_deviation > VOLATILE * deviation:
        return 4
    limit = DRIFT * deviation * math.sqrt(HORIZON)
    if move > limit:
        return 1
    if move < -limit:
        return 2
    return 3
