"""Figures of a report against values worked out by hand, on even and on gapped equity."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trader.report import metrics, series
from trader.report.series import DAY_MS, HOUR_MS, EquityCurve


def curve(equity, start=100.0, step=DAY_MS, begin=0):
    times = begin + step * np.arange(len(equity), dtype=np.int64)
    return EquityCurve(times, np.asarray(equity, float), start, step)


def test_returns_are_those_of_equal_steps():
    found = series.step_returns(curve([110.0, 99.0, 99.0]), DAY_MS)
    np.testing.assert_allclose(found, [0.1, -0.1, 0.0])


def test_a_missing_frame_is_a_step_without_a_return():
    whole = curve([110.0, 120.0, 132.0])
    holed = EquityCurve(whole.open_ms[[0, 2]], whole.equity[[0, 2]], 100.0, DAY_MS)
    np.testing.assert_allclose(series.step_returns(holed, DAY_MS), [0.1, 0.0, 0.2])


def test_steps_stand_on_the_utc_grid_and_parts_of_a_step_are_left_out():
    hourly = curve(np.arange(101.0, 101.0 + 60), step=HOUR_MS, begin=5 * HOUR_MS)  # 05:00 to 65:00
    points, values = series.on_grid(hourly, DAY_MS)
    assert points.tolist() == [DAY_MS, 2 * DAY_MS]
    assert values.tolist() == [100.0 + 19, 100.0 + 43]


@pytest.mark.parametrize(("days", "step"), [(29, HOUR_MS), (30, DAY_MS)])
def test_short_runs_use_hours(days, step):
    assert series.step_of(curve(np.ones(24 * days), step=HOUR_MS)) == step


def test_a_step_is_never_shorter_than_a_frame():
    assert series.step_of(curve(np.ones(60), step=7 * DAY_MS)) == 7 * DAY_MS


def test_no_returns_where_equity_was_lost():
    assert len(series.step_returns(curve([50.0, 0.0, 10.0]), DAY_MS)) == 0
    assert len(series.step_returns(curve([50.0, -5.0, 10.0]), DAY_MS)) == 0


def test_ratios_by_hand():
    returns = np.array([0.02, -0.01, 0.03, 0.0])
    mean, deviation = 0.01, math.sqrt((0.01**2 + 0.02**2 + 0.02**2 + 0.01**2) / 3)
    assert metrics.sharpe(returns, 365.25) == pytest.approx(mean / deviation * math.sqrt(365.25))
    assert metrics.sortino(returns, 365.25) == pytest.approx(mean / math.sqrt(0.01**2 / 4) * math.sqrt(365.25))
    assert metrics.volatility(returns, 100.0) == pytest.approx(deviation * 10)
    growth = 1.02 * 0.99 * 1.03
    assert metrics.annual_return(returns, 8.0) == pytest.approx(growth**2 - 1)
    assert metrics.drawdown_of_returns(returns) == pytest.approx(0.01)


def test_what_cannot_be_computed_is_not_a_number():
    still = np.zeros(5)
    assert np.isnan(metrics.sharpe(still, 1.0))
    assert np.isnan(metrics.sortino(np.full(5, 0.1), 1.0))
    assert np.isnan(metrics.sharpe(np.array([0.1]), 1.0))
    assert np.isnan(metrics.annual_return(np.zeros(0), 1.0))


def test_the_drawdown_counts_from_the_start_and_sees_every_frame():
    fall = metrics.fall_of(curve([90.0, 99.0, 120.0, 60.0, 80.0]))
    assert fall.depth == pytest.approx(0.5)
    assert fall.longest_days == pytest.approx(2.0)
    assert metrics.fall_of(curve([90.0, 95.0])).depth == pytest.approx(0.1)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-0.3, 0.3), min_size=3, max_size=40), st.floats(0.1, 50))
def test_ratios_do_not_depend_on_the_size_of_the_pool(returns, scale):
    equity = 100 * np.cumprod(1 + np.array(returns))
    one = metrics.performance(curve(equity), series.step_returns(curve(equity), DAY_MS), 365.25)
    other_curve = curve(equity * scale, start=100 * scale)
    other = metrics.performance(other_curve, series.step_returns(other_curve, DAY_MS), 365.25)
    assert all(one[key] == pytest.approx(other[key], rel=1e-6, abs=1e-9, nan_ok=True) for key in one)
    assert 0 <= one["max_drawdown"] < 1
    assert one["total_return"] == pytest.approx(equity[-1] / 100 - 1)


def trades(**columns):
    count = len(columns["pnl"])
    base = {
        "pnl": columns["pnl"], "gross_pnl": columns["pnl"], "fees": [1.0] * count, "slippage": [0.5] * count,
        "funding": [0.0] * count, "return_on_margin": [0.1] * count, "exit_reason": ["stop"] * count,
        "entry_ms": [0] * count, "exit_ms": [DAY_MS] * count,
    } | columns  # fmt: skip
    return {name: np.asarray(values, object if name == "exit_reason" else None) for name, values in base.items()}


def test_trading_figures_by_hand():
    found = metrics.trading(trades(pnl=[30.0, -10.0, 0.0, -5.0], exit_reason=["take", "liquidation", "time", "stop"]))
    assert found["trades"] == 4
    assert found["win_rate"] == 0.25
    assert found["profit_factor"] == pytest.approx(2.0)
    assert found["pnl"] == 15.0
    assert found["fees"] == 4.0
    assert found["liquidations"] == 1
    assert found["mean_holding_days"] == 1.0


def test_no_trades_give_no_ratios():
    found = metrics.trading(trades(pnl=np.zeros(0)))
    assert found["trades"] == 0
    assert math.isnan(found["win_rate"])
    assert math.isnan(found["profit_factor"])


def test_activity_by_hand():
    """Ten days of 100: 200 held for two days, then 50 still open over the last five."""
    flat = curve(np.full(10, 100.0))
    fills = {
        "time_ms": np.array([0, DAY_MS, 5 * DAY_MS]), "price": np.array([10.0, 11.0, 5.0]),
        "qty": np.array([20.0, 20.0, 10.0]), "trade": np.array([1, 1, 2]),
    }  # fmt: skip
    closed = {
        "trade": np.array([1]), "qty": np.array([20.0]), "entry_price": np.array([10.0]), "entry_ms": np.array([0]),
        "exit_ms": np.array([DAY_MS]),
    }  # fmt: skip
    found = metrics.activity(flat, np.repeat([20.0, 0.0], 5), fills, closed)
    assert found["exposure"] == pytest.approx((200 * 2 + 50 * 5) / 10 / 100)
    assert found["turnover"] == pytest.approx((200 + 220 + 50) / 100 / (10 / 365.25))
    assert found["time_in_market"] == 0.5
    assert found["margin_use"] == pytest.approx(0.1)
