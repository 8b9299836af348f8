"""Contrarian: against the crowd after a long, exhausted move.

Long-horizon reversal (De Bondt and Thaler, 1985, at the horizons of these markets): a return over 72 candles far from
zero with momentum already fading, and with money flow on the crowd's side. shape_a is how long a move must have been,
shape_b how much money flow counts, shape_c how much a fading MACD histogram must confirm.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

from agents.genome import INDEX
from trader.core.features import FEATURES

MEANING: Final = "trades against long moves that fade"

_LONG = FEATURES.index("return_72")
_FLOW = FEATURES.index("money_flow")
_HISTOGRAM = FEATURES.index("macd_histogram")
_DEAD_ZONE = INDEX["shape_a"]
_BY_FLOW = INDEX["shape_b"]
_BY_FADING = INDEX["shape_c"]

_ONE = np.float32(1.0)
_ZERO = np.float32(0.0)
_HALF = np.float32(0.5)


@njit(cache=True, nogil=True, inline="always")
def idea(features: Any, genes: Any, j: int) -> Any:
    """> 0 after a long fall, < 0 after a long rise."""
    move = features[_LONG]
    outside = max(abs(move) - genes[_DEAD_ZONE, j], _ZERO)
    against = -outside if move > _ZERO else outside
    crowd = -genes[_BY_FLOW, j] * features[_FLOW] * _HALF
    fading = genes[_BY_FADING, j] * features[_HISTOGRAM]
    return against + crowd + fading


@njit(cache=True, nogil=True, error_model="numpy")
def ideas(features: Any, rows: Any, genes: Any, scores: Any, start: int, stop: int) -> None:
    """`idea` over a block of rows, for agents [start, stop)."""
    for r in rows:
        for j in range(start, stop):
            scores[r, j] = idea(features[r], genes, j)
