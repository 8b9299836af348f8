"""A database that fails on demand: the k-th statement or commit of a process raises, is its last, or loses the server.

The driver's own calls are replaced (SQLAlchemy's `do_execute`, `do_executemany`, `do_commit`), so everything above them
is the code that ships.
"""

from __future__ import annotations

import os
import sqlite3

from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

CALLS = ("do_execute", "do_executemany", "do_commit")


def arm(wanted: int, action: str) -> list[int]:
    """Let the `wanted`-th call (0: none) do `action`; the list's only number counts them.

    error: SQLite says "disk I/O error". die: the process ends as if killed. lost: the server's connection is gone before
    the call. unheard: it is gone after the call, whose answer is lost.
    """
    seen = [0]
    for dialect in (SQLiteDialect_pysqlite, PGDialect_psycopg):
        for name in CALLS:
            setattr(dialect, name, _counting(getattr(dialect, name), seen, wanted, action))
    return seen


def _counting(original, seen, wanted, action):
    def call(self, target, *arguments, **named):
        seen[0] += 1
        if seen[0] != wanted:
            return original(self, target, *arguments, **named)
        if action == "die":
            os._exit(137)
        if action == "error":
            failure = sqlite3.OperationalError("disk I/O error")
            failure.sqlite_errorcode = sqlite3.SQLITE_IOERR
            raise failure
        connection = getattr(target, "connection", target)  # a cursor, or the connection that commits
        connection = getattr(connection, "driver_connection", connection)
        if action == "unheard":
            original(self, target, *arguments, **named)
        connection.close()
        return original(self, target, *arguments, **named)

    return call


def limit_pages(pages: int) -> None:
    """No database of this process may grow beyond so many pages: SQLite then says that the disk is full."""
    original = sqlite3.connect

    def connect(*arguments, **named):
        connection = original(*arguments, **named)
        connection.execute(f"PRAGMA max_page_count={pages}")
        return connection

    sqlite3.connect = connect
