"""What a level is, for the session: a thing that learns on its own clock and says what it did.

A thing may be called a level only if it registers what it owns: its parameters, its context flow (what it learns from),
its objective, its update rule and its period (Behrouz et al., "Nested Learning", 2025, section 3). Every update is a row
of `v_level`. A level acts at boundaries only, after that frame's decisions; between them it is frozen.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trader.session.books import Books


def text_array(document: Any) -> NDArray[np.uint8]:
    """A document as JSON text in bytes, for a checkpoint: whole numbers and floats come back exactly."""
    return np.frombuffer(json.dumps(document).encode(), np.uint8).copy()


def from_text_array(array: NDArray[np.uint8]) -> Any:
    """The inverse of `text_array`."""
    return json.loads(bytes(array))


@dataclass(frozen=True, slots=True)
class LevelSpec:
    """The registration of a level. `every` is in base candles; `name` is its key under `[levels]`."""

    name: str
    every: int
    parameters: str
    context_flow: str
    objective: str
    update_rule: str


@dataclass(frozen=True, slots=True)
class LevelUpdate:
    """One update: its number, the objective before and after (NaN if unknown), whether it was kept, and what changed."""

    step: int
    objective_before: float
    objective_after: float
    kept: bool
    detail: dict[str, Any] = field(default_factory=dict)


class SessionLevel(Protocol):
    """What the session asks of every level."""

    @property
    def spec(self) -> LevelSpec:
        """The level's registration."""

    def update(self, books: Books, frame: int, time_ms: int) -> LevelUpdate:
        """Learn from what is known after `frame` (open time `time_ms`) and act on the books."""

    def state(self) -> dict[str, NDArray[np.int64] | NDArray[np.float64]]:
        """Everything it remembers, as arrays: a pure read."""

    def restore(self, state: dict[str, Any]) -> None:
        """Become what `state` described."""
