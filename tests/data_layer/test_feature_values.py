"""What every feature means, recomputed with TA-Lib and numpy from the raw candles; and the regime label."""

import math

import numpy as np
import pytest
import talib

from trader.core import regime
from trader.core.feature_row import MARKET_FEATURES
from trader.core.features import FEATURES, FIRST_LEARNED, LEARNED_FEATURES, WARMUP, FeatureEngine
from trader.core.rows import Regime
from trader.feeds.files import read_candles

HOUR, DAY, WEEK = 3_600_000, 86_400_000, 7 * 86_400_000
MONDAY = 4 * DAY


def contrast(a, b):
    return 2.0 * (a - b) / (a + b)


def triangle(phase):
    return np.interp(phase % 1.0, [0.0, 0.25, 0.75, 1.0], [0.0, 1.0, -1.0, 0.0])


def previous(values):
    return np.concatenate(([np.nan], values[:-1]))


def expected(times, candles, funding):
    """float64 [T, F] by other means than the engine's."""
    o, h, low, c, v = (np.ascontiguousarray(candles[:, i]) for i in range(5))
    atr = talib.ATR(h, low, c, 14)
    returns = np.concatenate(([0.0], c[1:] / c[:-1] - 1.0))
    sigma, recent = talib.STDDEV(returns, 120), talib.STDDEV(returns, 24)
    out = {f"return_{n}": talib.ROC(c, n) / 100.0 / (sigma * math.sqrt(n)) for n in (1, 4, 12, 24, 72)}
    line, signal, _ = talib.MACD(c)
    out["ema_distance"] = 0.5 * (c - talib.EMA(c, 26)) / atr
    out["macd"], out["macd_histogram"] = line / atr, 2.0 * (line - signal) / atr
    for n in (20, 50):
        out[f"slope_{n}"] = talib.LINEARREG_SLOPE(c, n) * math.sqrt(n) / atr
    out["rsi"] = (talib.RSI(c, 14) - 50.0) / 25.0
    out["stochastic"] = (talib.STOCH(h, low, c, 14, 3, 0, 3, 0)[0] - 50.0) / 25.0
    out["cci"] = talib.CCI(h, low, c, 20) / 100.0
    out["williams"] = (talib.WILLR(h, low, c, 28) + 50.0) / 25.0
    out["volatility_level"] = contrast(talib.NATR(h, low, c, 14), 1.0)
    out["volatility_ratio"] = contrast(recent, sigma)
    upper, middle, lower = talib.BBANDS(c, 20, 2.0, 2.0)
    out["bollinger_width"] = (upper - lower) / 4.0 / atr - 1.0
    out["zscore_20"] = (c - middle) / talib.STDDEV(c, 20)
    out["zscore_50"] = (c - talib.SMA(c, 50)) / talib.STDDEV(c, 50)
    out["body"] = (c - o) / atr
    out["shadow"] = ((np.minimum(o, c) - low) - (h - np.maximum(o, c))) / atr
    out["range"] = (h - low) / atr - 1.0
    volume = talib.SMA(v, 20)
    out["relative_volume"] = contrast(v, volume)
    balance = talib.OBV(c, v)
    out["volume_flow"] = 2.0 * (balance - np.concatenate((np.full(20, np.nan), balance[:-20]))) / (20.0 * volume)
    out["money_flow"] = (talib.MFI(h, low, c, v, 14) - 50.0) / 25.0
    for n in (20, 55):
        top, bottom = previous(talib.MAX(h, n)), previous(talib.MIN(low, n))
        out[f"donchian_{n}"] = 4.0 * (c - bottom) / (top - bottom) - 2.0
    close_ms = times + HOUR
    out["day_wave"], out["day_ramp"] = triangle(close_ms % DAY / DAY), triangle(close_ms % DAY / DAY + 0.25)
    out["week_wave"] = triangle((close_ms - MONDAY) % WEEK / WEEK)
    last = np.zeros((len(times), 3))
    known = [0.0, 0.0, 0.0]
    for t, rate in enumerate(funding):
        known = known if math.isnan(rate) else [rate, *known[:2]]
        last[t] = known
    out["funding_rate"], out["funding_sum"] = last[:, 0] / 0.0002, last.sum(axis=1) / 0.0006
    return np.column_stack([np.clip(out[name], -8.0, 8.0) for name in MARKET_FEATURES]), atr


