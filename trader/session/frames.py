"""Views of a run as pandas data frames with a UTC index.

A frame has its view's columns under their names. The index is the listing's time (`exit` of trades, `decided` of orders,
`born` of agents, ...); positions and funnel are snapshots and stand at the close of the last committed frame. `…_ms`
columns stay integers, `…_utc` columns are timestamps, integers with gaps are `Int64`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from trader.store.columns import read_columns
from trader.store.expressions import INTEGER, Column
from trader.store.listings import LISTINGS
from trader.store.views import all_views

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trader.store.records import RunRow
    from trader.store.store import Store

NAMES: Final = tuple(LISTINGS)
"""What there is a frame of: the listings of `trader db`."""

_INDEX: Final = "_index_ms"


def frame(store: Store, row: RunRow, name: str) -> pd.DataFrame:
    """One listing of a run, all of it, in its order of time."""
    listing = LISTINGS[name]
    view = all_views(store.database.dialect)[listing.view]
    text = {column.name for column in view.columns if column.name.endswith("_utc")}
    wanted = [column for column in view.names if column not in text]
    extra = [Column(_INDEX, INTEGER, listing.time.strip("{}"))] if "{" in listing.time else []
    columns = read_columns(store, listing.view, row.run, wanted, extra=extra)
    index = _index(columns.pop(_INDEX, None), columns, listing.time, row)
    data: dict[str, Any] = {}
    for column in view.columns:
        if column.name in text:
            data[column.name] = _moments(columns[f"{column.name[:-4]}_ms"])
        elif column.kind == INTEGER and columns[column.name].dtype == np.float64:
            data[column.name] = pd.array(columns[column.name], dtype="Int64")
        else:
            data[column.name] = columns[column.name]
    return pd.DataFrame(data).set_index(index)


def _index(told: NDArray[Any] | None, columns: dict[str, NDArray[Any]], time: str, row: RunRow) -> pd.DatetimeIndex:
    """The time of each row."""
    if told is not None:
        return pd.DatetimeIndex(_moments(told), name="time")
    if time:
        return pd.DatetimeIndex(_moments(columns[time]), name=time.removesuffix("_ms"))
    end = (row.cursor_ms or 0) + row.base_ms
    count = len(next(iter(columns.values())))
    return pd.DatetimeIndex(_moments(np.full(count, end)), name="as_of")


def _moments(milliseconds: NDArray[Any]) -> pd.DatetimeIndex:
    return pd.to_datetime(milliseconds, unit="ms", utc=True).as_unit("ms")
