"""EXP3.S: no assumption on how rewards move, sublinear regret against any sequence of arms with few switches.

    p_a = (1 - gamma) w_a / sum w + gamma / K
    w_a <- w_a exp(gamma x / (p_a K));   then every w <- w + e alpha / K sum w            Auer et al. 2002b, Figure
    4 (EXP3.S) alpha = 1 / T,  gamma = min(1, sqrt(K (U ln(K T) + e) / ((e - 1) T)))  for a horizon T with U switches

x in [0, 1] is the reward; its weight 1 / p uses the propensity at selection, so a late reward is still unbiased.
Weights are kept normalised (only ratios matter), which keeps them finite for ever. Shapes: w [C, K].
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from rl.bandits.base import Bandit, Pending

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]


class Exp3S(Bandit):
    """horizon: expected number of selections per context; switches: how often the best arm may change in it."""

    statistics: ClassVar[tuple[str, ...]] = ("weights",)
    settings: ClassVar[tuple[str, ...]] = ("gamma", "alpha")
    weights: FloatArray

    def __init__(
        self, arms: int | Any, *, horizon: int = 10_000, switches: int = 10, gamma: float | None = None, **options: Any
    ) -> None:
        if horizon < 1 or switches < 0:
            raise ValueError(f"need horizon >= 1 and switches >= 0, got {horizon} and {switches}")
        count = arms if isinstance(arms, int) else len(arms)
        tuned = math.sqrt(count * (switches * math.log(count * horizon) + math.e) / ((math.e - 1.0) * horizon))
        self.gamma = min(1.0, tuned) if gamma is None else gamma
        self.alpha = 1.0 / horizon
        if not 0.0 < self.gamma <= 1.0:
            raise ValueError(f"gamma must be in (0, 1], got {gamma}")
        super().__init__(arms, **options)

    def _prior(self, name: str) -> float:
        """A new arm, like a new context, begins with the weight of an average arm."""
        return 1.0 if name == "weights" else 0.0

    def _probabilities(self, rows: NDArray[np.int64]) -> FloatArray:
        """See `Bandit`."""
        weights = self.weights[rows]
        share: FloatArray = weights / weights.sum(axis=1, keepdims=True)
        return (1.0 - self.gamma) * share + self.gamma / len(self.arms)

    def _learn(self, row: int, column: int, age: int, reward: float, weight: float, ticket: Pending) -> None:  # noqa: ARG002
        """See `Bandit`."""
        weights, count = self.weights[row], len(self.arms)
        shared = math.e * self.alpha / count * weights.sum()
        weights[column] *= math.exp(min(self.gamma * weight * reward / (ticket.propensity * count), 50.0))
        weights += shared
        weights *= count / weights.sum()

    def expectations(self, context: Any = None) -> FloatArray:
        """Not means: EXP3.S estimates none. The share of each arm's weight, [K], sums to one."""
        weights = self.weights[self.row(context)]
        result: FloatArray = weights / weights.sum()
        return result
