"""What the whole test suite shares: what is skipped where something is missing, and that CI skips nothing.

`realdata` tests need the real candles (TRADER_REAL_DATA, else ../shared/data), `postgres` tests a server
(TRADER_TEST_POSTGRES). Where they are missing the tests skip and say so; with TRADER_NO_SKIP=1 a skip is a failure.
No test process may hold more than `MOST_MEMORY`: what runs away fails in its own test, not the whole machine.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
REAL_DATA = Path(os.environ.get("TRADER_REAL_DATA") or ROOT.parent / "shared" / "data")
POSTGRES = os.environ.get("TRADER_TEST_POSTGRES", "")
NO_SKIP = os.environ.get("TRADER_NO_SKIP") == "1"
MOST_MEMORY = 8 * 2**30

resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("realdata") and not (REAL_DATA / "candles").is_dir():
            item.add_marker(pytest.mark.skip(reason=f"no real candles in {REAL_DATA} (TRADER_REAL_DATA)"))
        if item.get_closest_marker("postgres") and not POSTGRES:
            item.add_marker(pytest.mark.skip(reason="no PostgreSQL server is named (TRADER_TEST_POSTGRES)"))


def _refuse(report):
    if NO_SKIP and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and nothing may be skipped here: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    return _refuse((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report():
    return _refuse((yield))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real candles; only for tests marked `realdata`."""
    return REAL_DATA


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """URL of the PostgreSQL server; only for tests marked `postgres`."""
    return POSTGRES
