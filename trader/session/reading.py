"""What is known of a moment beyond the agents' features: one embedding for each market and timeframe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from trader.core.features import FIRST_LEARNED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trader.core.features import FeatureBlock

WIDTH: Final = 64
"""Components of an embedding: the width of the sequence model's shipped weights."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What is known at each of T frames.

    embedding: float32 [T, M, K, WIDTH] of the newest candle that was read; zeros before the first.
    ready: bool [T, M, K], there is one.
    """

    embedding: NDArray[np.float32]
    ready: NDArray[np.bool_]


def plain(features: FeatureBlock) -> Reading:
    """The market's own features in place of embeddings, for sessions without the sequence model."""
    embedding = np.zeros((*features.closed.shape, WIDTH), np.float32)
    embedding[..., :FIRST_LEARNED] = np.nan_to_num(features.features[..., :FIRST_LEARNED])
    return Reading(embedding, features.valid)
