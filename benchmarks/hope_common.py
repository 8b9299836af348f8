"""Shared by the hope_* benchmarks: planted markets, losses beside the oracle's, and paired bootstrap intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from memory.markets import Market, planted
from memory.stream import LABEL_CLIP
from memory.unroll import prepare

if TYPE_CHECKING:
    from memory.hope import HOPE

CORNER = 2.5


def huber(error: np.ndarray) -> np.ndarray:
    a = np.abs(error)
    return np.where(a <= CORNER, 0.5 * a * a, CORNER * (a - 0.5 * CORNER))


@dataclass
class Labelled:
    """Labels y[t] of the prediction made at t - 1, and the oracle's prediction, in deviations: all [S, T]."""

    x: np.ndarray
    y: np.ndarray
    center: np.ndarray
    scale: np.ndarray
    oracle: np.ndarray


def labelled(hope: HOPE, markets: list[Market]) -> Labelled:
    """Labels as HOPE sees them; the oracle knows each bar's conditional mean."""
    x = np.stack([m.features for m in markets])
    p = prepare(hope._aoff, x, 1, np.zeros((x.shape[1], 4)), hope.weights.device)  # noqa: SLF001
    center, scale, y = (t[..., 0].numpy() for t in (p.center, p.scale, p.y))
    oracle = (np.stack([m.mean for m in markets]) - center) / scale
    return Labelled(x, y, center, scale, np.clip(oracle, -LABEL_CLIP, LABEL_CLIP))


def excess(data: Labelled, prediction: np.ndarray) -> np.ndarray:
    """Huber loss above the oracle's, [S, T-1], at the predicted bar; prediction [S, T] in deviations."""
    target = data.y[:, 1:]
    return huber(target - prediction[:, :-1]) - huber(target - data.oracle[:, :-1])


def planted_markets(kind: str, count: int, bars: int, at: int, seed: int) -> list[Market]:
    return [planted(np.random.default_rng([seed, i]), kind, bars, at) for i in range(count)]


def interval(values: np.ndarray, seed: int = 0, draws: int = 5000) -> tuple[float, float, float]:
    """Mean and 95 % bootstrap percentile interval over the first axis."""
    rng = np.random.default_rng(seed)
    means = values[rng.integers(len(values), size=(draws, len(values)))].mean(1)
    return float(values.mean()), float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))
