"""Rows of arrays to rows of SQL and back, exactly.

A numeric table is one int64 array [rows, columns] in which float columns stand as the bits of their float64.
One form for each value: every NaN and infinity is the canonical NaN (SQL NULL) and minus zero is zero, because SQLite
keeps whole floats as integers and would lose the sign; so what is read back has the bits that were written.
Text tables travel as tuples of int, float or None, and str.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trader.core import rows

_MINUS_ZERO: Final = int(np.array(-0.0).view(np.int64))


def canonical(spec: rows.TableSpec, table: NDArray[np.int64]) -> NDArray[np.int64]:
    """A private copy of int64 [rows, columns] with every float in its one form.

    Raises:
        ValueError: not two-dimensional int64 with the table's columns.
    """
    if table.ndim != 2 or table.shape[1] != len(spec.columns) or table.dtype != np.int64:
        raise ValueError(
            f"table {spec.name}: expected int64 [rows, {len(spec.columns)}], got {table.dtype} {table.shape}"
        )
    result = np.array(table, order="C")
    for place, column in enumerate(spec.columns):
        if column.kind == rows.FLOAT:
            bits = rows.float_bits(np.ascontiguousarray(result[:, place]).view(np.float64))
            bits[bits == _MINUS_ZERO] = 0
            result[:, place] = bits
    return result


def canonical_text(spec: rows.TableSpec, table: Iterable[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """Tuples of a text table with plain Python values, floats in their one form (None if not finite).

    Raises:
        ValueError: a row has the wrong number of values, or text with a NUL character.
    """
    result = []
    for row in table:
        if len(row) != len(spec.columns):
            raise ValueError(f"table {spec.name}: expected {len(spec.columns)} values, got {len(row)}")
        result.append(tuple(_value(column, value) for column, value in zip(spec.columns, row, strict=True)))
    return result


def _value(column: rows.Column, value: Any) -> int | float | str | None:
    if column.kind == rows.INTEGER:
        return int(value)
    if column.kind == rows.TEXT:
        text = str(value)
        if "\0" in text:
            raise ValueError(f"column {column.name}: text with a NUL character")
        return text
    if value is None or not math.isfinite(value):
        return None
    return float(value) + 0.0  # makes minus zero zero


def to_sql(spec: rows.TableSpec, table: NDArray[np.int64], *extra: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Parameters for one executemany: tuples of int, and of float or None in float columns, then `extra` columns."""
    columns: list[Sequence[Any]] = []
    for place, column in enumerate(spec.columns):
        values = np.ascontiguousarray(table[:, place])
        if column.kind == rows.INTEGER:
            columns.append(values.tolist())
            continue
        floats = values.view(np.float64)
        plain: list[float | None] = floats.tolist()
        for row in np.flatnonzero(np.isnan(floats)):
            plain[row] = None
        columns.append(plain)
    return list(zip(*columns, *extra, strict=True))


def from_sql(spec: rows.TableSpec, fetched: Sequence[Sequence[Any]]) -> NDArray[np.int64]:
    """int64 [rows, columns] of a numeric table from fetched rows (without `run`), the inverse of `to_sql`."""
    result = np.empty((len(fetched), len(spec.columns)), np.int64)
    if not fetched:
        return result
    for place, (column, values) in enumerate(zip(spec.columns, zip(*fetched, strict=True), strict=True)):
        if column.kind == rows.INTEGER:
            result[:, place] = values
        else:
            result[:, place] = rows.float_bits(np.array(values, np.float64))
    return result
