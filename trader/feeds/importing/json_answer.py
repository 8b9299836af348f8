"""The table inside an answer of an exchange or of a chart: rows or columns somewhere in an object, beside other things.

Forms that are met: rows under one key, however deep (`{"result": {"list": [[…], …]}}`, `{"Data": {"Data": [{…}, …]}}`); columns
beside a status (`{"s": "ok", "t": […], "o": […], …}`); columns at several depths (`{"timestamp": […], "indicators": {"quote":
[{"open": […], …}]}}`). What is found is handed on as a list of rows or an object of columns. Two tables in one answer are
refused: nobody should guess which one is meant.
"""

from __future__ import annotations

from typing import Any, Final

from trader.core.types import UserError

_FEWEST: Final = 5
"""Columns of a table: a time and four prices."""
_DEEPEST: Final = 8


def unwrapped(label: str, document: dict[str, Any]) -> Any:
    """The rows (list) or columns (dict of lists) in an object; the object itself if it is a table, or holds none.

    Raises:
        UserError: it holds more than one table.
    """
    if _is_table(document):
        return document
    tables = _rows_in(document)
    columns = _columns_in(document)
    if len(tables) + bool(columns) > 1:
        names = [name for name, _ in tables] + (["columns"] if columns else [])
        raise UserError(f"{label}: holds {len(names)} tables ({', '.join(names)[:200]}): cut out the one that is meant")
    if columns:
        lengths = {name: len(column) for name, column in columns}
        longest = max(lengths.values())
        kept = {name: column for name, column in columns if len(column) == longest}
        if len({name for name, _ in columns}) < len(columns):
            raise UserError(f"{label}: holds several columns of one name: cut out the ones that are meant")
        return kept if len(kept) >= _FEWEST else document
    return tables[0][1] if tables else document


def _is_table(document: dict[str, Any]) -> bool:
    """Pandas' forms, which `json_table` knows: every value a column, or `columns` and `data`."""
    if {"columns", "data"} <= set(document):
        return True
    return (
        bool(document)
        and all(isinstance(value, list | dict) for value in document.values())
        and all(
            not isinstance(cell, list | dict)
            for value in document.values()
            for cell in (value if isinstance(value, list) else value.values())
        )
    )


def _rows_in(value: Any, name: str = "", depth: int = 0) -> list[tuple[str, list[Any]]]:
    """(dotted name, rows) of every list of wide rows or of wide objects below a value."""
    if depth > _DEEPEST:
        return []
    if isinstance(value, dict):
        return [
            found for key, inner in value.items() for found in _rows_in(inner, f"{name}.{key}".strip("."), depth + 1)
        ]
    if not isinstance(value, list) or not value:
        return []
    if all(_is_row(row) for row in value):
        return [(name, value)]
    return [
        found
        for place, inner in enumerate(value[:_DEEPEST])
        for found in _rows_in(inner, f"{name}[{place}]", depth + 1)
    ]


def _is_row(row: Any) -> bool:
    cells = list(row.values()) if isinstance(row, dict) else row
    return (
        isinstance(cells, list) and len(cells) >= _FEWEST and not any(isinstance(cell, list | dict) for cell in cells)
    )


def _columns_in(value: Any, depth: int = 0) -> list[tuple[str, list[Any]]]:
    """(name, cells) of every list of plain cells below a value, if they are enough for a table."""
    found = _plain_lists(value, depth)
    return found if len(found) >= _FEWEST else []


def _plain_lists(value: Any, depth: int) -> list[tuple[str, list[Any]]]:
    if depth > _DEEPEST:
        return []
    if isinstance(value, list):
        return [
            found for inner in value[:_DEEPEST] if isinstance(inner, dict) for found in _plain_lists(inner, depth + 1)
        ]
    found: list[tuple[str, list[Any]]] = []
    for name, inner in value.items() if isinstance(value, dict) else ():
        if isinstance(inner, list) and inner and not any(isinstance(cell, list | dict) for cell in inner):
            found.append((str(name), inner))
        elif isinstance(inner, list | dict):
            found += _plain_lists(inner, depth + 1)
    return found
