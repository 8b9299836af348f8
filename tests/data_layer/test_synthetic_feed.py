"""The synthetic market: deterministic, the same for any block size, valid candles, and the statistics it promises."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trader.core.rows import Phase
from trader.core.types import UserError
from trader.feeds.base import Feed
from trader.feeds.instruments import TradingTerms
from trader.feeds.synthetic import DEFAULT_START_MS, DEFAULT_SYMBOLS, SyntheticFeed
from trader.feeds.synthetic_draws import logarithm, normal, precision, uniform
from trader.feeds.synthetic_modes import SyntheticTerms

HOUR = 3_600_000


def feed_of(seed=1, frames=2000, base_ms=HOUR, **changes):
    end = DEFAULT_START_MS + frames * base_ms
    return SyntheticFeed(**({"symbols": None, "base_ms": base_ms, "seed": seed, "end_ms": end} | changes))


def joined(feed, size, after_ms=None):
    blocks = list(feed.blocks(size, after_ms))
    fields = [
        field.name for field in dataclasses.fields(blocks[0]) if field.name not in {"incidents", "visits", "signals"}
    ]
    return {name: np.concatenate([getattr(block, name) for block in blocks]) for name in fields}


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**63 - 1), st.integers(1, 400), st.integers(-5, 600), st.integers(0, 50),
    st.sampled_from([
        SyntheticTerms(), SyntheticTerms("planted", (("bull", 37), ("crash", 5), ("range", 20))), SyntheticTerms("null"),
        SyntheticTerms("planted", edge=0.5, correlation=0.0),
    ]),
)  # fmt: skip
def test_any_block_size_and_any_start_give_the_same_frames(seed, size, after, warmup, market):
    feed = feed_of(seed, 600, warmup=warmup, market=market)
    whole = joined(feed, 10_000)
    for name, values in joined(feed, size).items():
        assert values.tobytes() == whole[name].tobytes(), name
    after_ms = DEFAULT_START_MS + after * HOUR
    if after < 599:
        later = whole["times"] > after_ms
        for name, values in joined(feed, size, after_ms).items():
            assert values.tobytes() == whole[name][later].tobytes(), name
    else:
        assert list(feed.blocks(size, after_ms)) == []


def test_seeds_differ_and_repeat():
    a, b, c = (joined(feed_of(seed), 500)["candles"] for seed in (1, 1, 2))
    assert a.tobytes() == b.tobytes()
    assert (a[100:, :, 3] != c[100:, :, 3]).all()


@pytest.mark.parametrize("base_ms", [60_000, HOUR, 4 * HOUR, 24 * HOUR, 7 * 24 * HOUR])
def test_candles_are_valid_on_their_tick_and_lot(base_ms):
    feed = feed_of(5, 5000, base_ms, symbols=(*DEFAULT_SYMBOLS, "DOGE/USDT"))
    candles = joined(feed, 700)["candles"]
    o, h, low, c, v = np.moveaxis(candles, 2, 0)
    assert np.isfinite(candles).all()
    assert (h >= np.maximum(o, c)).all()
    assert (low <= np.minimum(o, c)).all()
    assert (low > 0.0).all()
    assert (v > 0.0).all()
    # an open is the close before it, but for a jump once in many hours
    assert np.mean(o[1:] != c[:-1]) < 0.01 * max(base_ms / HOUR, 1.0)
    for m, instrument in enumerate(feed.instruments):
        assert instrument.minimum_quantity == instrument.lot > 1
        for values, step in ((o, instrument.tick), (h, instrument.tick), (low, instrument.tick), (c, instrument.tick),
                             (v, instrument.lot)):  # fmt: skip
            per_unit = 10**8 // step
            np.testing.assert_array_equal(np.rint(values[:, m] * per_unit) / per_unit, values[:, m])
        assert (instrument.perpetual, instrument.source, len(instrument.tiers)) == (True, "synthetic", 1)


def test_funding_every_eight_hours():
    frames = joined(feed_of(3, 5000), 1000)
    told = np.isfinite(frames["stamp_rate"])
    np.testing.assert_array_equal(told.all(axis=1), frames["times"] % (8 * HOUR) == 0)
    assert np.abs(frames["stamp_rate"][told]).max() <= 0.003
    assert 0.0 < np.median(frames["stamp_rate"][told]) < 0.0003
    np.testing.assert_array_equal(frames["stamp_mark"][told], frames["candles"][:, :, 0][told])
    spot = feed_of(3, 100, terms=TradingTerms("spot"))
    assert np.isnan(joined(spot, 100)["stamp_rate"]).all()
    assert not spot.instruments[0].perpetual


def test_warm_up_comes_before_the_start():
    frames = joined(feed_of(3, 10, warmup=5), 4)
    np.testing.assert_array_equal(frames["times"], DEFAULT_START_MS + np.arange(-5, 10) * HOUR)
    assert frames["phase"].tolist() == [Phase.WARMUP] * 5 + [Phase.REPLAY] * 10


def test_an_endless_feed_goes_on():
    blocks = SyntheticFeed(symbols=("SOL/USDT",), base_ms=HOUR, seed=0).blocks(1000)
    assert [len(next(blocks)) for _ in range(5)] == [1000] * 5


def test_the_contract_of_feeds_is_kept():
    members = {name for name in vars(Feed) if not name.startswith("_")}
    assert members == {"symbols", "instruments", "base_ms", "kind", "blocks", "describe", "close"}
    assert members <= set(dir(feed_of()))


def test_misuse_is_refused():
    with pytest.raises(UserError, match="BTC/EUR is not quoted in USDT"):
        feed_of(symbols=("BTC/EUR",))
    with pytest.raises(UserError, match="must be spelled"):
        feed_of(symbols=("BTC",))
    with pytest.raises(UserError, match=r"before feed.end"):
        feed_of(frames=0)
    with pytest.raises(ValueError, match="block size"):
        next(feed_of().blocks(0))


def test_what_it_says_of_itself():
    feed = feed_of(start_ms=DEFAULT_START_MS + 1, end_ms=None)
    assert feed.start_ms == DEFAULT_START_MS + HOUR
    assert feed.describe()["kind"] == "synthetic"
    assert list(feed.describe()["symbols"]) == list(DEFAULT_SYMBOLS)
    feed.close()


def test_the_draws_have_their_distributions():
    values = np.array([uniform(1, i, 0, 0, 0) for i in range(20_000)])
    assert abs(values.mean() - 0.5) < 0.01
    assert abs(values.var() - 1 / 12) < 0.003
    normals = np.array([normal(1, i, 0, 1) for i in range(40_000)])
    assert abs(normals.mean()) < 0.02
    assert abs(normals.var() - 1.0) < 0.03
    assert np.quantile(normals, 0.99) == pytest.approx(2.326, abs=0.06)
    draws = normals / np.sqrt([precision(1, i, 0, 2) for i in range(40_000)])
    assert abs(draws.var() - 1.0) < 0.15
    # quartile of Student-t with 4 degrees of freedom (0.7407), brought to variance 1
    assert np.quantile(draws, 0.75) == pytest.approx(0.7407 / np.sqrt(2.0), abs=0.02)
    assert np.quantile(draws, 0.99) == pytest.approx(3.7469 / np.sqrt(2.0), abs=0.15)


def test_the_logarithm_is_one():
    values = np.concatenate([np.logspace(-300, 300, 2001), np.random.default_rng(0).random(2000), [1.0, 2.0**-53]])
    np.testing.assert_allclose([logarithm(value) for value in values], np.log(values), rtol=4e-16, atol=4e-16)
