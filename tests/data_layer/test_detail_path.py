"""The way through a candle from finer candles: worked examples, any walk against a plain reading, files, and sessions."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trader.core.config import load
from trader.core.errors import UserError
from trader.core.rows import TABLES
from trader.feeds.detail import EXTREME, PRICE, TIED, ways
from trader.feeds.files import Candles
from trader.feeds.replay import ReplayFeed
from trader.session.api import run_session, verify_run
from trader.session.engine import Engine
from trader.session.feeds import make_feed, opening_lines
from trader.store.store import open_store

HOUR, MINUTE = 3_600_000, 60_000
START = 1_704_067_200_000


def way(base, *finer, step=10 * MINUTE):
    """Visits of one hour as (price, extreme, tied)."""
    times = START + np.arange(len(finer)) * step
    values = np.array([(*candle, 1.0) for candle in finer]).reshape(-1, 5)
    counts, found = ways(np.array([START]), np.array([(*base, 1.0)]), HOUR, Candles(times, values))
    assert counts.tolist() == [len(found)]
    return [(row[PRICE], int(row[EXTREME]), int(row[TIED])) for row in found]


def test_the_order_is_the_finer_candles_own():
    """The hour rises, so colour says low first; its ten minutes go up to 105 before they fall to 95."""
    base = (100.0, 105.0, 95.0, 101.0)
    assert way(base, (100.0, 105.0, 100.0, 104.0), (104.0, 104.0, 95.0, 101.0)) == [(105.0, 1, 0), (95.0, -1, 0)]


def test_only_what_goes_beyond_all_before_is_a_visit():
    base = (100.0, 106.0, 94.0, 100.5)
    finer = [
        (100.0, 102.0, 99.0, 101.0),  # rising: 99, then 102
        (101.0, 101.5, 99.5, 100.0),  # inside
        (100.0, 103.0, 100.0, 103.0),  # 103 in place of 102
        (103.0, 106.0, 94.0, 94.5),  # falling: 106 in place of 103, then 94
    ]
    assert way(base, *finer) == [(99.0, -1, 0), (106.0, 1, 0), (94.0, -1, 0)]


def test_a_gap_between_finer_candles_is_visited_at_its_open():
    """The second opens at 104 beyond all before, and rises: 104 comes before its low 95."""
    base = (100.0, 105.0, 95.0, 105.0)
    assert way(base, (100.0, 100.0, 100.0, 100.0), (104.0, 105.0, 95.0, 105.0)) == [
        (104.0, 1, 0), (95.0, -1, 0), (105.0, 1, 0),
    ]  # fmt: skip


def test_a_finer_candle_that_does_not_move_leaves_both_orders_open():
    assert way((100.0, 105.0, 95.0, 101.0), (100.0, 105.0, 95.0, 100.0)) == [(105.0, 1, 1), (95.0, -1, 0)]


def test_prices_outside_the_base_candle_are_moved_into_it_and_missing_extremes_come_last():
    base = (100.0, 105.0, 95.0, 99.0)
    assert way(base, (100.0, 108.0, 100.0, 104.0)) == [(105.0, 1, 0), (95.0, -1, 0)]
    assert way(base, (100.0, 101.0, 99.0, 99.5)) == [(101.0, 1, 0), (99.0, -1, 0), (105.0, 1, 0), (95.0, -1, 0)]


def test_without_finer_candles_or_with_one_extreme_there_are_no_visits():
    assert way((100.0, 105.0, 95.0, 101.0)) == []
    assert way((100.0, 105.0, 100.0, 101.0), (100.0, 105.0, 100.0, 101.0)) == []


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_any_two_levels_are_met_as_a_plain_reading_says(seed):
    rng = np.random.default_rng(seed)
    ends = 100 + np.cumsum(rng.choice([-2, -1, 0, 1, 2], size=7)).astype(float)
    finer = [(a, max(a, b) + rng.integers(3), min(a, b) - rng.integers(3), b) for a, b in pairwise(ends)]
    base = (ends[0], max(c[1] for c in finer), min(c[2] for c in finer), ends[-1])
    found = way(base, *finer)
    for take in np.arange(base[0] + 1, base[1] + 1):
        for adverse in np.arange(base[2], base[0]):
            plain = _first(finer, take, adverse)
            assert _visited(found, take, adverse) == plain, (take, adverse)


def _first(finer, take, adverse):
    """+1 if the take is met first, -1 if the adverse level of a long is."""
    for opened, high, low, close in finer:
        for price in (opened, high, low) if close < opened else (opened, low, high):
            if price <= adverse:
                return -1
            if price >= take:
                return 1
    return 0


def _visited(found, take, adverse):
    prices = []
    for i, (price, _, tied) in enumerate(found):
        prices += [found[i + 1][0], price] if tied else [price]
    for price in prices:
        if price <= adverse:
            return -1
        if price >= take:
            return 1
    return 0


# --- files and sessions -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A perpetual with hours and quarters of an hour, and one with hours alone; some quarters are missing."""
    folder = tmp_path_factory.mktemp("detail")
    rng = np.random.default_rng(5)
    for symbol, fine in (("AAA-USDT", True), ("BBB-USDT", False)):
        count = 2_000 * 4
        close = np.round(100 * np.exp(np.cumsum(rng.standard_t(3, count) * 0.004)), 2)
        opened = np.concatenate(([100.0], close[:-1]))
        high = np.round(np.maximum(opened, close) * (1 + np.abs(rng.normal(0, 0.002, count))), 2)
        low = np.round(np.minimum(opened, close) * (1 - np.abs(rng.normal(0, 0.002, count))), 2)
        wild = np.arange(0, count - 4, 60)  # in every 15th hour the price is far up and far down, in either order
        up = wild + rng.integers(2, size=len(wild))
        high[up] *= 1.12
        low[2 * wild + 1 - up] *= 0.88
        table = pd.DataFrame({
            "ts": START + np.arange(count) * 15 * MINUTE, "open": opened, "high": high, "low": low, "close": close,
            "volume": rng.uniform(10, 1000, count),
        })  # fmt: skip
        hours = table.groupby(table.ts // HOUR * HOUR).agg(
            open=("open", "first"), high=("high", "max"), low=("low", "min"), close=("close", "last"), volume=("volume", "sum")
        )  # fmt: skip
        place = folder / "binanceusdm" / symbol
        place.mkdir(parents=True)
        hours.reset_index().to_parquet(place / "1h.parquet", index=False)
        if fine:
            table[rng.random(count) > 0.01].to_parquet(place / "15m.parquet", index=False)
    return folder


