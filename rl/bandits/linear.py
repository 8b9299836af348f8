"""Discounted linear Thompson sampling: rewards linear in a feature vector, with parameters that drift.

Per arm, with x in R^d, forgetting g per selection and prior lambda I:

    A <- g A + x x',  A2 <- g^2 A2 + x x',  b <- g b + r x,   V = A + lambda I,  V2 = A2 + lambda I
    theta = V^-1 b,   theta~ ~ N(theta, width^2 V^-1 V2 V^-1)     Russac et al. 2019; Kim, Tewari 2020

The prior does not fade: g lambda I + (1 - g) lambda I = lambda I, so only the data part is stored. The scores
x'theta~ of different arms are independent normals, so the probability of being best, which is the propensity, is a
one-dimensional integral (`best.py`). A late reward is discounted by its age. Shapes: A, A2 [K, d, d], b [K, d], x [d].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rl.bandits.base import Bandit, Decision, Pending
from rl.bandits.best import best_of_normal

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]


class DiscountedLinearThompson(Bandit):
    """`select(x)` with x of `dim` features (put a constant one among them for an intercept).

    discount .995 remembers about 200 selections; prior: lambda; width: exploration, in units of the reward range.
    Raises ValueError for a vector of the wrong size or with a non-finite entry.
    """

    settings: ClassVar[tuple[str, ...]] = ("dim", "discount", "prior", "width")
    matrices: ClassVar[tuple[str, ...]] = ("A", "A2", "b")

    def __init__(
        self,
        arms: int | Any,
        dim: int = 1,
        *,
        discount: float = 0.995,
        prior: float = 1.0,
        width: float = 0.5,
        **options: Any,
    ) -> None:
        if dim < 1 or not 0.0 < discount <= 1.0 or not prior > 0.0 or not width > 0.0:
            raise ValueError(f"bad settings: dim {dim}, discount {discount}, prior {prior}, width {width}")
        self.dim, self.discount, self.prior, self.width = dim, discount, prior, width
        super().__init__(arms, **options)
        self._clear()

    def _clear(self) -> None:
        count = len(self.arms)
        self.A, self.A2 = np.zeros((count, self.dim, self.dim)), np.zeros((count, self.dim, self.dim))
        self.b = np.zeros((count, self.dim))

    def _posterior(self) -> tuple[FloatArray, FloatArray]:
        """Mean [K, d] and covariance [K, d, d] of every arm's parameters. Rewards are centred at 1/2."""
        regular = self.prior * np.eye(self.dim)
        inverse = np.linalg.inv(self.A + regular)
        mean = (inverse @ self.b[:, :, None])[:, :, 0]
        return mean, self.width**2 * inverse @ (self.A2 + regular) @ inverse

    def select_many(self, contexts: Sequence[Any]) -> list[Decision]:
        """See `Bandit`; contexts are feature vectors [B, d]."""
        X = np.asarray(contexts, dtype=np.float64)
        if X.ndim != 2 or X.shape[1] != self.dim or not np.isfinite(X).all():
            raise ValueError(f"contexts are finite vectors of {self.dim} features, got shape {X.shape}")
        mean, covariance = self._posterior()
        variance = np.einsum("bi,kij,bj->bk", X, covariance, X)
        probabilities = best_of_normal(X @ mean.T, np.sqrt(np.maximum(variance, 1e-18)))
        rows = np.full(len(X), self.row(None), dtype=np.int64)
        return self._draw(rows, probabilities, X.tolist())

    def _probabilities(self, rows: NDArray[np.int64]) -> FloatArray:
        """Without features nothing is known: even. (`select_many` does not come here.)"""
        return np.full((len(rows), len(self.arms)), 1.0 / len(self.arms))

    def _advance(self, row: int, column: int) -> list[float]:
        self.A *= self.discount
        self.A2 *= self.discount**2
        self.b *= self.discount
        return super()._advance(row, column)

    def _learn(self, row: int, column: int, age: int, reward: float, weight: float, ticket: Pending) -> None:  # noqa: ARG002
        """See `Bandit`."""
        x, fading = np.array(ticket.extra), self.discount**age
        outer = np.outer(x, x)
        self.A[column] += weight * fading * outer
        self.A2[column] += weight * fading**2 * outer
        self.b[column] += weight * fading * (reward - 0.5) * x

    def expectations(self, context: Any = None) -> FloatArray:
        """Expected reward of each arm [K] for the feature vector `context`."""
        mean, _ = self._posterior()
        return self._to_reward(0.5 + mean @ np.asarray(context, dtype=np.float64))

    def add_arm(self, arm: Hashable) -> None:
        """See `Bandit`."""
        super().add_arm(arm)
        for name in self.matrices:
            array = getattr(self, name)
            setattr(self, name, np.concatenate([array, np.zeros((1, *array.shape[1:]))]))

    def remove_arm(self, arm: Hashable) -> None:
        """See `Bandit`."""
        column = self.arms.index(arm) if arm in self.arms else -1
        super().remove_arm(arm)
        for name in self.matrices:
            setattr(self, name, np.delete(getattr(self, name), column, axis=0))

    def state_dict(self) -> dict[str, Any]:
        """See `Bandit`."""
        return {**super().state_dict(), "matrices": {name: getattr(self, name).tolist() for name in self.matrices}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `Bandit`."""
        super().load_state_dict(state)
        for name in self.matrices:
            setattr(self, name, np.array(state["matrices"][name]))
