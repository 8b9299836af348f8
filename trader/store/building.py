"""From a view to the SQL of a listing: conditions, order and limit put where an index can serve them.

Each part of a UNION gives its newest rows by primary key, and only those few are merged. Sorting by another column
first finds the keys of the rows to show and then builds only those. Every value is a bound parameter, every column
comes from the view.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


def build(
    view: View, run: int, conditions: Sequence[Condition] = (), *, sort: str | None, limit: int, descending: bool
) -> tuple[str, list[Any]]:
    """SQL text (placeholders `?`) and values of a listing of a view.

    Raises:
        UserError: `sort` is no column of the view.
    """
    place = _sort_column(view, sort)
    pieces, values = [], []
    for part in view.parts:
        direction = "DESC" if descending else "ASC"
        order = f"{part.key} {direction}"
        if place is not None and sort is not None:
            order = f"{part.columns[place].expression} {'DESC' if sort.startswith('-') else 'ASC'} NULLS LAST, {order}"
        text, bound = _part(part, run, conditions, order, limit, by_key=place is None)
        pieces.append(text)
        values += bound
    if len(pieces) == 1:
        return pieces[0], values
    names = ", ".join(f'"{name}"' for name in view.names)
    union = "\nUNION ALL\n".join(f"SELECT * FROM ({piece}) AS part_{number}" for number, piece in enumerate(pieces))
    order = f"_key {'DESC' if descending else 'ASC'}" + (', "seq"' if "seq" in view.names else "")
    if place is not None and sort is not None:
        order = f'"{view.names[place]}" {"DESC" if sort.startswith("-") else "ASC"} NULLS LAST, {order}'
    text = f"SELECT {names} FROM ({union}) AS everything ORDER BY {order}"  # noqa: S608 - our names
    return text + (f" LIMIT {limit}" if limit else ""), values


def _part(
    part: Part, run: int, conditions: Sequence[Condition], order: str, limit: int, *, by_key: bool
) -> tuple[str, list[Any]]:
    """One part of a listing with its conditions, order and limit."""
    texts, values = [f"{part.run} = ?"], [run]
    for condition in conditions:
        expression = condition.target.strip("{}") if "{" in condition.target else _expression(part, condition.target)
        if condition.operator == "IN":
            texts.append(f"{expression} IN {condition.value}")
        else:
            texts.append(f"{expression} {condition.operator} ?")
            values.append(condition.value)  # type: ignore[arg-type]
    if limit and not by_key:
        where = " AND ".join(f"({text})" for text in [*texts, part.where] if text)
        keys = f"SELECT {part.key} FROM {part.source} WHERE {where} ORDER BY {order} LIMIT {limit}"  # noqa: S608
        texts = [f"{part.run} = ?", f"{part.key} IN ({keys})"]
        values = [run, *values]
    text = f"{select(part, extra=(f'{part.key} AS _key',), conditions=texts)}\nORDER BY {order}"
    return text + (f" LIMIT {limit}" if limit else ""), list(values)


def _expression(part: Part, name: str) -> str:
    return next(column.expression for column in part.columns if column.name == name)


def _sort_column(view: View, sort: str | None) -> int | None:
    if sort is None:
        return None
    name = sort.removeprefix("-")
    if name not in view.names:
        raise UserError(f"--sort: no column {name}; there are {', '.join(view.names)}")
    return view.names.index(name)


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
