"""Skips: named where something is missing, failures where nothing may be missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from tests.shell_layer.shell_support import ROOT

TESTS = """
import pytest

@pytest.mark.realdata
def test_candles():
    assert True

@pytest.mark.postgres
def test_server():
    assert True

def test_browser():
    pytest.skip("no browser")
"""


def run(folder, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("TRADER_", "COV", "PYTEST_"))}
    command = [sys.executable, "-m", "pytest", "-ra", "-p", "no:cacheprovider", str(folder)]
    return subprocess.run(
        command, cwd=folder, env=env | environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture
def suite(tmp_path):
    folder = tmp_path / "project" / "tests"
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "conftest.py", folder)
    (folder / "test_some.py").write_text(TESTS)
    markers = "[pytest]\nmarkers =\n    realdata\n    postgres\n"
    (folder.parent / "pytest.ini").write_text(markers)
    return folder


def test_what_is_missing_is_skipped_and_named(suite):
    done = run(suite)
    assert done.returncode == 0
    assert "3 skipped" in done.stdout
    for reason in ("TRADER_REAL_DATA", "TRADER_TEST_POSTGRES", "no browser"):
        assert reason in done.stdout


def test_what_is_there_is_used(suite, tmp_path):
    (tmp_path / "shared" / "data" / "candles").mkdir(parents=True)
    done = run(suite, TRADER_REAL_DATA=str(tmp_path / "shared" / "data"), TRADER_TEST_POSTGRES="postgresql://x")
    assert "2 passed, 1 skipped" in done.stdout


def test_nothing_may_be_skipped_where_all_is_demanded(suite):
    done = run(suite, TRADER_NO_SKIP="1")
    assert done.returncode == 1
    assert "passed" not in done.stdout.splitlines()[-1]
    assert "skipped, and nothing may be skipped here" in done.stdout
    (suite / "test_more.py").write_text("import pytest\npytest.importorskip('no_such_module_at_all')\n")
    done = run(suite, TRADER_NO_SKIP="1")
    assert done.returncode in (1, 2)
    assert "skipped" not in done.stdout.splitlines()[-1]
