"""The live feed alone, without a session: every kind of fault by itself, holes, bans, outages, markets that die."""

from __future__ import annotations

import time

import pytest

from tests.live.fake_exchange import FakeExchange
from tests.live.fake_market import FakeMarket
from tests.live.fault_scripts import KINDS, Fault, random_script
from trader.core.rows import Phase, Received
from trader.feeds.exchange import LiveFeed
from trader.feeds.exchange_client import Access
from trader.feeds.instruments import TradingTerms

MINUTE = 60_000


def collect(exchange, frames, *, warmup=100, confirm="flag", after_ms=None, stall=0.4):
    """Candles {symbol: [(ts, values, received, phase)]} and incidents, until so many live frames have closed."""
    access = Access("binance", "swap" if exchange.swap else "spot", exchange.urls, {}, stall)
    feed = LiveFeed(
        access, symbols=tuple(market.symbol for market in exchange.markets.values()), base_ms=MINUTE, warmup=warmup,
        confirm=confirm, terms=TradingTerms("spot"), funding=True, stopped=lambda: False,
    )  # fmt: skip
    rows, incidents, live = {symbol: [] for symbol in feed.symbols}, [], 0
    try:
        for block in feed.blocks(512, after_ms):
            incidents += block.incidents
            for t, ts in enumerate(block.times.tolist()):
                for m, symbol in enumerate(feed.symbols):
                    if block.present[t, m]:
                        values = tuple(block.candles[t, m].tolist())
                        rows[symbol].append((ts, values, Received(block.received[t, m]), Phase(block.phase[t])))
            live += int((block.phase == Phase.LIVE).sum())
            if live >= frames:
                break
    finally:
        feed.close()
    return rows, incidents


def assert_truth(market, rows):
    times = [row[0] for row in rows]
    assert times == list(range(times[0], times[0] + len(times) * MINUTE, MINUTE))
    wrong = []
    for ts, values, *_ in rows:
        restated = market.restated.get(ts)
        if values != market.truth(ts) and (restated is None or values != tuple(map(float, restated))):
            wrong.append((ts, values, market.truth(ts)))
    assert wrong == []


def kinds(incidents):
    return {incident.kind for incident in incidents}


@pytest.mark.parametrize("kind", KINDS)
def test_each_fault_alone(kind):
    market = FakeMarket(seed=9, history=140, future=120)
    rest = kind.startswith("rest_")
    script = [Fault(6, "no_close"), Fault(6, kind, 2, 0.5)] if rest else [Fault(6, kind, 2)]
    with FakeExchange([market], script, candle_s=0.03) as exchange:
        rows, incidents = collect(exchange, 18)
    assert kind in {fault.kind for fault in exchange.applied}
    assert_truth(market, rows["BTC/USDT"])
    assert len(rows["BTC/USDT"]) == 118
    if kind in {"bad_value", "rest_bad_row"}:
        assert "bad_row" in kinds(incidents)
    if kind == "restated":
        assert "revision" in kinds(incidents)


def test_random_faults_on_three_markets():
    markets = [FakeMarket(name, seed=i, future=200) for i, name in enumerate(("BTC/USDT", "ETH/USDT", "SOL/USDT"))]
    with FakeExchange(markets, random_script(17, 100, 40)) as exchange:
        rows, _ = collect(exchange, 100)
    for market in markets:
        assert_truth(market, rows[market.symbol])
        assert len(rows[market.symbol]) == 200
    assert not [request for request in exchange.requests if request.banned]
    assert not [dial for dial in exchange.dials if dial[1]]


def test_warm_up_then_live_and_what_was_missed_first():
    market = FakeMarket(seed=3, future=120)
    with FakeExchange([market], candle_s=0.03) as exchange:
        rows, _ = collect(exchange, 5)
        phases = [row[3] for row in rows["BTC/USDT"]]
        assert phases == [Phase.WARMUP] * 100 + [Phase.LIVE] * 5
        last = rows["BTC/USDT"][-1][0]
        while exchange.candles < 30:
            time.sleep(0.01)
        again, _ = collect(exchange, 5, after_ms=last)
    assert again["BTC/USDT"][0][0] == last + MINUTE
    phases = [row[3] for row in again["BTC/USDT"]]
    assert phases[0] == Phase.OFFLINE
    assert phases == sorted(phases)
    assert_truth(market, rows["BTC/USDT"] + again["BTC/USDT"])


def test_quiet_markets_come_by_stream_and_nothing_is_asked_twice():
    market = FakeMarket(seed=5, future=80)
    with FakeExchange([market]) as exchange:
        rows, incidents = collect(exchange, 30, stall=5.0)
    streamed = [row for row in rows["BTC/USDT"] if row[2] == Received.STREAM]
    assert len(streamed) >= 25
    assert incidents == []
    assert len(exchange.dials) == 1
    assert len(exchange.requests) < 10
