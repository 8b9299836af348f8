"""The look-ahead audit: does any row dated at or before a moment depend on candles after it?

The session is run to a moment once more from a state shortly before, in one block that crosses it, with every later
price half as high again. Rows dated up to the moment, and entries decided up to it, must be those of the true candles, to
the last bit. Code that peeks at the next candle (a feature, a memory, a level) decides something else and is told.
What this cannot see is a leak that stands in the files themselves: `trader.lab.foresight` looks for those.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trader.core.rows import TABLES
from trader.core.types import VOLUME
from trader.lab.flows import Rows
from trader.lab.foresight import foresight
from trader.lab.simulation import Stopped
from trader.session.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from trader.core.config import Config
    from trader.core.types import Block
    from trader.lab.history import History

MOMENTS: Final = 24
"""Moments that are tried, spread evenly over the traded frames."""
BEFORE: Final = 48
"""Frames between the state that is gone back to and the moment."""
AFTER: Final = 3
"""Frames behind the moment: an order decided at its close is filled, or refused, in them."""
CHANGE: Final = 1.5
"""Factor on later prices: no honest rule could miss it, were it to look."""

DATED: Final = tuple(name for name, spec in TABLES.items() if spec.numeric and "time_ms" in spec.names)
DECIDED: Final = "agent order_id side decided_ms requested_qty"


@dataclass(frozen=True, slots=True)
class Audit:
    """How many moments were tried, and what differed, in words; empty: nothing looked ahead. foresight: largest rank
    correlation of a feature with the next return."""

    moments: int
    differences: tuple[str, ...]
    foresight: float

    def as_dict(self) -> dict[str, Any]:
        """For the document."""
        return {
            "ok": not self.differences,
            "moments": self.moments,
            "differences": list(self.differences),
            "foresight": self.foresight,
        }


def audit(
    config: Config, history: History, moments: int = MOMENTS, stopped: Callable[[], bool] = lambda: False
) -> Audit:
    """Run the config's session over the history up to each moment with true and with changed later candles, and ask
    the features whether the candles know the next one.

    Raises:
        Stopped: `stopped` said so between two moments.
    """
    engine = Engine(config, history.instruments, Rows(()))
    differences = []
    done = 0
    try:
        for moment in _moments(history, moments):
            if stopped():
                raise Stopped
            engine.advance(history.block[done : moment - BEFORE])
            done = moment - BEFORE
            piece = history.block[done : moment + 1 + AFTER]
            found = _compare(config, history, engine.state(), piece)
            if found:
                differences.append(found)
    finally:
        engine.close()
    largest, told = foresight(config, history)
    return Audit(moments, (*differences, *told), largest)


def _moments(history: History, count: int) -> Iterator[int]:
    """Places in the block, from BEFORE frames after the warm-up to AFTER frames before the end."""
    first, last = history.warmup + 2 * BEFORE, len(history.block) - AFTER - 2
    yield from np.unique(np.linspace(first, last, count).astype(int)).tolist() if last > first else []


def _compare(config: Config, history: History, state: tuple[Any, Any], piece: Block) -> str:
    """The first difference at or before the moment, or nothing."""
    moment = int(piece.times[BEFORE])
    candles = piece.candles.copy()
    candles[BEFORE + 1 :, :, :VOLUME] *= CHANGE
    true, other = (_rows(config, history, state, block) for block in (piece, replace(piece, candles=candles)))
    for name in DATED:
        mine, theirs = (_until(rows, name, moment) for rows in (true, other))
        if not np.array_equal(mine, theirs):
            return f"rows of {name} up to {moment} ms depend on later candles"
    if _decided(true, moment) != _decided(other, moment):
        return f"orders decided up to {moment} ms depend on later candles"
    return ""


def _rows(config: Config, history: History, state: tuple[Any, Any], block: Block) -> Rows:
    """What a session in this state writes over a block."""
    rows = Rows(DATED)
    engine = Engine(config, history.instruments, rows)
    try:
        arrays, meta = state
        engine.restore({name: np.array(value, copy=True) for name, value in arrays.items()}, meta)
        engine.advance(block)
    finally:
        engine.close()
    return rows


def _until(rows: Rows, name: str, moment: int) -> NDArray[np.int64]:
    table = rows.table(name)
    return table[table[:, TABLES[name].position("time_ms")] <= moment]


def _decided(rows: Rows, moment: int) -> set[tuple[int, ...]]:
    """Entries decided up to the moment, filled or not: an order's row is dated at its fill, one candle later."""
    found: set[tuple[int, ...]] = set()
    for name in ("entry", "reject"):
        table = np.stack(rows.columns(name, DECIDED, funded=False), axis=1)
        found |= {tuple(row) for row in table[table[:, 3] <= moment].tolist()}
    return found
