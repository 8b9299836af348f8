"""Episodic memory: many single experiences, bounded, the least useful out first.

What: a store of `capacity` experiences. Which one leaves is decided on a slow clock: `rank` lists the next to go by
measured usefulness, older first among equals, and never one younger than a quarter of the capacity (it has not had a
chance to be useful). As long as nothing was ever measured that is exactly first in, first out.
Source: founding document, `episodic`/`recent` (500, compressed); nested-learning.md §3.5. Shapes: see experiences.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

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

    def rank(self, now: float) -> None:
        """List the next rows to overwrite: available ones first, then least useful, then oldest."""
        rows, filled = self.rows, self.count
        newest = int(rows.sequence[:filled].max(initial=0))
        young = rows.sequence[:filled] > newest - max(self.capacity // 4, 1)
        unknown = rows.stamps[:filled, 1] > now
        order = np.lexsort((rows.sequence[:filled], rows.usefulness[:filled], young, unknown))
        listed = order[: self._queue.size]
        self._queue[:] = -1
        self._queue[: listed.size] = listed
        self._queued = 0

    def next_row(self, now: float) -> int:
        """The row that the next experience takes."""
        if self.count < self.capacity:
            return self.count
        if self._queued >= self._queue.size or self._queue[self._queued] < 0:
            self.rank(now)
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
