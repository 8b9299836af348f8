"""The schema of a database: made in one step when it is new, brought up by Alembic when it is older.

The version stands in Alembic's own table. A new database gets the tables of `trader.store.tables` and the version
directly, because importing Alembic costs more than making the tables; a test shows that the migrations from nothing
give the same schema. Views hold no data: they are made anew after every migration. A version this program does not
know is refused: an older program must not write to a newer database.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import sqlalchemy
from sqlalchemy import Connection

from trader.core.types import UserError
from trader.store import views
from trader.store.database import POSTGRESQL, Database
from trader.store.tables import metadata

VERSIONS: Final = ("0001", "0002", "0003", "0004")
"""Every schema version there was, oldest first; a test compares it with the migrations."""

HEAD: Final = VERSIONS[-1]

_CREATION_LOCK: Final = 0x7472_6164  # one at a time makes or migrates the schema of a PostgreSQL database


def version(connection: Connection) -> str | None:
    """Schema version of the database, None if it is empty.

    Raises:
        UserError: it holds tables, but not ours.
    """
    names = sqlalchemy.inspect(connection).get_table_names()
    if "alembic_version" in names:
        found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        if found is not None:
            return str(found)
    if names:
        raise UserError(
            f"database {connection.engine.url.database or ''}: holds tables that are not trader's; give another"
        )
    return None


def require(database: Database, *, create: bool) -> None:
    """Make sure that the schema is the one this program writes.

    Raises:
        UserError: empty and `create` is False, older and `create` is False, newer, or not a trader database.
    """
    shown = database.location.shown
    with database.reading() as connection:
        found = version(connection)
    if found == HEAD:
        return
    if found is not None and found not in VERSIONS:
        raise UserError(
            f"database {shown}: schema {found} is newer than this program knows ({HEAD}); use a newer release"
        )
    if not create:
        if found is None:
            raise UserError(f"database {shown}: holds no runs")
        raise UserError(f"database {shown}: schema {found} is older than {HEAD}; run `trader db migrate`")
    if found is None:
        create_all(database)
    else:
        migrate(database)


def create_all(database: Database) -> None:
    """Make tables and views in an empty database and stamp it with the newest version; a second one waits and sees."""
    with database.transaction() as connection:
        lock(connection)
        if version(connection) is not None:
            return
        metadata.create_all(connection)
        views.create_all(connection)
        connection.exec_driver_sql(
            "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL,"
            " CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
        )
        connection.exec_driver_sql(f"INSERT INTO alembic_version VALUES ('{HEAD}')")  # noqa: S608 - a constant


def lock(connection: Connection) -> None:
    """Keep other processes from changing the schema until the transaction ends (SQLite's write lock does already)."""
    if connection.dialect.name == POSTGRESQL:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_CREATION_LOCK})")


def migrate(database: Database) -> tuple[str | None, str]:
    """Bring the schema to the newest version with Alembic, in one transaction; (version before, version after).

    Raises:
        UserError: the database is newer, or not a trader database.
    """
    from alembic import command
    from alembic.config import Config

    with database.transaction() as connection:
        lock(connection)
        found = version(connection)
        if found is not None and found not in VERSIONS:
            raise UserError(
                f"database {database.location.shown}: schema {found} is newer than this program knows ({HEAD})"
            )
        if found != HEAD:
            config = Config()
            config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
            config.attributes["connection"] = connection
            views.drop_all(connection)
            command.upgrade(config, "head")
            views.create_all(connection)
    return found, HEAD
