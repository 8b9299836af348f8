"""Replay: a ring of n-step transitions, drawn uniformly or by priority.

A transition is stored with its own bootstrap factor, so that sampling needs to know nothing about episodes:

    target = R + discount * Q'(successor),  R = sum_{i<k} gamma^i r_{t+i},  discount = gamma^k or 0 if terminated

with k = n inside an episode and the *actual* number of steps at its end. Truncation is not termination: the true
final observation is bootstrapped from. Priorities (Schaul et al. 2016): P(i) = p_i^alpha / sum p^alpha with
p = |TD error| + epsilon, importance weights (N P(i))^-beta divided by the largest of the batch.

Shapes: C capacity, B batch, D observation numbers. Everything is numpy; a sample is converted without a copy.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rl.core.sum_tree import SumTree

if TYPE_CHECKING:
    from numpy.typing import NDArray

PRIORITY_EPSILON = 1e-6


class Sample(NamedTuple):
    """A batch: observations [B, D], actions [B], returns [B] (R above), successors [B, D], discounts [B], weights [B]
    (ones when drawn uniformly), indices [B] for `update_priorities`.
    """

    observations: NDArray[np.float32]
    actions: NDArray[np.int64]
    returns: NDArray[np.float32]
    successors: NDArray[np.float32]
    discounts: NDArray[np.float32]
    weights: NDArray[np.float32] | None
    indices: NDArray[np.int64]


class ReplayBuffer:
    """Uniform replay of n-step transitions from `environments` parallel streams.

    capacity: transitions kept; size: D; n_steps >= 1; discount: gamma. Memory: capacity * (8 D + 16) bytes.
    """

    def __init__(self, capacity: int, size: int, *, discount: float, n_steps: int = 1, environments: int = 1) -> None:
        if capacity < 1 or n_steps < 1 or not 0.0 <= discount <= 1.0:
            raise ValueError(
                f"need capacity >= 1, n_steps >= 1, 0 <= discount <= 1, got {capacity}, {n_steps}, {discount}"
            )
        self.capacity, self.n_steps, self.discount = capacity, n_steps, discount
        self.observations = np.zeros((capacity, size), dtype=np.float32)
        self.successors = np.zeros((capacity, size), dtype=np.float32)
        self.actions = np.zeros(capacity, dtype=np.int64)
        self.returns = np.zeros(capacity, dtype=np.float32)
        self.discounts = np.zeros(capacity, dtype=np.float32)
        self.pending: list[deque[tuple[NDArray[np.float32], int, float]]] = [deque() for _ in range(environments)]
        self.position = 0
        self.count = 0

    def __len__(self) -> int:
        return self.count

    def add(
        self,
        observation: NDArray[np.float32],
        action: int,
        reward: float,
        successor: NDArray[np.float32],
        terminated: bool,
        truncated: bool,
        environment: int = 0,
    ) -> None:
        """One step of one stream; `successor` is the true next observation, also where the episode ended.

        With n_steps > 1 a transition is written n - 1 steps late, or when its episode ends.
        """
        pending = self.pending[environment]
        pending.append((observation, action, reward))
        if terminated or truncated:
            while pending:
                self._emit(pending, successor, terminated)
        elif len(pending) == self.n_steps:
            self._emit(pending, successor, terminated)

    def _emit(
        self, pending: deque[tuple[NDArray[np.float32], int, float]], successor: NDArray[np.float32], terminated: bool
    ) -> None:
        total, factor = 0.0, 1.0
        for _, _, reward in pending:
            total += factor * reward
            factor *= self.discount
        observation, action, _ = pending.popleft()
        self._store(observation, action, total, successor, 0.0 if terminated else factor)

    def _store(
        self,
        observation: NDArray[np.float32],
        action: int,
        total: float,
        successor: NDArray[np.float32],
        discount: float,
    ) -> None:
        at = self.position
        self.observations[at] = observation
        self.actions[at] = action
        self.returns[at] = total
        self.successors[at] = successor
        self.discounts[at] = discount
        self.position = (at + 1) % self.capacity
        self.count = min(self.count + 1, self.capacity)

    def sample(self, batch: int, generator: np.random.Generator) -> Sample:
        """`batch` transitions drawn uniformly with replacement. Raises ValueError on an empty buffer."""
        if not self.count:
            raise ValueError("the replay buffer is empty")
        return self._gather(generator.integers(0, self.count, batch), None)

    def _gather(self, indices: NDArray[np.int64], weights: NDArray[np.float32] | None) -> Sample:
        return Sample(
            self.observations.take(indices, axis=0),
            self.actions.take(indices),
            self.returns.take(indices),
            self.successors.take(indices, axis=0),
            self.discounts.take(indices),
            weights,
            indices,
        )

    def update_priorities(self, indices: NDArray[np.int64], errors: NDArray[np.float32]) -> None:
        """Nothing to do when drawing uniformly."""

    def state_dict(self) -> dict[str, Any]:
        """Arrays of what is stored and the unfinished n-step windows; plain data (see `rl.core.archive`)."""
        kept = slice(0, self.count)
        return {
            "observations": self.observations[kept].copy(),
            "successors": self.successors[kept].copy(),
            "actions": self.actions[kept].copy(),
            "returns": self.returns[kept].copy(),
            "discounts": self.discounts[kept].copy(),
            "position": self.position,
            "pending": [[(np.asarray(o), int(a), float(r)) for o, a, r in stream] for stream in self.pending],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict` for a buffer of the same capacity. Raises ValueError if it does not fit."""
        count = len(state["actions"])
        if count > self.capacity or state["observations"].shape[1:] != self.observations.shape[1:]:
            raise ValueError("the saved replay buffer has another shape")
        for name in ("observations", "successors", "actions", "returns", "discounts"):
            getattr(self, name)[:count] = state[name]
        self.count, self.position = count, int(state["position"])
        self.pending = [deque((o, a, r) for o, a, r in stream) for stream in state["pending"]]


