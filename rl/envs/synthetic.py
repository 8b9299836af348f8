"""Candles of one synthetic market: regimes of drift and volatility, fat tails, from one seed.

Log returns r_t = mu_k + sigma_k e_t with e_t Student-t (4 degrees of freedom, unit variance) and a regime k that
switches with probability 1/`regime_length` a candle. `noise=True` makes the price a martingale (one regime, symmetric
simple returns): no rule can earn on it before costs. Opens gap a little from the previous close; the path
inside a candle is four sub-steps, so that low <= open, close <= high holds by construction.

Shapes: [T] float64; prices in the quote currency.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEGREES = 4.0
SUBSTEPS = 4
REGIMES = np.array([(0.0008, 0.006), (-0.0008, 0.008), (0.0, 0.004), (0.0, 0.014)])
"""(drift, volatility) per candle: up, down, quiet, turbulent; of the size of hourly candles of large coins."""


class Candles(NamedTuple):
    """Open, high, low, close [T]."""

    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]


def synthetic_candles(
    generator: np.random.Generator, count: int, *, noise: bool = False, regime_length: float = 120.0
) -> Candles:
    """`count` candles from `generator`, starting at price 100."""
    drift, volatility = _regimes(generator, count, regime_length)
    if noise:
        volatility = np.full(count, 0.008)
        drift = np.zeros(count)
    shocks = generator.standard_t(DEGREES, (count, SUBSTEPS)) / np.sqrt(DEGREES / (DEGREES - 2.0) * SUBSTEPS)
    moves = drift[:, None] / SUBSTEPS + volatility[:, None] * np.clip(shocks, -5.0, 5.0)
    if noise:  # a product of symmetric factors 1 + move has mean one exactly; exp(move) would drift upwards
        moves = np.log1p(moves)
    path = 100.0 * np.exp(np.cumsum(moves.ravel())).reshape(count, SUBSTEPS)
    opens = np.concatenate([[100.0], path[:-1, -1]])
    inside = np.column_stack([opens, path])
    return Candles(opens, inside.max(axis=1), inside.min(axis=1), path[:, -1].copy())


def _regimes(
    generator: np.random.Generator, count: int, regime_length: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Drift and volatility [T] of a chain that jumps to a random regime with probability 1/regime_length."""
    jumps = generator.random(count) < 1.0 / regime_length
    jumps[0] = True
    choices = generator.integers(0, len(REGIMES), count)
    last_jump = np.maximum.accumulate(np.where(jumps, np.arange(count), 0))
    chosen = REGIMES[choices[last_jump]]
    return chosen[:, 0], chosen[:, 1]
