"""Scalper: small reversals of the last candle, when volume is high and the range is wide.

Short-term reversal (Lehmann, 1990; Jegadeesh, 1990): a candle that ran far on its own volume tends to give part of it
back. shape_a is how far it must have run, shape_b how much a long shadow (a rejected extreme) counts, shape_c how much
unusual volume strengthens the signal, shape_d moves the weight to the stochastic.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

from agents.genome import INDEX
from trader.core.features import FEATURES

MEANING: Final = "fades the last candle's overshoot"

_STEP = FEATURES.index("return_1")
_SHADOW = FEATURES.index("shadow")
_VOLUME = FEATURES.index("relative_volume")
_STOCHASTIC = FEATURES.index("stochastic")
_DEAD_ZONE = INDEX["shape_a"]
_BY_SHADOW = INDEX["shape_b"]
_BY_VOLUME = INDEX["shape_c"]
_BY_STOCHASTIC = INDEX["shape_d"]

_ONE = np.float32(1.0)
_ZERO = np.float32(0.0)
_HALF = np.float32(0.5)


@njit(cache=True, nogil=True, inline="always")
def idea(features: Any, genes: Any, j: int) -> Any:
    """> 0 after an overshoot downwards, < 0 upwards."""
    step = features[_STEP]
    outside = max(abs(step) - genes[_DEAD_ZONE, j], _ZERO)
    reversal = -outside if step > _ZERO else outside
    strength = max(_ONE + genes[_BY_VOLUME, j] * features[_VOLUME], _ZERO)
    by_stochastic = genes[_BY_STOCHASTIC, j]
    fade = (_ONE - by_stochastic) * reversal * strength - by_stochastic * features[_STOCHASTIC] * _HALF
    return fade + genes[_BY_SHADOW, j] * features[_SHADOW] * _HALF


@njit(cache=True, nogil=True, error_model="numpy")
def ideas(features: Any, rows: Any, genes: Any, scores: Any, start: int, stop: int) -> None:
    """`idea` over a block of rows, for agents [start, stop)."""
    for r in rows:
        for j in range(start, stop):
            scores[r, j] = idea(features[r], genes, j)
