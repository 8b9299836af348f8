"""Candle rules, flags of frames, addresses, credentials: the parts of the live feed without a clock."""

from __future__ import annotations

import asyncio
import math

import ccxt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.live.fake_exchange import FakeExchange
from tests.live.fake_market import FakeMarket
from tests.live.fault_scripts import Fault
from trader.core.types import SurroundingsError, UserError
from trader.feeds.candle_rules import is_spike, problem
from trader.feeds.exchange_client import Access, ExchangeClient, exchange_class
from trader.feeds.frame_flags import told

MINUTE = 60_000
GOOD = (1.0, 2.0, 0.5, 1.5, 10.0)

BAD_NUMBERS = [math.nan, math.inf, -math.inf, 0.0, -1.0, "abc", "", None, True, "1.0", [1.0], {}]


@pytest.mark.parametrize("value", BAD_NUMBERS)
@pytest.mark.parametrize("place", range(5))
def test_a_bad_number_is_refused(value, place):
    row = list(GOOD)
    row[place] = value
    if (value, place) == (0.0, 4) and not isinstance(value, bool):
        assert problem(MINUTE, row, MINUTE) == ""  # a minute without trades
    else:
        assert problem(MINUTE, row, MINUTE)


@pytest.mark.parametrize("ts", [0, -MINUTE, MINUTE + 1, 1.5 * MINUTE, "60000", None, True, 10**18, math.nan])
def test_a_bad_time_is_refused(ts):
    assert problem(ts, GOOD, MINUTE)


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=5, max_size=5))
def test_what_passes_is_a_candle(row):
    if not problem(MINUTE, row, MINUTE):
        opened, high, low, close, volume = row
        assert 0 < low <= min(opened, close) <= max(opened, close) <= high < math.inf
        assert 0 <= volume < math.inf


def test_a_wick_passes_and_a_slipped_decimal_does_not():
    assert not is_spike((100.0, 500.0, 10.0, 100.0, 1.0), 100.0)
    assert is_spike((100.0, 10_000.0, 100.0, 100.0, 1.0), 100.0)
    assert is_spike((100.0, 100.0, 1.0, 100.0, 1.0), 100.0)
    assert not is_spike((100.0, 100.0, 1.0, 100.0, 1.0), None)


FRAMES = {
    "binance": {"e": "kline", "s": "BTCUSDT", "k": {
        "t": MINUTE, "s": "BTCUSDT", "i": "1m", "o": "1", "h": "2", "l": "0.5", "c": "1.5", "v": "10", "x": True}},
    "bybit": {"topic": "kline.1.BTCUSDT", "type": "snapshot", "ts": 1, "data": [
        {"start": MINUTE, "end": 2 * MINUTE - 1, "interval": "1", "open": "1", "close": "1.5", "high": "2", "low": "0.5",
         "volume": "10", "turnover": "1", "confirm": True, "timestamp": 1}]},
    "okx": {"arg": {"channel": "candle1m", "instId": "BTC-USDT"}, "data": [
        [str(MINUTE), "1", "2", "0.5", "1.5", "10", "15", "15", "1"]]},
}  # fmt: skip


@pytest.mark.parametrize("name", FRAMES)
def test_flags_of_recorded_frames(name):
    ((_, ts, values, closed),) = told(name, FRAMES[name])
    assert (ts, values, closed) == (MINUTE, GOOD, True)
    assert name in ccxt.exchanges


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.sampled_from(["k", "data", "x", "t", "s", "o"]), x),
    )
)
def test_no_frame_breaks_a_reader(frame):
    for name in FRAMES:
        assert all(len(line) == 4 for line in told(name, frame))


@pytest.mark.parametrize("stream", [False, True])
def test_nothing_can_be_signed(stream):
    exchange = exchange_class("binance", stream=stream)()
    assert not exchange.apiKey
    assert not exchange.secret
    exchange.apiKey = exchange.secret = "planted"
    with pytest.raises(ccxt.NotSupported):
        exchange.sign("order", "private", "POST", {})
    with pytest.raises(ccxt.NotSupported):
        exchange.check_required_credentials()
    assert exchange.check_required_credentials(False) is False


def test_unknown_names_are_told():
    with pytest.raises(UserError, match="did you mean binance"):
        exchange_class("binanec", stream=False)
    with pytest.raises(UserError, match=r"ws\.spto"):
        ExchangeClient(Access(urls={"ws.spto": "ws://127.0.0.1:1"}))


def ask(exchange, **given):
    async def go():
        client = ExchangeClient(Access("binance", "spot", exchange.urls, {}, 0.4))
        try:
            await client.load()
            return await client.ask(lambda: client.rest.fetch_ohlcv("BTC/USDT", "1m", None, 5), **given)
        finally:
            await client.close()

    return asyncio.run(go())


def with_fault(kind, length):
    """A fake exchange whose next `length` answers are spoiled."""
    exchange = FakeExchange([FakeMarket()], paused=True)
    exchange.spoil(Fault(0, kind, length))
    return exchange


def test_a_refused_region_names_an_alternative():
    with with_fault("rest_451", 9) as exchange, pytest.raises(SurroundingsError, match="kraken"):
        ask(exchange)


def test_deep_and_huge_answers_do_no_harm():
    for kind in ("rest_huge", "rest_deep"):
        with with_fault(kind, 1) as exchange:
            answer = ask(exchange)
            assert all(problem(row[0], row[1:6], MINUTE) for row in answer if len(row) < 6) or len(answer) == 5
