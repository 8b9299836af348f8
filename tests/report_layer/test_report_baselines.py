"""Baselines and control groups against amounts worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from trader.report.baselines import Market, buy_and_hold, cash
from trader.report.series import DAY_MS, HOUR_MS, EquityCurve
from trader.report.twins import compare

FEE, SPREAD = 0.001, 0.002


def frames(count, start=1000.0):
    return EquityCurve(HOUR_MS * np.arange(count, dtype=np.int64), np.full(count, start), start, HOUR_MS)


def market(ts, opened, close, stamps=()):
    stamp_ts, rate, mark = (
        (np.array([stamp[k] for stamp in stamps], float) for k in range(3)) if stamps else ([], [], [])
    )
    return Market(
        HOUR_MS * np.asarray(ts, np.int64), np.asarray(opened, float), np.asarray(close, float),
        HOUR_MS * np.asarray(stamp_ts, np.int64), np.asarray(rate, float), np.asarray(mark, float),
    )  # fmt: skip


def test_cash_stays():
    assert cash(frames(3)).equity.tolist() == [1000.0] * 3


def test_one_market_is_bought_at_its_first_open_and_sold_at_its_last_close():
    bought = 1000 / (100 * (1 + SPREAD) * (1 + FEE))
    held = buy_and_hold(frames(3), [market([0, 1, 2], [100, 105, 120], [105, 120, 110])], FEE, SPREAD)
    last = bought * 110 * (1 - SPREAD) * (1 - FEE)
    np.testing.assert_allclose(held.equity, [bought * 105, bought * 120, last])


def test_markets_share_equally_and_wait_in_cash():
    late = market([2, 3], [10, 10], [10, 20])
    held = buy_and_hold(frames(4), [market([0, 1, 2, 3], [100] * 4, [100, 100, 100, 100]), late], 0.0, 0.0)
    np.testing.assert_allclose(held.equity, [1000, 1000, 1000, 1500])


def test_a_hole_keeps_the_last_close_and_the_end_of_a_market_is_its_sale():
    held = buy_and_hold(frames(4), [market([0, 2], [100, 90], [110, 120])], FEE, 0.0)
    bought = 1000 / (100 * (1 + FEE))
    sold = bought * 120 * (1 - FEE)
    np.testing.assert_allclose(held.equity, [bought * 110, bought * 110, sold, sold])


def test_candles_before_the_first_frame_are_history_only():
    held = buy_and_hold(frames(2), [market([-2, -1, 0, 1], [1, 1, 100, 100], [1, 1, 100, 150])], 0.0, 0.0)
    np.testing.assert_allclose(held.equity, [1000, 1500])


def test_funding_is_paid_on_the_mark_else_on_the_last_close():
    stamps = [(0, 0.5, 100.0), (1, 0.01, 110.0), (2, -0.02, np.nan)]
    held = buy_and_hold(frames(3), [market([0, 1, 2], [100] * 3, [100] * 3, stamps)], 0.0, 0.0)
    np.testing.assert_allclose(held.equity, [1000, 1000 - 10 * 110 * 0.01, 1000 - 11 + 10 * 100 * 0.02])


def test_part_of_the_capital_can_stay_cash():
    held = buy_and_hold(frames(2), [market([0, 1], [100, 100], [100, 200])], 0.0, 0.0, invested=0.25)
    np.testing.assert_allclose(held.equity, [1000, 1250])


def test_a_market_without_candles_is_cash():
    assert buy_and_hold(frames(2), [market([], [], [])], FEE, SPREAD).equity.tolist() == [1000.0, 1000.0]
    assert buy_and_hold(frames(2), [], FEE, SPREAD).equity.tolist() == [1000.0, 1000.0]


@pytest.fixture
def population():
    """Two evolving agents that win 1 a day each (two days, two trades a day), one frozen that loses 2 a day."""
    days = 40
    exits = DAY_MS * np.repeat(np.arange(days), 3) + HOUR_MS
    noise = np.random.default_rng(0).standard_normal(days)
    pnl = np.stack((1 + noise, 1 + noise, -2 + noise), axis=1).ravel()
    trades = {"agent": np.tile([1, 2, 9], days), "exit_ms": exits, "pnl": pnl}
    agents = {
        "agent": np.array([1, 2, 9]), "born_ms": np.zeros(3, np.int64), "died_ms": np.array([np.nan] * 3),
    }  # fmt: skip
    return agents, trades, (0, days * DAY_MS)


def test_twins_are_compared_per_living_agent_and_day(population):
    agents, trades, span = population
    groups = {"evolving": np.array([1, 2]), "frozen": np.array([9])}
    found = compare(groups, agents, trades, span, 100.0, 1)
    assert found["frozen"]["evolving_minus_this"] == pytest.approx(3 / 100 * 365.25)
    low, high = found["frozen"]["interval"]
    assert low <= found["frozen"]["evolving_minus_this"] <= high
    assert high - low < 1e-6, "the market's own noise cancels in pairs"
    assert found["evolving"]["agents"] == 2


def test_the_dead_do_not_dilute_a_group(population):
    agents, trades, span = population
    agents = {
        name: np.append(values, extra) for (name, values), extra in zip(agents.items(), (3, 0, HOUR_MS), strict=False)
    }
    groups = {"evolving": np.array([1, 2, 3]), "frozen": np.array([9])}
    found = compare(groups, agents, trades, span, 100.0, 1)
    assert found["evolving"]["annual_result"] == pytest.approx(
        compare({"evolving": np.array([1, 2]), "frozen": np.array([9])}, *population, 100.0, 1)["evolving"][
            "annual_result"
        ],
        rel=0.05,
    )
