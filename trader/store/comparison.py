"""Comparing rows that a session produces again with those in SQL: the heart of `resume` and of `verify`.

A run is a pure function of its config, seed and journal, so rows produced a second time must be the stored ones, value
by value, in the columns that the digest covers. Resume compares up to the last committed `seq` of each table; rows
beyond are new. Verify compares everything. The first row that differs, is missing or is too many raises `Difference`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from trader.core import rows
from trader.store import codec
from trader.store.database import Database

CHUNK: Final = 50_000
"""Stored rows fetched at once: bounds the memory of a comparison."""


class Difference(Exception):  # noqa: N818 - the word of the contract: `first_difference`
    """The first row in which a run and its repetition differ.

    stored and produced are the values of `column`; a row that only one side has differs in `seq`, None on the other.
    """

    def __init__(self, table: str, seq: int, column: str, stored: Any, produced: Any) -> None:
        super().__init__(f"table {table}, seq {seq}, column {column}: stored {stored!r}, produced {produced!r}")
        self.table = table
        self.seq = seq
        self.column = column
        self.stored = stored
        self.produced = produced

    def as_dict(self) -> dict[str, Any]:
        """The difference as JSON-able values: table, seq, column, stored, produced."""
        return {
            "table": self.table,
            "seq": self.seq,
            "column": self.column,
            "stored": self.stored,
            "produced": self.produced,
        }


class Comparison:
    """Compares produced rows with those of a run. until: last committed `seq` per table; everything: no limit."""

    def __init__(self, database: Database, run: int, until: Mapping[str, int], *, everything: bool) -> None:
        self._database = database
        self._run = run
        # tables of one sequence are committed together: up to the last `seq` of any, the others have all theirs too
        events = max(
            (until.get(name, 0) for name, spec in rows.TABLES.items() if spec.sequence == rows.EVENT), default=0
        )
        self._until = {
            name: events if spec.sequence == rows.EVENT else until.get(name, 0) for name, spec in rows.TABLES.items()
        }
        self._everything = everything
        self._connection: Connection | None = None

    def take(self, spec: rows.TableSpec, produced: Any, after: int) -> Any:
        """Compare what lies within the limit with the stored rows after `seq` `after`; return the rows beyond.

        Raises:
            Difference: the first difference.
        """
        first_new = len(produced)
        until = int(produced[-1][0])
        if not self._everything:
            limit = self._until[spec.name]
            first_new = int(np.searchsorted([int(row[0]) for row in produced], limit, side="right"))
            until = min(until, limit)
        for start in range(0, max(first_new, 1), CHUNK):
            part = produced[start : min(start + CHUNK, first_new)]
            last = start + CHUNK >= first_new
            high = until if last else int(part[-1][0])
            self._compare(spec, self._stored(spec, after, high), part)
            after = high
        return produced[first_new:]

    def _stored(self, spec: rows.TableSpec, after: int, until: int) -> list[tuple[Any, ...]]:
        """Stored rows with after < seq <= until."""
        if until <= after:
            return []
        if self._connection is None:
            self._connection = self._database.connect()
        mark = self._database.mark
        names = ", ".join(f'"{name}"' for name in spec.names)
        statement = (
            f'SELECT {names} FROM "{spec.name}" WHERE run = {mark} AND seq > {mark} AND seq <= {mark} ORDER BY seq'  # noqa: S608
        )
        with self._database.guarded(), self._connection.begin():
            return [tuple(row) for row in self._connection.exec_driver_sql(statement, (self._run, after, until))]

    def _compare(self, spec: rows.TableSpec, stored: list[tuple[Any, ...]], produced: Any) -> None:
        if spec.numeric:
            self._compare_numeric(spec, codec.from_sql(spec, stored), produced)
            return
        for old, new in zip(stored, produced, strict=False):
            places = [
                place for place, column in enumerate(spec.columns) if column.in_digest and old[place] != new[place]
            ]
            if places:
                raise self._difference(spec, places[0], old, new)
        self._compare_lengths(spec, stored, produced)

    def _compare_numeric(self, spec: rows.TableSpec, stored: NDArray[np.int64], produced: NDArray[np.int64]) -> None:
        places = [place for place, column in enumerate(spec.columns) if column.in_digest]
        common = min(len(stored), len(produced))
        differ = stored[:common, places] != produced[:common, places]
        wrong = np.flatnonzero(differ.any(axis=1))
        if len(wrong):
            row = int(wrong[0])
            place = places[int(np.flatnonzero(differ[row])[0])]
            raise self._difference(spec, place, stored[row], produced[row])
        self._compare_lengths(spec, stored, produced)

    @staticmethod
    def _compare_lengths(spec: rows.TableSpec, stored: Any, produced: Any) -> None:
        common = min(len(stored), len(produced))
        if len(stored) > common:
            raise Difference(spec.name, int(stored[common][0]), "seq", int(stored[common][0]), None)
        if len(produced) > common:
            raise Difference(spec.name, int(produced[common][0]), "seq", None, int(produced[common][0]))

    @staticmethod
    def _difference(spec: rows.TableSpec, place: int, stored: Any, produced: Any) -> Difference:
        """A row that differs in `seq` is one that only one side has: the lower `seq` of the two."""
        if place == 0:
            old, new = int(stored[0]), int(produced[0])
            return Difference(spec.name, min(old, new), "seq", old if old < new else None, new if new < old else None)
        column = spec.columns[place]
        values = [stored[place], produced[place]]
        if spec.numeric:
            values = [_readable(column, value) for value in values]
        return Difference(spec.name, int(produced[0]), column.name, *values)

    def finish(self, last: Mapping[str, int]) -> None:
        """All stored rows (within the limit) must have been produced; `last` is the last produced `seq` per table.

        Raises:
            Difference: the first stored row beyond.
        """
        for name, spec in rows.TABLES.items():
            limit = np.iinfo(np.int64).max if self._everything else self._until[name]
            extra = self._stored(spec, last[name], int(limit))
            if extra:
                raise Difference(name, int(extra[0][0]), "seq", int(extra[0][0]), None)

    def close(self) -> None:
        """Close the reading connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _readable(column: rows.Column, value: np.int64) -> int | float | None:
    if column.kind == rows.INTEGER:
        return int(value)
    number = float(np.array(value, np.int64).view(np.float64))
    return None if np.isnan(number) else number
