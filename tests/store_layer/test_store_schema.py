"""The fast way to a new database and the migrations make the same schema; others' and newer databases are left alone."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from tests.store_layer import sample_run
from trader.core.errors import SurroundingsError, UserError
from trader.store import schema, views
from trader.store.database import Database, create_file, locate
from trader.store.store import open_store
from trader.store.tables import metadata

ROOT = Path(__file__).parents[2]
SQLITE_SCHEMA = ("SELECT type, name, sql FROM sqlite_master ORDER BY name",)
POSTGRESQL_SCHEMA = (
    (
        "SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns"
        " WHERE table_schema = 'public' ORDER BY table_name, ordinal_position"
    ),
    "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY indexname",
    "SELECT viewname, definition FROM pg_views WHERE schemaname = 'public' ORDER BY viewname",
    "SELECT conname, contype FROM pg_constraint ORDER BY conname",
)


def described(database):
    with database.reading() as connection:
        found = [
            tuple(re.sub(r"\s+", "", str(value)) for value in row)
            for query in (SQLITE_SCHEMA if database.dialect == "sqlite" else POSTGRESQL_SCHEMA)
            for row in connection.exec_driver_sql(query)
        ]
    assert len(found) > 40
    return found


def make(url, how):
    location = locate(url)
    if location.path is not None:
        create_file(location.path)
    database = Database(location, read_only=False)
    how(database)
    return database


def wipe(database):
    """Empty the schema, for the second way."""
    with database.transaction() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")


def test_migrations_from_nothing_give_the_schema_of_a_new_database(tmp_path):
    direct = make(str(tmp_path / "direct.db"), schema.create_all)
    migrated = make(str(tmp_path / "migrated.db"), schema.migrate)
    assert described(direct) == described(migrated)
    assert schema.migrate(migrated) == (schema.HEAD, schema.HEAD)
    direct.close()
    migrated.close()


@pytest.mark.postgres
def test_migrations_from_nothing_give_the_schema_of_a_new_database_on_postgresql(postgres_url):
    database = make(postgres_url, schema.create_all)
    direct = described(database)
    wipe(database)
    assert schema.migrate(database) == (None, schema.HEAD)
    assert described(database) == direct
    database.close()


def test_alembic_sees_nothing_left_to_migrate(url):
    from alembic.autogenerate import compare_metadata

    with open_store(url, create=True) as store, store.database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, metadata)
    assert differences == []


def test_the_known_versions_are_the_migrations():
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    found = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert tuple(reversed(found)) == schema.VERSIONS


def test_opening_a_new_database_does_not_load_alembic_or_torch(tmp_path):
    code = (
        "import sys; from trader.store.store import open_store; from trader.store import queries\n"
        "open_store(sys.argv[1], create=True).close()\n"
        "print(sorted({'alembic', 'torch', 'pandas', 'numba', 'pyarrow', 'sqlalchemy.orm', 'psycopg'} & set(sys.modules)))"
    )
    arguments = [sys.executable, "-c", code, str(tmp_path / "a.db")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_newer_schema_is_refused_in_words_and_left_as_it_is(url):
    open_store(url, create=True).close()
    with open_store(url, create=False) as store, store.database.transaction() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    for create in (True, False):
        with pytest.raises(UserError, match="schema 9999 is newer"):
            open_store(url, create=create)
    database = Database(locate(url), read_only=False)
    with pytest.raises(UserError, match="newer"):
        schema.migrate(database)
    database.close()


def test_an_older_schema_needs_migrate_and_is_migrated_when_writing(url, monkeypatch):
    """With an invented older version, since there is none yet: stamped 0000, it goes through the migrations."""
    open_store(url, create=True).close()
    monkeypatch.setattr(schema, "VERSIONS", ("0000", *schema.VERSIONS))
    with Database(locate(url), read_only=False).transaction() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0000'")
    with pytest.raises(UserError, match=r"schema 0000 is older.*trader db migrate"):
        open_store(url, create=False)
    called = []
    monkeypatch.setattr(schema, "migrate", called.append)
    open_store(url, create=True).close()
    assert len(called) == 1


def test_a_migration_that_dies_leaves_the_database_as_it_was(tmp_path, monkeypatch):
    database = make(str(tmp_path / "a.db"), lambda _: None)
    monkeypatch.setattr(views, "create_all", lambda _: (_ for _ in ()).throw(OSError("killed")))
    with pytest.raises(OSError, match="killed"):
        schema.migrate(database)
    with database.reading() as connection:
        assert connection.exec_driver_sql("SELECT COUNT(*) FROM sqlite_master").scalar() == 0
    database.close()


def test_somebody_elses_database_is_not_touched(tmp_path):
    path = tmp_path / "theirs.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()
    before = path.read_bytes()
    for create in (True, False):
        with pytest.raises(UserError, match=r"not trader's"):
            open_store(str(path), create=create)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("recipes",)]
    connection.close()
    assert len(before) == path.stat().st_size


def test_what_is_not_a_database_is_said_in_one_line(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("these are notes, not a database, and long enough to be looked at" * 40)
    for create in (True, False):
        with pytest.raises(SurroundingsError) as error:
            open_store(str(path), create=create)
        assert "not a database" in str(error.value)
        assert "\n" not in str(error.value)
    (tmp_path / "empty.db").touch()
    with pytest.raises(UserError, match="holds no runs"):
        open_store(str(tmp_path / "empty.db"), create=False)
    with pytest.raises(UserError, match="no such file"):
        open_store(str(tmp_path / "none.db"), create=False)
    with pytest.raises(SurroundingsError):
        open_store(str(path / "below" / "a.db"), create=True)


def test_files_are_only_for_their_owner(tmp_path):
    path = tmp_path / "deep" / "a.db"
    with open_store(f"sqlite:///{path}", create=True) as store:
        run = sample_run.write(store, sample_run.make(3))
        with store.locked(run):
            modes = {item.name: stat.S_IMODE(item.stat().st_mode) for item in path.parent.iterdir()}
    assert {"a.db", "a.db.run-1.lock"} <= set(modes)
    assert set(modes.values()) == {0o600}


def open_once(url):
    with open_store(url, create=True) as store:
        return store.create_run(sample_run.header())


def test_many_processes_may_make_the_database_at_once(url):
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        runs = list(pool.map(open_once, [url] * 6))
    assert sorted(runs) == [1, 2, 3, 4, 5, 6]


def test_a_read_only_store_reads_and_tells_its_schema(tmp_path):
    path = tmp_path / "a.db"
    with open_store(str(path), create=True) as store:
        sample_run.write(store, sample_run.make(3))
    with open_store(str(path), create=False, read_only=True) as store:
        assert store.resolve("latest").candles == 12
        assert store.revision() == schema.HEAD
