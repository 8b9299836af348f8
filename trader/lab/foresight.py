"""Do the candles themselves know the future? The leak that no audit of code can see: a column written with later ones in hand.

Every feature an agent sees at a close is compared with the return of the next candle: rank correlation (Spearman 1904) within
stretches of `FRAMES` frames, averaged over them. Honest features of hourly candles stay below a tenth; those of a market with a
planted edge, twice as strong as usual, below three tenths. From `BOUND` on the files are wrong, or the feature is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from trader.core.features import FEATURES, FeatureEngine
from trader.core.timeframes import milliseconds
from trader.core.types import CLOSE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trader.core.config import Config
    from trader.lab.history import History

FRAMES: Final = 2_048
FEWEST: Final = 400
"""Closes in a stretch; below, chance alone gives a tenth and more."""
BOUND: Final = 0.5


def foresight(config: Config, history: History) -> tuple[float, tuple[str, ...]]:
    """The largest correlation of any feature with the next return, and every one beyond `BOUND`, in words."""
    lengths = tuple(milliseconds(name) for name in config.feed.timeframes)
    engine = FeatureEngine(len(history.instruments), history.base_ms, lengths)
    sums = np.zeros((len(history.instruments), len(lengths), len(FEATURES)))
    counts = np.zeros(sums.shape[:2])
    for first in range(0, len(history.block), FRAMES):
        block = history.block[first : first + FRAMES]
        seen = engine.update(block)
        closes = block.candles[:, :, CLOSE]
        with np.errstate(invalid="ignore"):
            ahead = np.concatenate((closes[1:] / closes[:-1] - 1.0, np.full((1, closes.shape[1]), np.nan)))
        usable = seen.closed & seen.valid & np.isfinite(ahead)[:, :, None]
        for m, k in np.argwhere(usable.sum(axis=0) >= FEWEST).tolist():
            rows = usable[:, m, k]
            sums[m, k] += _correlations(seen.features[rows, m, k], ahead[rows, m])
            counts[m, k] += 1
    found = sums / np.maximum(counts, 1)[:, :, None]
    beyond = tuple(
        f"{FEATURES[f]} of {history.symbols[m]} {config.feed.timeframes[k]} has a correlation of {found[m, k, f]:.2f} with the"
        " next return: the candles know it, or the feature does"
        for m, k, f in np.argwhere(np.abs(found) > BOUND).tolist()
    )
    return float(np.abs(found).max()), beyond


def _correlations(features: NDArray[np.float32], ahead: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rank correlation of every column of [n, F] with [n]; 0 for a column that never moves."""
    columns = np.column_stack((features.astype(np.float64), ahead))
    ranks = np.argsort(np.argsort(columns, axis=0, kind="stable"), axis=0, kind="stable").astype(np.float64)
    ranks[:, columns.std(axis=0) < 1e-12] = 0.0
    ranks -= ranks.mean(axis=0)
    size = np.sqrt((ranks**2).sum(axis=0))
    return np.asarray((ranks[:, :-1].T @ ranks[:, -1]) / np.maximum(size[:-1] * size[-1], 1e-12))
