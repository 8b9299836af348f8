"""Opening a trade database: which one a URL means, how its connections behave, what its failures mean.

SQLite (a path or `sqlite:///path`): WAL, synchronous=NORMAL (a killed process loses nothing that was committed; a power
cut may lose the last commits, never the file), files 0600, `BEGIN IMMEDIATE` for writing so that no transaction fails
half-way for want of the lock, which is awaited `lock_seconds`. PostgreSQL: `postgresql://...` through psycopg.
A lost server is tried again with growing pauses, about a minute in all; then, as on a full disk, SurroundingsError.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

import sqlalchemy
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, OperationalError
from sqlalchemy.pool import NullPool

from trader.core.types import SurroundingsError, UserError

SQLITE: Final = "sqlite"
POSTGRESQL: Final = "postgresql"
MEMORY: Final = "memory"

PAUSES_SECONDS: Final = (0.1, 0.2, 0.4, 0.8, 1.5, 3.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0)
"""Waits between attempts to reach a server that is gone: quick at first (a restart takes seconds), 56 s in all."""

TOLD_AT: Final = 3
"""Attempts that fail before the wait is told: what takes less than a second is nobody's concern."""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Location:
    """What a URL means: dialect `sqlite`, `postgresql` or `memory`, the URL to show (no password), the SQLite file."""

    dialect: str
    url: str
    shown: str
    path: Path | None


def locate(url: str) -> Location:
    """Read a database URL: `memory`, a path, `sqlite:///path` or `postgresql://user@host:port/name`.

    Raises:
        UserError: another scheme, or not a URL.
    """
    if url == MEMORY:
        return Location(MEMORY, url, url, None)
    if "://" not in url:
        if not url:
            raise UserError("database URL is empty: give a path, sqlite:///PATH or postgresql://USER@HOST:PORT/NAME")
        return Location(SQLITE, url, url, Path(url))
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise UserError(
            "database URL cannot be read: expected sqlite:///PATH or postgresql://USER@HOST:PORT/NAME"
        ) from None
    backend = parsed.get_backend_name()
    if backend == SQLITE:
        if not parsed.database or parsed.database == ":memory:":
            raise UserError(f'database URL {url}: names no file (for nothing persisted use "memory")')
        return Location(SQLITE, url, f"sqlite:///{parsed.database}", Path(parsed.database))
    if backend in {POSTGRESQL, "postgres"}:
        parsed = parsed.set(drivername="postgresql+psycopg")
        shown = parsed.set(drivername=POSTGRESQL).render_as_string(hide_password=True)
        return Location(POSTGRESQL, parsed.render_as_string(hide_password=False), shown, None)
    raise UserError(f"database URL {backend}://…: only sqlite and postgresql are known")


