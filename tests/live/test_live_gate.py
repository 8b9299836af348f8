"""The gate of a living session: whatever the exchange does, the candles are the truth, each once, in order.

Unmodified ccxt against the fake exchange, 40 ms a candle, a hundred random faults a script. After each session: every
candle acted on equals the candle as it closed (so no decision fell on one in progress), `verify` says identical, and a
replay of the same candles gives the same digest.
"""

from __future__ import annotations

import pytest

from tests.live.fake_exchange import FakeExchange
from tests.live.fake_market import HOUR_MS, FakeMarket
from tests.live.fault_scripts import Fault, random_script
from tests.live.live_support import journal, live_config, query, replay_config, write_store
from tests.store_layer.conftest import new_postgres
from tests.survival.survival_support import tables
from trader.session.api import run_session, verify_run


def run_live(tmp_path, markets, faults=(), candles=60, swap=False, candle_s=0.04, database=None, **given):
    database = database or tmp_path / "live.db"
    spare = candles + 40
    with FakeExchange(markets, faults, swap=swap, candle_s=candle_s, live=spare) as exchange:
        config = live_config(exchange, [market.symbol for market in markets], session__candles=candles, **given)
        summary = run_session(config, url=str(database)).as_dict()
    return exchange, config, summary, database


def assert_truth(markets, database, candles, warmup=300):
    """Every candle of every market is there once, in order, as it closed; restated ones are known as such."""
    for market in markets:
        rows = [row[1:] for row in journal(database) if row[0] == market.symbol]
        times = [row[0] for row in rows]
        assert times == list(range(times[0], times[0] + len(times) * market.base_ms, market.base_ms))
        assert len(times) == candles + warmup
        revised = {
            row[0]
            for row in query(database, f"SELECT ts FROM v_candle WHERE revised = 1 AND symbol = '{market.symbol}'")
        }
        wrong = []
        for ts, *values in rows:
            if tuple(values) == market.truth(ts):
                continue
            restated = market.restated.get(ts)  # the close had been lost, and this was all the exchange still told
            if restated is None or tuple(values) != tuple(float(text) for text in restated):
                wrong.append((ts, values, market.truth(ts)))
        assert not wrong
        assert revised <= set(market.restated)


def assert_replay_is_equal(tmp_path, config, summary, database, swap=False):
    assert verify_run("latest", url=str(database)).identical
    start = write_store(tmp_path / "store", database, swap=swap)
    again = run_session(replay_config(config, tmp_path / "store", start), url=str(tmp_path / "replay.db")).as_dict()
    assert again["trades"] == summary["trades"]
    assert again["digest"] == summary["digest"]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_hundred_random_faults(tmp_path, seed):
    market = FakeMarket(seed=seed, future=560)
    script = random_script(seed, candles=500, faults=100)
    exchange, config, summary, database = run_live(tmp_path, [market], script, candles=500)
    assert len(exchange.applied) == 100
    assert summary["status"] == "finished"
    assert summary["decisions"] >= 1000
    assert_truth([market], database, 500)
    assert not [request for request in exchange.requests if request.banned]
    assert not [dial for dial in exchange.dials if dial[1]]
    assert_replay_is_equal(tmp_path, config, summary, database)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(4, 101))
def test_a_hundred_scripts(tmp_path, seed):
    test_a_hundred_random_faults(tmp_path, seed)


def test_several_markets_with_faults(tmp_path):
    markets = [FakeMarket(name, seed=i, future=200) for i, name in enumerate(("BTC/USDT", "ETH/USDT", "SOL/USDT"))]
    script = random_script(11, candles=120, faults=30)
    _, config, summary, database = run_live(tmp_path, markets, script, candles=120)
    assert_truth(markets, database, 120)
    assert_replay_is_equal(tmp_path, config, summary, database)


def test_perpetuals_with_funding_and_mark(tmp_path):
    market = FakeMarket(seed=4, start_ms=1_767_225_600_000 + 7 * HOUR_MS + 30 * 60_000, future=140)
    _, config, summary, database = run_live(tmp_path, [market], random_script(5, 80, 15), candles=80, swap=True)
    assert_truth([market], database, 80)
    stamps = query(database, "SELECT ts, rate, mark FROM v_funding ORDER BY ts")
    first = 1_767_225_600_000 + 8 * HOUR_MS
    assert (first, dict(market.stamps(first, first + 10))[first + 3], market.mark_open(first)) in stamps
    assert_replay_is_equal(tmp_path, config, summary, database, swap=True)


