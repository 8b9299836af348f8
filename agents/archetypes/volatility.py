"""Volatility: trade the move that breaks a quiet spell, and stand aside in noise.

When the short-term volatility rises out of a low one (Bollinger's squeeze; Crabel's narrow ranges), the candle that does
it shows the direction: its body and the position in the channel. shape_a is how quiet it must have been, shape_b how much
the candle's body counts against the channel, shape_c how strongly a wide range adds.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

from agents.genome import INDEX
from trader.core.features import FEATURES

MEANING: Final = "trades expansions out of quiet markets"

_RATIO = FEATURES.index("volatility_ratio")
_WIDTH = FEATURES.index("bollinger_width")
_BODY = FEATURES.index("body")
_RANGE = FEATURES.index("range")
_CHANNEL = FEATURES.index("donchian_20")
_QUIET = INDEX["shape_a"]
_BY_BODY = INDEX["shape_b"]
_BY_RANGE = INDEX["shape_c"]

_ONE = np.float32(1.0)
_TWO = np.float32(2.0)
_ZERO = np.float32(0.0)
_HALF = np.float32(0.5)


@njit(cache=True, nogil=True, inline="always")
def idea(features: Any, genes: Any, j: int) -> Any:
    """> 0 on an expansion upwards, < 0 downwards; 0 in noise."""
    quiet = _TWO * genes[_QUIET, j]
    calm = max(_ONE + quiet - max(features[_WIDTH], _ZERO) - max(features[_RATIO], _ZERO), _ZERO)
    by_body = genes[_BY_BODY, j]
    direction = by_body * features[_BODY] + (_ONE - by_body) * features[_CHANNEL] * _HALF
    push = _ONE + genes[_BY_RANGE, j] * max(features[_RANGE], _ZERO)
    return direction * push * calm * _HALF


@njit(cache=True, nogil=True, error_model="numpy")
def ideas(features: Any, rows: Any, genes: Any, scores: Any, start: int, stop: int) -> None:
    """`idea` over a block of rows, for agents [start, stop)."""
    for r in rows:
        for j in range(start, stop):
            scores[r, j] = idea(features[r], genes, j)
