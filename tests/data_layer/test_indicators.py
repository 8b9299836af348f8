"""Every array indicator equals TA-Lib's to 1e-9, on random walks and on real candles."""

import numpy as np
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from trader.core import indicators as ours
from trader.feeds.files import read_candles

TOLERANCE = 1e-9

PAIRS = {
    "sma": (lambda c: ours.sma(c["close"], 20), lambda c: talib.SMA(c["close"], 20), 0),
    "stddev": (lambda c: ours.stddev(c["close"], 20), lambda c: talib.STDDEV(c["close"], 20), 0),
    "maximum": (lambda c: ours.maximum(c["high"], 55), lambda c: talib.MAX(c["high"], 55), 0),
    "minimum": (lambda c: ours.minimum(c["low"], 55), lambda c: talib.MIN(c["low"], 55), 0),
    "slope": (
        lambda c: ours.linear_regression_slope(c["close"], 50), lambda c: talib.LINEARREG_SLOPE(c["close"], 50), 0,
    ),
    "slope odd": (
        lambda c: ours.linear_regression_slope(c["close"], 7), lambda c: talib.LINEARREG_SLOPE(c["close"], 7), 0,
    ),
    "ema 12": (lambda c: ours.ema(c["close"], 12), lambda c: talib.EMA(c["close"], 12), 0),
    "ema 26": (lambda c: ours.ema(c["close"], 26), lambda c: talib.EMA(c["close"], 26), 0),
    "macd": (lambda c: ours.macd(c["close"])[0], lambda c: talib.MACD(c["close"])[0], 0),
    "macd signal": (lambda c: ours.macd(c["close"])[1], lambda c: talib.MACD(c["close"])[1], 0),
    "macd histogram": (lambda c: ours.macd(c["close"])[2], lambda c: talib.MACD(c["close"])[2], 0),
    "bollinger upper": (
        lambda c: ours.bollinger(c["close"])[0], lambda c: talib.BBANDS(c["close"], 20, 2.0, 2.0)[0], 0,
    ),
    "bollinger lower": (
        lambda c: ours.bollinger(c["close"])[2], lambda c: talib.BBANDS(c["close"], 20, 2.0, 2.0)[2], 0,
    ),
    "true range": (
        lambda c: ours.ranges(c["high"], c["low"], c["close"]),
        lambda c: talib.TRANGE(c["high"], c["low"], c["close"]), 0,
    ),
    "atr": (
        lambda c: ours.atr(c["high"], c["low"], c["close"]),
        lambda c: talib.ATR(c["high"], c["low"], c["close"], 14), 0,
    ),
    "rsi": (lambda c: ours.rsi(c["close"]), lambda c: talib.RSI(c["close"], 14), 0),
    "stochastic k": (
        lambda c: ours.stochastic(c["high"], c["low"], c["close"])[0],
        lambda c: talib.STOCH(c["high"], c["low"], c["close"], 14, 3, 0, 3, 0)[0], 20,
    ),
    "stochastic d": (
        lambda c: ours.stochastic(c["high"], c["low"], c["close"])[1],
        lambda c: talib.STOCH(c["high"], c["low"], c["close"], 14, 3, 0, 3, 0)[1], 20,
    ),
    "willr": (
        lambda c: ours.willr(c["high"], c["low"], c["close"]),
        lambda c: talib.WILLR(c["high"], c["low"], c["close"], 14), 0,
    ),
    "cci": (
        lambda c: ours.cci(c["high"], c["low"], c["close"]),
        lambda c: talib.CCI(c["high"], c["low"], c["close"], 20), 0,
    ),
    "mfi": (
        lambda c: ours.mfi(c["high"], c["low"], c["close"], c["volume"]),
        lambda c: talib.MFI(c["high"], c["low"], c["close"], c["volume"], 14), 0,
    ),
    "roc": (lambda c: ours.roc(c["close"]), lambda c: talib.ROC(c["close"], 10), 0),
    "obv": (lambda c: ours.obv(c["close"], c["volume"]), lambda c: talib.OBV(c["close"], c["volume"]), 0),
}  # fmt: skip


