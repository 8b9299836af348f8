"""A session with every level on over real candles: every level learns, and the rows are the same a second time, with other
thread counts, and after kills -9."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.survival.survival_support import ROOT, Commands, differences, tables
from trader.core.config_levels import LevelsConfig

SOURCE = "candles/roshan7869-algotrading"
POLICIES = ("dqn", "a3c", "ppo")
SHORT_SPAN = {
    "feed.start": "2020-01-01", "feed.end": "2020-04-11", "population.size": 120, "session.checkpoint_every": 400,
    "levels.evolution.every": 200, "levels.evolution.policy_births": 0.8, "levels.pool.every": 100,
    **{f"levels.{name}.every": 200 for name in POLICIES},
}  # fmt: skip
"""A hundred days of five markets through the crash of March 2020."""
LONG = 3 * 3600
"""Seconds that one command over six years may take."""
SIX_YEARS = {"feed.start": "2018-01-01", "feed.end": "2024-01-01", "population.size": 1000}


@dataclass(frozen=True)
class Whole:
    """The session that nobody disturbs."""

    words: list[str]
    database: Path
    summary: dict
    rows: dict
    seconds: float


def words_of(real_data, sets) -> list[str]:
    given = {"feed.data": [str(real_data / SOURCE)], **sets}
    pairs = [f"{key}={json.dumps(value)}" for key, value in given.items()]
    return [str(ROOT / "configs" / "replay.toml"), *(word for pair in pairs for word in ("--set", pair))]


def lived(commands, words, database, *more) -> dict:
    return commands("run", *words, *more, "--db", database, "--json", "--quiet", deadline=LONG).json()


def undisturbed(commands, folder, real_data, sets) -> Whole:
    words, started = words_of(real_data, sets), time.monotonic()
    summary = lived(commands, words, folder / "whole.db", "--set", "engine.threads=1")
    return Whole(words, folder / "whole.db", summary, tables(folder / "whole.db"), time.monotonic() - started)


def learned(whole: Whole) -> dict[str, bool]:
    """Whether each level's rows say that it learned or acted."""
    with closing(sqlite3.connect(whole.database)) as database:
        rows = [(name, json.loads(text)) for name, text in database.execute("SELECT level, detail FROM v_level")]
    telling = {
        "hope": "candles", "memory": "written", "bandits": "redeemed", "calibration": "trades", "self_modifier": "step",
        "dqn": "updates", "a3c": "decisions", "ppo": "decisions", "evolution": "born", "pool": "moved",
    }  # fmt: skip
    assert sorted(telling) == sorted(LevelsConfig.model_fields)
    return {name: any(row.get(key, 0) > 0 for level, row in rows if level == name) for name, key in telling.items()}


def goes_on(commands, whole: Whole, database) -> tuple[str, ...]:
    """The command that goes on with a session, or begins it if it never came to its row."""
    began = database.exists() and commands("db", "runs", "--db", database, "--json")
    return ("resume", "latest") if began and began.code == 0 and began.json() else ("run", *whole.words)


def after_kills(commands, whole: Whole, database, kills: int) -> tuple[dict, int]:
    """The summary of a session killed so many times, each a part of the way further on; and how many kills it felt."""
    felt = 0
    for _ in range(kills):
        pid = commands.start(*goes_on(commands, whole, database), "--db", database, "--quiet", deadline=LONG)
        time.sleep(1.5 * whole.seconds / (kills + 2))  # more than an equal part: what is lost is lived again
        os.kill(pid, signal.SIGKILL)
        felt += commands.finish().code == -signal.SIGKILL
    ended = commands(*goes_on(commands, whole, database), "--db", database, "--json", "--quiet", deadline=LONG)
    return ended.json(), felt


def unlike(whole: Whole, summary, database) -> list[str]:
    keys = ("digest", "candles", "trades", "orders", "decisions", "equity_end", "agents")
    found = [key for key in keys if summary[key] != whole.summary[key]]
    return found + [name for name in differences(database, whole.rows) if name != "run"]


@pytest.fixture(scope="module")
def torch_commands(tmp_path_factory):
    running = Commands(tmp_path_factory.mktemp("every-level"), torch=True)
    yield running
    running.close()


@pytest.fixture(scope="module")
def hundred_days(torch_commands, tmp_path_factory, real_data):
    return undisturbed(torch_commands, tmp_path_factory.mktemp("days"), real_data, SHORT_SPAN)


@pytest.mark.realdata
class TestAHundredDays:
    """What CI looks at."""

    def test_every_level_learns(self, hundred_days):
        assert [name for name, did in learned(hundred_days).items() if not did] == []
        assert hundred_days.summary["trades"] > 50

    def test_a_second_run_is_equal(self, torch_commands, hundred_days, tmp_path):
        summary = lived(torch_commands, hundred_days.words, tmp_path / "b.db", "--set", "engine.threads=1")
        assert unlike(hundred_days, summary, tmp_path / "b.db") == []

    def test_other_thread_counts_change_nothing(self, hundred_days, tmp_path):
        database = tmp_path / "c.db"
        done = subprocess.run(
            [sys.executable, "-m", "trader", "run", *hundred_days.words, "--set", "engine.threads=2", "--db",
             str(database), "--json", "--quiet"],
            env={**os.environ, "OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}, cwd=ROOT,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert unlike(hundred_days, json.loads(done.stdout), database) == []

    def test_killed_and_resumed_it_is_equal(self, torch_commands, hundred_days, tmp_path):
        summary, felt = after_kills(torch_commands, hundred_days, tmp_path / "d.db", kills=3)
        assert felt >= 2
        assert unlike(hundred_days, summary, tmp_path / "d.db") == []


@pytest.mark.realdata
@pytest.mark.nightly
@pytest.mark.timeout(4 * 3600)
def test_six_years_of_a_thousand_agents(torch_commands, real_data, tmp_path):
    """2018 to 2023, five markets, 1h: complete, every level learns, equal a second time on two threads, and after six
    kills."""
    whole = undisturbed(torch_commands, tmp_path, real_data, SIX_YEARS)
    assert whole.summary["status"] == "finished"
    assert all(learned(whole).values())
    again = lived(torch_commands, whole.words, tmp_path / "b.db", "--set", "engine.threads=2")
    assert unlike(whole, again, tmp_path / "b.db") == []
    summary, felt = after_kills(torch_commands, whole, tmp_path / "c.db", kills=6)
    assert felt == 6
    assert unlike(whole, summary, tmp_path / "c.db") == []
