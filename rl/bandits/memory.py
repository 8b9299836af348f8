"""How much of the past a bandit keeps: all of it, a discounted sum, or a sliding window. Mixins over `Bandit`.

All three keep per arm the (weighted) number N and sum S of rewards in [0, 1]; algorithms on top read only these.

    everything:  N += w, S += w r                                                              Auer et al. 2002
    discounted:  at every selection N <- g N, S <- g S: g = `discount` for the arm that was played, `idle_discount`
                 for the others; then add w r faded by what passed since its selection    after Garivier, Moulines 2011
    window:      sums over the last `window` plays of each arm, none older than `horizon` selections          the same

The textbook forms fade all arms alike (`idle_discount=discount`, `horizon=window`), and pay for it when nothing
changes: arms that are known to be bad are forgotten and tried again for ever (6 times the regret of plain Thompson
sampling on a stationary problem, docs/bandits.md). A change for the worse of the arm in use shows in its own plays,
at its own rate; only a change for the better of an idle arm needs idle forgetting. So the two have their own rates,
the idle one slow.

A late reward is faded by what passed since its selection, or dropped if it has left the window: the result is that of a
reward which had come at once. Shapes: N, S [C, K]; window ring [C, K, window].
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rl.bandits.base import Bandit, Pending

if TYPE_CHECKING:
    from collections.abc import Hashable

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]


IDLE_DISCOUNT = 0.9999


class Everything(Bandit):
    """Keeps all rewards with equal weight."""

    statistics: ClassVar[tuple[str, ...]] = ("N", "S")
    N: FloatArray
    S: FloatArray

    def _learn(self, row: int, column: int, age: int, reward: float, weight: float, ticket: Pending) -> None:  # noqa: ARG002
        """See `Bandit`."""
        self.N[row, column] += weight
        self.S[row, column] += weight * reward

    def total(self, rows: NDArray[np.int64]) -> FloatArray:
        """Total evidence in each row [B, 1]: what the logarithm of a UCB grows with."""
        evidence: FloatArray = self.N[rows].sum(axis=1, keepdims=True)
        return evidence

    def expectations(self, context: Any = None) -> FloatArray:
        """See `Bandit`; nan for an arm without data."""
        row = self.row(context)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = self.S[row] / self.N[row]
        return self._to_reward(mean)

    def effective_n(self, context: Any = None) -> FloatArray:
        """Evidence behind each arm, [K], in rewards."""
        evidence: FloatArray = self.N[self.row(context)].copy()
        return evidence

    def warm_start(self, arm: Hashable, mean: float, evidence: float, context: Any = None) -> None:
        """Give an arm `evidence` pseudo-rewards of this mean (in the reward's unit)."""
        low, high = self.reward_range
        column, row = self.arms.index(arm), self.row(context)
        self.N[row, column] += evidence
        self.S[row, column] += evidence * min(max((mean - low) / (high - low), 0.0), 1.0)


class Discounted(Everything):
    """Exponential forgetting: `discount` per play of an arm, `idle_discount` per selection of another one."""

    statistics: ClassVar[tuple[str, ...]] = ("N", "S", "log_fade")
    settings: ClassVar[tuple[str, ...]] = ("discount", "idle_discount")
    log_fade: FloatArray  # sum of log factors since the beginning, [C, K]

    def __init__(
        self, arms: int | Any, *, discount: float = 0.9925, idle_discount: float | None = None, **options: Any
    ) -> None:
        idle = max(IDLE_DISCOUNT, discount) if idle_discount is None else idle_discount
        if not (0.0 < discount <= 1.0 and 0.0 < idle <= 1.0):
            raise ValueError(f"discounts must be in (0, 1], got {discount} and {idle}")
        self.discount, self.idle_discount = discount, idle
        self._made: dict[Any, tuple[FloatArray, FloatArray]] = {}
        super().__init__(arms, **options)

    def _factors(self, column: int) -> tuple[FloatArray, FloatArray]:
        """What every arm's evidence is multiplied by when `column` is played, [K], and its logarithm; made once."""
        key = (column, len(self.arms), self.discount, self.idle_discount)
        found = self._made.get(key)
        if found is None:
            factors = np.full(len(self.arms), self.idle_discount)
            factors[column] = self.discount
            found = self._made[key] = factors, np.log(factors)
        return found

    def _advance(self, row: int, column: int) -> list[float]:
        super()._advance(row, column)
        factors, logs = self._factors(column)
        self.N[row] *= factors
        self.S[row] *= factors
        self.log_fade[row] += logs
        return [float(self.log_fade[row, column])]

    def _learn(self, row: int, column: int, age: int, reward: float, weight: float, ticket: Pending) -> None:
        """See `Bandit`."""
        faded = math.exp(float(self.log_fade[row, column]) - ticket.extra[0])
        super()._learn(row, column, age, reward, weight * faded, ticket)


class SlidingWindow(Everything):
    """Only the last `window` plays of each arm count, and only `horizon` selections long.

    The ring remembers what to take back when a play leaves: time (-1: none), weight, weight x reward.
    """

    statistics: ClassVar[tuple[str, ...]] = ("N", "S", "plays", "tail")
    settings: ClassVar[tuple[str, ...]] = ("window", "horizon")
    plays: FloatArray  # plays of an arm so far, [C, K]
    tail: FloatArray  # of which the first `tail` have left the window

    def __init__(self, arms: int | Any, *, window: int = 150, horizon: int = 10_000, **options: Any) -> None:
        if window < 1 or horizon < 1:
            raise ValueError(f"window and horizon must be at least 1, got {window} and {horizon}")
        self.window, self.horizon = window, horizon
        super().__init__(arms, **options)

    def _allocate(self, capacity: int) -> None:
        super()._allocate(capacity)
        old = getattr(self, "ring", None)
        self.ring = np.zeros((capacity, len(self.arms), self.window, 3))
        if old is not None and old.shape[1:] == self.ring.shape[1:]:
            self.ring[: len(old)] = old

    def _leave(self, row: int, column: int) -> None:
        """The oldest play of an arm leaves; sums of fractions drift by 1e-16 per step, and never below zero."""
        _, weight, product = self.ring[row, column, int(self.tail[row, column]) % self.window]
        self.tail[row, column] += 1
        self.N[row, column] = max(self.N[row, column] - weight, 0.0)
        self.S[row, column] = max(self.S[row, column] - product, 0.0)

    def _advance(self, row: int, column: int) -> list[float]:
        oldest = self.tail[row].astype(np.int64) % self.window
        times = self.ring[row, np.arange(len(self.arms)), oldest, 0]
        # one selection ages by one step, so at most one play reaches the horizon
        for arm in np.flatnonzero((times <= self.clock[row] - self.horizon) & (self.plays[row] > self.tail[row])):
            self._leave(row, int(arm))
        if self.plays[row, column] - self.tail[row, column] >= self.window:
            self._leave(row, column)
        play = self.plays[row, column]
        self.ring[row, column, int(play) % self.window] = self.clock[row], 0.0, 0.0
        self.plays[row, column] += 1
        super()._advance(row, column)
        return [float(play)]

    def _learn(self, row: int, column: int, age: int, reward: float, weight: float, ticket: Pending) -> None:
        """See `Bandit`."""
        play = ticket.extra[0]
        if play < self.tail[row, column] or play >= self.plays[row, column]:
            return
        self.ring[row, column, int(play) % self.window, 1:] = weight, weight * reward
        super()._learn(row, column, age, reward, weight, ticket)

    def add_arm(self, arm: Hashable) -> None:
        """See `Bandit`."""
        super().add_arm(arm)
        empty = np.zeros((len(self.ring), 1, self.window, 3))
        self.ring = np.concatenate([self.ring, empty], axis=1)

    def remove_arm(self, arm: Hashable) -> None:
        """See `Bandit`."""
        column = self.arms.index(arm) if arm in self.arms else -1
        super().remove_arm(arm)
        self.ring = np.delete(self.ring, column, axis=1)

    def state_dict(self) -> dict[str, Any]:
        """See `Bandit`."""
        return {**super().state_dict(), "ring": self.ring[: len(self.rows)].tolist()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `Bandit`."""
        self.__dict__.pop("ring", None)
        super().load_state_dict(state)
        if state["ring"]:
            self.ring[: len(state["ring"])] = state["ring"]