class PrioritizedReplayBuffer(ReplayBuffer):
    """Proportional prioritised replay; `beta` is annealed by the caller.

    alpha: how much priorities matter (0 = uniform). New transitions get the largest priority seen, so that each is
    drawn soon. Draws are stratified: one from each of B equal slices of the total.
    """

    def __init__(
        self,
        capacity: int,
        size: int,
        *,
        discount: float,
        n_steps: int = 1,
        environments: int = 1,
        alpha: float = 0.6,
        beta: float = 0.4,
    ) -> None:
        super().__init__(capacity, size, discount=discount, n_steps=n_steps, environments=environments)
        self.alpha, self.beta = alpha, beta
        self.tree = SumTree(capacity)
        self.largest = 1.0
        self._one = np.zeros(1, dtype=np.int64)

    def _store(
        self,
        observation: NDArray[np.float32],
        action: int,
        total: float,
        successor: NDArray[np.float32],
        discount: float,
    ) -> None:
        self._one[0] = self.position
        super()._store(observation, action, total, successor, discount)
        self.tree.update(self._one, np.array([self.largest**self.alpha]))

    def sample(self, batch: int, generator: np.random.Generator) -> Sample:
        """`batch` transitions drawn by priority, with importance weights. Raises ValueError on an empty buffer."""
        if not self.count:
            raise ValueError("the replay buffer is empty")
        total = self.tree.total
        masses = (np.arange(batch) + generator.random(batch)) * (total / batch)
        indices = self.tree.find(masses)
        probabilities = self.tree.priorities(indices) / total
        weights = (self.count * probabilities) ** -self.beta
        return self._gather(indices, (weights / weights.max()).astype(np.float32))

    def update_priorities(self, indices: NDArray[np.int64], errors: NDArray[np.float32]) -> None:
        """New priorities from absolute TD errors [B]; errors that are not finite count as the largest seen."""
        magnitudes = np.abs(errors.astype(np.float64)) + PRIORITY_EPSILON
        magnitudes = np.where(np.isfinite(magnitudes), magnitudes, self.largest)
        self.largest = max(self.largest, float(magnitudes.max()))
        self.tree.update(indices, magnitudes**self.alpha)

    def state_dict(self) -> dict[str, Any]:
        """See `ReplayBuffer`."""
        priorities = self.tree.priorities(np.arange(self.count))
        return {**super().state_dict(), "priorities": priorities, "largest": self.largest, "beta": self.beta}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `ReplayBuffer`."""
        super().load_state_dict(state)
        self.largest, self.beta = float(state["largest"]), float(state["beta"])
        self.tree = SumTree(self.capacity)
        self.tree.update(np.arange(self.count), np.asarray(state["priorities"]))
