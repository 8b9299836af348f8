"""Carry: take the side that funding pays, unless the trend runs against it.

Perpetuals pay funding from the crowded side to the other (Schmeling, Schrimpf and Todorov, "Crypto carry", 2023): above
the usual rate shorts are paid, below zero longs are. shape_a is how far from the usual rate funding must be, shape_b how
much the last three stamps count against the last one, shape_c how much an opposing trend holds back. Without funding
(spot) only the trend part is left.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

from agents.genome import INDEX
from trader.core.features import FEATURES

MEANING: Final = "takes the side that funding pays"

_RATE = FEATURES.index("funding_rate")
_TOTAL = FEATURES.index("funding_sum")
_TREND = FEATURES.index("ema_distance")
_DEAD_ZONE = INDEX["shape_a"]
_BY_TOTAL = INDEX["shape_b"]
_BY_TREND = INDEX["shape_c"]

_ONE = np.float32(1.0)
_TWO = np.float32(2.0)
_ZERO = np.float32(0.0)
_HALF = np.float32(0.5)


@njit(cache=True, nogil=True, inline="always")
def idea(features: Any, genes: Any, j: int) -> Any:
    """> 0 where longs are paid, < 0 where shorts are; about 1 at an unusual rate."""
    by_total = genes[_BY_TOTAL, j]
    unusual = (_ONE - by_total) * features[_RATE] + by_total * features[_TOTAL] - _HALF
    outside = max(abs(unusual) - genes[_DEAD_ZONE, j], _ZERO)
    paid = -outside if unusual > _ZERO else outside
    return paid + genes[_BY_TREND, j] * features[_TREND] * _HALF


@njit(cache=True, nogil=True, error_model="numpy")
def ideas(features: Any, rows: Any, genes: Any, scores: Any, start: int, stop: int) -> None:
    """`idea` over a block of rows, for agents [start, stop)."""
    for r in rows:
        for j in range(start, stop):
            scores[r, j] = idea(features[r], genes, j)
