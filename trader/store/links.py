"""What the writer derives from the rows it commits: the entry of every exit, and each agent's record.

`entry_seq` of an exit or partial exit is the `seq` of its trade's entry. An agent has at most one open trade, so the
map of open trades stays as small as the population; after a resume it is read from SQL once, when first needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from trader.core import rows

_TRADE = rows.ENTRY.position("trade")


class EntryLinks:
    """Open trades to the `seq` of their entries. `load` reads those of earlier commits, None if there are none."""

    def __init__(self, load: Callable[[], dict[int, int]] | None) -> None:
        self._load = load
        self._open: dict[int, int] = {}

    def entered(self, entries: NDArray[np.int64]) -> None:
        """Take in entries, int64 [rows, columns of `entry`]."""
        self._open.update(zip(entries[:, _TRADE].tolist(), entries[:, 0].tolist(), strict=True))

    def entries_of(self, spec: rows.TableSpec, table: NDArray[np.int64]) -> Sequence[int]:
        """`entry_seq` for rows of `exit` or `partial`.

        Raises:
            ValueError: a trade that was never entered.
        """
        if self._load is not None:
            self._open = self._load() | self._open
            self._load = None
        trades = table[:, spec.position("trade")].tolist()
        try:
            return [self._open[trade] for trade in trades]
        except KeyError as error:
            raise ValueError(f"table {spec.name}: trade {error.args[0]} was never entered") from None

    def left(self, exits: NDArray[np.int64]) -> None:
        """Forget closed trades, int64 [rows, columns of `exit`]."""
        for trade in exits[:, rows.EXIT.position("trade")].tolist():
            self._open.pop(trade, None)


def open_entries(connection: Connection, run: int) -> dict[int, int]:
    """Open trades of a run to the `seq` of their entries, from SQL."""
    statement = (
        f"SELECT trade, seq FROM entry WHERE run = {run} AND seq NOT IN"  # noqa: S608 - an integer
        f" (SELECT entry_seq FROM exit WHERE run = {run})"
    )
    return {int(trade): int(seq) for trade, seq in connection.exec_driver_sql(statement)}


def records(exits: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """(agent, closed trades, summed result in 1e-8) of exits, int64 [rows, columns of `exit`]."""
    agents, place = np.unique(exits[:, rows.EXIT.position("agent")], return_inverse=True)
    trades = np.bincount(place, minlength=len(agents))
    pnl = np.zeros(len(agents), np.int64)
    np.add.at(pnl, place, exits[:, rows.EXIT.position("trade_pnl")])
    return list(zip(agents.tolist(), trades.tolist(), pnl.tolist(), strict=True))
