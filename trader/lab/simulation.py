"""One whole session over a history, in memory: what it was worth at every frame, what it held, and what that cost.

The engine is the one of `trader run`; only its rows go nowhere but here. Positions that are open at the end stay open
and are worth their last close, so that a shorter history gives exactly the beginning of a longer one's result.

Axes: T traded frames, M markets, A archetypes in use. Amounts are in the pool's currency.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from trader.core import wall
from trader.core.money import AMOUNT_SCALE
from trader.core.rows import TABLES
from trader.lab.flows import Rows, flows_of
from trader.session.engine import Engine
from trader.session.rehearsal import rehearse

if TYPE_CHECKING:
    from collections.abc import Callable

    from trader.core.config import Config
    from trader.lab.flows import Floats, Integers
    from trader.lab.history import History

FRAMES: Final = 512
"""Frames between two calls of `report`."""


@dataclass(frozen=True, slots=True)
class Simulation:
    """A session's result.

    times: int64 [T], opens; equity: float64 [T] at each close; start: equity before the first frame.
    net, gross: float64 [T, M], value of longs minus shorts, and of both together, at each close, of funded agents.
    costs: float64 [T], fees and slippage of funded agents; a trade's slippage counts where it ends.
    archetypes: float64 [T, A], what each archetype has earned since the start, open positions at their marks.
    seconds: processor time it took; the one figure that another machine, or another day, tells otherwise.
    exposures: float64 [A], mean gross exposure of each archetype, as a share of equity.
    opened, closed: int64 [N], opens of the frames in which funded trades began and ended; still open: the largest int64.
    """

    times: Integers
    equity: Floats
    start: float
    net: Floats
    gross: Floats
    costs: Floats
    archetypes: Floats
    exposures: Floats
    opened: Integers
    closed: Integers
    seconds: float


class Stopped(Exception):  # noqa: N818 - a request, not an error
    """Somebody asked for a stop."""


def simulate(
    config: Config, history: History, report: Callable[[int, Engine], None] | None = None, rows: Rows | None = None
) -> Simulation:
    """Run a session of the config over the history.

    Args:
        config: its feed is not asked; everything else counts.
        history: what is traded.
        report: called with the frames done (warm-up included) and the engine; may raise `Stopped`.
        rows: where its rows are kept, for those who want more tables than `trader.lab.flows.KEPT`, which must be among
            them.

    Raises:
        UserError: archetypes or instruments that cannot be used.
    """
    rehearse(config)
    rows = Rows() if rows is None else rows
    engine = Engine(config, history.instruments, rows)
    started = wall.processor_seconds()
    try:
        for first in range(0, len(history.block), FRAMES):
            engine.advance(history.block[first : first + FRAMES])
            if report is not None:
                report(min(first + FRAMES, len(history.block)), engine)
    finally:
        engine.close()
    return _result(config, history, rows, wall.processor_seconds() - started)


def _result(config: Config, history: History, rows: Rows, seconds: float) -> Simulation:
    flows = flows_of(config, history, rows)
    marks = np.nan_to_num(history.marks())
    equity, spec = rows.table("equity"), TABLES["equity"]
    held, gross = flows.held(), flows.held_gross()
    worth = equity[:, spec.position("equity")] / AMOUNT_SCALE
    exposed = np.einsum("tam,tm->ta", gross, marks) / np.maximum(worth, 1e-9)[:, None]
    return Simulation(
        times=equity[:, spec.position("time_ms")],
        equity=worth,
        start=config.pool.capital,
        net=held.sum(axis=1) * marks,
        gross=gross.sum(axis=1) * marks,
        costs=flows.costs(),
        archetypes=flows.earned() + np.einsum("tam,tm->ta", held, marks),
        exposures=exposed.mean(axis=0),
        opened=flows.opened,
        closed=flows.closed,
        seconds=seconds,
    )