def config_of(store, path, *sets):
    return load(
        None,
        [
            'feed.kind="replay"', f'feed.data=["{store}"]', 'feed.timeframes=["1h"]', 'exchange.market_type="swap"',
            "population.size=150", "levels.evolution.every=200", "engine.threads=1", "levels.hope.enabled=false",
            "levels.memory.enabled=false", f'exchange.path="{path}"', *sets,
        ],
    )  # fmt: skip


def test_the_finest_file_that_divides_the_base_is_read(store):
    feed = ReplayFeed(
        (store,), exchange_id="binance", market_type="swap", symbols=None, base_ms=HOUR, quote="USDT", detail=True,
        start_ms=START + 100 * HOUR, warmup=50,
    )  # fmt: skip
    assert feed.describe()["detail"] == {"AAA/USDT": "15m", "BBB/USDT": None}
    whole = next(iter(feed.blocks(10**6)))
    assert set(whole.visits.place[:, 1]) == {0}
    assert whole.visits.place[:, 0].min() >= START + 100 * HOUR, "the warm-up has no positions and no visits"
    assert [(i.kind, i.symbol) for i in whole.incidents] == [("detail", "BBB/USDT")]
    parts = list(feed.blocks(7))
    assert np.array_equal(np.concatenate([part.visits.place for part in parts]), whole.visits.place)
    assert np.array_equal(np.concatenate([part.visits.price for part in parts]), whole.visits.price)
    again = [whole[first : first + 11] for first in range(0, len(whole), 11)]
    assert np.array_equal(np.concatenate([part.visits.place for part in again]), whole.visits.place)


def test_what_is_missing_is_told_in_one_line(store):
    config = config_of(store, "detail")
    feed = make_feed(config)
    lines = [line for line in opening_lines(config, feed) if line.startswith("exchange.path")]
    assert lines == [
        "exchange.path: AAA/USDT: the way through a candle is taken from its 15m",
        "exchange.path: no candles finer than 1h, so colour instead of detail: BBB/USDT",
    ]
    for kind in ("synthetic", "live"):
        with pytest.raises(UserError, match=f"exchange.path: detail needs files of finer candles, so a replay; {kind}"):
            load(None, [f'feed.kind="{kind}"', 'feed.symbols=["AAA/USDT"]', 'exchange.path="detail"'])


def test_a_session_in_detail_is_verified_from_its_journal_alone(store, tmp_path):
    """Other trades than by colour on the market with finer candles; verified after the files are gone."""
    results, ends = {}, set()
    for path in ("colour", "detail"):
        url = f"sqlite:///{tmp_path}/{path}.db"
        results[path] = run_session(config_of(store, path), url=url).values
        ends.add(results[path]["equity_end"])
        assert verify_run("latest", url=url).identical
    assert len(ends) == 2
    with open_store(f"sqlite:///{tmp_path}/detail.db", create=False) as opened:
        journal = list(opened.journal(1))
        (told,) = ({tuple(row[2:3]) for part in opened.table(1, "visit") for row in part.tolist()},)
    assert told == {(0,)}
    feed = make_feed(config_of(store, "detail"))
    fed = list(feed.blocks(512))
    assert [np.array_equal(a.visits.price, b.visits.price) for a, b in zip(journal, fed, strict=True)] == [True] * len(
        fed
    )
    assert [np.array_equal(a.visits.place, b.visits.place) for a, b in zip(journal, fed, strict=True)] == [True] * len(
        fed
    )


def test_a_finer_candle_changes_nothing_before_it(store):
    """Rows dated before a base candle do not depend on the finer candles in it."""
    cut = START + 1_200 * HOUR
    rows = []
    for changed in (False, True):
        feed = make_feed(config_of(store, "detail"))
        if changed:
            place, price = feed._visits.place, feed._visits.price.copy()
            late = place[:, 0] >= cut
            place = place.copy()
            place[late, 3] *= -1
            price[late] = np.flip(price[late])
            feed._visits = replace(feed._visits, place=place, price=price)
        rows.append(_fills_before(feed, config_of(store, "detail"), cut))
    assert rows[0] == rows[1]
    assert len(rows[0]) > 50


class _Sink:
    """Keeps the fills before a time."""

    def __init__(self, until_ms):
        self.until_ms = until_ms
        self.kept = []

    def write(self, table, values):
        if table in ("exit", "entry", "partial"):
            at = TABLES[table].position("time_ms")
            self.kept += [(table, *row) for row in values.tolist() if row[at] < self.until_ms]

    def write_text(self, table, values):
        pass


def _fills_before(feed, config, until_ms):
    sink = _Sink(until_ms)
    engine = Engine(config, feed.instruments, sink)
    for block in feed.blocks(512):
        engine.advance(block)
    engine.close()
    return sink.kept