class Database:
    """One database, opened. Connections are made by `connect`; nothing is shared between them.

    mark: placeholder of a bound parameter in driver SQL, `?` or `%s`.
    """

    def __init__(self, location: Location, *, read_only: bool, lock_seconds: float = 60.0) -> None:
        self.location = location
        self.dialect = location.dialect
        self.read_only = read_only
        self.mark = "?" if self.dialect == SQLITE else "%s"
        self.engine = _sqlite(location, read_only, lock_seconds) if location.path else _postgresql(location, read_only)

    def connect(self, *, write: bool = False) -> Connection:
        """A new connection; its transactions take the write lock at once if `write`.

        Raises:
            SurroundingsError: the database cannot be reached.
        """
        assert not (write and self.read_only), "a database opened read-only cannot be written"
        connection = self.retry(self.engine.connect)
        return connection.execution_options(trader_write=write)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A short write transaction, committed at the end of the block, rolled back by an error."""
        with self.guarded(), self.connect(write=True) as connection, connection.begin():
            yield connection

    def repeated(self, action: Callable[[Connection], Result]) -> Result:
        """`action` in a write transaction, again while the server is gone: only for what may happen twice."""
        assert not self.read_only, "a database opened read-only cannot be written"

        def attempt() -> Result:
            with self.engine.connect().execution_options(trader_write=True) as connection, connection.begin():
                return action(connection)

        return self.retry(attempt)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A read transaction: everything read inside the block is one state of the database."""
        with self.guarded(), self.connect() as connection:
            if self.dialect == POSTGRESQL:  # its default would show each statement another state
                connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn what a driver raises when the surroundings fail into SurroundingsError."""
        try:
            yield
        except DBAPIError as error:
            if is_surroundings(error):
                raise SurroundingsError(f"database {self.location.shown}: {reason(error)}") from error
            raise

    def retry(self, action: Callable[[], Result]) -> Result:
        """Do `action`, again after a pause while the server is gone.

        Raises:
            SurroundingsError: still gone after all pauses, or a failure that waiting does not mend.
        """
        for attempt, pause in enumerate((*PAUSES_SECONDS, None)):
            try:
                return action()
            except DBAPIError as error:
                if pause is None or not self.is_lost(error):
                    if is_surroundings(error):
                        raise SurroundingsError(f"database {self.location.shown}: {reason(error)}") from error
                    raise
                if attempt == TOLD_AT:
                    left = round(sum(PAUSES_SECONDS[attempt:]))
                    _tell(f"database {self.location.shown}: {reason(error)}; trying again for {left} s")
                time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def is_lost(self, error: DBAPIError) -> bool:
        """True if the server is unreachable or has closed the connection: worth another attempt."""
        if self.dialect == SQLITE:
            return False  # the wait for its lock is SQLite's own (busy timeout)
        return error.connection_invalidated or (
            isinstance(error, OperationalError) and getattr(error.orig, "sqlstate", None) in {None, *_PASSING_STATES}
        )

    def close(self) -> None:
        """Close what is open."""
        self.engine.dispose()


def _tell(text: str) -> None:
    """One warning on stderr: in the form of the session's log where there is one."""
    if "structlog" in sys.modules:
        import structlog

        if structlog.is_configured():
            structlog.get_logger("store").warning(text)
            return
    logging.getLogger("trader.store").warning(text)


_PASSING_STATES: Final = {"57P01", "57P02", "57P03", "53300", "08000", "08003", "08006"}
"""PostgreSQL: shut down by an administrator, crash, starting up, too many connections, connection failures."""


def is_surroundings(error: DBAPIError) -> bool:
    """True if the failure lies outside the program: unreachable, locked, full, unwritable, damaged."""
    if isinstance(error, IntegrityError):
        return False
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is not None:
        return code & 0xFF in _SQLITE_SURROUNDINGS
    state = getattr(error.orig, "sqlstate", None)
    return (
        error.connection_invalidated
        or isinstance(error, OperationalError)
        or str(state or "")[:2] in {"53", "57", "58"}
    )


_SQLITE_SURROUNDINGS: Final = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_NOTADB,
}


def reason(error: DBAPIError) -> str:
    """The driver's first line, without the statement and its parameters."""
    return str(error.orig).strip().partition("\n")[0]


def _sqlite(location: Location, read_only: bool, lock_seconds: float) -> Engine:
    path = location.path
    assert path is not None
    name = f"file:{quote(str(path.absolute()))}?mode={'ro' if read_only else 'rw'}"

    def open_file() -> sqlite3.Connection:
        return sqlite3.connect(name, uri=True, timeout=lock_seconds, isolation_level=None, check_same_thread=False)

    engine = sqlalchemy.create_engine("sqlite://", creator=open_file, poolclass=NullPool)

    @event.listens_for(engine, "connect")
    def settle(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA cache_size=-65536")
        if read_only:
            connection.execute("PRAGMA query_only=ON")
        elif connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            connection.execute("PRAGMA journal_mode=WAL")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        write = connection.get_execution_options().get("trader_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _postgresql(location: Location, read_only: bool) -> Engine:
    options = "-c default_transaction_read_only=on" if read_only else ""
    logging.getLogger("psycopg").addHandler(logging.NullHandler())  # a lost server is told once, by who gives up on it
    try:
        return sqlalchemy.create_engine(
            location.url, poolclass=NullPool, connect_args={"connect_timeout": 5, "options": options}
        )
    except ModuleNotFoundError:
        raise UserError('PostgreSQL needs the extra "postgres": pip install "nested-trader[postgres]"') from None


def create_file(path: Path) -> None:
    """Make an empty database file that only its owner can read, and the folders above it.

    Raises:
        SurroundingsError: the folder or file cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise SurroundingsError(f"database {path}: {error.strerror}") from error
