"""One loaded process for all tests of a module, and the short run that nobody disturbs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.survival.survival_support import SHORT, Commands, tables


@pytest.fixture(scope="package")
def commands(tmp_path_factory):
    running = Commands(tmp_path_factory.mktemp("commands"))
    yield running
    running.close()


@pytest.fixture(scope="package")
def short(commands, tmp_path_factory):
    """Config, summary and tables of the short session, uninterrupted; how many operations it takes."""
    folder = tmp_path_factory.mktemp("short")
    config = folder / "short.toml"
    config.write_text(SHORT)
    place = folder / "whole"
    place.mkdir()
    ended = commands(
        "run", config, "--db", place / "a.db", "--json", "--quiet", io=[str(place), 0, 5, -1], sql=[0, "error"]
    )
    summary = ended.json()
    assert summary["trades"] > 5
    assert summary["generations"] == 2
    return SimpleNamespace(config=config, summary=summary, tables=tables(place / "a.db"), seen=ended.seen)
