"""What the write gate sees: an experience and its context as twelve bounded numbers.

What: the value and its size in standard deviations, how new the key is to the single experiences and to the prototypes,
how surprising the value was and how unsure the memory was, and three fixed random projections each of key and
context. Everything is known when the experience is written: the read it needs is made before the write.
Source: nested-learning.md M1-M2 and A3 (inputs without a scale of their own). Shapes: features [12]. Units: none.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from memory.read import Recall

FEATURES = 12
UNSEEN = -128  # code of "the gate did not look"
_STEP = 3.0 / 127.0
_SALTS = {"key": 5, "context": 6}


def projection(kind: str, size: int, seed: int) -> NDArray[np.float64]:
    """Fixed random directions [3, size] for `kind` "key" or "context"; the same for the same seed."""
    return np.random.default_rng([seed, _SALTS[kind], size]).normal(size=(3, size))


def describe(
    unit_key: NDArray[Any],
    value: NDArray[Any],
    recall: Recall,
    prior: NDArray[Any],
    context: NDArray[Any] | None,
    projections: dict[tuple[str, int], NDArray[np.float64]],
    seed: int,
) -> NDArray[np.float64]:
    """The twelve features, each in [-3, 3]; `recall` is what the memory said before, `prior` as in semantic.py."""
    size = value.size
    deviation = math.sqrt(prior[size]) or 1.0
    standard = (value - prior[:size]) / deviation
    best = recall.trace[:, :, 0].max(axis=1).tolist()
    surprise = math.sqrt(_mean((value - recall.estimate) ** 2)) / deviation
    features = np.zeros(FEATURES)
    features[0] = _mean(standard)
    features[1] = math.sqrt(_mean(standard**2))
    features[2] = 1.0 - max(best[0], best[1], -1.0)
    features[3] = surprise
    features[4] = min(recall.uncertainty / deviation, 3.0)
    features[5] = max(best[2], -1.0)
    for start, kind, vector in ((6, "key", unit_key), (9, "context", context)):
        if vector is None:
            continue
        name = (kind, vector.size)
        if name not in projections:
            projections[name] = projection(kind, vector.size, seed)
        features[start : start + 3] = projections[name] @ vector
    return np.minimum(np.maximum(features, -3.0), 3.0)


def _mean(values: NDArray[np.float64]) -> float:
    """Mean of a few numbers; numpy's own takes ten times as long for one."""
    return float(values[0]) if len(values) == 1 else float(values.mean())


def pack(features: NDArray[Any]) -> NDArray[np.int8]:
    """Numbers in [-3, 3] as bytes; what lies outside is clipped, NaN becomes UNSEEN."""
    codes = np.rint(np.minimum(np.maximum(features, -3.0), 3.0) / _STEP)
    return np.where(np.isnan(features), UNSEEN, codes).astype(np.int8)


def unpack(codes: NDArray[np.int8]) -> NDArray[np.float64]:
    """The numbers behind the bytes, to 3/254; NaN where the gate did not look."""
    return np.where(codes == UNSEEN, np.nan, codes * _STEP)
