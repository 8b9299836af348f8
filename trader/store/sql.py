"""One statement of a person's own, read-only whatever it says.

SQLite: the file is open with mode=ro and query_only, and an authorizer lets through nothing but reading; PostgreSQL: a
READ ONLY transaction that is rolled back, a prepared statement (so there is only one), and where the role may, without
more rights than reading. Both: five seconds, a bound on rows.
"""

from __future__ import annotations

import re
import sqlite3
from typing import Any, Final

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from trader.core import wall
from trader.core.types import UserError
from trader.store.database import SQLITE, is_surroundings, reason
from trader.store.store import AnyStore, persistent

TIMEOUT_SECONDS: Final = 5.0
ROW_CAP: Final = 10_000
VALUE_BYTES: Final = 10_000_000
"""Longest text or blob SQLite may make: one value cannot fill the memory."""

_STEPS: Final = 10_000  # virtual-machine steps between two looks at the clock: well under a millisecond
_ALLOWED: Final = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_READING: Final = re.compile(
    r"(?:\s|--[^\n]*\n|/\*.*?\*/|\()*(select|with|values|explain)\b", re.IGNORECASE | re.DOTALL
)


def read_only_sql(store: AnyStore, text: str, *, limit: int = ROW_CAP) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """Columns and at most `limit` rows of one reading statement.

    Raises:
        UserError: not one reading statement, an error in it, or longer than 5 s.
    """
    if not _READING.match(text):
        raise UserError("sql: one SELECT statement over the views, see docs/sql.md")
    if "\0" in text:
        raise UserError("sql: text with a NUL character")
    store = persistent(store)
    run = _on_sqlite if store.database.dialect == SQLITE else _on_postgresql
    with store.database.connect() as connection:
        try:
            columns, rows = run(connection, text, limit)
        except sqlite3.Error as error:
            raise UserError(f"sql: {_sqlite_reason(error)}") from None
        except DBAPIError as error:
            if is_surroundings(error) and getattr(error.orig, "sqlstate", None) not in {"57014", "53200"}:
                raise
            raise UserError(f"sql: {reason(error)}") from None
    return columns, [tuple(_plain(value) for value in row) for row in rows]


def _on_sqlite(connection: Connection, text: str, limit: int) -> tuple[tuple[str, ...], list[Any]]:
    raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection), "the driver of SQLite"
    end = wall.seconds() + TIMEOUT_SECONDS
    raw.execute("PRAGMA query_only=ON")
    raw.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, VALUE_BYTES)
    raw.set_authorizer(lambda action, *_: sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY)
    raw.set_progress_handler(lambda: wall.seconds() > end, _STEPS)
    cursor = raw.execute(text)
    if cursor.description is None:
        return (), []
    return tuple(column[0] for column in cursor.description), cursor.fetchmany(limit)


def _on_postgresql(connection: Connection, text: str, limit: int) -> tuple[tuple[str, ...], list[Any]]:
    from psycopg import Connection as RawConnection
    from psycopg import Error

    raw = connection.connection.driver_connection
    assert isinstance(raw, RawConnection), "the driver of PostgreSQL"
    try:
        raw.execute("SET TRANSACTION READ ONLY")
        raw.execute(f"SET LOCAL statement_timeout = {int(TIMEOUT_SECONDS * 1000)}")
        if raw.execute("SELECT pg_has_role('pg_read_all_data', 'MEMBER')").fetchone() == (True,):
            raw.execute("SET LOCAL ROLE pg_read_all_data")
        cursor = raw.execute(text, prepare=True)
        columns = tuple(column.name for column in cursor.description or ())
        return columns, cursor.fetchmany(limit) if columns else []
    except Error as error:
        raise UserError(f"sql: {str(error).partition(chr(10))[0]}") from None
    finally:
        raw.rollback()


def _sqlite_reason(error: sqlite3.Error) -> str:
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
        return f"took longer than {TIMEOUT_SECONDS:.0f} s"
    return str(error)


def _plain(value: Any) -> Any:
    """Blobs as hexadecimal text."""
    return value.hex() if isinstance(value, (bytes, memoryview)) else value
