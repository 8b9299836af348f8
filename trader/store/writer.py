"""The one writer of a run: buffers rows, hashes them, and commits them with the cursor in one transaction.

`write` takes the rows of a table in `seq` order, in pieces of any size; nothing reaches SQL before `commit`, which
inserts everything buffered (one executemany a table) and moves the run row's cursor: a commit is all or nothing, and
no meaning depends on how often one happens. The digest is taken of the rows as they are handed over.
With `compare_until` the writer compares instead of writing where rows are in SQL already (`trader.store.comparison`):
this is how a resumed session runs from its checkpoint to its cursor, and how `verify` proves a whole run.
If a server is lost, the transaction is repeated on a new connection; the run row's count of commits tells whether the
lost one had arrived, and whether another process has written the run meanwhile (a lost server forgets its locks).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from trader.core import rows
from trader.core.types import Incident, SurroundingsError
from trader.store import codec, failpoints
from trader.store.comparison import Comparison, Difference
from trader.store.database import SQLITE, Database
from trader.store.digest import TableDigest, combine
from trader.store.links import EntryLinks, open_entries, records
from trader.store.records import Cursor
from trader.store.tables import LINKED, POSITION_COLUMNS

DETAIL_LIMIT = 1000
"""Longest detail of an incident in characters: it is part of a key."""


class RowSink:
    """What every writer shares: tables checked, rows in one form, digests, `seq` rising."""

    def __init__(self) -> None:
        self._digests = {name: TableDigest(spec) for name, spec in rows.TABLES.items()}
        self._last = dict.fromkeys(rows.TABLES, 0)
        self._buffers: dict[str, list[Any]] = {name: [] for name in rows.TABLES}

    def write(self, table: str, values: NDArray[np.int64]) -> None:
        """Take in rows of a numeric table, int64 [rows, columns] in `seq` order; a copy is kept.

        Raises:
            ValueError: wrong shape or type, or `seq` does not rise.
        """
        spec = rows.TABLES[table]
        if len(values) == 0:
            return
        taken = codec.canonical(spec, values)
        after = self._advance(table, taken[:, 0])
        self._digests[table].update(taken)
        self._keep(spec, taken, after)

    def write_text(self, table: str, values: Sequence[Sequence[Any]]) -> None:
        """Take in rows of a text table, tuples in `seq` order.

        Raises:
            ValueError: wrong number of values, or `seq` does not rise.
        """
        spec = rows.TABLES[table]
        if spec.numeric:
            raise ValueError(f"table {table} is numeric: use write")
        taken = codec.canonical_text(spec, values)
        if not taken:
            return
        after = self._advance(table, np.array([row[0] for row in taken], np.int64))
        self._digests[table].update_text(taken)
        self._keep(spec, taken, after)

    def _advance(self, table: str, sequence: NDArray[np.int64]) -> int:
        """Check that `seq` rises, remember the last; return the one before these rows."""
        if sequence[0] <= self._last[table] or (np.diff(sequence) <= 0).any():
            raise ValueError(
                f"table {table}: seq must rise, got {sequence[0]} after {self._last[table]} or a fall inside"
            )
        after, self._last[table] = self._last[table], int(sequence[-1])
        return after

    def _keep(self, spec: rows.TableSpec, taken: Any, after: int) -> None:  # noqa: ARG002 - for those that compare
        self._buffers[spec.name].append(taken)

    def digests(self) -> dict[str, str]:
        """Hexadecimal digest of every table of the digest, of all rows handed over so far."""
        return {name: chain.hexdigest() for name, chain in self._digests.items() if chain.spec.in_digest}

    def digest(self) -> str:
        """The run's digest so far."""
        return combine(self.digests())

    def state(self) -> dict[str, NDArray[Any]]:
        """Digest chains and last `seq` as arrays with names `table.part`, for a checkpoint. A pure read."""
        result: dict[str, NDArray[Any]] = {}
        for name, chain in self._digests.items():
            for part, value in chain.state().items():
                result[f"{name}.{part}"] = value
            result[f"{name}.last"] = np.array(self._last[name], np.int64)
        return result

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over a `state`: the next rows are those after it.

        Raises:
            ValueError: the state does not fit the tables.
        """
        for name, chain in self._digests.items():
            chain.restore({part: state[f"{name}.{part}"] for part in ("chain", "rows", "remainder")})
            self._last[name] = int(state[f"{name}.last"])


class Writer(RowSink):
    """Writer of one run into SQL; make it with `Store.writer`, which holds the run's lock. Not thread-safe.

    compare_until: for each table the last `seq` that is in SQL already; rows up to it are compared. None: none are.
    verify: compare everything, write nothing (commits only check).
    """

    def __init__(
        self, database: Database, run: int, *, compare_until: Mapping[str, int] | None = None, verify: bool = False
    ) -> None:
        super().__init__()
        self._database = database
        self._run = run
        self._verify = verify
        self._settled = False
        self._attempts = 0
        self._connection: Connection | None = None
        self._positions: list[tuple[int, ...]] | None = None
        self._incidents: list[Incident] = []
        self._statements = {
            name: self._insert(name, (*spec.names, *(["entry_seq"] if name in LINKED else [])))
            for name, spec in rows.TABLES.items()
        }
        self._statements["record"] = (
            self._insert("record", ("agent", "trades", "pnl")) + " ON CONFLICT (run, agent) DO UPDATE SET"
            " trades = record.trades + excluded.trades, pnl = record.pnl + excluded.pnl"
        )
        self._comparison = (
            Comparison(database, run, dict(compare_until or {}), everything=verify)
            if verify or compare_until is not None
            else None
        )
        with database.reading() as connection:
            statement = f"SELECT commits, cursor_ms, cursor_frame FROM run WHERE run = {run}"  # noqa: S608 - an integer
            self._commits, *stored = connection.exec_driver_sql(statement).one()
        self._stored_cursor = None if stored[0] is None else tuple(stored)
        self._links = EntryLinks(self._open_entries if self._commits else None)

    def _insert(self, table: str, columns: Iterable[str]) -> str:
        names = tuple(columns)
        listed = ", ".join(f'"{name}"' for name in ("run", *names))
        marks = ", ".join([self._database.mark] * len(names))
        return f'INSERT INTO "{table}" ({listed}) VALUES ({self._run}, {marks})'  # noqa: S608 - names of our tables

    def _open_entries(self) -> dict[int, int]:
        with self._database.reading() as connection:
            return open_entries(connection, self._run)

    def _keep(self, spec: rows.TableSpec, taken: Any, after: int) -> None:
        if self._comparison is not None:
            taken = self._comparison.take(spec, taken, after)
            if len(taken) == 0:
                return
        assert not self._verify, "verify writes nothing"
        self._buffers[spec.name].append(taken)

    def incidents(self, incidents: Iterable[Incident]) -> None:
        """Take in what the feed noticed. The same incident twice is one row."""
        self._incidents.extend(incidents)

    def positions(self, values: NDArray[np.int64]) -> None:
        """Replace the run's snapshot of open positions, int64 [positions, len(tables.POSITION_COLUMNS)], at the next commit.

        Raises:
            ValueError: wrong shape or type.
        """
        if values.ndim != 2 or values.shape[1] != len(POSITION_COLUMNS) or values.dtype != np.int64:
            raise ValueError(
                f"positions: expected int64 [positions, {len(POSITION_COLUMNS)}], got {values.dtype} {values.shape}"
            )
        self._positions = [tuple(row) for row in values.tolist()]

    def commit(self, cursor: Cursor) -> None:
        """Write everything since the last commit and move the cursor, in one transaction.

        Raises:
            SurroundingsError: the database failed for good; nothing of this commit is in it.
            Difference: a row in SQL between those compared was not produced again.
        """
        if self._is_repetition(cursor):
            return
        tables = self._parameters()
        self._attempts = 0
        try:
            self._database.retry(lambda: self._transaction(tables, cursor))
        except OSError as error:
            self.close()
            raise SurroundingsError(f"database {self._database.location.shown}: {error}") from error
        self._commits += 1
        for buffer in self._buffers.values():
            buffer.clear()
        self._positions = None
        self._incidents.clear()

    def _is_repetition(self, cursor: Cursor) -> bool:
        """True for a commit that is in SQL already (resume) or never will be (verify): nothing is left to write."""
        if self._comparison is None or self._settled:
            return False
        new = [name for name, buffer in self._buffers.items() if buffer]
        # in time, and at one time by number: the closing of a session comes after its last frame
        here = (cursor.time_ms, cursor.frame)
        if not self._verify and (self._stored_cursor is None or here >= self._stored_cursor):
            self._comparison.finish(self._last)
            self._settled = True
            if new or here != self._stored_cursor:
                return False
        elif new:  # a row within the stored frames that the stored run does not have
            seq = int(self._buffers[new[0]][0][0][0])
            raise Difference(new[0], seq, "seq", None, seq)
        self._positions = None
        self._incidents.clear()
        return True

    def _parameters(self) -> dict[str, list[tuple[Any, ...]]]:
        """Parameters of every table's insert, with what is derived from the rows."""
        result: dict[str, list[tuple[Any, ...]]] = {}
        exits = None
        for name, buffer in self._buffers.items():
            if not buffer:
                continue
            spec = rows.TABLES[name]
            if not spec.numeric:
                result[name] = [row for part in buffer for row in part]
                continue
            table = np.concatenate(buffer)
            if name == "entry":  # stands before exit and partial in rows.TABLES
                self._links.entered(table)
            extra = [self._links.entries_of(spec, table)] if name in LINKED else []
            result[name] = codec.to_sql(spec, table, *extra)
            exits = table if name == "exit" else exits
        if exits is not None:
            self._links.left(exits)
            result["record"] = records(exits)
        return result

    def _transaction(self, tables: dict[str, list[tuple[Any, ...]]], cursor: Cursor) -> None:
        """One attempt. A broken connection is closed, so that the next attempt opens a new one."""
        try:
            connection = self._open()
            with connection.begin():
                self._attempts += 1
                if self._has_arrived(connection, cursor):
                    return
                for name, parameters in tables.items():
                    self._statement(connection, self._statements[name], parameters)
                self._write_snapshot(connection)
                self._move(connection, cursor)
                failpoints.passing("commit.before")
            failpoints.passing("commit.after")
        except (DBAPIError, OSError):
            self.close()
            raise

    def _open(self) -> Connection:
        if self._connection is None:
            self._connection = self._database.engine.connect().execution_options(trader_write=True)
        return self._connection

    def _has_arrived(self, connection: Connection, cursor: Cursor) -> bool:
        """True if an earlier attempt, whose answer was lost, is in SQL.

        Raises:
            SurroundingsError: commits are in SQL that this writer did not make.
        """
        own = "" if self._database.dialect == SQLITE else " FOR UPDATE"  # SQLite's transaction has the lock already
        statement = f"SELECT commits, cursor_frame FROM run WHERE run = {self._run}{own}"  # noqa: S608 - an integer
        commits, frame = connection.exec_driver_sql(statement).one()
        if commits == self._commits:
            return False
        if self._attempts > 1 and (commits, frame) == (self._commits + 1, cursor.frame):
            return True
        raise SurroundingsError(f"run {self._run}: another process has written it since this one began")

    @staticmethod
    def _statement(connection: Connection, statement: str, parameters: list[tuple[Any, ...]]) -> None:
        failpoints.passing("statement.before")
        connection.exec_driver_sql(statement, parameters)
        failpoints.passing("statement.after")

    def _write_snapshot(self, connection: Connection) -> None:
        """Positions and incidents."""
        if self._positions is not None:
            connection.exec_driver_sql(f"DELETE FROM position WHERE run = {self._run}")  # noqa: S608 - an integer
            if self._positions:
                self._statement(connection, self._insert("position", POSITION_COLUMNS), self._positions)
        if self._incidents:
            statement = self._insert("incident", ("time_ms", "kind", "symbol", "detail")) + " ON CONFLICT DO NOTHING"
            parameters = [(int(i.time_ms), i.kind, i.symbol, i.detail[:DETAIL_LIMIT]) for i in self._incidents]
            self._statement(connection, statement, parameters)
            self._mark_revised(connection)

    def _mark_revised(self, connection: Connection) -> None:
        """`revised` of the candles that the exchange told anew; what was acted on stays as it is."""
        revised = [(int(i.time_ms), i.symbol) for i in self._incidents if i.kind == "revision"]
        if revised:
            mark = self._database.mark
            self._statement(
                connection,
                f"UPDATE candle SET revised = 1 WHERE run = {self._run} AND ts = {mark} AND market ="  # noqa: S608
                f" (SELECT market FROM instrument WHERE run = {self._run} AND symbol = {mark})",
                revised,
            )

    def _move(self, connection: Connection, cursor: Cursor) -> None:
        mark = self._database.mark
        failpoints.passing("statement.before")
        connection.exec_driver_sql(
            f"UPDATE run SET cursor_frame = {mark}, cursor_ms = {mark}, candles = {mark}, equity_end = {mark},"  # noqa: S608
            f" commits = {mark} WHERE run = {self._run}",
            (int(cursor.frame), int(cursor.time_ms), int(cursor.candles), int(cursor.equity), self._commits + 1),
        )
        failpoints.passing("statement.after")

    def finish_comparison(self) -> None:
        """At the end of a verification: nothing may be in SQL that was not produced.

        Raises:
            Difference: a stored row beyond the last one produced.
        """
        if self._comparison is not None:
            self._comparison.finish(self._last)

    def close(self) -> None:
        """Close the writer's connection; what was not committed is gone from SQL's view, not from the buffers."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.close()
        if self._comparison is not None:
            self._comparison.close()
