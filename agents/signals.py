"""The archetype `signal`: its idea is a file (`feed.signals`, trader/feeds/signals.py), the bridge to other tools.

Nothing but the signal decides. Above 0 asks for a long position, below 0 for a short one, exactly 0 for none, and where the
file says nothing a position stays as it is. Habits are fixed: any signal is strong enough, the whole free cash is put at
risk at leverage 1 by a market order, and there is no stop, take, trailing stop, longest time or pause; genes mean nothing
here. A signal against an open position closes it; the position on the other side is opened by a later signal.
The archetype stands behind the built-in ones and takes part only where a session has a file of signals.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from agents import layout as at
from agents.archetypes import Archetype, discovered

SIGNAL: Final = "signal"

_FAINTEST: Final = 1e-30
"""Least size of a signal that is one."""


def _idea(features: Any, genes: Any, j: int) -> Any:  # noqa: ARG001 - the contract of every idea
    """Nothing: what this archetype thinks does not come from features."""
    return np.float32(0.0)


def _ideas(features: Any, rows: Any, genes: Any, scores: Any, start: int, stop: int) -> None:  # noqa: ARG001
    """`_idea` over a block of rows, for agents [start, stop)."""
    scores[rows, start:stop] = 0.0


ARCHETYPE: Final = Archetype(
    SIGNAL, "enters and leaves where a file of signals says so, and nowhere else", _idea, _ideas
)


def number() -> int:
    """The archetype's number: that after the built-in ones."""
    return len(discovered())


def habits() -> NDArray[np.float64]:
    """The fixed habits, float64 [HABIT_FIELDS]."""
    fixed = np.zeros(at.HABIT_FIELDS)
    fixed[at.THRESHOLD] = _FAINTEST
    fixed[at.SIZE] = 1.0
    fixed[at.LEVERAGE_CAP] = 1.0
    fixed[at.HOLDING_MS] = float(at.NEVER >> 1)
    return fixed