@pytest.mark.postgres
def test_sqlite_and_postgresql_give_the_same_run(tmp_path):
    """The same candles with the same faults, received twice: equal digests, equal rows."""
    digests, script = [], random_script(14, 150, 30)
    with new_postgres() as url:
        for database in (tmp_path / "live.db", url):
            markets = [
                FakeMarket(name, seed=i, history=500, future=220) for i, name in enumerate(("BTC/USDT", "ETH/USDT"))
            ]
            _, _, summary, _ = run_live(tmp_path, markets, script, candles=150, database=database, feed__warmup=400)
            assert summary["orders"] > 0
            assert verify_run("latest", url=str(database)).identical
            digests.append(summary["digest"])
        assert digests[0] == digests[1]
        mine, theirs = tables(tmp_path / "live.db"), tables(url)
    own = {"run", "trial", "incident"}  # what troubled the feed, and when: each session's own
    assert mine.keys() == theirs.keys()
    for name in mine.keys() - own:
        kept = slice(0, -3) if name == "candle" else slice(None)  # how a candle came
        assert [row[kept] for row in mine[name]] == [row[kept] for row in theirs[name]], name


def test_a_restated_candle_is_told_and_not_merged(tmp_path):
    market = FakeMarket(seed=6, future=120)
    _, _, _, database = run_live(tmp_path, [market], [Fault(10, "restated", 2)], candles=30)
    revisions = query(
        database, "SELECT time_ms, symbol, detail FROM v_incident WHERE kind = 'revision' ORDER BY time_ms"
    )
    assert [row[0] for row in revisions] == sorted(market.restated)
    for ts, symbol, detail in revisions:
        assert symbol == "BTC/USDT"
        assert market.restated[ts][3].rstrip("0") in detail
    assert query(database, "SELECT ts FROM v_candle WHERE revised = 1 ORDER BY ts") == [(row[0],) for row in revisions]
    rows = {row[1]: tuple(row[2:]) for row in journal(database)}
    assert all(rows[ts] == market.truth(ts) for ts in market.restated)


def test_a_hole_is_believed_after_agreeing_answers(tmp_path):
    market = FakeMarket(seed=7, future=120)
    market.missing = frozenset({market.history + 12, market.history + 13})
    exchange, _, _, database = run_live(tmp_path, [market], candles=30)
    hole = market.start_ms + 12 * market.base_ms
    assert query(database, "SELECT time_ms FROM v_incident WHERE kind = 'gap'") == [(hole,)]
    asked = [
        r
        for r in exchange.requests
        if r.path.endswith("klines") and int(r.query.get("startTime", 0)) == hole - market.base_ms
    ]
    assert len(asked) >= 3
    times = [row[1] for row in journal(database)]
    assert hole not in times and hole + market.base_ms not in times and hole + 2 * market.base_ms in times


@pytest.mark.parametrize("kind", ["rest_429", "rest_418"])
def test_no_request_inside_a_ban(tmp_path, kind):
    market = FakeMarket(seed=8, future=160)
    script = [Fault(8, "no_close"), Fault(8, kind, 1, 2.0)]
    exchange, _, summary, database = run_live(tmp_path, [market], script, candles=90)
    assert exchange.bans
    assert not [request for request in exchange.requests if request.banned]
    assert not [at for at, banned in exchange.dials if banned]
    assert summary["status"] == "finished"
    assert_truth([market], database, 90)
    assert query(database, "SELECT COUNT(*) FROM v_incident WHERE kind = 'rate_limit'")[0][0] >= 1


def test_an_outage_of_an_hour_is_caught_up(tmp_path):
    market = FakeMarket(seed=10, future=160)
    exchange, config, summary, database = run_live(tmp_path, [market], [Fault(15, "down", 60)], candles=110)
    assert_truth([market], database, 110)
    begin = [fault for fault in exchange.applied if fault.kind == "down"]
    assert begin
    down = [r for r in exchange.requests if r.path.endswith("klines")]
    assert len(down) < 40  # backoff: 60 candles are 2.4 s, pauses grow from 0.1 to 0.4 s
    assert_replay_is_equal(tmp_path, config, summary, database)


def test_every_candle_confirmed_by_rest(tmp_path):
    market = FakeMarket(seed=12, future=140)
    _, _, _, database = run_live(tmp_path, [market], random_script(3, 40, 10), candles=40, exchange__confirm="rest")
    assert_truth([market], database, 40)
    assert query(database, "SELECT DISTINCT received FROM v_candle") == [("rest",)]


def test_a_market_that_dies_does_not_stop_the_others(tmp_path):
    dying = FakeMarket("AAA/USDT", seed=1, future=160)
    dying.missing = frozenset(range(dying.history + 20, dying.history + 160))
    living = FakeMarket("BBB/USDT", seed=2, future=160)
    _, _, summary, database = run_live(tmp_path, [living, dying], candles=100)
    assert summary["status"] == "finished"
    assert_truth([living], database, 100)
    assert query(database, "SELECT symbol FROM v_incident WHERE kind = 'silent'")[0] == ("AAA/USDT",)


def test_no_key_no_signature_no_order(tmp_path):
    market = FakeMarket(seed=13, future=80)
    exchange, *_ = run_live(tmp_path, [market], candles=10)
    allowed = {"/api/v3/exchangeInfo", "/api/v3/klines", "/api/v3/time", "/api/v3/ping"}
    assert {request.path for request in exchange.requests} <= allowed
    for request in exchange.requests:
        assert not {"signature", "timestamp", "recvWindow"} & set(request.query)
        assert "X-MBX-APIKEY" not in request.headers
