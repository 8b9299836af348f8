"""Tables from JSON: a list of rows (arrays), a list of objects, or an object of equally long columns; or JSON lines.

Freqtrade writes rows without names, exchanges answer with rows (numbers as text), pandas writes objects or columns. An answer
of an exchange or of a chart has its table wrapped in other things: `json_answer` finds it.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from trader.core.types import UserError
from trader.feeds.importing.json_answer import unwrapped
from trader.feeds.importing.table import Column, RawTable

_FORMS = "a list of rows, a list of objects or an object of columns"


def json_table(label: str, content: bytes) -> RawTable:
    """The table in a JSON document.

    Raises:
        UserError: no JSON, or none of the three forms.
    """
    try:
        document = json.loads(content)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and error.lineno > 1:
            return json_table(label, json.dumps(_lines(label, content)).encode())
        raise UserError(f"{label}: line {error.lineno}: cannot be read as JSON: {error.msg}") from None
    except (UnicodeDecodeError, RecursionError, ValueError) as error:
        raise UserError(f"{label}: cannot be read as JSON: {str(error).splitlines()[0]}") from None
    if isinstance(document, dict):
        found = unwrapped(label, document)
        if isinstance(found, dict):
            return _from_columns(label, found)
        document = found
    if not isinstance(document, list):
        raise UserError(f"{label}: must hold {_FORMS}")
    if not document:
        raise UserError(f"{label}: holds no rows")
    if isinstance(document[0], dict):
        names = tuple(document[0])
        rows = [_object_row(label, number, row, names) for number, row in enumerate(document, 1)]
        return _table(label, names, rows)
    rows = [_array_row(label, number, row) for number, row in enumerate(document, 1)]
    for number, row in enumerate(rows, 1):
        if len(row) != len(rows[0]):
            raise UserError(f"{label}: row {number}: must have {len(rows[0])} cells like the first, not {len(row)}")
    return _table(label, None, rows)


def _lines(label: str, content: bytes) -> list[Any]:
    """JSON lines: one document a line."""
    rows = []
    for number, line in enumerate((line for line in content.splitlines() if line.strip()), 1):
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            raise UserError(f"{label}: row {number}: cannot be read as JSON: {str(error).splitlines()[0]}") from None
    return rows


def _object_row(label: str, number: int, row: Any, names: tuple[str, ...]) -> list[Any]:
    if not isinstance(row, dict) or set(row) != set(names):
        raise UserError(f"{label}: row {number}: must be an object with the keys {', '.join(names)[:200]}")
    return [row[name] for name in names]


def _array_row(label: str, number: int, row: Any) -> list[Any]:
    if not isinstance(row, list):
        raise UserError(f"{label}: row {number}: must be a list of cells ({_FORMS})")
    return row


def _from_columns(label: str, document: dict[str, Any]) -> RawTable:
    """Pandas' `to_json()` ({name: {row: value}}), `orient="split"` and `orient="list"` forms."""
    if set(document) >= {"columns", "data"} and all(isinstance(document[key], list) for key in ("columns", "data")):
        names = tuple(str(name) for name in document["columns"])
        rows = [_array_row(label, number, row) for number, row in enumerate(document["data"], 1)]
        for number, row in enumerate(rows, 1):
            if len(row) != len(names):
                raise UserError(f"{label}: row {number}: must have {len(names)} cells, not {len(row)}")
        return _table(label, names, rows)
    columns = [list(value.values()) if isinstance(value, dict) else value for value in document.values()]
    if not columns or not all(isinstance(column, list) for column in columns):
        raise UserError(f"{label}: must hold {_FORMS}")
    longest = max(len(column) for column in columns)
    for name, column in zip(document, columns, strict=True):
        if len(column) != longest:
            raise UserError(f"{label}: row {len(column) + 1}: {name[:40]!r} must have {longest} cells like the others")
    return RawTable(label, tuple(document), tuple(_column(column) for column in columns))


def _table(label: str, names: tuple[str, ...] | None, rows: list[list[Any]]) -> RawTable:
    return RawTable(label, names, tuple(_column(list(column)) for column in zip(*rows, strict=True)))


def _column(cells: list[Any]) -> Column:
    """int64 or float64 if all cells are numbers that fit, else text."""
    kinds = {type(cell) for cell in cells}
    if kinds == {int} and all(-(2**63) <= cell < 2**63 for cell in cells):
        return np.array(cells, np.int64)
    if kinds <= {int, float} and all(abs(cell) < 1e300 or cell != cell for cell in cells):  # noqa: PLR0124 - NaN
        return np.array(cells, np.float64)
    return ["" if cell is None else cell.strip() if isinstance(cell, str) else json.dumps(cell) for cell in cells]
