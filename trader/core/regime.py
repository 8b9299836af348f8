"""Market regimes: the one vocabulary, and the label of a candle from closed candles only.

The label is a pure function of the last 120 returns and 72 closes. A crash comes first: the last 24 candles fell
further than a random walk of the market's usual size would, and they deviate well more than the last 120. Otherwise the
move over the last 72 candles is compared with what a random walk of the same volatility would do in that time,
sigma * sqrt(72) (the t-statistic of the drift): far above zero is a bull market, far below a bear market, the rest is a
range. The label is not smoothed over time: hysteresis would make it depend on when the history began.

The words are those of `rows.Regime`. A synthetic market knows its true regime, in the same words; agents never see it.
"""

from __future__ import annotations

import math
from typing import Final

from numba import njit

from trader.core.rows import Regime

NAMES: Final = tuple(regime.name.lower() for regime in Regime if regime)
"""How regimes are spelled, in the order of their codes."""

HORIZON: Final = 72
"""Candles over which the drift is measured."""
RECENT: Final = 24
"""Candles over which a crash is measured."""
DRIFT: Final = 0.8
"""Standard deviations of a random walk beyond which a drift is a trend."""
TURBULENT: Final = 1.4
"""Ratio of the 24-candle to the 120-candle standard deviation that a crash exceeds."""


@njit(cache=True, nogil=True)
def label(move: float, recent_move: float, deviation: float, recent_deviation: float) -> int:
    """Code of `Regime`.

    Args:
        move: return over the last HORIZON candles, as a fraction.
        recent_move: return over the last RECENT candles.
        deviation: standard deviation of one-candle returns over the last 120.
        recent_deviation: the same over the last RECENT.
    """
    if recent_deviation > TURBULENT * deviation and recent_move < -DRIFT * deviation * math.sqrt(RECENT):
        return 4
    limit = DRIFT * deviation * math.sqrt(HORIZON)
    if move > limit:
        return 1
    if move < -limit:
        return 2
    return 3
