"""From a view to the SQL of a listing: conditions, order and limit put where an index can serve them.

Each part of a UNION gives its newest rows by primary key, and only those few are merged. Sorting by another column
first finds the keys of the rows to show and then builds only those. Every value is a bound parameter, every column
comes from the view.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection

from trader.core.types import UserError
from trader.store.database import POSTGRESQL, Database
from trader.store.expressions import INTEGER, NUMBER, Column, Part, View, select


class Condition(NamedTuple):
    """`target` is a column of the view, or an expression in braces."""

    target: str
    operator: str
    value: int | str


@dataclass(frozen=True, slots=True)
class _Order:
    """Order of a listing: by the column `sort` if there is one, then in time."""

    sort: str | None
    sort_down: bool
    newest_first: bool

    def terms(self, column: str, *keys: str) -> str:
        """ORDER BY terms; `column` stands for the sorted column, `keys` for time."""
        first = [f"{column} {'DESC' if self.sort_down else 'ASC'} NULLS LAST"] if self.sort is not None else []
        return ", ".join([*first, *(f"{key} {'DESC' if self.newest_first else 'ASC'}" for key in keys)])


def build(
    view: View, run: int, conditions: Sequence[Condition] = (), *, sort: str | None, limit: int, newest_first: bool
) -> tuple[str, list[Any]]:
    """SQL text (placeholders `?`) and values of a listing of a view; limit 0 is none; sort `-column` is downwards.

    Raises:
        UserError: `sort` is no column of the view.
    """
    name = None if sort is None else sort.removeprefix("-")
    if name is not None and name not in view.names:
        raise UserError(f"--sort: no such column; there are {', '.join(view.names)}")
    order = _Order(name, sort is not None and sort.startswith("-"), newest_first)
    pieces = [_part(part, run, conditions, order, limit) for part in view.parts]
    values = [value for _, bound in pieces for value in bound]
    if len(pieces) == 1:
        return pieces[0][0], values
    names = ", ".join(f'"{column}"' for column in view.names)
    wrapped = [f"SELECT * FROM ({text}) AS part_{number}" for number, (text, _) in enumerate(pieces)]  # noqa: S608
    union = "\nUNION ALL\n".join(wrapped)
    terms = order.terms(f'"{name}"', "_key", *(['"seq"'] if "seq" in view.names else []))
    return f"SELECT {names} FROM ({union}) AS everything ORDER BY {terms}{_limited(limit)}", values  # noqa: S608


def _part(part: Part, run: int, conditions: Sequence[Condition], order: _Order, limit: int) -> tuple[str, list[Any]]:
    """One part of a listing with its conditions, order and limit."""
    texts: list[str] = [f"{part.run} = ?"]
    values: list[Any] = [run]
    for condition in conditions:
        expression = condition.target.strip("{}") if "{" in condition.target else _expression(part, condition.target)
        if condition.operator == "IN":
            texts.append(f"{expression} IN {condition.value}")
        else:
            texts.append(f"{expression} {condition.operator} ?")
            values.append(condition.value)
    if limit and order.sort is not None:
        where = " AND ".join(f"({text})" for text in [*texts, part.where] if text)
        sorted_by = f"{part.key} AS _key, {_expression(part, order.sort)} AS _sort"
        keys = f"SELECT {sorted_by} FROM {part.source} WHERE {where}"  # noqa: S608 - our names
        keys = f"SELECT _key FROM ({keys}) AS sorted ORDER BY {order.terms('_sort', '_key')}{_limited(limit)}"  # noqa: S608
        texts = [f"{part.run} = ?", f"{part.key} IN ({keys})"]
        values = [run, *values]
    text = select(part, extra=(f"{part.key} AS _key",), conditions=texts)
    quoted = f'"{order.sort}"'
    return f"{text}\nORDER BY {order.terms(quoted, part.key)}{_limited(limit)}", values


def _limited(limit: int) -> str:
    return f" LIMIT {int(limit)}" if limit else ""


def _expression(part: Part, name: str) -> str:
    return next(column.expression for column in part.columns if column.name == name)


def fetch(
    database: Database, connection: Connection, view: View, text: str, values: Sequence[Any], *, size: int = 10_000
) -> Iterator[list[tuple[Any, ...]]]:
    """Rows of a built query in batches, as plain values of the view's kinds; a column for the key is cut off."""
    if database.dialect == POSTGRESQL:
        text = text.replace("%", "%%").replace("?", "%s")
    convert = [_converter(database, column) for column in view.columns]
    plain = all(function is None for function in convert)
    width = len(convert)
    result = connection.execution_options(stream_results=True).exec_driver_sql(text, tuple(values))
    for batch in result.partitions(size):
        if plain:
            yield [tuple(row)[:width] for row in batch]
        else:
            yield [
                tuple(
                    value if function is None or value is None else function(value)
                    for function, value in zip(convert, tuple(row)[:width], strict=True)
                )
                for row in batch
            ]


def _converter(database: Database, column: Column) -> type[int | float] | None:
    """PostgreSQL gives Decimal for NUMERIC; SQLite's values are plain already."""
    if database.dialect != POSTGRESQL:
        return None
    return {INTEGER: int, NUMBER: float}.get(column.kind)
