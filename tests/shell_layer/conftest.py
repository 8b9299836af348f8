"""A small history in files, and one finished run over it, for the tests of the commands."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.shell_layer.shell_support import ROOT, WITHOUT_TORCH, trader, write_history


@pytest.fixture(scope="session")
def history(tmp_path_factory) -> Path:
    """A source folder with two perpetuals."""
    source = tmp_path_factory.mktemp("history")
    for seed, symbol in enumerate(("AAA-USDT", "BBB-USDT")):
        write_history(source / "binanceusdm" / symbol, seed)
    return source


@pytest.fixture(scope="session")
def session_words(history) -> list[str]:
    """A short session over the history; add a database."""
    return [
        "replay", str(ROOT / "configs" / "perp-replay.toml"), "--data", str(history),
        "--set", "population.size=60", "--set", "feed.timeframes=['1h']", "--set", "levels.evolution.every=500",
        *WITHOUT_TORCH,
    ]  # fmt: skip


@pytest.fixture(scope="session")
def finished(tmp_path_factory, session_words) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A database with one finished run, and what the command printed with --json."""
    folder = tmp_path_factory.mktemp("finished")
    done = trader(*session_words, "--db", str(folder / "trader.db"), "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "trader.db", done
