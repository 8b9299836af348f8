"""Tables from feather and Parquet files.

Arrow's threads never get to see a Python object here: its input is a buffer read by the calling thread. A thread that
still holds a Python file, or drops the last reference to one, while the interpreter ends brings the process down.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trader.core.types import UserError
from trader.feeds.importing.table import Column, RawTable


def arrow_table(label: str, content: bytes) -> RawTable:
    """The table in a feather (version 1 or 2) or Parquet file.

    Raises:
        UserError: it cannot be read as one, or a column is neither number, text nor time.
    """
    import pyarrow as pa
    from pyarrow import feather, parquet

    kind = "parquet" if content.startswith(b"PAR1") else "feather"
    try:
        source = pa.BufferReader(content)
        if kind == "parquet":
            with parquet.ParquetFile(source, pre_buffer=False) as file:
                table = file.read(use_threads=False)
        else:
            table = feather.read_table(source, use_threads=False)
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        told = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{label}: cannot be read as {kind}: {told[:200]}") from None
    columns: list[Column] = []
    zoned: set[int] = set()
    for place, column in enumerate(table.columns):
        columns.append(_column(label, table.column_names[place], column))
        if pa.types.is_timestamp(column.type) and column.type.tz is not None:
            zoned.add(place)
    return RawTable(label, tuple(map(str, table.column_names)), tuple(columns), frozenset(zoned))


def _column(label: str, name: str, column: Any) -> Column:
    import pyarrow as pa

    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        # whole milliseconds are all a candle needs; finer moments are cut, and a candle off the grid is refused later
        return column.cast(pa.timestamp("ms"), safe=False).to_numpy().astype("datetime64[ms]")
    if pa.types.is_integer(kind) and column.null_count == 0:
        return column.to_numpy().astype(np.int64)
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        return column.cast(pa.float64(), safe=False).to_numpy().astype(np.float64)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return ["" if value is None else value.strip() for value in column.to_pylist()]
    if pa.types.is_dictionary(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return ["" if value is None else str(value) for value in column.to_pylist()]
    raise UserError(f"{label}: column {name[:40]!r} must hold numbers, text or times, not {str(kind)[:60]}")
