"""Funding stamps find their candle: jitter, holes, long candles, mark prices."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trader.feeds.files import Candles, Stamps, read_stamps
from trader.feeds.funding import TOLERANCE_MS, join, nearest
from trader.feeds.replay import ReplayFeed

HOUR = 3_600_000
START = 1_704_067_200_000


def stamps(*pairs):
    return Stamps(np.array([time for time, _ in pairs], np.int64), np.array([rate for _, rate in pairs]))


def marks(times, prices):
    values = np.repeat(np.asarray(prices, float)[:, None], 5, axis=1)
    return Candles(np.asarray(times, np.int64), values)


@pytest.mark.parametrize("jitter", [0, 1, 2, -1, -2, 17, TOLERANCE_MS, -TOLERANCE_MS])
def test_jitter_belongs_to_the_nearest_open(jitter):
    times = START + np.arange(24) * HOUR
    rates, prices = join(times, stamps((START + 8 * HOUR + jitter, 0.0001)), [])
    assert np.flatnonzero(~np.isnan(rates)).tolist() == [8]
    assert rates[8] == 0.0001
    assert np.isnan(prices).all()


def test_beyond_the_tolerance_the_next_candle_pays():
    times = START + np.arange(4) * HOUR
    rates, _ = join(times, stamps((START + HOUR + TOLERANCE_MS + 1, 0.5)), [])
    assert rates[2] == 0.5


def test_stamps_in_a_hole_add_up_on_the_first_candle_after_it():
    times = START + np.array([0, 1, 20, 21]) * HOUR
    rates, prices = join(
        times, stamps((START + 8 * HOUR, 0.25), (START + 16 * HOUR + 1, 0.125)), [marks([START + 16 * HOUR], [7.0])]
    )
    np.testing.assert_array_equal(rates, [np.nan, np.nan, 0.375, np.nan])
    assert prices[2] == 7.0


def test_stamps_before_the_first_and_after_the_last_candle_are_left_out():
    times = START + np.arange(3) * HOUR
    rates, _ = join(times, stamps((START - 8 * HOUR, 0.1), (START - 1, 0.2), (START + 8 * HOUR, 0.3)), [])
    np.testing.assert_array_equal(rates, [0.2, np.nan, np.nan])


def test_the_finest_mark_candle_wins_and_the_coarser_one_fills():
    times = START + np.arange(24) * HOUR
    fine = marks([START + 8 * HOUR], [1.0])
    coarse = marks([START + 8 * HOUR, START + 16 * HOUR], [2.0, 3.0])
    _, prices = join(times, stamps((START + 8 * HOUR + 2, 0.1), (START + 16 * HOUR - 2, 0.1)), [fine, coarse])
    assert (prices[8], prices[16]) == (1.0, 3.0)


@given(st.lists(st.integers(0, 10**6), min_size=1, unique=True), st.integers(-10_000, 10**6 + 10_000))
def test_nearest_is_the_nearest(opens, stamp):
    times = np.sort(np.array(opens, np.int64))
    (place,) = nearest(times, np.array([stamp]))
    distance = np.abs(times - stamp)
    if place < 0:
        assert distance.min() > TOLERANCE_MS
    else:
        assert distance[place] == distance.min() <= TOLERANCE_MS


def test_nothing_is_near_nothing():
    assert nearest(np.zeros(0, np.int64), np.array([1, 2])).tolist() == [-1, -1]


@pytest.mark.realdata
def test_real_stamps_all_arrive(real_data):
    """Every stamp of both perpetuals is told once, with the mark candle's open where there is one; spot pays none."""
    path = real_data / "candles/roshan7869-algotrading"
    settings = {"exchange_id": "binance", "symbols": None, "base_ms": HOUR, "quote": "USDT"}
    feed = ReplayFeed([path], market_type="swap", **settings)
    (block,) = feed.blocks(10**6)
    for m, symbol in enumerate(("BTC-USDT", "ETH-USDT")):
        file = read_stamps(path / "binanceusdm" / symbol / "funding.parquet")
        told = np.isfinite(block.stamp_rate[:, m])
        np.testing.assert_array_equal(block.stamp_rate[told, m], file.rates)
        assert np.abs(block.times[told] - file.times).max() < 1000
        marked = np.isfinite(block.stamp_mark[:, m])
        assert marked.sum() == 4408
        assert np.abs(block.stamp_mark[marked, m] / block.candles[marked, m, 0] - 1.0).max() < 0.05
    (spot,) = ReplayFeed([path], market_type="spot", **settings).blocks(10**6)
    assert np.isnan(spot.stamp_rate).all()


@pytest.mark.realdata
def test_real_jitter(real_data):
    """XRP stamps lie up to 20 ms beside the hour; 5m and 1h candles find the same ones."""
    path = real_data / "candles/freqtrade-testdata"
    found = {}
    for base in (HOUR, HOUR // 12):
        feed = ReplayFeed(
            [path], exchange_id="binance", market_type="swap", symbols=("XRP/USDT",), base_ms=base, quote="USDT"
        )
        (block,) = feed.blocks(10**6)
        told = np.isfinite(block.stamp_rate[:, 0])
        found[base] = dict(zip(block.times[told].tolist(), block.stamp_rate[told, 0].tolist(), strict=True))
        assert all(time % (8 * HOUR) == 0 for time in found[base])
    both = found[HOUR].keys() & found[HOUR // 12].keys()
    assert len(both) == len(found[HOUR]) == 10
    assert all(found[HOUR][time] == found[HOUR // 12][time] for time in both)
