"""A living session, killed, stopped and cut off: what was accepted stays, what was missed is fetched, nothing is double."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sqlite3
import time

import pytest

from tests.live.fake_exchange import FakeExchange
from tests.live.fake_market import FakeMarket
from tests.live.live_support import journal, query, start_trader, trader, write_toml


def wait_for_candles(database, count, seconds=400):
    """Until so many candles that are no warm-up are committed."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if database.exists():
            with contextlib.suppress(sqlite3.OperationalError):  # the schema is being made
                if query(database, "SELECT COUNT(*) FROM candle WHERE phase > 0")[0][0] >= count:
                    return
        time.sleep(0.02)
    raise AssertionError(f"no {count} candles after {seconds} s")


def assert_whole(market, database, warmup=120):
    rows = [row[1:] for row in journal(database)]
    times = [row[0] for row in rows]
    assert times == list(range(times[0], times[0] + len(times) * market.base_ms, market.base_ms))
    assert [row for row in rows if tuple(row[1:]) != market.truth(row[0])] == []
    assert len(times) > warmup


@pytest.fixture
def exchange():
    market = FakeMarket(seed=21, history=200, future=6000)
    with FakeExchange([market], candle_s=0.05) as running:
        yield running


def test_killed_and_resumed_again_and_again(tmp_path, exchange):
    rng = random.Random(1)
    database = tmp_path / "live.db"
    config = write_toml(tmp_path / "live.toml", exchange, feed__warmup=120)
    words = ["run", config]
    for kill in range(4):
        process = start_trader(*words, "--db", database, "--quiet")
        wait_for_candles(database, 10 * (kill + 1))
        time.sleep(rng.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        words = ["resume", "latest"]
    process = start_trader(*words, "--db", database, "--json", "--quiet")
    # beyond what the last kill left: a process that has not begun to take candles has no handler for the signal either
    wait_for_candles(database, query(database, "SELECT COUNT(*) FROM candle WHERE phase > 0")[0][0] + 20)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert json.loads(output)["status"] == "stopped"
    assert_whole(exchange.one, database)
    assert query(database, "SELECT COUNT(*) FROM candle WHERE phase = 1")[0][0] > 0
    done = trader("verify", "latest", "--db", database, "--json")
    assert json.loads(done.stdout)["identical"] is True, done.stdout
    assert trader("db", "check", "latest", "--db", database).returncode == 0


def test_a_signal_while_waiting_ends_within_five_seconds(tmp_path, exchange):
    database = tmp_path / "live.db"
    config = write_toml(tmp_path / "live.toml", exchange, feed__warmup=120)
    process = start_trader("run", config, "--db", database, "--json", "--quiet")
    wait_for_candles(database, 5)
    exchange.halt()
    time.sleep(0.3)
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert json.loads(output)["status"] == "stopped"
    assert time.monotonic() - started < 5 * float(os.environ.get("TRADER_SLOW_MACHINE", "1"))


def test_an_exchange_that_cannot_be_reached_is_exit_three(tmp_path, exchange):
    config = write_toml(tmp_path / "live.toml", exchange, feed__warmup=120)
    text = config.read_text().replace(str(exchange.port), "1")
    config.write_text(text)
    done = trader("run", config, "--db", tmp_path / "none.db", "--quiet")
    assert done.returncode == 3, done.stderr
    assert "after 7 attempts" in done.stderr.strip().splitlines()[-1]
    assert not (tmp_path / "none.db").exists()


def test_an_unknown_market_is_the_users_error(tmp_path, exchange):
    config = write_toml(tmp_path / "live.toml", exchange, ["BTX/USDT"])
    done = trader("run", config, "--db", tmp_path / "none.db", "--quiet")
    assert done.returncode == 2, done.stderr
    assert "BTX/USDT; did you mean BTC/USDT?" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
