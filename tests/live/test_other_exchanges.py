"""The same live feed on two further exchanges, in their own forms: candles equal the truth, replay and verify agree."""

from __future__ import annotations

import asyncio

import pytest

from tests.live.fake_market import FakeMarket
from tests.live.fault_scripts import Fault
from tests.live.live_support import live_config, replay_config, write_store
from tests.live.other_exchanges import FakeBybit, FakeKraken
from tests.live.test_live_gate import assert_truth
from trader.feeds.exchange_client import Access, ExchangeClient
from trader.session.api import run_session, verify_run

FAULTS = [
    Fault(4, "disconnect"),
    Fault(8, "no_close", 2),
    Fault(13, "duplicate"),
    Fault(16, "stall", 2),
    Fault(22, "hole", 2),
]
CASES = {
    "kraken": (FakeKraken, "USD", False, 0.3),  # its throttle lets one question a second through
    "bybit": (FakeBybit, "USDT", True, 0.05),
}


@pytest.mark.parametrize("name", CASES)
def test_a_session_with_faults(tmp_path, name):
    kind, quote, swap, candle_s = CASES[name]
    markets = [FakeMarket(f"{base}/{quote}", seed=i, future=90) for i, base in enumerate(("BTC", "ETH"))]
    database = tmp_path / "live.db"
    with kind(markets, FAULTS, swap=swap, candle_s=candle_s, live=80) as exchange:
        config = live_config(
            exchange, [market.symbol for market in markets], session__candles=30, exchange__id=name,
            exchange__stall_seconds=3 * candle_s + 0.4, exchange__funding=False, pool__currency=quote,
        )  # fmt: skip
        summary = run_session(config, url=str(database)).as_dict()
        paths = {request.path for request in exchange.requests}
        assert len(exchange.applied) == len(FAULTS)
    assert summary["status"] == "finished"
    assert_truth(markets, database, 30)
    assert verify_run("latest", url=str(database)).identical
    assert all(path.startswith(("/0/public/", "/v5/market/")) for path in paths), "public questions only"
    start = write_store(tmp_path / "store", database, swap=swap)
    # the candles stand in the store under Binance's name
    config = config.model_copy(update={"exchange": config.exchange.model_copy(update={"id": "binance"})})
    again = run_session(replay_config(config, tmp_path / "store", start), url=str(tmp_path / "replay.db")).as_dict()
    assert (again["trades"], again["digest"]) == (summary["trades"], summary["digest"])


@pytest.mark.parametrize("name", CASES)
def test_markets_as_the_library_reads_them(name):
    kind, quote, swap, _ = CASES[name]

    async def loaded(exchange):
        client = ExchangeClient(Access(name, "swap" if swap else "spot", exchange.urls, {}, 0.4))
        try:
            await client.load()
            market = client.rest.markets[client.market(f"BTC/{quote}")]
            return market, client.timeframe("1m"), client.has_stream
        finally:
            await client.close()

    with kind([FakeMarket(f"BTC/{quote}")], swap=swap, paused=True) as exchange:
        market, timeframe, streams = asyncio.run(loaded(exchange))
    assert (market["base"], market["quote"], market["active"], timeframe, streams) == ("BTC", quote, True, "1m", True)
    assert market["precision"]["price"] == pytest.approx(0.1)
    assert bool(market["swap"]) is swap
