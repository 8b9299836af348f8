"""Killed or told to stop at any moment, on SQLite and PostgreSQL, with and without torch: resumed, the run is equal."""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.store_layer.conftest import new_postgres
from tests.survival.survival_support import (
    EVERY_LEVEL,
    LONG,
    SHORT,
    Commands,
    differences,
    fresh_folder,
    intact,
    resumed,
    tables,
)

MANY = SHORT.replace("candles = 30", "candles = 250").replace("checkpoint_every = 8", "checkpoint_every = 40")
"""Two hundred and fifty commits: room for ten kills in one run."""
SLOW_MACHINE = float(os.environ.get("TRADER_SLOW_MACHINE", "1"))


@dataclass(frozen=True)
class Whole:
    """The run that nobody disturbs, and how many seconds it takes."""

    config: Path
    summary: dict
    tables: dict
    seconds: float


def undisturbed(commands, folder, text) -> Whole:
    config = folder / "session.toml"
    config.write_text(text)
    started = time.monotonic()
    summary = commands("run", config, "--db", folder / "whole.db", "--json", "--quiet").json()
    return Whole(config, summary, tables(folder / "whole.db"), time.monotonic() - started)


@pytest.fixture(scope="module")
def long(commands, tmp_path_factory):
    return undisturbed(commands, tmp_path_factory.mktemp("long"), LONG)


@pytest.fixture(scope="module")
def many(commands, tmp_path_factory):
    return undisturbed(commands, tmp_path_factory.mktemp("many"), MANY)


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    """Commands of a process that has torch, and the run with every level on."""
    folder = tmp_path_factory.mktemp("deep")
    running = Commands(folder, torch=True)
    whole = undisturbed(running, folder, EVERY_LEVEL)
    assert whole.summary["agents"] > 130, "no births"
    assert {row[2] for row in whole.tables["level"]} >= {"hope", "memory", "dqn", "a3c", "ppo", "evolution", "pool"}
    yield running, whole
    running.close()


def wrong(whole, summary, url) -> list[str]:
    keys = ("digest", "candles", "trades", "orders", "decisions", "equity_end", "agents", "max_drawdown")
    return [key for key in keys if summary[key] != whole.summary[key]] + differences(url, whole.tables)


def kill_once(commands, words, seconds, **request) -> bool:
    """Start a command and kill it after so many seconds; whether it still lived."""
    pid = commands.start(*words, **request)
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)  # harmless to one that has ended: it is not waited for before `finish`
    return commands.finish().code == -signal.SIGKILL


def kills(commands, whole, parent, count, seed):
    """So many runs, each killed once and resumed: how many were killed alive, and what is wrong."""
    rng, alive, found = random.Random(seed), 0, {}
    for number in range(count):
        folder = fresh_folder(parent)
        database = folder / "a.db"
        words = ("run", whole.config, "--db", database, "--quiet")
        alive += kill_once(commands, words, rng.uniform(0.0, 0.9) * whole.seconds)
        if problems := wrong(whole, resumed(commands, whole.config, database), database):
            found[number] = problems
        elif not intact(database):
            found[number] = ["damaged"]
    print(f"{alive} of {count} killed alive")
    return alive, found


def test_twenty_five_kills_without_torch(commands, long, tmp_path):
    assert long.summary["trades"] > 300
    alive, found = kills(commands, long, tmp_path, 25, seed=1)
    assert (alive >= 10, found) == (True, {})


def test_six_kills_with_every_level_on(deep, tmp_path):
    alive, found = kills(*deep, tmp_path, 6, seed=2)
    assert (alive >= 3, found) == (True, {})


@pytest.mark.nightly
@pytest.mark.timeout(0)
def test_five_hundred_kills(commands, long, many, deep, tmp_path):
    for whole, count in ((long, 250), (many, 200)):
        alive, found = kills(commands, whole, tmp_path, count, seed=3)
        assert (alive >= 0.4 * count, found) == (True, {})
    assert kills(*deep, tmp_path, 50, seed=4)[1] == {}


def ten_kills_in_one_run(commands, whole, url, folder, seed, kills_wanted=10):
    rng, alive, attempts = random.Random(seed), 0, 0
    words = ("run", whole.config, "--db", url, "--quiet")
    while alive < kills_wanted and attempts < 3 * kills_wanted:
        attempts += 1
        alive += kill_once(commands, words, rng.uniform(0.15, 0.35) * max(whole.seconds / 3, 0.5), cwd=str(folder))
        began = commands("db", "runs", "--db", url, "--json", cwd=str(folder))
        if began.code == 0 and began.json():
            words = ("resume", "latest", "--db", url, "--quiet")
    assert alive == kills_wanted
    assert wrong(whole, resumed(commands, whole.config, url, cwd=str(folder)), url) == []


def test_ten_kills_in_one_run(commands, many, tmp_path):
    ten_kills_in_one_run(commands, many, tmp_path / "a.db", tmp_path, seed=5)
    assert intact(tmp_path / "a.db")


@pytest.mark.postgres
def test_ten_kills_in_one_run_on_postgresql(commands, many, tmp_path):
    with new_postgres() as url:
        ten_kills_in_one_run(commands, many, url, tmp_path, seed=6)


@pytest.mark.nightly
@pytest.mark.postgres
@pytest.mark.parametrize("seed", range(10))
def test_a_hundred_kills_on_postgresql(commands, many, tmp_path, seed):
    with new_postgres() as url:
        ten_kills_in_one_run(commands, many, url, tmp_path, seed=100 + seed)


def told_to_stop(commands, whole, database, delay):
    """Exit status and seconds after SIGTERM at a moment after the session began; what is wrong after going on."""
    pid = commands.start("run", whole.config, "--db", database, "--json", "--quiet")
    while not database.exists():
        time.sleep(0.002)
    time.sleep(delay)
    os.kill(pid, signal.SIGTERM)
    started = time.monotonic()
    ended = commands.finish()
    seconds = time.monotonic() - started
    status = ended.json()["status"] if ended.code == 0 else ended.errors
    return ended.code, status, seconds, wrong(whole, resumed(commands, whole.config, database), database)


@pytest.mark.parametrize("count", [10, pytest.param(50, marks=pytest.mark.nightly)])
def test_sigterm_at_random_moments(commands, many, long, tmp_path, count):
    rng, stopped, longest = random.Random(7), 0, 0.0
    for number in range(count):
        whole = (many, long)[number % 2]
        database = fresh_folder(tmp_path) / "a.db"
        code, status, seconds, problems = told_to_stop(commands, whole, database, rng.uniform(0, 0.7) * whole.seconds)
        assert (code, problems) == (0, []), status
        stopped += status == "stopped"
        longest = max(longest, seconds)
    print(f"{stopped} of {count} stopped half-way, the slowest after {longest:.2f} s")
    assert stopped >= count // 2
    assert longest < 5 * SLOW_MACHINE
