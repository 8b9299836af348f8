"""Mean reversion: sell what has risen too far from its average and buy what has fallen too far.

Contrarian use of the z-score of the close (20 and 50 candles), the relative strength index and the stochastic
(oscillators are positive when a market is overbought); shape_a moves the weight from the z-scores to the oscillators,
shape_b is a dead zone within which a deviation counts for nothing.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

from agents.genome import INDEX
from trader.core.features import FEATURES

MEANING: Final = "trades against deviations from the average"

_SHORT = FEATURES.index("zscore_20")
_LONG = FEATURES.index("zscore_50")
_STRENGTH = FEATURES.index("rsi")
_STOCHASTIC = FEATURES.index("stochastic")
_OSCILLATORS = INDEX["shape_a"]
_DEAD_ZONE = INDEX["shape_b"]

_ONE = np.float32(1.0)
_HALF = np.float32(0.5)
_ZERO = np.float32(0.0)


@njit(cache=True, nogil=True, inline="always")
def idea(features: Any, genes: Any, j: int) -> Any:
    """> 0 far below the average, < 0 far above it; about 1 at two standard deviations."""
    oscillators = genes[_OSCILLATORS, j]
    deviation = (_ONE - oscillators) * (features[_SHORT] + features[_LONG]) * _HALF
    deviation += oscillators * (features[_STRENGTH] + features[_STOCHASTIC]) * _HALF
    outside = max(abs(deviation) - genes[_DEAD_ZONE, j], _ZERO)
    return -outside if deviation > _ZERO else outside


@njit(cache=True, nogil=True, error_model="numpy")
def ideas(features: Any, rows: Any, genes: Any, scores: Any, start: int, stop: int) -> None:
    """`idea` over a block of rows, for agents [start, stop)."""
    for r in rows:
        for j in range(start, stop):
            scores[r, j] = idea(features[r], genes, j)
