"""The replay feed: alignment, holes, spans, warm-up, aggregation, refusals."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trader.core.rows import Phase
from trader.core.types import UserError
from trader.feeds.instruments import TradingTerms
from trader.feeds.replay import ReplayFeed

HOUR = 3_600_000
START = 1_704_067_200_000


def write(folder, symbol, times, candles, name="1h"):
    path = folder / "venue" / symbol / f"{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(candles, columns=["open", "high", "low", "close", "volume"])
    table.insert(0, "ts", np.asarray(times, np.int64))
    table.to_parquet(path, index=False)
    return path


def feed_of(*paths, **changes):
    settings_ = {"exchange_id": "binance", "market_type": "spot", "symbols": None, "base_ms": HOUR, "quote": "USDT"}
    return ReplayFeed(paths, **(settings_ | changes))


def joined(feed, size=10**6, after_ms=None):
    """All frames of a feed as (time, market) -> candle, and the times, phases and incidents."""
    candles, times, phases, incidents = {}, [], [], []
    for block in feed.blocks(size, after_ms):
        assert 1 <= len(block) <= size
        assert block.present.any(axis=1).all()
        assert not block.candles.flags.writeable
        np.testing.assert_array_equal(np.isnan(block.candles).any(axis=2), ~block.present)
        for t, m in np.argwhere(block.present):
            candles[int(block.times[t]), feed.symbols[m]] = tuple(block.candles[t, m])
        times += block.times.tolist()
        phases += block.phase.tolist()
        incidents += block.incidents
    assert times == sorted(set(times))
    return candles, times, phases, incidents


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 70), st.integers(0, 60))
def test_symbols_are_aligned_and_nothing_is_lost(tmp_path_factory, candle_maker, seed, size, skip):
    folder = tmp_path_factory.mktemp("store")
    rng = np.random.default_rng(seed)
    wanted, holes = {}, set()
    for symbol in ("AAA-USDT", "BBB-USDT", "CCC-USDT"):
        places = np.flatnonzero(rng.random(60) < rng.choice([0.5, 0.95])) if symbol != "BBB-USDT" else np.arange(5, 40)
        times = START + places * HOUR
        candles = candle_maker(rng, len(times))
        write(folder, symbol, times, candles)
        wanted |= {(int(t), symbol.replace("-", "/")): tuple(row) for t, row in zip(times, candles, strict=True)}
        step = np.diff(places)
        holes |= {(int(times[i]) + HOUR, symbol.replace("-", "/")) for i in np.flatnonzero(step > 1)}
    feed = feed_of(folder)
    assert feed.symbols == ("AAA/USDT", "BBB/USDT", "CCC/USDT")
    candles, times, phases, incidents = joined(feed, size)
    assert candles == wanted
    assert set(phases) == {Phase.REPLAY}
    assert {(i.time_ms, i.symbol) for i in incidents} == holes
    assert len(incidents) == len(holes)
    assert {i.kind for i in incidents} <= {"gap"}
    after = START + skip * HOUR
    later, later_times, _, later_incidents = joined(feed, size, after)
    assert later == {key: row for key, row in wanted.items() if key[0] > after}
    assert later_times == [time for time in times if time > after]
    assert set(later_incidents) <= set(incidents)


def test_a_hole_is_told_with_the_candle_after_it(tmp_path, candle_maker):
    times = START + np.array([0, 1, 2, 7, 8]) * HOUR
    write(tmp_path, "AAA-USDT", times, candle_maker(np.random.default_rng(1), 5))
    blocks = list(feed_of(tmp_path).blocks(1))
    assert [len(block.incidents) for block in blocks] == [0, 0, 0, 1, 0]
    (incident,) = blocks[3].incidents
    assert (incident.time_ms, incident.symbol) == (START + 3 * HOUR, "AAA/USDT")
    assert incident.detail.startswith("4 candles of 1h missing")


def test_start_end_and_warm_up(tmp_path, candle_maker):
    write(tmp_path, "AAA-USDT", START + np.arange(100) * HOUR, candle_maker(np.random.default_rng(1), 100))
    write(tmp_path, "BBB-USDT", START + np.arange(40, 60) * HOUR, candle_maker(np.random.default_rng(2), 20))
    _, times, phases, _ = joined(feed_of(tmp_path, start_ms=START + 50 * HOUR, end_ms=START + 55 * HOUR, warmup=10))
    assert times == (START + np.arange(40, 55) * HOUR).tolist()
    assert phases == [Phase.WARMUP] * 10 + [Phase.REPLAY] * 5
    _, times, phases, _ = joined(feed_of(tmp_path, start_ms=START + 3 * HOUR, warmup=10))
    assert phases == [Phase.WARMUP] * 3 + [Phase.REPLAY] * 97
    _, times, phases, _ = joined(feed_of(tmp_path, start_ms=START + 3 * HOUR + 1))
    assert times[0] == START + 4 * HOUR
    assert feed_of(tmp_path, end_ms=START + 20 * HOUR).describe()["left_out"] == ["BBB/USDT"]
    with pytest.raises(UserError, match="BBB/USDT has no candles between"):
        feed_of(tmp_path, end_ms=START + 20 * HOUR, symbols=("AAA/USDT", "BBB/USDT"))
    with pytest.raises(UserError, match="no candles between"):
        feed_of(tmp_path, start_ms=START + 200 * HOUR)
    with pytest.raises(UserError, match=r"no candles at or after feed.start"):
        feed_of(tmp_path, start_ms=START + 100 * HOUR, warmup=10)
    with pytest.raises(UserError, match=r"must be before feed.end"):
        feed_of(tmp_path, start_ms=START, end_ms=START)


def test_finer_candles_are_aggregated_and_their_holes_are_told(tmp_path, candle_maker):
    candles = candle_maker(np.random.default_rng(1), 12)
    places = np.array([0, 1, 2, 3, 5, 6, 7, 16, 17, 18, 19, 20])
    write(tmp_path, "AAA-USDT", START + places * HOUR // 4, candles, "15m")
    feed = feed_of(tmp_path)
    got, times, _, incidents = joined(feed)
    assert times == [START, START + HOUR, START + 4 * HOUR]
    assert got[START, "AAA/USDT"] == (
        candles[0, 0], candles[:4, 1].max(), candles[:4, 2].min(), candles[3, 3],
        pytest.approx(candles[:4, 4].sum(), rel=1e-15),
    )  # fmt: skip
    assert [incident.time_ms for incident in incidents] == [START + HOUR, START + 2 * HOUR]
    assert feed.describe()["symbols"]["AAA/USDT"]["source_step"] == "15m"


def test_pieces_are_joined_in_order(tmp_path, candle_maker):
    candles = candle_maker(np.random.default_rng(1), 20)
    write(tmp_path, "AAA-USDT", START + np.arange(10) * HOUR, candles[:10], "1h-2023")
    path = write(tmp_path, "AAA-USDT", START + np.arange(10, 20) * HOUR, candles[10:], "1h-2024")
    assert len(joined(feed_of(tmp_path))[1]) == 20
    write(tmp_path, "AAA-USDT", START + np.arange(9, 19) * HOUR, candles[10:], "1h-2024")
    with pytest.raises(UserError, match="row 1: ts must be after the last row of the piece before it") as error:
        feed_of(tmp_path)
    assert str(path) in str(error.value)


def test_another_quote_currency_is_refused(tmp_path, candle_maker):
    write(tmp_path, "AAA-EUR", START + np.arange(5) * HOUR, candle_maker(np.random.default_rng(1), 5))
    with pytest.raises(UserError, match="AAA/EUR is not quoted in USDT, the currency of the pool"):
        feed_of(tmp_path)
    assert feed_of(tmp_path, quote="EUR").symbols == ("AAA/EUR",)
    assert feed_of(tmp_path, quote=None).symbols == ("AAA/EUR",)


def test_what_a_feed_says_of_itself(tmp_path, candle_maker):
    write(tmp_path, "AAA-USDT", START + np.array([0, 1, 5]) * HOUR, candle_maker(np.random.default_rng(1), 3))
    feed = feed_of(tmp_path, terms=TradingTerms("spot", maker=0.0, taker=0.002))
    described = json.loads(json.dumps(feed.describe()))
    assert (described["kind"], described["step"], described["frames"]) == ("replay", "1h", 3)
    row = described["symbols"]["AAA/USDT"]
    assert (row["rows"], row["holes"], row["missing"]) == (3, 1, 3)
    assert len(feed) == 3
    assert [(i.symbol, i.perpetual, i.maker_fee, i.taker_fee) for i in feed.instruments] == [
        ("AAA/USDT", False, 0, 200_000)
    ]
    with pytest.raises(ValueError, match="block size"):
        next(feed.blocks(0))
    feed.close()


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("source", "market", "base", "frames", "candles", "holes"),
    [
        ("roshan7869-algotrading", "spot", HOUR, 52_462, 256_870, 131),
        ("roshan7869-algotrading", "swap", HOUR, 37_807, 73_704, 0),
        ("alpergulsen-freqtrade", "swap", 60_000, 64_068, 171_332, 0),
        ("bernini10-oraculo", "spot", HOUR // 2, 57_459, 57_459, 10),
        ("hackingthemarkets", "spot", HOUR // 4, 18_470, 18_470, 5),
    ],
)
def test_real_sources(real_data, source, market, base, frames, candles, holes):
    feed = feed_of(real_data / "candles" / source, market_type=market, base_ms=base)
    blocks = list(feed.blocks(1024))
    assert sum(map(len, blocks)) == len(feed) == frames
    assert sum(int(block.present.sum()) for block in blocks) == candles
    assert sum(len(block.incidents) for block in blocks) == holes


@pytest.mark.realdata
def test_the_wick_of_march_2020_is_no_error(real_data):
    """BTC lost half its value in two days; every candle of it arrives."""
    feed = feed_of(
        real_data / "candles/roshan7869-algotrading", symbols=("BTC/USDT",), start_ms=1_583_971_200_000,
        end_ms=1_584_144_000_000,
    )  # fmt: skip
    (block,) = feed.blocks(100)
    assert len(block) == 48
    assert block.candles[:, 0, 2].min() / block.candles[0, 0, 0] < 0.52
