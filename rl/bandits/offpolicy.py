"""What another bandit would have earned on logged decisions: estimates from propensities.

With logged (context, arm, reward r, propensity p) and the probability q that the new policy gives the logged arm:

    IPS = mean (q / p) r            unbiased, high variance                    Horvitz, Thompson 1952
    SNIPS = sum (q/p) r / sum q/p   bounded by the rewards, slightly biased    Swaminathan, Joachims 2015
    DR = mean [m_q + (q / p) (r - m)]   m: model's estimate for the logged arm, m_q: its mean under the new policy
                                                                               Dudik et al. 2011

Shapes: all arrays [T]. Standard errors are those of a mean over decisions (SNIPS: of its linearisation).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class Estimate(NamedTuple):
    """Value per decision, its standard error, and the effective number of decisions (sum w)^2 / sum w^2."""

    value: float
    standard_error: float
    effective_n: float


def _weights(new: ArrayLike, logged: ArrayLike) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    p = np.asarray(logged, dtype=np.float64)
    if not ((p > 0.0) & (p <= 1.0)).all():
        raise ValueError("logged propensities are in (0, 1]")
    return np.asarray(new, dtype=np.float64) / p


def ips(rewards: ArrayLike, logged: ArrayLike, new: ArrayLike) -> Estimate:
    """Inverse propensity score."""
    weights = _weights(new, logged)
    values = weights * np.asarray(rewards, dtype=np.float64)
    return _estimate(values, weights)


def snips(rewards: ArrayLike, logged: ArrayLike, new: ArrayLike) -> Estimate:
    """Self-normalised inverse propensity score. Raises ValueError if the new policy never takes a logged arm."""
    weights, r = _weights(new, logged), np.asarray(rewards, dtype=np.float64)
    if weights.sum() <= 0.0:
        raise ValueError("the new policy never takes a logged arm: nothing can be said of it")
    value = float((weights * r).sum() / weights.sum())
    spread = _estimate(weights * (r - value) / weights.mean(), weights)
    return Estimate(value, spread.standard_error, spread.effective_n)


def doubly_robust(
    rewards: ArrayLike, logged: ArrayLike, new: ArrayLike, model_arm: ArrayLike, model_policy: ArrayLike
) -> Estimate:
    """Model plus weighted correction: right if either the propensities or the model are."""
    weights = _weights(new, logged)
    r, m = np.asarray(rewards, dtype=np.float64), np.asarray(model_arm, dtype=np.float64)
    return _estimate(np.asarray(model_policy, dtype=np.float64) + weights * (r - m), weights)


def _estimate(
    values: np.ndarray[tuple[int], np.dtype[np.float64]], weights: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> Estimate:
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("inf")
    squares = float((weights**2).sum())
    effective = float(weights.sum()) ** 2 / squares if squares > 0.0 else 0.0
    return Estimate(float(values.mean()), error, effective)
