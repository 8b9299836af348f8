"""Breakout: go with a price that leaves its channel, more so when volume and range confirm it.

Donchian channels of 20 and 55 candles (the two systems of Dennis and Eckhardt's turtles); shape_a moves the weight from
the short channel to the long one, shape_b is how near the edge of the channel a price must be, shape_c how much unusual
volume and shape_d how much a widening volatility strengthen the signal.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

from agents.genome import INDEX
from trader.core.features import FEATURES

MEANING: Final = "goes with prices that leave their channel"

_SHORT = FEATURES.index("donchian_20")
_LONG = FEATURES.index("donchian_55")
_VOLUME = FEATURES.index("relative_volume")
_VOLATILITY = FEATURES.index("volatility_ratio")
_CHANNEL = INDEX["shape_a"]
_EDGE = INDEX["shape_b"]
_BY_VOLUME = INDEX["shape_c"]
_BY_VOLATILITY = INDEX["shape_d"]

_ONE = np.float32(1.0)
_TWO = np.float32(2.0)
_ZERO = np.float32(0.0)


@njit(cache=True, nogil=True, inline="always")
def idea(features: Any, genes: Any, j: int) -> Any:
    """> 0 at the channel's top, < 0 at its bottom; 0 inside; about 1 on a confirmed break."""
    channel = genes[_CHANNEL, j]
    position = (_ONE - channel) * features[_SHORT] + channel * features[_LONG]
    beyond = max(abs(position) - genes[_EDGE, j] * _TWO, _ZERO)
    strength = _ONE + genes[_BY_VOLUME, j] * features[_VOLUME] + genes[_BY_VOLATILITY, j] * features[_VOLATILITY]
    push = beyond * max(strength, _ZERO)
    return push if position > _ZERO else -push


@njit(cache=True, nogil=True, error_model="numpy")
def ideas(features: Any, rows: Any, genes: Any, scores: Any, start: int, stop: int) -> None:
    """`idea` over a block of rows, for agents [start, stop)."""
    for r in rows:
        for j in range(start, stop):
            scores[r, j] = idea(features[r], genes, j)
