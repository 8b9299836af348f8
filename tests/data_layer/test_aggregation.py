"""Longer candles: against pandas, against the exchange's own, and in the cases where something is missing."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trader.core.aggregation import aggregate
from trader.core.timeframes import milliseconds
from trader.feeds.files import read_candles

HOUR = 3_600_000


@settings(max_examples=80, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(0, 200),
    st.sampled_from([("1h", "4h"), ("1h", "1d"), ("15m", "1h"), ("1h", "1w"), ("4h", "12h"), ("1m", "3m")]),
    st.floats(0.3, 1.0),
)
def test_equals_pandas_resampling(candle_maker, seed, first, pair, density):
    base, length = (milliseconds(text) for text in pair)
    rng = np.random.default_rng(seed)
    times = (400_000 + first + np.flatnonzero(rng.random(600) < density)) * base
    candles = candle_maker(rng, len(times))
    frame = pd.DataFrame(candles, index=pd.to_datetime(times, unit="ms"), columns=list("ohlcv"))
    rule = {"1w": "W-MON", "1d": "1D"}.get(pair[1], pair[1].replace("m", "min"))
    closed = frame.resample(rule, label="left", closed="left").agg(
        {"o": "first", "h": "max", "l": "min", "c": "last", "v": "sum"}
    )
    counts = frame["o"].resample(rule, label="left", closed="left").count()
    closed, counts = closed[counts > 0], counts[counts > 0]
    opens = closed.index.astype("datetime64[ms]").astype(np.int64).to_numpy()
    keep = np.ones(len(opens), np.bool_)
    keep[0] = times[0] == opens[0]  # the first bucket only if seen from its start
    keep[-1] &= times[-1] + base == opens[-1] + length  # the last only if its last candle is there
    got_times, got, got_counts = aggregate(times, candles, base, length)
    np.testing.assert_array_equal(got_times, opens[keep])
    np.testing.assert_array_equal(got_counts, counts.to_numpy()[keep])
    np.testing.assert_array_equal(got[:, :4], closed.to_numpy()[keep][:, :4])
    np.testing.assert_allclose(got[:, 4], closed.to_numpy()[keep][:, 4], rtol=1e-12)


def test_other_lengths_are_refused():
    with pytest.raises(ValueError, match="whole number"):
        aggregate(np.zeros(1, np.int64), np.ones((1, 5)), HOUR, HOUR * 3 // 2)


def test_nothing_gives_nothing():
    times, candles, counts = aggregate(np.zeros(0, np.int64), np.zeros((0, 5)), HOUR, 4 * HOUR)
    assert (len(times), candles.shape, len(counts)) == (0, (0, 5), 0)


DIFFERENT = {("4h", 1_679_659_200_000), ("12h", 1_679_659_200_000)}
"""In the outage of 2023-03-24 the exchange opened these at 28,079.99; its first 30m candle opened at 28,080."""


@pytest.mark.realdata
@pytest.mark.parametrize("base", ["30m", "1h", "4h"])
@pytest.mark.parametrize(("length", "rows"), [("1h", 28_732), ("4h", 7_188), ("12h", 2_396), ("1d", 1_198)])
def test_equals_the_exchange(real_data, base, length, rows):
    """Every row of 1h, 4h, 12h and 1d, but for the open of one 4h and one 12h candle made of finer ones."""
    if milliseconds(base) >= milliseconds(length):
        base = "30m"
    folder = real_data / "candles/bernini10-oraculo/binance/BTC-USDT"
    fine = read_candles(folder / f"{base}.parquet", milliseconds(base))
    theirs = read_candles(folder / f"{length}.parquet", milliseconds(length))
    times, candles, _ = aggregate(fine.times, fine.values, milliseconds(base), milliseconds(length))
    assert len(times) == rows
    np.testing.assert_array_equal(times, theirs.times)
    np.testing.assert_array_equal(candles[:, 1:4], theirs.values[:, 1:4])
    np.testing.assert_allclose(candles[:, 4], theirs.values[:, 4], rtol=1e-15, atol=1e-9)
    other = times[candles[:, 0] != theirs.values[:, 0]]
    expected = {at for text, at in DIFFERENT if text == length} if base != "4h" else set()
    assert set(other.tolist()) == expected
