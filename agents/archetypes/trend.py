"""Trend following: buy what stands above its averages and keeps rising, sell what stands below and keeps falling.

Time-series momentum (Moskowitz, Ooi and Pedersen, 2012) in three horizons: distance from the 26-candle average, the
MACD line, and the return over 72 candles; shape_a moves the weight from the short horizon to the long one, shape_b asks
for an orderly trend (regression slope) before anything is done.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

from agents.genome import INDEX
from trader.core.features import FEATURES

MEANING: Final = "follows established trends over short and long horizons"

_DISTANCE = FEATURES.index("ema_distance")
_MACD = FEATURES.index("macd")
_RETURN = FEATURES.index("return_72")
_SLOPE = FEATURES.index("slope_50")
_HORIZON = INDEX["shape_a"]
_ORDER = INDEX["shape_b"]

_ONE = np.float32(1.0)
_HALF = np.float32(0.5)
_QUARTER = np.float32(0.25)


@njit(cache=True, nogil=True, inline="always")
def idea(features: Any, genes: Any, j: int) -> Any:
    """> 0 in a rising trend, < 0 in a falling one; about 1 in a strong one."""
    horizon = genes[_HORIZON, j]
    order = genes[_ORDER, j]
    trend = (_ONE - horizon) * (features[_DISTANCE] + features[_MACD]) * _HALF + horizon * features[_RETURN]
    return (_ONE - order) * trend * _HALF + order * features[_SLOPE] * _QUARTER


@njit(cache=True, nogil=True, error_model="numpy")
def ideas(features: Any, rows: Any, genes: Any, scores: Any, start: int, stop: int) -> None:
    """`idea` over a block of rows, for agents [start, stop)."""
    for r in rows:
        for j in range(start, stop):
            scores[r, j] = idea(features[r], genes, j)
