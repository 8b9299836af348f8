"""A database that is locked by others or gone for a while: bounded patience, then exit 3; resumed, the run is equal."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy

from tests.store_layer.conftest import new_postgres
from tests.survival.survival_support import differences, one_line, resumed, tables
from tests.survival.test_kills import MANY


@pytest.fixture(scope="module")
def slow(commands, tmp_path_factory):
    """A session of 250 commits: config, summary, tables on SQLite and statements it takes."""
    folder = tmp_path_factory.mktemp("slow")
    config = folder / "slow.toml"
    config.write_text(MANY)
    ended = commands("run", config, "--db", folder / "a.db", "--json", "--quiet", sql=[0, "error"])
    return config, ended.json(), tables(folder / "a.db"), ended.seen["sql"]


def when_committed(database, count):
    """Wait until the run has so many commits."""
    while True:
        if database.exists():
            try:
                with closing(sqlite3.connect(database, timeout=0.1)) as connection:
                    if (connection.execute("SELECT MAX(commits) FROM run").fetchone()[0] or 0) >= count:
                        return
            except sqlite3.OperationalError:
                pass
        time.sleep(0.005)


@pytest.mark.parametrize(("patience", "code"), [(30.0, 0), (0.2, 3)])
def test_locked_by_another_process(commands, slow, tmp_path, patience, code):
    config, summary, whole, _ = slow
    database = tmp_path / "a.db"
    commands.start("run", config, "--db", database, "--json", "--quiet", patience=patience)
    when_committed(database, 20)
    with closing(sqlite3.connect(database, isolation_level=None, timeout=5)) as other:
        other.execute("BEGIN EXCLUSIVE")
        time.sleep(1.5)
        other.execute("COMMIT")
    ended = commands.finish()
    assert ended.code == code, ended.errors
    if code == 3:
        assert one_line(ended)
        assert "locked" in ended.errors
        assert "trader resume 1" in ended.errors
    assert resumed(commands, config, database)["digest"] == summary["digest"]
    assert differences(database, whole) == []


@contextmanager
def administrator():
    """A connection to the server that may end others'."""
    url = sqlalchemy.engine.make_url(os.environ["TRADER_TEST_POSTGRES"]).set(drivername="postgresql+psycopg")
    engine = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def disturb(name, seconds, *, closed, ended):
    """Until `ended` is set: end every connection to the database now and then; `closed`: let nobody in for a while."""
    with administrator() as connection:
        kill = f"SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{name}'"
        gone = 0
        while not ended.wait(seconds):
            if closed:
                connection.exec_driver_sql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            gone += connection.exec_driver_sql(kill).scalar() or 0
            if closed:
                ended.wait(closed)
                connection.exec_driver_sql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        return gone


def when_begun(url, after=0):
    """Wait until a run beyond number `after` on a server has commits; its number."""
    engine = sqlalchemy.create_engine(url.replace("postgresql:", "postgresql+psycopg:"), poolclass=sqlalchemy.NullPool)
    for _ in range(3000):
        with engine.connect() as connection:
            there = sqlalchemy.inspect(connection).has_table("run")
            statement = f"SELECT MAX(run) FROM run WHERE commits > 0 AND run > {after}"
            if there and (run := connection.exec_driver_sql(statement).scalar()):
                return run
        time.sleep(0.01)
    raise AssertionError("the run did not begin")


def run_disturbed(commands, slow, folder, url, seconds, closed):
    """The run with its connections ended again and again; its end, and how many connections were ended."""
    name, ended, gone = url.rpartition("/")[2], threading.Event(), []
    commands.start("run", slow[0], "--db", url, "--json", "--quiet", cwd=str(folder))
    when_begun(url)
    thread = threading.Thread(target=lambda: gone.append(disturb(name, seconds, closed=closed, ended=ended)))
    thread.start()
    try:
        result = commands.finish()
    finally:
        ended.set()
        thread.join()
    return result, gone[0]


