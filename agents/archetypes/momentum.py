"""Momentum: what has moved lately, with volume behind it, goes on moving.

Returns over 4, 12 and 24 candles in standard deviations (Jegadeesh and Titman, 1993, at the horizons of an intraday
market) and the direction of the volume; shape_a moves the weight from the short horizon to the long one, shape_b from
prices to volume, shape_c asks for acceleration (the short return beyond the long one).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

from agents.genome import INDEX
from trader.core.features import FEATURES

MEANING: Final = "goes with recent moves that volume confirms"

_SHORT = FEATURES.index("return_4")
_MIDDLE = FEATURES.index("return_12")
_LONG = FEATURES.index("return_24")
_FLOW = FEATURES.index("volume_flow")
_HORIZON = INDEX["shape_a"]
_BY_FLOW = INDEX["shape_b"]
_ACCELERATION = INDEX["shape_c"]

_ONE = np.float32(1.0)
_HALF = np.float32(0.5)


@njit(cache=True, nogil=True, inline="always")
def idea(features: Any, genes: Any, j: int) -> Any:
    """> 0 after a rise, < 0 after a fall; about 1 after a strong one."""
    horizon = genes[_HORIZON, j]
    by_flow = genes[_BY_FLOW, j]
    move = (_ONE - horizon) * (features[_SHORT] + features[_MIDDLE]) * _HALF + horizon * features[_LONG]
    faster = genes[_ACCELERATION, j] * (features[_SHORT] - features[_LONG]) * _HALF
    return (_ONE - by_flow) * (move + faster) * _HALF + by_flow * features[_FLOW]


@njit(cache=True, nogil=True, error_model="numpy")
def ideas(features: Any, rows: Any, genes: Any, scores: Any, start: int, stop: int) -> None:
    """`idea` over a block of rows, for agents [start, stop)."""
    for r in rows:
        for j in range(start, stop):
            scores[r, j] = idea(features[r], genes, j)
