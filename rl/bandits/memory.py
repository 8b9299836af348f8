"""How much of the past a bandit keeps: all of it, a discounted sum, or a sliding window. Mixins over `Bandit`.

All three keep per arm the (weighted) number N and sum S of rewards in [0, 1]; algorithms on top read only these.

    everything:  N += w, S += w r                                   Auer et al. 2002
    discounted:  N <- g N, S <- g S at every selection, then add w g^age, w r g^age      Garivier, Moulines 2011 (D-UCB)
    window:      sums over the last tau selections of the context                         the same (SW-UCB)

A late reward is discounted by its age, or dropped if its selection has left the window: the result is that of a reward which
had come at once. Shapes: N, S [C, K]; window ring [C, tau].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rl.bandits.base import Bandit, Pending

if TYPE_CHECKING:
    from collections.abc import Hashable

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]


class Everything(Bandit):
    """Keeps all rewards with equal weight."""

    statistics: ClassVar[tuple[str, ...]] = ("N", "S")
    N: FloatArray
    S: FloatArray

    def _learn(self, row: int, column: int, age: int, reward: float, weight: float, ticket: Pending) -> None:  # noqa: ARG002
        """See `Bandit`."""
        self.N[row, column] += weight
        self.S[row, column] += weight * reward

    def horizon(self, rows: NDArray[np.int64]) -> FloatArray:
        """Total evidence in each row [B, 1]: what the logarithm of a UCB grows with."""
        total: FloatArray = self.N[rows].sum(axis=1, keepdims=True)
        return total

    def expectations(self, context: Any = None) -> FloatArray:
        """See `Bandit`; nan for an arm without data."""
        row = self.row(context)
        with np.errstate(invalid="ignore", divide="ignore"):
            return self._to_reward(self.S[row] / self.N[row])

    def effective_n(self, context: Any = None) -> FloatArray:
        """Evidence behind each arm, [K], in rewards."""
        return self.N[self.row(context)].copy()

    def warm_start(self, arm: Hashable, mean: float, evidence: float, context: Any = None) -> None:
        """Give an arm `evidence` pseudo-rewards of this mean (in the reward's unit)."""
        low, high = self.reward_range
        column, row = self.arms.index(arm), self.row(context)
        self.N[row, column] += evidence
        self.S[row, column] += evidence * min(max((mean - low) / (high - low), 0.0), 1.0)


class Discounted(Everything):
    """Exponential forgetting with `discount` per selection in the same context."""

    settings: ClassVar[tuple[str, ...]] = ("discount",)

    def __init__(self, arms: int | Any, *, discount: float = 0.995, **options: Any) -> None:
        if not 0.0 < discount <= 1.0:
            raise ValueError(f"discount must be in (0, 1], got {discount}")
        self.discount = discount
        super().__init__(arms, **options)

    def _advance(self, row: int, column: int) -> None:
        super()._advance(row, column)
        self.N[row] *= self.discount
        self.S[row] *= self.discount

    def _learn(self, row: int, column: int, age: int, reward: float, weight: float, ticket: Pending) -> None:
        """See `Bandit`."""
        super()._learn(row, column, age, reward, weight * self.discount**age, ticket)


class SlidingWindow(Everything):
    """Only the last `window` selections of a context count. The ring remembers what to take back when they leave."""

    settings: ClassVar[tuple[str, ...]] = ("window",)

    def __init__(self, arms: int | Any, *, window: int = 300, **options: Any) -> None:
        if window < 1:
            raise ValueError(f"window must be at least 1, got {window}")
        self.window = window
        super().__init__(arms, **options)

    def _allocate(self, capacity: int) -> None:
        super()._allocate(capacity)
        old = getattr(self, "ring", None)
        self.ring = np.zeros((capacity, self.window, 3))  # column (-1: none), weight, weight x reward
        self.ring[:, :, 0] = -1.0
        if old is not None and old.shape[1] == self.window:
            self.ring[: len(old)] = old

    def _advance(self, row: int, column: int) -> None:
        slot = self.ring[row, int(self.clock[row]) % self.window]
        if slot[0] >= 0.0:
            leaving = int(slot[0])
            # sums of zeros and ones are exact; of fractions they drift by 1e-16 per step, and never below zero
            self.N[row, leaving] = max(self.N[row, leaving] - slot[1], 0.0)
            self.S[row, leaving] = max(self.S[row, leaving] - slot[2], 0.0)
        slot[:] = column, 0.0, 0.0
        super()._advance(row, column)

    def _learn(self, row: int, column: int, age: int, reward: float, weight: float, ticket: Pending) -> None:
        """See `Bandit`."""
        if age >= self.window:
            return
        self.ring[row, ticket.time % self.window] = column, weight, weight * reward
        super()._learn(row, column, age, reward, weight, ticket)

    def remove_arm(self, arm: Hashable) -> None:
        """See `Bandit`; the ring forgets the arm too."""
        column = self.arms.index(arm) if arm in self.arms else -1
        super().remove_arm(arm)
        columns = self.ring[:, :, 0]
        self.ring[columns == column] = -1.0, 0.0, 0.0
        columns[columns > column] -= 1.0

    def state_dict(self) -> dict[str, Any]:
        """See `Bandit`."""
        return {**super().state_dict(), "ring": self.ring[: len(self.rows)].tolist()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `Bandit`."""
        self.__dict__.pop("ring", None)
        super().load_state_dict(state)
        if state["ring"]:
            self.ring[: len(state["ring"])] = state["ring"]
