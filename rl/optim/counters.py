"""Counters of a nested optimizer and its loss guard, in one float64 vector that processes can share.

The guard compares a fast running mean of the loss with a slow running level: z = (fast - slow) / deviation.
Innovations of the slow level are limited to three deviations, so an explosion cannot drag it along, while a change
of regime is absorbed within some tens of updates. z > 4 for `PATIENCE` updates in a row is divergence: the
controller becomes the identity for `FALLBACK` updates and learns anew. Losses in the loss's own unit; counts are
updates.
"""

from __future__ import annotations

import math

import torch

NAMES = (
    "updates", "skipped", "clipped", "fallbacks", "meta_updates", "meta_gradient", "hypergradient",
    "synced_at", "fallback_until", "above", "fast", "slow", "variance", "losses",
)  # fmt: skip
INDEX = {name: index for index, name in enumerate(NAMES)}
UPDATES, SKIPPED, CLIPPED = INDEX["updates"], INDEX["skipped"], INDEX["clipped"]
FAST_RATE, SLOW_RATE, LIMIT, PATIENCE, FALLBACK, WARMUP = 0.1, 0.01, 4.0, 50, 1000, 100
SIGNAL_RATE = 0.05  # of the reported running mean of h, per window


class Counters:
    """See the module's docstring; `state` [len(NAMES)] is the tensor to share or save."""

    def __init__(self) -> None:
        self.state = torch.zeros(len(NAMES), dtype=torch.float64)
        self.state[INDEX["synced_at"]] = -1.0
        self.bind()

    def bind(self) -> None:
        """View the tensor again after it was moved."""
        self.array = self.state.numpy()

    def get(self, name: str) -> float:
        """One counter."""
        return float(self.array[INDEX[name]])

    @property
    def updates(self) -> int:
        """Applied updates of all processes."""
        return int(self.array[UPDATES])

    @property
    def in_fallback(self) -> bool:
        """The controller is held at the identity."""
        return self.get("fallback_until") > self.updates

    @property
    def since_sync(self) -> float:
        """Updates since the target was copied, -1 if it never was."""
        synced = self.get("synced_at")
        return self.updates - synced if synced >= 0.0 else -1.0

    def mark_sync(self) -> None:
        """The target was copied now."""
        self.array[INDEX["synced_at"]] = self.updates

    def count_step(self, clipped: bool) -> None:
        """One applied update."""
        self.array[UPDATES] += 1.0
        if clipped:
            self.array[CLIPPED] += 1.0

    def count_skip(self) -> None:
        """One update that was not applied."""
        self.array[SKIPPED] += 1.0

    def note_signal(self, signal: float) -> None:
        """Running mean of h for the report."""
        self.array[INDEX["hypergradient"]] += SIGNAL_RATE * (signal - self.get("hypergradient"))

    def note_meta_step(self, norm: float) -> None:
        """One step of the controller's weights with a meta-gradient of this norm."""
        self.array[INDEX["meta_updates"]] += 1.0
        self.array[INDEX["meta_gradient"]] = norm

    def loss_is_far_above(self, loss: float | None) -> bool:
        """Feed the guard; True at the update at which divergence is declared."""
        if loss is None:
            return False
        first, last = INDEX["above"], INDEX["losses"] + 1
        above, fast, slow, variance, losses = self.array[first:last].tolist()
        losses += 1.0
        if losses <= WARMUP:  # plain averages first; the guard only watches after them
            rate = 1.0 / losses
            delta = loss - slow
            slow += rate * delta
            variance += rate * (delta * (loss - slow) - variance)
            fast = slow
        else:
            deviation = math.sqrt(variance) + 1e-12 + 1e-6 * abs(slow)
            fast += FAST_RATE * (loss - fast)
            above = above + 1.0 if fast > slow + LIMIT * deviation else 0.0
            delta = min(max(loss - slow, -3.0 * deviation), 3.0 * deviation)
            slow += SLOW_RATE * delta
            variance += SLOW_RATE * (delta * delta - variance)
        declared = bool(above >= PATIENCE)
        if declared:
            above, losses = 0.0, 0.0
            self.array[INDEX["fallbacks"]] += 1.0
            self.array[INDEX["fallback_until"]] = self.updates + FALLBACK
        self.array[first:last] = above, fast, slow, variance, losses
        return declared

    def report(self) -> dict[str, float]:
        """The counters a log line wants."""
        wanted = ("updates", "skipped", "clipped", "fallbacks", "meta_updates", "meta_gradient", "hypergradient")
        return {name: self.get(name) for name in wanted}

    def __getstate__(self) -> torch.Tensor:
        return self.state

    def __setstate__(self, state: torch.Tensor) -> None:
        self.state = state
        self.bind()
