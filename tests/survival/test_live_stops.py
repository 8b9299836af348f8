"""A living session ended ten times, by SIGTERM or kill -9, on SQLite and PostgreSQL: every candle once, as it closed."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from pathlib import Path

import pytest
import sqlalchemy

from tests.live.fake_exchange import FakeExchange
from tests.live.fake_market import FakeMarket
from tests.live.live_support import write_toml
from tests.store_layer.conftest import new_postgres
from tests.survival.survival_support import tables
from trader.core.rows import CANDLE, Phase

SLOW_MACHINE = float(os.environ.get("TRADER_SLOW_MACHINE", "1"))
STOPS = 10


def when_listening(pid):
    """Until the process has a handler for SIGTERM: from here on a session is asked to end, before it is a command's end."""
    for _ in range(5000):
        caught = next(
            line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt")
        )
        if int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.002)
    raise AssertionError("no handler")


def when_live(url, count):
    """Until so many further live candles are committed."""
    engine = sqlalchemy.create_engine(url if "://" in url else f"sqlite:///{url}", poolclass=sqlalchemy.NullPool)
    wanted = None
    for _ in range(2000):
        with (
            contextlib.suppress(sqlalchemy.exc.OperationalError, sqlalchemy.exc.ProgrammingError),
            engine.connect() as connection,
        ):
            live = connection.exec_driver_sql(f"SELECT COUNT(*) FROM candle WHERE phase = {int(Phase.LIVE)}").scalar()
            wanted = live + count if wanted is None else wanted
            if live >= wanted:
                return
        time.sleep(0.02)
    raise AssertionError("no live candles")


def ended_ten_times(commands, config, url, folder, number, rng):
    """Stop the session again and again: the words that go on with it, and the seconds that each end took."""
    words, seconds = ("run", config, "--db", url, "--json", "--quiet"), []
    for stop in range(STOPS):
        pid = commands.start(*words, cwd=str(folder))
        when_listening(pid)
        if stop % 5 == 1:
            when_live(url, 5)  # on a slow machine the other moments may all lie before the first candle
        else:
            time.sleep(rng.uniform(0.0, 1.2))
        os.kill(pid, number)
        started = time.monotonic()
        ended = commands.finish()
        seconds.append(time.monotonic() - started)
        assert ended.code == (0 if number == signal.SIGTERM else -number), ended.errors
        began = commands("db", "runs", "--db", url, "--json", cwd=str(folder))
        if began.code == 0 and began.json():
            words = ("resume", "latest", "--db", url, "--json", "--quiet")
    return words, seconds


def assert_every_candle_once(market, url):
    place = {name: CANDLE.position(name) for name in ("ts", "open", "volume", "phase")}
    rows = sorted(tables(url)["candle"], key=lambda row: row[place["ts"]])
    times = [row[place["ts"]] for row in rows]
    assert times == list(range(times[0], times[0] + len(times) * market.base_ms, market.base_ms))
    assert [
        row for row in rows if tuple(row[place["open"] : place["volume"] + 1]) != market.truth(row[place["ts"]])
    ] == []
    assert {row[-1] for row in rows} >= {Phase.WARMUP, Phase.OFFLINE, Phase.LIVE}, "warm-up, missed while stopped, live"


@pytest.mark.parametrize(
    ("number", "server"),
    [
        (signal.SIGTERM, False),
        (signal.SIGKILL, False),
        pytest.param(signal.SIGTERM, True, marks=[pytest.mark.postgres, pytest.mark.nightly]),
        pytest.param(signal.SIGKILL, True, marks=pytest.mark.postgres),
    ],
)
def test_ended_ten_times(commands, tmp_path, number, server):
    market = FakeMarket(seed=31, history=400, future=4000)
    with new_postgres() if server else contextlib.nullcontext(str(tmp_path / "live.db")) as url:
        with FakeExchange([market], candle_s=0.04) as exchange:
            config = write_toml(tmp_path / "live.toml", exchange, feed__warmup=300)
            words, seconds = ended_ten_times(commands, config, url, tmp_path, number, random.Random(number + server))
            pid = commands.start(*words, cwd=str(tmp_path))
            when_live(url, 25)
            os.kill(pid, signal.SIGTERM)
            assert commands.finish().json()["status"] == "stopped"
        assert_every_candle_once(market, url)
        assert commands("verify", "latest", "--db", url, "--json", cwd=str(tmp_path)).json()["identical"] is True
        assert commands("db", "check", "latest", "--db", url, "--quiet", cwd=str(tmp_path)).code == 0
    print(f"slowest of {STOPS} ends: {max(seconds):.2f} s")
    assert max(seconds) < 5 * SLOW_MACHINE
