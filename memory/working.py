"""Working memory: the last experiences, unconditionally.

What: a ring that every experience enters, whatever the gate thinks of it; the oldest leaves when a new one comes.
Source: founding document, `working` (capacity 50) and `immediate` (deque of 50); there only items with importance above
.9 got in, so that it was not the last 50 (nested-learning.md M4). Shapes and units: see experiences.py.
"""

from __future__ import annotations

from memory.experiences import ExperienceStore


class WorkingMemory(ExperienceStore):
    """A ring over `capacity` rows; `next_row` is the row the next experience takes."""

    def next_row(self, sequence: int) -> int:
        """Row of experience number `sequence`: every number comes here once, in order."""
        return sequence % self.capacity
