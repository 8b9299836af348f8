"""The pieces of SQL that differ between SQLite and PostgreSQL, and the shape of a view.

A view is one or more parts joined by UNION ALL. Each part has an expression per column, its tables and conditions, and
a key that orders its rows in time, so that a listing can take the newest rows of every part by index and merge those
few instead of sorting millions. Exact integers become numbers here: SQLite REAL by division by an exact power of ten
(correctly rounded), PostgreSQL NUMERIC by multiplication with 10^-n (exact). Ratios are floats in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from trader.core import rows
from trader.core.timeframes import TIMEFRAMES
from trader.store.database import SQLITE

INTEGER: Final = "integer"
NUMBER: Final = "number"
TEXT: Final = "text"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a part: its name in the view, `integer`, `number` or `text`, and the expression for it."""

    name: str
    kind: str
    expression: str


@dataclass(frozen=True, slots=True)
class Part:
    """One SELECT: columns, FROM, WHERE (empty if none), the run's column, and the key that orders rows in time."""

    columns: tuple[Column, ...]
    source: str
    where: str
    run: str
    key: str


@dataclass(frozen=True, slots=True)
class View:
    """A view of the contract; every part has the same column names and kinds."""

    name: str
    parts: tuple[Part, ...]

    @property
    def columns(self) -> tuple[Column, ...]:
        """Columns of the first part: names and kinds are those of the view."""
        return self.parts[0].columns

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in the view's order."""
        return tuple(column.name for column in self.columns)

    def sql(self) -> str:
        """The query behind the view."""
        return "\nUNION ALL\n".join(select(part) for part in self.parts)


def select(part: Part, *, extra: Sequence[str] = (), conditions: Sequence[str] = ()) -> str:
    """One part as a SELECT with more columns and conditions."""
    listed = [f'{column.expression} AS "{column.name}"' for column in part.columns]
    where = [f"({condition})" for condition in (part.where, *conditions) if condition]
    text = f"SELECT {', '.join([*listed, *extra])}\nFROM {part.source}"
    return f"{text}\nWHERE {' AND '.join(where)}" if where else text


class Dialect:
    """Writes expressions for one dialect."""

    def __init__(self, name: str) -> None:
        self.sqlite = name == SQLITE

    def integer(self, name: str, expression: str) -> Column:
        """A whole number as it stands."""
        return Column(name, INTEGER, expression)

    def text(self, name: str, expression: str) -> Column:
        """Text as it stands."""
        return Column(name, TEXT, expression)

    def number(self, name: str, expression: str) -> Column:
        """A number as it stands."""
        return Column(name, NUMBER, expression)

    def time(self, name: str, expression: str) -> tuple[Column, Column]:
        """Milliseconds, and beside them the same moment as text in UTC."""
        assert name.endswith("_ms"), "columns of milliseconds end with _ms"
        return self.integer(name, expression), self.text(f"{name[:-3]}_utc", self.utc(expression))

    def utc(self, expression: str) -> str:
        """ISO 8601 text of milliseconds, to the second."""
        if self.sqlite:
            return f"strftime('%Y-%m-%dT%H:%M:%SZ', ({expression}) / 1000, 'unixepoch')"
        return f"to_char(to_timestamp(({expression}) / 1000) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"

    def scaled(self, expression: str, digits: int) -> str:
        """An integer in 10^-digits as a number."""
        if self.sqlite:
            return f"({expression}) / {10**digits}.0"
        return f"({expression}) * {1 / 10**digits:.{digits}f}"

    def amount(self, name: str, expression: str) -> Column:
        """An amount in 1e-8 of the quote currency."""
        return self.number(name, self.scaled(expression, 8))

    def price(self, name: str, expression: str) -> Column:
        """A price in units of the instrument `i`."""
        return self.number(name, self.price_of(expression))

    def price_of(self, expression: str) -> str:
        """Expression of a price in units of the instrument `i`."""
        return self._unit(expression, "price")

    def quantity(self, name: str, expression: str) -> Column:
        """A quantity in units of the instrument `i`."""
        return self.number(name, self._unit(expression, "quantity"))

    def quantity_of(self, expression: str) -> str:
        """Expression of a quantity in units of the instrument `i`."""
        return self._unit(expression, "quantity")

    def _unit(self, expression: str, what: str) -> str:
        if self.sqlite:
            return f"({expression}) / CAST(i.{what}_scale AS REAL)"
        return f"({expression}) * CAST('1e-' || i.{what}_exponent AS NUMERIC)"

    def ratio(self, name: str, upper: str, lower: str) -> Column:
        """A float, NULL where the divisor is zero."""
        kind = "REAL" if self.sqlite else "DOUBLE PRECISION"
        return self.number(name, f"CAST({upper} AS {kind}) / NULLIF({lower}, 0)")

    def code(self, name: str, expression: str, meaning: type[IntEnum]) -> Column:
        """The lower-case name of a code."""
        return self.text(name, self.code_of(expression, meaning))

    def code_of(self, expression: str, meaning: type[IntEnum]) -> str:
        """Expression for the lower-case name of a code; an unknown code is shown as it stands."""
        cases = " ".join(f"WHEN {int(code)} THEN '{code.name.lower()}'" for code in meaning)
        return f"CASE {expression} {cases} ELSE CAST({expression} AS TEXT) END"

    def named(self, name: str, alias: str, expression: str) -> Column:
        """The text of a code of the run's own, joined from `name` under `alias` (see `name_join`)."""
        return self.text(name, f"COALESCE({alias}.text, CAST({expression} AS TEXT))")

    def timeframe(self, name: str, expression: str) -> Column:
        """The name of a timeframe in ms."""
        cases = " ".join(f"WHEN {length} THEN '{text}'" for text, length in TIMEFRAMES.items())
        return self.text(name, f"CASE {expression} {cases} ELSE CAST({expression} AS TEXT) || 'ms' END")

    def greatest(self, first: str, second: str) -> str:
        """The larger of two values."""
        return f"{'MAX' if self.sqlite else 'GREATEST'}({first}, {second})"

    def account(self, name: str, expression: str) -> Column:
        """The text of an account number, as `rows.account_name`."""
        system = " ".join(f"WHEN {int(a)} THEN '{rows.account_name(int(a))}'" for a in rows.Account)
        first = rows.AGENT_ACCOUNTS
        return self.text(
            name,
            f"CASE WHEN {expression} >= {first} THEN 'agent:' || (({expression} - {first}) / 2) ||"
            f" CASE ({expression} - {first}) % 2 WHEN 0 THEN ':cash' ELSE ':margin' END"
            f" ELSE CASE {expression} {system} ELSE CAST({expression} AS TEXT) END END",
        )

    def nothing(self, kind: str) -> str:
        """A NULL with a type."""
        types = {INTEGER: "BIGINT", NUMBER: "DOUBLE PRECISION", TEXT: "TEXT"}
        return f"CAST(NULL AS {types[kind]})"


def instrument_join(alias: str) -> str:
    """Join of the instrument `i` of a row's market."""
    return f"JOIN instrument i ON i.run = {alias}.run AND i.market = {alias}.market"


def name_join(alias: str, kind: str, run: str, expression: str) -> str:
    """Join of the run's own name for a code."""
    return f"LEFT JOIN name {alias} ON {alias}.run = {run} AND {alias}.kind = '{kind}' AND {alias}.code = {expression}"
