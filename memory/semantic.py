"""Semantic memory: thousands of experiences absorbed in a few prototypes and one matrix.

What: two summaries of what the episodic store will forget. Slots are prototypes: a direction in key space with the mean
and variance of the values met there and a weight that counts (and slowly forgets) experiences; a new experience
moves the nearest slot if it is near enough, else takes the lightest one. The matrix is a delta-rule memory
of the value's deviation from its mean (associative.py), for what is linear in the key rather than local.
Near enough: a similarity bound that adapts, once all slots are in use, so that about one experience in twenty opens a
new slot; it stays within [.5, .98], so that unrelated keys cannot be averaged into a prototype.
Source: founding document, `semantic` (10,000 experiences) and `historical` (100 learned slots), whose update moved all
entries by one scalar and returned noise at first (nested-learning.md R1, R2); slot rule of R1. Shapes: slot_keys
[d, s] (transposed: one pass over components serves all slots), slot_values [s, v], slot_stats [s, 3] (weight, variance,
number of the last experience), matrix [v, d], prior [v + 2] (mean of values, mean variance, count). Units: the value's.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from memory import associative

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

SPAWN_TARGET = 0.05  # share of experiences that may open a slot once all are taken
NEAR_LOW, NEAR_HIGH, NEAR_START = 0.5, 0.98, 0.8  # bounds and start of the similarity that counts as the same pattern
WEIGHT_CAP = 256.0  # a slot is a mean of at most so many experiences: it can still follow a drifting pattern
MATRIX_RATE, MATRIX_CAP, MATRIX_HUBER = 0.05, 1000.0, 3.0  # step; norm cap and error limit in standard deviations


@njit(cache=True)
def slot_similarities(unit_query: NDArray[Any], slot_keys: NDArray[Any]) -> NDArray[np.float32]:
    """Cosine of a unit query [d] to every slot [s]; the order of sums does not depend on the processor."""
    result = np.zeros(slot_keys.shape[1], np.float32)
    for j in range(slot_keys.shape[0]):
        component = unit_query[j]
        for s in range(slot_keys.shape[1]):
            result[s] += component * slot_keys[j, s]
    return result


@njit(cache=True)
def absorb_in_slots(
    unit_key: NDArray[Any],
    value: NDArray[Any],
    weight: float,
    sequence: int,
    near: float,
    keep: float,
    slot_keys: NDArray[Any],
    slot_values: NDArray[Any],
    slot_stats: NDArray[Any],
) -> bool:
    """Move the nearest slot or take the lightest. Returns whether a slot was opened for this experience."""
    similarities = slot_similarities(unit_key, slot_keys)
    best, lightest = -1, 0
    for s in range(slot_stats.shape[0]):
        slot_stats[s, 0] *= keep
        if slot_stats[s, 0] > 0 and (best < 0 or similarities[s] > similarities[best]):
            best = s
        if slot_stats[s, 0] < slot_stats[lightest, 0]:
            lightest = s
    if best >= 0 and similarities[best] >= near:
        total = slot_stats[best, 0] + weight
        rate = weight / total
        slot_stats[best, 0] = min(total, WEIGHT_CAP)
        spread = 0.0
        for c in range(value.size):
            change = value[c] - slot_values[best, c]
            slot_values[best, c] += rate * change
            spread += change * change / value.size
        slot_stats[best, 1] = (1 - rate) * (slot_stats[best, 1] + rate * spread)
        slot_stats[best, 2] = sequence
        norm = 1e-30
        for j in range(unit_key.size):
            slot_keys[j, best] += rate * (unit_key[j] - slot_keys[j, best])
            norm += slot_keys[j, best] ** 2
        slot_keys[:, best] /= np.sqrt(norm)
        return False
    slot_keys[:, lightest] = unit_key
    slot_values[lightest] = value
    slot_stats[lightest, 0], slot_stats[lightest, 1], slot_stats[lightest, 2] = weight, 0.0, sequence
    return True


class SemanticMemory:
    """Prototypes and matrix over about `horizon` experiences.

    `dim` key components, `value_dim` value components, `slots` prototypes; influence decays by 1/e over `horizon`
    absorbed experiences. Empty until something is absorbed: no slot answers before it holds an experience.
    """

    def __init__(self, dim: int, value_dim: int, horizon: int, slots: int) -> None:
        if horizon < 1 or slots < 1:
            raise ValueError(f"semantic horizon and slots must be at least 1, got {horizon} and {slots}")
        self.keep = 1.0 - 1.0 / max(horizon, 2)
        self.slot_keys = np.zeros((dim, slots), np.float32)
        self.slot_values = np.zeros((slots, value_dim), np.float32)
        self.slot_stats = np.zeros((slots, 3))
        self.matrix = np.zeros((value_dim, dim))
        self.prior = np.zeros(value_dim + 2)
        self.near = NEAR_START
        self.absorbed = 0
        self.known_until = -np.inf  # latest available_at of anything in here: an earlier reader may not look

    def count_value(self, value: NDArray[Any], available_at: float) -> None:
        """Let a known outcome into the prior: running mean and variance with a memory of the horizon."""
        assert all(map(math.isfinite, value.tolist()))
        prior, size = self.prior, self.prior.size - 2
        prior[-1] += 1.0
        rate = max(1.0 / prior[-1], 1.0 - self.keep)
        change = value - prior[:size]
        prior[:size] += rate * change
        prior[size] = (1 - rate) * (prior[size] + rate * float(change @ change) / size)
        self.known_until = max(self.known_until, available_at)

    def absorb(
        self, unit_key: NDArray[Any], value: NDArray[Any], weight: float, sequence: int, available_at: float
    ) -> None:
        """Take one experience in, with `weight` > 0 (1 is an ordinary one)."""
        assert weight > 0
        opened = absorb_in_slots(
            unit_key, value, weight, sequence, self.near, self.keep, self.slot_keys, self.slot_values, self.slot_stats
        )
        if self.slot_stats[:, 0].min() > 0:  # adapt only when slots are scarce
            self.near = min(max(self.near + 0.01 * (SPAWN_TARGET - opened), NEAR_LOW), NEAR_HIGH)
        self._absorb_in_matrix(np.asarray(unit_key, np.float64), value, weight)
        self.absorbed += 1
        self.known_until = max(self.known_until, available_at)

    def _absorb_in_matrix(self, unit_key: NDArray[Any], value: NDArray[Any], weight: float) -> None:
        size = self.prior.size - 2
        deviation = float(np.sqrt(self.prior[size]))
        if deviation == 0.0:
            return  # a constant value has no deviation to learn
        target = value - self.prior[:size]
        self.matrix = associative.bounded_delta(
            self.matrix,
            unit_key,
            target,
            MATRIX_RATE * min(weight, 2.0),
            self.keep,
            MATRIX_CAP * deviation,
            MATRIX_HUBER * deviation,
        )

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        arrays = (self.slot_keys, self.slot_values, self.slot_stats, self.matrix, self.prior)
        return sum(array.nbytes for array in arrays)

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Copies of all arrays and numbers."""
        return {
            "slot_keys": self.slot_keys.copy(),
            "slot_values": self.slot_values.copy(),
            "slot_stats": self.slot_stats.copy(),
            "matrix": self.matrix.copy(),
            "prior": self.prior.copy(),
            "numbers": np.array([self.near, float(self.absorbed), self.known_until]),
        }

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over a state of the same shapes. Raises ValueError where a shape differs, KeyError where missing."""
        for name in ("slot_keys", "slot_values", "slot_stats", "matrix", "prior"):
            array, given = getattr(self, name), np.asarray(state[name])
            if given.shape != array.shape:
                raise ValueError(f"{name}: {given.shape} does not fit {array.shape}")
            array[...] = given
        self.near, self.absorbed, self.known_until = (
            float(state["numbers"][0]),
            int(state["numbers"][1]),
            float(state["numbers"][2]),
        )
