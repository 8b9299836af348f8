"""From features to scores: the archetype's idea, the learned weights, the regime's affinity, squashed to (-1, 1).

    raw   = idea_weight * idea(features, genes) + learned_weight * sum_f weight_f * feature_f / sqrt(F)
    score = x / (1 + |x|)   with   x = aggression * affinity[regime] * raw,   then times long or short bias

Scores depend on candles and genes only, so a whole block is computed ahead of the kernel. Agents of one archetype on
one timeframe are contiguous, and are scored in chunks that stay in the first-level cache.
Axes: R rows of the block where the timeframe closed, n agents, F features.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

Singles = NDArray[np.float32]

AGGRESSION, IDEA_WEIGHT, LEARNED_WEIGHT, LONG_BIAS, SHORT_BIAS, FIRST_AFFINITY = range(6)
REGIMES: Final = 5
MIX_FIELDS: Final = FIRST_AFFINITY + REGIMES

_CHUNK: Final = 256
_ONE = np.float32(1.0)
_ZERO = np.float32(0.0)


@njit(cache=True, nogil=True, error_model="numpy")
def mix_scores(
    features: Singles, rows: NDArray[np.int64], regime: NDArray[np.int8], weights: Singles, mixing: Singles,
    scores: Singles, start: int, stop: int,
) -> None:  # fmt: skip
    """Turn the ideas standing in `scores` [T, n] into scores, in place, for agents [start, stop) and the given rows.

    features float32 [T, F]; regime int8 [T]; weights float32 [F, n], already divided by sqrt(F) and multiplied by
    learned_weight; mixing float32 [MIX_FIELDS, n]. F is a multiple of 4 (padded with zero weights).
    """
    for first in range(start, stop, _CHUNK):
        last = min(first + _CHUNK, stop)
        idea = mixing[IDEA_WEIGHT, first:last]
        aggression = mixing[AGGRESSION, first:last]
        long_bias = mixing[LONG_BIAS, first:last]
        short_bias = mixing[SHORT_BIAS, first:last]
        for r in rows:
            line = scores[r, first:last]
            for j in range(last - first):
                line[j] = line[j] * idea[j]
            for f in range(0, features.shape[1], 4):
                a = features[r, f]
                b = features[r, f + 1]
                c = features[r, f + 2]
                d = features[r, f + 3]
                w0 = weights[f, first:last]
                w1 = weights[f + 1, first:last]
                w2 = weights[f + 2, first:last]
                w3 = weights[f + 3, first:last]
                for j in range(last - first):
                    line[j] += (w0[j] * a + w1[j] * b) + (w2[j] * c + w3[j] * d)
            affinity = mixing[FIRST_AFFINITY + regime[r], first:last]
            for j in range(last - first):
                x = line[j] * aggression[j] * affinity[j]
                squashed = x / (_ONE + abs(x))
                line[j] = max(squashed, _ZERO) * long_bias[j] + min(squashed, _ZERO) * short_bias[j]