def engine_rows(block, count):
    """float64 rows [count, F] before they are rounded to float32, for the last frames; and ATRs."""
    engine = FeatureEngine(1, HOUR, (HOUR,))
    engine.update(block[: len(block) - count])
    rows, atrs = [], []
    for t in range(len(block) - count, len(block)):
        out = engine.update(block[t : t + 1])
        assert out.valid.all()
        rows.append(engine.state()["rows"][0, 0])
        np.testing.assert_array_equal(out.features[0, 0, 0, :FIRST_LEARNED], rows[-1].astype(np.float32))
        assert not out.features[0, 0, 0, FIRST_LEARNED:].any()
        atrs.append(out.atr[0, 0, 0])
    return np.array(rows), np.array(atrs)


def compare(block, count):
    want, atr = expected(block.times, block.candles[:, 0], block.stamp_rate[:, 0])
    rows, atrs = engine_rows(block, count)
    worst = np.abs(rows - want[-count:]).max(axis=0)
    assert dict(zip(MARKET_FEATURES, worst, strict=True)) == dict.fromkeys(
        MARKET_FEATURES, pytest.approx(0.0, abs=1e-9)
    )
    np.testing.assert_allclose(atrs, atr[-count:], rtol=1e-9)
    assert (np.ptp(rows, axis=0) > 0.0).all()  # none of them stands still


def test_features_on_a_random_walk(candle_maker, blocks_of):
    rng = np.random.default_rng(3)
    count = 3000
    times = 1_700_000_000_000 // HOUR * HOUR + np.arange(count) * HOUR
    rates = np.where(times[:, None] % (8 * HOUR) == 0, rng.normal(0.0001, 0.0003, (count, 1)), np.nan)
    compare(blocks_of(times, candle_maker(rng, count)[:, None, :], rates=rates), 1500)


@pytest.mark.realdata
def test_features_on_real_candles(real_data, blocks_of):
    candles = read_candles(real_data / "candles/roshan7869-algotrading/binanceusdm/BTC-USDT/1h.parquet", HOUR)
    rates = np.where(candles.times[:, None] % (8 * HOUR) == 0, 0.0001 * np.sin(candles.times[:, None] / 1e9), np.nan)
    compare(blocks_of(candles.times, candles.values[:, None, :], rates=rates)[:9000], 5000)


def test_a_dead_market_gives_neutral_numbers(blocks_of):
    times = 1_704_067_200_000 + np.arange(WARMUP + 10) * HOUR
    flat = np.full((len(times), 1, 5), 0.1)
    flat[:, :, 4] = 0.0
    out = FeatureEngine(1, HOUR, (HOUR,)).update(blocks_of(times, flat))
    row = dict(zip(FEATURES, out.features[-1, 0, 0].tolist(), strict=True))
    moving = {"volatility_level", "bollinger_width", "range", "day_wave", "day_ramp", "week_wave"}
    assert {name: value for name, value in row.items() if name not in moving and value != 0.0} == {}
    assert row["volatility_level"] == -2.0
    assert out.regime[-1, 0, 0] == Regime.RANGE


def test_there_are_features_of_every_kind():
    assert len(FEATURES) == len(set(FEATURES)) == 36
    assert FEATURES[FIRST_LEARNED:] == LEARNED_FEATURES


@pytest.mark.parametrize(
    ("move", "recent_move", "sigma", "recent", "label"),
    [
        (0.10, 0.0, 0.01, 0.01, Regime.BULL),
        (-0.10, -0.10, 0.01, 0.01, Regime.BEAR),
        (0.05, 0.0, 0.01, 0.01, Regime.RANGE),
        (-0.10, -0.10, 0.01, 0.02, Regime.CRASH),
        (0.03, -0.05, 0.01, 0.02, Regime.CRASH),
        (0.03, 0.05, 0.01, 0.02, Regime.RANGE),
        (0.10, -0.03, 0.01, 0.02, Regime.BULL),
        (0.0, 0.0, 0.0, 0.0, Regime.RANGE),
    ],
)
def test_regime_label(move, recent_move, sigma, recent, label):
    assert regime.label(move, recent_move, sigma, recent) == label
    assert regime.label.py_func(move, recent_move, sigma, recent) == label
