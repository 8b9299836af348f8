"""Episodic memory: many single experiences, bounded, the least useful out first.

What: a store of `capacity` experiences. Which one leaves is decided on a slow clock: `rank` lists the next to go by
usefulness (measured, plus what a proven gate expects), older first among equals, and one younger than a quarter of
the capacity only if there is no other (it has not had a chance to be useful). As long as nothing was ever measured
that is exactly first in, first out.
Source: founding document, `episodic`/`recent` (500, compressed); nested-learning.md §3.5. Shapes: see experiences.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from memory.experience_features import FEATURES, unpack
from memory.experiences import ExperienceStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


class EpisodicMemory(ExperienceStore):
    """Rows that are filled once in order and then reused in the order of `rank`.

    `horizon` is how many of the next victims one ranking lists (experiences between two slow ticks).
    """

    def __init__(self, dim: int, value_dim: int, capacity: int, compression_ratio: float, horizon: int) -> None:
        super().__init__(dim, value_dim, capacity, compression_ratio)
        self._queue = np.full(min(horizon, capacity), -1, np.int64)  # rows to be overwritten next
        self._queued = 0

    def rank(self, now: float, expected_scale: float = 0.0) -> None:
        """List the next rows to overwrite: available ones first, then least useful, then oldest.

        `expected_scale` turns what the gate expected of each row into units of usefulness; 0 leaves it out.
        """
        rows, filled = self.rows, self.count
        worth = rows.usefulness[:filled] + self.expected(expected_scale)
        newest = int(rows.sequence[:filled].max(initial=0))
        young = rows.sequence[:filled] > newest - max(self.capacity // 4, 1)
        unknown = rows.stamps[:filled, 1] > now
        order = np.lexsort((rows.sequence[:filled], worth, young, unknown))
        listed = order[: self._queue.size]
        self._queue[:] = -1
        self._queue[: listed.size] = listed
        self._queued = 0

    def expected(self, scale: float) -> NDArray[np.float64]:
        """What the gate expected of each row in use, times `scale`; 0 where it did not look.

        Half of it is left after as many writes as the store has rows, as with measured usefulness: what was expected of
        an experience and never came true does not keep it for ever.
        """
        sequence = self.rows.sequence[: self.count]
        age = int(sequence.max(initial=0)) - sequence
        faded: NDArray[np.float64] = 0.5 ** (age / self.capacity)
        return np.nan_to_num(unpack(self.features[: self.count, FEATURES])) * scale * faded

    def next_row(self, now: float, expected_scale: float = 0.0) -> int:
        """The row that the next experience takes."""
        if self.count < self.capacity:
            return self.count
        if self._queued >= self._queue.size or self._queue[self._queued] < 0:
            self.rank(now, expected_scale)
        row = int(self._queue[self._queued])
        self._queued += 1
        return row

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays at capacity, the queue of victims included."""
        return super().nbytes + self._queue.nbytes

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Copies of all arrays and counters, the queue included: what leaves next is part of the state."""
        return {**super().state_dict(), "queue": self._queue.copy(), "queued": np.array(self._queued)}

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """As in ExperienceStore; the queue must have the same length too."""
        super().load_state_dict(state)
        if state["queue"].shape != self._queue.shape:
            raise ValueError(f"queue: {state['queue'].shape} does not fit {self._queue.shape}")
        self._queue[:] = state["queue"]
        self._queued = int(state["queued"])
