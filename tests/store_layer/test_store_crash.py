"""Killed at any point and started again, a run ends as the one that was never killed; what was committed stays."""

from __future__ import annotations

import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from tests.store_layer import sample_run
from trader.core.types import SurroundingsError, UserError
from trader.store import failpoints
from trader.store.check import check
from trader.store.digest import combine
from trader.store.locks import RunLock
from trader.store.memory import MemoryStore
from trader.store.store import open_store

ROOT = Path(__file__).parents[2]
FRAMES = 30


def start(url, folder, *, failpoint="", frames=FRAMES, pause="0"):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TRADER_FAILPOINT": failpoint}
    command = [
        sys.executable,
        str(Path(__file__).with_name("crashing_session.py")),
        url,
        str(folder),
        str(frames),
        pause,
    ]
    return subprocess.Popen(
        command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process):
    out, errors = process.communicate(timeout=120)
    return process.returncode, out.strip(), errors


@pytest.fixture(scope="module")
def expected():
    whole = MemoryStore()
    return whole.resolve(sample_run.write(whole, sample_run.make(FRAMES))).digest


# how often each point is passed within the sample decides the count: somewhere in the middle of the run
AT = {"statement.before": 40, "statement.after": 41, "commit.before": 13, "commit.after": 14}


def fails(url, folder, expected, point, count, action):
    code, _, errors = finish(start(url, folder, failpoint=f"{point}:{count}:{action}"))
    if action == "exit":
        assert (code, errors) == (failpoints.KILLED, "")
    else:
        assert code != 0
        assert "SurroundingsError" in errors
    with open_store(url, create=False) as store:
        row = store.resolve("sample")
        committed = store.committed(row.run)
        frames = sample_run.make(FRAMES)[: row.commits]
        assert committed["candle"] == row.candles == 2 * len(frames)
        assert combine(store.recompute_digest(row.run)) == _digest_of(frames)
    code, digest, errors = finish(start(url, folder))
    assert (code, digest, errors) == (0, expected, "")
    with open_store(url, create=False) as store:
        assert combine(store.recompute_digest(row.run)) == expected
        assert [result for result in check(store, row.run) if not result.ok] == []


def _digest_of(frames):
    whole = MemoryStore()
    run = whole.create_run(sample_run.header())
    writer = whole.writer(run)
    for frame in frames:
        sample_run.hand_over(writer, frame)
    return writer.digest()


@pytest.mark.parametrize("action", ["exit", "error"])
@pytest.mark.parametrize("point", failpoints.POINTS)
def test_dying_at_a_failpoint_loses_nothing_committed(tmp_path, expected, point, action):
    fails(str(tmp_path / "a.db"), tmp_path / "checkpoints", expected, point, AT.get(point, 2), action)


@pytest.mark.postgres
@pytest.mark.parametrize("point", ["statement.after", "commit.before", "commit.after", "checkpoint.before_rename"])
def test_dying_on_postgresql_loses_nothing_committed(tmp_path, postgres_url, expected, point):
    fails(postgres_url, tmp_path / "checkpoints", expected, point, AT.get(point, 2), "exit")


def test_kill_9_at_random_moments_ten_times_in_one_run(tmp_path):
    count, generator, path, kills = 250, random.Random(7), str(tmp_path / "a.db"), 0
    for _ in range(10):
        process = start(path, tmp_path / "checkpoints", frames=count, pause="0.01")
        time.sleep(0.6 + generator.random() * 0.3)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        finish(process)
        check_sqlite(path)
    assert kills >= 5
    code, digest, errors = finish(start(path, tmp_path / "checkpoints", frames=count))
    assert (code, digest, errors) == (0, _digest_of(sample_run.make(count)), "")


def check_sqlite(path):
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_every_statement_and_commit_of_a_short_run(tmp_path):
    """In one process, as an error: whatever the k-th passing, nothing of the broken commit is there afterwards."""
    frames = sample_run.make(4)
    passings = _count_passings(tmp_path, frames)
    assert passings > 20
    for number in range(1, passings + 1):
        path = str(tmp_path / f"{number}.db")
        with open_store(path, create=True) as store:
            run = store.create_run(sample_run.header())
            writer, seen = store.writer(run), [0]

            def hook(point, seen=seen, number=number):
                if not point.startswith("checkpoint"):
                    seen[0] += 1
                    if seen[0] == number:
                        raise OSError("no space left on device")

            done = _write_until_error(writer, frames, hook)
            committed = store.resolve(run).commits
            assert committed in {done, done + 1}
            assert combine(store.recompute_digest(run)) == _digest_of(frames[:committed])
            again = store.writer(run, compare_until=store.committed(run))
            for frame in frames:
                sample_run.hand_over(again, frame)
                again.commit(frame.cursor)
            assert combine(store.recompute_digest(run)) == again.digest()
            again.close()


def _count_passings(tmp_path, frames):
    counted = [0]

    def hook(_):
        counted[0] += 1

    with open_store(str(tmp_path / "count.db"), create=True) as store:
        _write_until_error(store.writer(store.create_run(sample_run.header())), frames, hook)
    return counted[0]


def _write_until_error(writer, frames, hook):
    done, before = 0, failpoints.passing
    failpoints.passing = hook
    try:
        for frame in frames:
            sample_run.hand_over(writer, frame)
            writer.commit(frame.cursor)
            done += 1
    except SurroundingsError as error:
        assert "no space left" in str(error)
    finally:
        failpoints.passing = before
        writer.close()
    return done


