"""The feature engine as a stream: cuts, holes, closings, the future, the past, and its state."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trader.core.aggregation import aggregate
from trader.core.features import FEATURES, WARMUP, FeatureEngine, warmup_frames
from trader.core.timeframes import offset
from trader.feeds.replay import ReplayFeed

MINUTES_15, HOUR, DAY = 900_000, 3_600_000, 86_400_000
LENGTHS = (MINUTES_15, HOUR, 4 * HOUR)


def run(block, lengths=LENGTHS, base_ms=MINUTES_15, cuts=()):
    """Outputs of the engine for a block cut at these frames, put together again."""
    engine = FeatureEngine(block.present.shape[1], base_ms, lengths)
    edges = [0, *sorted(cuts), len(block)]
    parts = [engine.update(block[a:b]) for a, b in itertools.pairwise(edges)]
    return {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])
        for field in dataclasses.fields(parts[0])
    }


def assert_same_bits(a, b):
    for name, values in a.items():
        assert values.tobytes() == b[name].tobytes(), name


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.data())
def test_any_cutting_gives_the_same_bits(gapped, seed, data):
    block = gapped(seed)
    cuts = data.draw(st.lists(st.integers(0, len(block)), max_size=8))
    whole = run(block)
    assert whole["valid"].any()
    assert not whole["valid"][-1400:].all()
    assert_same_bits(whole, run(block, cuts=cuts))


def test_a_block_is_the_loop_of_its_frames(gapped):
    block = gapped(11)
    assert_same_bits(run(block), run(block, cuts=range(1, len(block))))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 2400), st.sampled_from(["scaled", "shuffled", "removed", "stamps"]))
def test_the_future_changes_nothing_before_it(gapped, seed, frame, change):
    block = gapped(seed)
    candles, present, rates = block.candles.copy(), block.present.copy(), block.stamp_rate.copy()
    if change == "scaled":
        candles[frame:] *= 1.5
    elif change == "shuffled":
        candles[frame:] = np.random.default_rng(seed).permutation(candles[frame:])
        present[frame:] = ~np.isnan(candles[frame:, :, 0])
    elif change == "removed":
        present[frame:] = False
        candles[frame:] = np.nan
    else:
        rates[frame:] = 0.01
    other = dataclasses.replace(block, candles=candles, present=present, stamp_rate=rates)
    a, b = run(block), run(other)
    assert_same_bits({k: v[:frame] for k, v in a.items()}, {k: v[:frame] for k, v in b.items()})
    if (a["closed"] & a["valid"])[frame:].any():  # and after it the change is felt: the comparison can fail
        name = "atr" if change == "scaled" else "features"  # features do not know the price level
        assert a[name][frame:].tobytes() != b[name][frame:].tobytes()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 2000))
def test_older_history_changes_no_bit_after_the_warm_up(gapped, seed, older):
    """Twice the warm-up, or any longer history, with other candles in it: equal to the last bit, so within 1e-9."""
    lengths = (MINUTES_15, HOUR)
    need = warmup_frames(MINUTES_15, lengths)
    late = gapped(seed, frames=need + 200, holes=0)
    early = gapped(seed + 1, frames=older, holes=3, first=-older)
    joined = type(late)(*(np.concatenate([getattr(early, n), getattr(late, n)]) for n in list(late.__slots__)[:7]))
    a, b = run(late, lengths), run(joined, lengths)
    assert a["valid"][need:].all()
    cut = len(early) + need
    assert_same_bits({k: v[need:] for k, v in a.items()}, {k: v[cut:] for k, v in b.items()})


@pytest.mark.realdata
def test_doubling_the_warm_up_changes_no_feature_on_real_candles(real_data):
    lengths = (HOUR, 4 * HOUR, DAY)
    need = warmup_frames(HOUR, lengths)
    feed = ReplayFeed(
        [real_data / "candles/roshan7869-algotrading"], exchange_id="binance", market_type="swap", symbols=None,
        base_ms=HOUR, quote="USDT",
    )  # fmt: skip
    (block,) = feed.blocks(10**6)
    start = len(block) - need - 4000
    a, b = run(block[start:], lengths, HOUR), run(block[start - need :], lengths, HOUR)
    assert a["valid"][need:].all()
    assert len(a["features"][need:]) == 4000
    assert_same_bits({k: v[need:] for k, v in a.items()}, {k: v[2 * need :] for k, v in b.items()})


class Bucket:
    """What the rules say of one market and timeframe, in plain Python: an independent model of closing and validity."""

    def __init__(self, length, base):
        self.length, self.base, self.shift = length, base, offset(length)
        self.open, self.whole, self.last, self.count = None, True, None, 0

    def close(self):
        counted = self.whole
        self.count += counted
        self.last, self.open, self.whole = self.open, None, True
        return counted

    def see(self, time):
        start = (time - self.shift) // self.length * self.length + self.shift
        closed = False
        if self.open is not None and self.open != start:
            closed = self.close()
        if self.last is not None and start > self.last + self.length:
            self.count = 0
        if self.open is None:
            self.open = start
            self.whole = self.last is not None or time == start
        if time + self.base == start + self.length:
            closed = self.close() or closed
        return closed


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 50), st.integers(1, 30))
def test_closing_and_validity_follow_the_rules(gapped, seed, first, longest):
    block = gapped(seed, first=first, longest=longest, markets=1, frames=3000, holes=4)
    got = run(block)
    for k, length in enumerate(LENGTHS):
        model = Bucket(length, MINUTES_15)
        for t, time in enumerate(block.times.tolist()):
            closed = model.see(time)
            assert got["closed"][t, 0, k] == closed
            assert got["valid"][t, 0, k] == (model.count >= WARMUP)
    invalid = ~got["valid"]
    assert np.isnan(got["features"][invalid]).all()
    assert np.isnan(got["atr"][invalid]).all()
    assert (got["regime"][invalid] == 0).all()
    assert np.isfinite(got["features"][~invalid]).all()
    assert (got["atr"][~invalid] > 0.0).all()
    assert set(np.unique(got["regime"][~invalid])) <= {1, 2, 3, 4}
    assert np.abs(got["features"][~invalid]).max() <= 8.0


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32))
def test_a_timeframe_is_its_aggregated_candles(gapped, blocks_of, seed):
    """4h features from 15m candles are those of an engine fed with 4h candles, wherever one closes."""
    block = gapped(seed, frames=8000, markets=1, holes=30, longest=5)
    seen = block.present[:, 0]
    times, candles, _ = aggregate(block.times[seen], block.candles[seen, 0], MINUTES_15, 4 * HOUR)
    # what is stamped inside a 4h candle is known at its close
    at = np.searchsorted(times, block.times[np.isfinite(block.stamp_rate[:, 0])], "right") - 1
    rates = np.full((len(times), 1), np.nan)
    rates[at, 0] = block.stamp_rate[np.isfinite(block.stamp_rate[:, 0]), 0]
    coarse = run(blocks_of(times, candles[:, None, :], rates=rates), (4 * HOUR,), 4 * HOUR)
    fine = run(block, (4 * HOUR,))
    closed = fine["closed"][:, 0, 0]
    assert closed.sum() in (len(times), len(times) - 1, len(times) + 1)
    count = min(closed.sum(), len(times))
    funding = FEATURES.index("funding_rate")
    for name in ("features", "atr", "regime", "valid"):
        a, b = fine[name][closed][:count], coarse[name][:count]
        if name == "features":  # a candle that closes late may see a stamp of the frame that closes it
            a, b = a[..., :funding], b[..., :funding]
        np.testing.assert_array_equal(a, b)
    assert fine["valid"].any()


def test_state_round_trip_in_mid_bucket(gapped):
    block = gapped(5)
    whole = run(block)
    first = FeatureEngine(2, MINUTES_15, LENGTHS)
    first.update(block[:1003])
    saved = first.state()
    first.update(block[1003:1100])  # must not reach into what was saved
    second = FeatureEngine(2, MINUTES_15, LENGTHS)
    second.restore(saved)
    rest = second.update(block[1003:])
    assert rest.features.tobytes() == whole["features"][1003:].tobytes()


def test_misuse_is_refused(gapped):
    block = gapped(5, frames=50)
    engine = FeatureEngine(2, MINUTES_15, LENGTHS)
    engine.update(block[:20])
    with pytest.raises(ValueError, match="not after"):
        engine.update(block[19:])
    with pytest.raises(ValueError, match="markets"):
        FeatureEngine(3, MINUTES_15, LENGTHS).update(block)
    with pytest.raises(ValueError, match="whole number"):
        FeatureEngine(1, MINUTES_15, (HOUR, 20 * 60_000))
    with pytest.raises(ValueError, match="does not fit"):
        FeatureEngine(2, MINUTES_15, (HOUR,)).restore(engine.state())
    assert engine.update(block[20:20]).features.shape == (0, 2, 3, len(FEATURES))


def test_other_markets_do_not_matter(gapped, blocks_of):
    block = gapped(9)
    alone = blocks_of(block.times, block.candles[:, 1:], block.present[:, 1:], block.stamp_rate[:, 1:])
    both, one = run(block), run(alone)
    assert_same_bits({k: v[:, 1:].copy() for k, v in both.items()}, one)


def test_history_needed():
    assert warmup_frames(HOUR, (HOUR, DAY)) == (WARMUP + 1) * 24
    assert warmup_frames(60_000, (60_000,)) == 24 * 60 + 1