def columns(candles):
    return {
        name: np.ascontiguousarray(candles[:, i]) for i, name in enumerate(("open", "high", "low", "close", "volume"))
    }


def undecided(name, data):
    """Windows of the MFI that hold two equal typical prices: rounding of a third decides their sign in TA-Lib."""
    typical = (data["high"] + data["low"] + data["close"]) / 3.0
    tie = np.abs(np.diff(typical, prepend=np.inf)) < 1e-12 * typical
    near = np.convolve(tie, np.ones(14))[: len(tie)] > 0.5
    assert near.mean() < 0.01
    return near if name == "mfi" else np.zeros(len(tie), np.bool_)


def assert_equal_to_talib(name, candles):
    """Same NaN head (from `skip` on), and 1e-9 of the indicator's own scale everywhere else."""
    mine, theirs, skip = PAIRS[name]
    data = columns(candles)
    a, b = mine(data)[skip:], theirs(data)[skip:]
    np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
    known = ~np.isnan(b) & ~undecided(name, data)[skip:]
    scale = np.abs(b[known]) + np.median(np.abs(b[known]))
    assert known.sum() > len(b) // 2
    assert np.max(np.abs(a[known] - b[known]) / scale) < TOLERANCE


@pytest.mark.parametrize("name", PAIRS)
def test_equals_talib_on_a_random_walk(name, candle_maker):
    assert_equal_to_talib(name, candle_maker(np.random.default_rng(7), 3000))


@pytest.mark.realdata
@pytest.mark.parametrize("name", PAIRS)
def test_equals_talib_on_real_candles(name, real_data):
    candles = read_candles(real_data / "candles/roshan7869-algotrading/binance/BTC-USDT/1h.parquet", 3_600_000)
    assert_equal_to_talib(name, candles.values)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 90))
def test_window_functions_equal_numpy(seed, count):
    window = np.random.default_rng(seed).normal(100.0, 5.0, count)
    assert ours.mean(window) == pytest.approx(window.mean(), rel=1e-13)
    assert ours.deviation(window, window.mean()) == pytest.approx(window.std(), rel=1e-10, abs=1e-12)
    assert (ours.highest(window), ours.lowest(window)) == (window.max(), window.min())
    if count > 1:
        assert ours.slope(window) == pytest.approx(np.polyfit(np.arange(count), window, 1)[0], rel=1e-8, abs=1e-10)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_the_weighted_sum_is_the_recursion(seed):
    values = 100.0 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0.0, 0.01, 2000)))
    lanes = np.empty(ours.LANES)
    for weights, expected in (
        (ours.exponential_weights(2 / 27), ours.ema(values, 26)[-1]),
        (ours.macd_weights(), ours.macd(values)[0][-1]),
        (ours.macd_signal_weights(), ours.macd(values)[1][-1]),
    ):
        got = ours.weighted_sum(weights, values[-ours.TAPS :], lanes)
        assert got == pytest.approx(expected, abs=TOLERANCE * values[-1] / 10)


def test_weights_add_up_and_what_is_cut_off_is_as_documented():
    assert ours.exponential_weights(2 / 27).sum() == pytest.approx(1.0, abs=1e-15)
    assert abs(ours.macd_weights().sum()) < 1e-15
    assert abs(ours.macd_signal_weights().sum()) < 1e-15
    assert (25 / 27) ** ours.TAPS < 1.8e-12
    assert (13 / 14) ** ours.TAPS < 4.8e-12


def test_a_market_that_does_not_move_is_neutral():
    flat = np.full(60, 0.1)
    assert ours.cci(flat, flat, flat)[-1] == 0.0
    assert ours.rsi(flat)[-1] == 50.0
    assert ours.mfi(flat, flat, flat, flat)[-1] == 50.0
    assert ours.willr(flat, flat, flat)[-1] == -50.0
    assert ours.ema(flat[:10], 26).tolist() == pytest.approx([np.nan] * 10, nan_ok=True)