@pytest.mark.postgres
@pytest.mark.parametrize(("seconds", "closed"), [(0.3, 0.0), (0.7, 1.5)])
def test_connections_ended_again_and_again(commands, slow, tmp_path, seconds, closed):
    with new_postgres() as url:
        result, gone = run_disturbed(commands, slow, tmp_path, url, seconds, closed)
        print(f"{gone} connections ended, exit {result.code}")
        assert gone >= 2
        assert result.code in {0, 3}, result.errors
        assert result.code == 0 or (one_line(result) and "trader resume" in result.errors), result.errors
        summary = resumed(commands, slow[0], url, cwd=str(tmp_path))
        assert summary["digest"] == slow[1]["digest"]
        assert differences(url, slow[2]) == []


@pytest.mark.postgres
@pytest.mark.parametrize("action", ["lost", "unheard"])
@pytest.mark.parametrize("step", [97, pytest.param(7, marks=pytest.mark.nightly)])
def test_the_server_goes_at_a_statement(commands, slow, tmp_path, action, step):
    """Before a statement or commit, or after it with its answer unheard: nothing is lost, nothing is there twice."""
    going_on = 0
    for k in range(400, slow[3] * 9 // 10, step * 5):
        with new_postgres() as url:
            result = commands(
                "run",
                slow[0],
                "--db",
                url,
                "--json",
                "--quiet",
                sql=[k, action],
                cwd=str(tmp_path),
                env={"LC_ALL": "C"},
            )
            assert result.code in {0, 3}, result.errors
            assert result.code == 0 or one_line(result), result.errors
            going_on += result.code == 0
            assert resumed(commands, slow[0], url, cwd=str(tmp_path))["digest"] == slow[1]["digest"]
            assert differences(url, slow[2]) == []
    assert going_on >= 2


@pytest.mark.postgres
def test_a_run_that_another_process_took_over_ends_clearly(commands, slow, tmp_path):
    """A server that went away has forgotten its locks: whoever comes first goes on, the other one notices."""
    with new_postgres() as url, administrator() as connection:
        name = url.rpartition("/")[2]
        pid = commands.start("run", slow[0], "--db", url, "--quiet", cwd=str(tmp_path))
        when_begun(url)
        os.kill(pid, signal.SIGSTOP)
        statement = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        connection.exec_driver_sql(statement).all()
        engine = sqlalchemy.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
        with engine.begin() as other:  # as the one who took it over would
            other.exec_driver_sql("UPDATE run SET commits = commits + 1")
        engine.dispose()
        os.kill(pid, signal.SIGCONT)
        ended = commands.finish()
        assert ended.code == 3, ended.errors
        assert "another process has written it" in ended.errors


@contextmanager
def own_server(folder):
    """A PostgreSQL server of this test's own: its port, and a function that restarts it at once, as a crash would."""
    tools = max(Path("/usr/lib/postgresql").glob("*/bin"))
    port, data = free_port(), folder / "server"
    user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if user:
        for place in (folder, *folder.parents[:-2]):
            place.chmod(0o711)
        shutil.chown(folder, "postgres")

    def control(*words):
        subprocess.run([*user, tools / "pg_ctl", "-D", data, *words], check=True, stdout=subprocess.DEVNULL)

    subprocess.run(
        [*user, tools / "initdb", "-D", data, "-U", "postgres", "-A", "trust"], check=True, capture_output=True
    )
    options = f"-p {port} -c listen_addresses=127.0.0.1 -k {folder}"
    control("-o", options, "-l", folder / "log", "-w", "start")
    try:
        yield port, lambda: control("-o", options, "-l", folder / "log", "-m", "immediate", "-w", "restart")
    finally:
        control("-m", "immediate", "stop")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.nightly
@pytest.mark.postgres
def test_a_server_that_is_restarted(commands, slow, tmp_path):
    with own_server(tmp_path) as (port, restart):
        url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        run = 0
        for number in range(3):
            commands.start("run", slow[0], "--db", url, "--json", "--quiet", cwd=str(tmp_path))
            run = when_begun(url, run)
            time.sleep(0.3 * number)
            restart()
            ended = commands.finish()
            assert (ended.code, ended.errors) == (0, "")
            assert ended.json()["digest"] == slow[1]["digest"]
            assert set(differences(url, slow[2])) <= {"trial"}  # which counts the repetitions
