"""One writer a run: a lock that dies with its process.

SQLite: `flock` on a file beside the database, which the kernel releases when the process ends in whatever way; the file
holds the holder's process id for the message. PostgreSQL: an advisory lock of the run's number on a connection of its
own, released when the server notices that the connection is gone.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from trader.core.types import SurroundingsError, UserError
from trader.store.database import Database

_LOCK_CLASS: Final = 0x7472  # first key of the two-key advisory locks: trader's runs


class RunLock:
    """The lock on one run, held from construction until `release`.

    Raises:
        UserError: another process holds it.
    """

    def __init__(self, database: Database, run: int) -> None:
        self._file: int | None = None
        self._connection: Connection | None = None
        path = database.location.path
        if path is not None:
            self._file = _lock_file(path.with_name(f"{path.name}.run-{run}.lock"), run)
        else:
            self._connection = _lock_advisory(database, run)

    def release(self) -> None:
        """Let go; again is harmless."""
        if self._file is not None:
            file, self._file = self._file, None
            os.close(file)
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.close()


def _lock_file(path: Path, run: int) -> int:
    try:
        file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SurroundingsError(f"lock {path}: {error.strerror}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(file, 32, 0).decode().strip()
        os.close(file)
        raise UserError(f"run {run}: another process is writing it (process {holder}, lock {path})") from None
    os.ftruncate(file, 0)
    os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
    return file


def _lock_advisory(database: Database, run: int) -> Connection:
    connection = database.connect()
    try:
        with database.guarded():
            statement = f"SELECT pg_try_advisory_lock({_LOCK_CLASS}, {run})"
            held = connection.exec_driver_sql(statement).scalar()
            connection.commit()  # the lock belongs to the session, not to the transaction
    except SurroundingsError:
        connection.close()
        raise
    if not held:
        connection.close()
        raise UserError(f"run {run}: another process is writing it")
    return connection