def test_a_full_disk_is_one_clear_line_and_the_run_goes_on_with_space(tmp_path):
    path = str(tmp_path / "a.db")
    frames = sample_run.make(300)
    with open_store(path, create=True) as store:
        run = store.create_run(sample_run.header())
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from tests.store_layer import crashing_session\n"
        "from trader.core.types import SurroundingsError\n"
        "try: crashing_session.main(*sys.argv[1:])\n"
        "except SurroundingsError as error: print('FULL', error); sys.exit(3)\n"
    )
    arguments = [sys.executable, "-c", code, path, str(tmp_path / "checkpoints"), "300", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        arguments, env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 3, done.stderr
    assert done.stdout.startswith("FULL database")
    assert done.stdout.count("\n") == 1
    check_sqlite(path)
    with open_store(path, create=False) as store:
        assert 0 < store.resolve(run).commits < len(frames)
    whole = MemoryStore()
    expected = whole.resolve(sample_run.write(whole, frames)).digest
    assert finish(start(path, tmp_path / "checkpoints", frames=300))[:2] == (0, expected)
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 400_000


def test_failpoints_are_checked(monkeypatch):
    for bad in ("nowhere:1", "commit.before:0", "commit.before:1:sing"):
        monkeypatch.setenv(failpoints.VARIABLE, bad)
        with pytest.raises(ValueError, match="expected POINT"):
            failpoints.rearm()
    monkeypatch.setenv(failpoints.VARIABLE, "commit.before:2:error")
    failpoints.rearm()
    failpoints.passing("commit.before")
    failpoints.passing("commit.after")
    with pytest.raises(OSError, match="fail-point"):
        failpoints.passing("commit.before")
    failpoints.passing("commit.before")
    monkeypatch.delenv(failpoints.VARIABLE)
    failpoints.rearm()
    failpoints.passing("commit.before")


def test_a_locked_run_is_refused_to_others_and_free_after_a_kill(tmp_path, url):
    folder = tmp_path / "checkpoints"
    process = start(url, folder, pause="0.2")
    with _when_running(url) as store:
        run = store.resolve("sample").run
        started = time.monotonic()
        with pytest.raises(UserError, match="another process is writing it"):
            RunLock(store.database, run)
        assert time.monotonic() - started < 2
        second = finish(start(url, folder))
        assert second[0] != 0
        assert "another process is writing it" in second[2]
        process.send_signal(signal.SIGKILL)
        finish(process)
        deadline = time.monotonic() + 10  # PostgreSQL notices a dead client when it next reads from it
        while True:
            try:
                RunLock(store.database, run).release()
                break
            except UserError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        with store.locked(run), store.locked(run + 1), pytest.raises(UserError), store.locked(run):
            pass


def _when_running(url):
    for _ in range(200):
        try:
            store = open_store(url, create=False)
            if store.runs() and store.runs()[0].commits > 1:
                return store
            store.close()
        except UserError:
            pass
        time.sleep(0.05)
    raise AssertionError("the session did not start")


def test_a_writer_waits_for_another_process_and_gives_up_clearly(tmp_path):
    path = str(tmp_path / "a.db")
    frames = sample_run.make(3)
    with open_store(path, create=True, lock_seconds=0.3) as store:
        run = store.create_run(sample_run.header())
        writer = store.writer(run)
        sample_run.hand_over(writer, frames[0])
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(SurroundingsError, match="locked"):
            writer.commit(frames[0].cursor)
        other.execute("COMMIT")
        writer.commit(frames[0].cursor)
        assert store.resolve(run).commits == 1
        writer.close()


def read_for(url, seconds):
    """A reader: until the time is up, every state it sees is one that was committed. Returns how many it saw."""
    seen, end = 0, time.monotonic() + seconds
    with open_store(url, create=False, read_only=True) as store:
        while time.monotonic() < end:
            with store.database.reading() as connection:
                candles, commits = connection.exec_driver_sql("SELECT candles, commits FROM run").one()
                stored = connection.exec_driver_sql("SELECT COUNT(*) FROM v_candle").scalar()
                entries = connection.exec_driver_sql("SELECT COUNT(*) FROM entry").scalar()
                trades = connection.exec_driver_sql("SELECT COUNT(*) FROM v_trade").scalar()
                records = connection.exec_driver_sql("SELECT COALESCE(SUM(trades), 0) FROM record").scalar()
            assert stored == candles == 2 * commits
            assert int(records) == trades <= entries
            seen += 1
    return seen


def test_eight_processes_read_while_one_writes(url):
    seconds = 4.0
    with open_store(url, create=True) as store:
        run = store.create_run(sample_run.header())
        frames = sample_run.make(400)
        writer = store.writer(run)
        with ProcessPoolExecutor(8, mp_context=get_context("spawn")) as pool:
            readers = [pool.submit(read_for, url, seconds) for _ in range(8)]
            end = time.monotonic() + seconds + 2
            for frame in frames:
                sample_run.hand_over(writer, frame)
                writer.commit(frame.cursor)
                if time.monotonic() > end:
                    break
                time.sleep(0.005)
            seen = [reader.result(timeout=60) for reader in readers]
        assert min(seen) >= 3
        assert combine(store.recompute_digest(run)) == writer.digest()
        writer.close()
