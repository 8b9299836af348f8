"""What `make run` runs: every level there is learns at least once in it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from trader.core.config import load
from trader.core.config_levels import LevelsConfig
from trader.session.api import run_session

ROOT = Path(__file__).resolve().parents[2]

LEARNED = {
    "hope": lambda row: row["candles"] > 0,
    "memory": lambda row: row["written"] > 0,
    "bandits": lambda row: row["redeemed"] > 0,
    "calibration": lambda row: row["trades"] > 0,
    "self_modifier": lambda row: row["looked"] > 0 and row["step"] > 0.0,
    "dqn": lambda row: row.get("updates", 0) > 0,
    "a3c": lambda row: row.get("decisions", 0) > 0,
    "ppo": lambda row: row.get("decisions", 0) > 0,
    "evolution": lambda row: row["culled"] > 0 and row["born"] > 0,
    "pool": lambda row: row["moved"] > 0,
}
"""What the row of an update says where the level really learned or acted."""


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    path = tmp_path_factory.mktemp("quickstart") / "run.db"
    run_session(load(ROOT / "configs" / "quickstart.toml", ["engine.threads=1"]), url=f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as database:
        return [(name, json.loads(text)) for name, text in database.execute("SELECT level, detail FROM v_level")]


def test_every_key_under_levels_is_asked_for():
    assert sorted(LEARNED) == sorted(LevelsConfig.model_fields)


@pytest.mark.parametrize("name", sorted(LEARNED))
def test_every_level_learns_in_the_quickstart(name, rows):
    mine = [row for level, row in rows if level == name]
    assert any(LEARNED[name](row) for row in mine), mine
