"""A file's content before anybody knows what it means: columns of text or of numbers, and the names above them.

Rows are counted from 1, without header, banner and empty lines; every refusal names file, row and rule. Columns are
text (list of str, "" where empty), whole numbers (int64 [N]), numbers (float64 [N], NaN where empty), or moments
(datetime64[ms] [N], with `zoned` telling that they are UTC already).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trader.core.types import UserError

Column = list[str] | NDArray[Any]


@dataclass(frozen=True, slots=True)
class RawTable:
    """Columns of equal length N > 0; header: their names, None if the file has none; zoned: places of UTC moments."""

    label: str
    header: tuple[str, ...] | None
    columns: tuple[Column, ...]
    zoned: frozenset[int] = field(default=frozenset())

    def __post_init__(self) -> None:
        """Refuse a table without rows."""
        if not self.columns or len(self.columns[0]) == 0:
            raise UserError(f"{self.label}: holds no rows")

    def __len__(self) -> int:
        return len(self.columns[0])


def cell(column: Column, row: int) -> str:
    """Text of one cell, short enough for a message."""
    return str(column[row])[:40]


def empty(column: Column) -> NDArray[np.bool_]:
    """Bool [N]: where the column has no value."""
    if isinstance(column, list):
        return np.fromiter((not text for text in column), np.bool_, len(column))
    if column.dtype.kind == "M":
        return np.isnat(column)
    return np.isnan(column) if column.dtype.kind == "f" else np.zeros(len(column), np.bool_)


def numbers(label: str, name: str, column: Column, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """float64 [len(rows)]: the column's numbers in these rows (0-based).

    Raises:
        UserError: a cell is empty or no number; the message names its row, counted from 1.
    """
    blank = empty(column)[rows]
    if blank.any():
        raise UserError(f"{label}: row {rows[np.argmax(blank)] + 1}: {name} must not be empty")
    if not isinstance(column, list):
        if column.dtype.kind == "M":
            raise UserError(f"{label}: row {rows[0] + 1}: {name} must be a number, not {cell(column, int(rows[0]))!r}")
        return column[rows].astype(np.float64)
    values = np.empty(len(rows), np.float64)
    for place, row in enumerate(rows.tolist()):
        text = column[row]
        try:
            values[place] = float(text)
        except ValueError:
            raise UserError(f"{label}: row {row + 1}: {name} must be a number, not {text[:40]!r}") from None
    return values


def refuse(label: str, rows: NDArray[np.int64], bad: NDArray[np.bool_], rule: str, after: str = "") -> None:
    """Raise if any is bad: names the first rows (1-based numbers of `rows`) and how many there are.

    Args:
        label: file.
        rows: int64 [N], the file's rows (0-based) that `bad` speaks of.
        bad: bool [N].
        rule: what must hold.
        after: said at the end.
    """
    found = rows[bad] + 1
    if len(found) == 0:
        return
    told = f"{label}: row {found[0]}: {rule}"
    if len(found) > 1:
        shown = ", ".join(str(row) for row in found[:8]) + (", …" if len(found) > 8 else "")
        told += f" ({len(found)} of {len(bad)} rows: {shown})"
    raise UserError(told + after)
