"""Views of a run as arrays, column by column: what reports and data frames are made of.

Rows come in batches and each batch becomes arrays at once, so a million trades never stand in memory as Python objects.
INTEGER columns are int64 (float64 with NaN if there is a NULL), NUMBER float64, TEXT arrays of str (None for NULL).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trader.core.types import UserError
from trader.store.building import Condition, build, fetch
from trader.store.expressions import INTEGER, TEXT, Column, View
from trader.store.store import AnyStore, persistent
from trader.store.views import all_views

BATCH: Final = 50_000


def read_columns(
    store: AnyStore,
    view: str,
    run: int,
    names: Sequence[str] | None = None,
    *,
    conditions: Sequence[Condition] = (),
    extra: Sequence[Column] = (),
) -> dict[str, NDArray[Any]]:
    """Columns of a view of one run in its order of time; `names` None: all of them.

    extra: columns the view does not have, as expressions over its tables (views of one part only).

    Raises:
        UserError: the store is the one in memory.
    """
    store = persistent(store)
    reduced = _reduced(all_views(store.database.dialect)[view], names, extra)
    text, values = build(reduced, run, conditions, sort=None, limit=0, newest_first=False)
    parts: list[list[NDArray[Any]]] = [[] for _ in reduced.columns]
    with store.database.reading() as connection:
        for batch in fetch(store.database, connection, reduced, text, values, size=BATCH):
            for column, part, cells in zip(reduced.columns, parts, zip(*batch, strict=True), strict=True):
                part.append(_array(column, cells))
    return {column.name: _joined(column, part) for column, part in zip(reduced.columns, parts, strict=True)}


def equity_span(store: AnyStore, run: int) -> tuple[int, int]:
    """Open times (ms) of a run's first and last frame.

    Raises:
        UserError: it has none.
    """
    store = persistent(store)
    end = "SELECT q.time_ms FROM equity q WHERE q.run = {} ORDER BY q.seq {} LIMIT 1"
    with store.database.reading() as connection:
        first, last = (connection.exec_driver_sql(end.format(int(run), order)).scalar() for order in ("ASC", "DESC"))
    if first is None or last is None:
        raise UserError(f"run {run}: has committed no frame")
    return int(first), int(last)


def _reduced(view: View, names: Sequence[str] | None, extra: Sequence[Column]) -> View:
    """The view with only the columns that are wanted, and `extra` ones."""
    wanted = view.names if names is None else names
    assert set(wanted) <= set(view.names), f"{view.name} has no {set(wanted) - set(view.names)}"
    parts = tuple(
        replace(part, columns=(*(column for column in part.columns if column.name in wanted), *extra))
        for part in view.parts
    )
    return View(view.name, parts)


def _array(column: Column, cells: tuple[Any, ...]) -> NDArray[Any]:
    if column.kind == TEXT:
        return np.array(cells, dtype=object)
    if column.kind == INTEGER and None not in cells:
        return np.array(cells, dtype=np.int64)
    return np.array(cells, dtype=np.float64)


def _joined(column: Column, parts: list[NDArray[Any]]) -> NDArray[Any]:
    if not parts:
        return np.array([], dtype={INTEGER: np.int64, TEXT: object}.get(column.kind, np.float64))
    return np.concatenate(parts)
