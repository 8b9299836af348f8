"""Killed at a named point and resumed, a run is the run that was never killed: equal digest, and `verify` agrees.

Kills at random moments and failing operations are in `tests/survival`.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.survival.survival_support import LONG

ROOT = Path(__file__).resolve().parents[2]
FAIL_POINTS = [
    "statement.before:1", "statement.after:7", "statement.before:20", "statement.after:40", "commit.before:1",
    "commit.after:1", "commit.before:4", "commit.after:5", "checkpoint.before_write:1", "checkpoint.after_write:2",
    "checkpoint.before_rename:2", "checkpoint.after_rename:1",
]  # fmt: skip


def trader(*arguments, env=None, check=None):
    done = subprocess.run(
        [sys.executable, "-m", "trader", *map(str, arguments)], cwd=ROOT, env={**os.environ, **(env or {})},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    if check is not None:
        assert done.returncode == check, done.stderr
    return done


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("crash") / "crash.toml"
    path.write_text(LONG)
    return path


@pytest.fixture(scope="module")
def uninterrupted(config):
    """Summary of the run that nobody disturbs."""
    done = trader("run", config, "--db", config.parent / "whole.db", "--json", check=0)
    summary = json.loads(done.stdout)
    assert summary["trades"] > 300
    assert summary["generations"] > 5
    return summary


def resumed(config, database):
    """The summary after recovery; a run that never got its row is started anew."""
    done = trader("resume", "latest", "--db", database, "--json")
    if done.returncode == 2:
        assert "not in" in done.stderr or "no such file" in done.stderr or "Traceback" not in done.stderr
        done = trader("run", config, "--db", database, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def assert_equal(summary, whole):
    for key in ("digest", "candles", "trades", "orders", "decisions", "equity_end", "agents", "max_drawdown"):
        assert summary[key] == whole[key], key


@pytest.mark.parametrize("point", FAIL_POINTS)
def test_die_at_a_fail_point(config, uninterrupted, tmp_path, point):
    database = tmp_path / "point.db"
    died = trader("run", config, "--db", database, "--quiet", env={"TRADER_FAILPOINT": point})
    assert died.returncode == 137, died.stderr
    assert_equal(resumed(config, database), uninterrupted)
    assert json.loads(trader("verify", "latest", "--db", database, "--json", check=0).stdout)["identical"] is True


def test_many_kills_in_one_run(config, uninterrupted, tmp_path):
    database = tmp_path / "many.db"
    trader("run", config, "--db", database, "--quiet", env={"TRADER_FAILPOINT": "commit.after:1"}, check=137)
    for _ in range(3):
        trader("resume", "latest", "--db", database, "--quiet", env={"TRADER_FAILPOINT": "commit.after:1"}, check=137)
    trader("resume", "latest", "--db", database, "--quiet", env={"TRADER_FAILPOINT": "commit.before:2"}, check=137)
    assert_equal(resumed(config, database), uninterrupted)


def test_a_damaged_checkpoint_is_passed_over(config, uninterrupted, tmp_path):
    database = tmp_path / "damaged.db"
    trader("run", config, "--db", database, "--quiet", env={"TRADER_FAILPOINT": "commit.before:6"}, check=137)
    files = sorted((tmp_path / "checkpoints").glob("*/frame-*/arrays.npz"), key=lambda path: path.stat().st_mtime)
    assert files
    damaged = bytearray(files[-1].read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    files[-1].write_bytes(bytes(damaged))
    assert_equal(resumed(config, database), uninterrupted)


def test_a_changed_row_is_found(config, tmp_path):
    database = tmp_path / "changed.db"
    trader("run", config, "--db", database, "--quiet", check=0)
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE entry SET qty = qty + 1 WHERE seq = (SELECT seq FROM entry LIMIT 1 OFFSET 40)")
    done = trader("verify", "latest", "--db", database, "--json", check=1)
    found = json.loads(done.stdout)
    assert found["identical"] is False
    assert found["first_difference"]["table"] == "entry"
    assert found["first_difference"]["column"] == "qty"
    assert trader("db", "check", "latest", "--db", database).returncode == 1


def test_a_signal_stops_and_resume_goes_on(config, uninterrupted, tmp_path):
    database = tmp_path / "stopped.db"
    process = subprocess.Popen(
        [sys.executable, "-m", "trader", "run", str(config), "--db", str(database), "--json", "--set", "session.candles=2500"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not committed(database):
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert json.loads(output)["status"] in {"stopped", "finished"}
    assert_equal(resumed(config, database), uninterrupted)


def committed(database):
    if not database.exists():
        return False
    try:
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
            return connection.execute("SELECT COUNT(*) FROM run WHERE commits > 0").fetchone()[0] > 0
    except sqlite3.OperationalError:
        return False


def test_resuming_nothing_is_the_users_error(tmp_path):
    done = trader("resume", "latest", "--db", tmp_path / "none.db", check=2)
    assert len(done.stderr.strip().splitlines()) == 1
