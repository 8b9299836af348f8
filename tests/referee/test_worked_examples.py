"""Worked liquidation examples: every number in a docstring is computed by hand from docs/exchange.md.

Unless told otherwise: 1 coin bought or sold at 100.00 with 10x (initial margin 10, entry fee 100 * 0.0005 = 0.05), maintenance
0.5 %, liquidation fee 1.25 %. Prices in cents, amounts in 1e-8 (USD).
"""

from __future__ import annotations

import pytest

from tests.referee.arithmetic import Tier
from tests.referee.driver import OrderKind, at
from tests.referee.scenarios import Send
from tests.referee.worked import COIN, USD, flat, order, story

LIQUIDATION, STOP = int(OrderKind.LIQUIDATION), int(OrderKind.STOP)
FIVE_PERCENT = (Tier(0, 5_000_000, 0, 125),)


# --- the price shown -----------------------------------------------------------------------------------------------


def test_long_at_ten():
    """(100 - 10) / 0.995 = 90.45226 -> up: 90.46."""
    assert story([order(1)]).liquidation == 9046


def test_short_at_ten():
    """(100 + 10) / 1.005 = 109.45273 -> down: 109.45."""
    assert story([order(-1)]).liquidation == 10945


def test_long_at_twenty():
    """(100 - 5) / 0.995 = 95.47738 -> 95.48."""
    assert story([order(1, leverage=20)]).liquidation == 9548


def test_short_at_twenty():
    """(100 + 5) / 1.005 = 104.47761 -> 104.47."""
    assert story([order(-1, leverage=20)]).liquidation == 10447


def test_long_without_leverage_has_none():
    """(100 - 100) / 0.995 = 0: no price takes it over."""
    assert story([order(1, leverage=1)]).liquidation == 0


def test_short_without_leverage():
    """(100 + 100) / 1.005 = 199.00497 -> 199.00."""
    assert story([order(-1, leverage=1)]).liquidation == 19900


def test_long_at_two():
    """(100 - 50) / 0.995 = 50.25125 -> 50.26."""
    assert story([order(1, leverage=2)]).liquidation == 5026


def test_short_at_three_and_a_third():
    """3.33x: initial 100 / 3.33 = 30.03003003.. -> up 30.03003004; 130.03003004 / 1.005 = 129.38311 -> 129.38."""
    told = story([order(-1, leverage=3.33)])
    assert told.liquidation == 12938
    assert told.of("entry")[0]["margin"] == 30_03003004 + 5_000_000


def test_long_falls_back_into_the_lower_bracket():
    """10 coins, 1000 notional, margin 100; second bracket from 950: 1 %, amount 950 * 0.5 % = 4.75.
    There (900 - 4.75) / 9.9 = 90.43, notional 904.30 < 950: not that one. First: 900 / 9.95 = 90.45226 -> 90.46."""
    tiers = (Tier(0, 500_000, 0, 125), Tier(950 * USD, 1_000_000, 475_000_000, 50))
    assert story([order(1, 10)], tiers=tiers).liquidation == 9046


def test_short_rises_into_the_higher_bracket():
    """The same brackets: (1100 + 4.75) / 10.1 = 109.38118 -> 109.38, notional 1093.80 >= 950: the second counts."""
    tiers = (Tier(0, 500_000, 0, 125), Tier(950 * USD, 1_000_000, 475_000_000, 50))
    assert story([order(-1, 10)], tiers=tiers).liquidation == 10938


def test_long_in_the_higher_bracket():
    """10 coins at 4x: margin 250; from 500: 5 %, amount 500 * 4.5 % = 22.5. (750 - 22.5) / 9.5 = 76.57894 -> 76.58,
    notional 765.80 >= 500. (The first bracket would say 75.38.)"""
    tiers = (Tier(0, 500_000, 0, 125), Tier(500 * USD, 5_000_000, 22_50000000, 10))
    assert story([order(1, 10, 4)], tiers=tiers).liquidation == 7658


def test_short_in_the_middle_of_three_brackets():
    """10 coins at 5x, margin 200. From 2000: 5 %, 82.5: 1282.5 / 10.5 = 122.14, notional 1221 < 2000: no.
    From 500: 1 %, 2.5: 1202.5 / 10.1 = 119.05940 -> 119.05, notional 1190 >= 500: yes."""
    tiers = (
        Tier(0, 500_000, 0, 125), Tier(500 * USD, 1_000_000, 2_50000000, 50), Tier(2000 * USD, 5_000_000, 82_50000000, 10),
    )  # fmt: skip
    assert story([order(-1, 10, 5)], tiers=tiers).liquidation == 11905


def test_bracket_is_chosen_by_notional_and_not_by_margin():
    """20 coins at 20x: notional 2000, margin 100 (below the floor of 500). (2000 - 100 - 2.5) / (20 * 0.99) = 95.83333
    -> 95.84, notional 1916.80 >= 500: the second bracket although the collateral is far below its floor."""
    tiers = (Tier(0, 500_000, 0, 125), Tier(500 * USD, 1_000_000, 2_50000000, 50))
    assert story([order(1, 20, 20)], tiers=tiers).liquidation == 9584


def test_long_after_half_is_sold():
    """Exit of 1 coin, the candle trades 0.5: half sold at 100, fee 50 * 0.0005 = 0.025, margin 9.975, E 50.
    (50 - 9.975) / (0.5 * 0.995) = 80.45226 -> 80.46."""
    told = story([order(1), Send(1, 0, "signal")], [flat(100.0, 0.5)])
    assert told.of("partial")[0]["qty"] == COIN // 2
    assert told.after[-1][0]["margin"] == 9_97500000
    assert told.liquidation == 8046


def test_short_after_a_quarter_is_bought_at_a_loss():
    """Exit of 1 coin at 102, the candle trades 0.25: value 25.5, cost 25, gross -0.5, fee 0.01275; margin 9.48725, E 75.
    (75 + 9.48725) / (0.75 * 1.005) = 112.08922 -> 112.08."""
    told = story([order(-1), Send(1, 0, "signal")], [flat(102.0, 0.25)])
    (part,) = told.of("partial")
    assert (part["gross"], part["fee"]) == (-50_000_000, 1_275_000)
    assert told.liquidation == 11208


def test_price_of_a_tiny_coin():
    """1,000,000 coins at 0.00000123 (tick 1e-8, whole coins): value 1.23, margin 0.123, (1.23 - 0.123) / 0.995 = 1.11256..,
    a coin 0.00000111256 -> up to the unit: 0.00000112."""
    send = order(1, 1)  # 1,000,000 units are coins here
    told = story([send], first=flat(0.00000123, 1e12), price_exponent=8, quantity_exponent=0)
    assert told.of("entry")[0]["qty"] == 1_000_000
    assert told.after[-1][0]["margin"] == 12_300_000
    assert told.liquidation == 112


def test_price_of_a_dear_coin():
    """One unit of 0.001 coin at 1,234,567.89 with 20x: value 1234.56789, margin 61.7283945 (exact).
    1172.8394955 / 0.995 = 1178.7331613.. -> V 1178.73316131 (up); P = 1,178,733.16131 -> up 1,178,733.17."""
    told = story([order(1, 0.001, 20)], first=flat(1_234_567.89))
    assert told.after[-1][0]["margin"] == 61_72839450
    assert told.liquidation == 117_873_317


# --- taken over ----------------------------------------------------------------------------------------------------


def test_long_wick_to_the_price():
    """Low 90.46: value 90.46, result -9.54, left 0.46; fee min(0.46, 90.46 * 1.25 % = 1.13075) = 0.46, no taker fee.
    pnl = -9.54 - 0.05 - 0.46 = -10.05: the whole margin. Insurance +0.46."""
    row = (told := story([order(1)], [(100.0, 100.0, 90.46, 99.0, 1e6)])).exit
    assert (row["kind"], row["price"], row["gross"]) == (LIQUIDATION, 9046, -9_54000000)
    assert (row["liquidation_fee"], row["fee"], row["trade_pnl"]) == (46_000_000, 0, -10_05000000)
    assert told.accounts["insurance"] == 46_000_000


def test_long_wick_one_tick_short_of_it():
    """Low 90.47 > 90.46: nothing happens."""
    assert story([order(1)], [(100.0, 100.0, 90.47, 99.0, 1e6)]).of("exit") == []


def test_short_wick_to_the_price():
    """High 109.45: result -9.45, left 0.55; fee min(0.55, 109.45 * 1.25 % = 1.368125) = 0.55; pnl -10.05."""
    row = story([order(-1)], [(100.0, 109.45, 100.0, 101.0, 1e6)]).exit
    assert (row["kind"], row["price"], row["gross"]) == (LIQUIDATION, 10945, -9_45000000)
    assert (row["liquidation_fee"], row["trade_pnl"]) == (55_000_000, -10_05000000)


def test_short_wick_one_tick_short_of_it():
    """High 109.44 < 109.45: nothing happens."""
    assert story([order(-1)], [(100.0, 109.44, 100.0, 101.0, 1e6)]).of("exit") == []


def test_long_gap_through():
    """Open 85: result -15, 5 more than the margin: insurance pays 5, no fee. gross -10, pnl -10.05."""
    row = (told := story([order(1)], [flat(85.0)])).exit
    assert (row["step"], row["price"], row["gross"]) == (at.PHASE_OPEN_LIQUIDATION, 8500, -10 * USD)
    assert (row["insurance"], row["liquidation_fee"], row["trade_pnl"]) == (5 * USD, 0, -10_05000000)
    assert told.accounts["insurance"] == -5 * USD
    assert told.accounts["market"] == 15 * USD


def test_short_gap_through():
    """Open 120: result -20, margin 10: insurance pays 10; pnl -10.05."""
    row = (told := story([order(-1)], [flat(120.0)])).exit
    assert (row["price"], row["insurance"], row["trade_pnl"]) == (12000, 10 * USD, -10_05000000)
    assert told.accounts["insurance"] == -10 * USD


def test_open_exactly_at_the_price():
    """Open 90.46 counts as reached: taken at the open, fee 0.46."""
    row = story([order(1)], [flat(90.46)]).exit
    assert (row["step"], row["price"], row["liquidation_fee"]) == (at.PHASE_OPEN_LIQUIDATION, 9046, 46_000_000)


def test_long_with_something_left():
    """Maintenance 5 %: 90 / 0.95 = 94.73684 -> 94.74. Result -5.26, left 4.74, fee 94.74 * 1.25 % = 1.18425; 3.55575 goes back.
    pnl = -5.26 - 0.05 - 1.18425 = -6.49425."""
    row = (told := story([order(1)], [(100.0, 100.0, 90.0, 99.0, 1e6)], tiers=FIVE_PERCENT)).exit
    assert (row["price"], row["liquidation_fee"], row["trade_pnl"]) == (9474, 1_18425000, -6_49425000)
    assert told.accounts[0]["cash"] == 100_000 * USD - 6_49425000


def test_short_with_something_left():
    """Maintenance 5 %: 110 / 1.05 = 104.76190 -> 104.76. Result -4.76, fee 104.76 * 1.25 % = 1.3095;
    pnl = -4.76 - 0.05 - 1.3095 = -6.1195."""
    row = story([order(-1)], [(100.0, 110.0, 100.0, 101.0, 1e6)], tiers=FIVE_PERCENT).exit
    assert (row["price"], row["liquidation_fee"], row["trade_pnl"]) == (10476, 1_30950000, -6_11950000)


def test_liquidation_fee_is_rounded_up():
    """0.333333 coins, 5 %: E 33.3333, initial 3.33333; 29.99997 / 0.95 / 0.333333 = 94.73684 -> 94.74.
    value floor(9474 * 333333) = 31.57996842; fee 0.39474960525 -> up 0.39474961."""
    row = story([order(1, 0.333333)], [(100.0, 100.0, 90.0, 99.0, 1e6)], tiers=FIVE_PERCENT).exit
    assert (row["price"], row["liquidation_fee"]) == (9474, 39_474_961)


def test_no_liquidation_fee():
    """Fee 0 %: at 94.74 (5 %) result -5.26; 4.74 goes back; pnl -5.31."""
    row = story([order(1)], [(100.0, 100.0, 90.0, 99.0, 1e6)], tiers=FIVE_PERCENT, liquidation_fee=0).exit
    assert (row["liquidation_fee"], row["trade_pnl"]) == (0, -5_31000000)


def test_wick_to_a_cent_takes_over_at_the_price_and_not_at_the_wick():
    """Low 0.01, open 100: price 90.46, result -9.54; no shortfall."""
    row = story([order(1)], [(100.0, 100.0, 0.01, 99.0, 1e6)]).exit
    assert (row["price"], row["insurance"]) == (9046, 0)


def test_candle_of_minus_49_percent_at_twenty():
    """20x, margin 5, price 95.48: result -4.52, fee the remaining 0.48, no shortfall; pnl -5.05."""
    row = story([order(1, leverage=20)], [(100.0, 100.0, 51.0, 51.0, 1e6)]).exit
    assert (row["price"], row["liquidation_fee"], row["insurance"]) == (9548, 48_000_000, 0)
    assert row["trade_pnl"] == -5_05000000


def test_gap_of_minus_49_percent_at_twenty():
    """Open 51: result -49, margin 5, insurance pays 44; the agent loses 5.05 and owes nothing."""
    row = (told := story([order(1, leverage=20)], [flat(51.0)])).exit
    assert (row["insurance"], row["trade_pnl"]) == (44 * USD, -5_05000000)
    assert told.accounts[0]["cash"] == 100_000 * USD - 5_05000000


def test_gap_beyond_stop_and_price_is_a_liquidation():
    """Stop 95, price 90.46, open 85: liquidation comes before the stop; result -15, insurance 5."""
    row = story([order(1, stop=500)], [flat(85.0)]).exit
    assert (row["kind"], row["insurance"]) == (LIQUIDATION, 5 * USD)


def test_stop_before_the_price():
    """Stop 95 is nearer than 90.46 and fills in full at 95: gross -5, fee 95 * 0.0005 = 0.0475; pnl -5.0975."""
    row = story([order(1, stop=500)], [(100.0, 100.0, 80.0, 81.0, 1e6)]).exit
    assert (row["kind"], row["price"], row["trade_pnl"]) == (STOP, 9500, -5_09750000)


def test_stop_without_volume_does_not_save():
    """The same candle without volume: the stop fills nothing, low 80 <= 90.46: liquidation at 90.46; pnl -10.05."""
    row = story([order(1, stop=500)], [(100.0, 100.0, 80.0, 81.0, 0.0)]).exit
    assert (row["kind"], row["price"], row["trade_pnl"]) == (LIQUIDATION, 9046, -10_05000000)


def test_stop_filled_in_part_then_liquidation():
    """Volume 0.4: 0.4 sold at 95 (value 38, cost 40, gross -2, fee 0.019); margin 7.981, E 60.
    (60 - 7.981) / (0.6 * 0.995) = 87.13400 -> 87.14. Low 80: the rest at 87.14: value 52.284, result -7.716,
    left 0.265; fee min(0.265, 0.65355). pnl = -2 - 7.716 - 0.05 - 0.019 - 0.265 = -10.05."""
    told = story([order(1, stop=500)], [(100.0, 100.0, 80.0, 81.0, 0.4)])
    (part,) = told.of("partial")
    assert (part["kind"], part["price"], part["qty"], part["fee"]) == (STOP, 9500, 400_000, 1_900_000)
    row = told.exit
    assert (row["kind"], row["price"], row["qty"], row["liquidation_fee"]) == (LIQUIDATION, 8714, 600_000, 26_500_000)
    assert row["trade_pnl"] == -10_05000000


def test_carried_stop_and_then_a_gap():
    """Low 94 without volume: the stop at 95 is carried; the next open 85 is beyond 90.46: liquidation, insurance 5."""
    told = story([order(1, stop=500)], [(100.0, 100.0, 94.0, 94.0, 0.0), flat(85.0)])
    assert (told.exit["candle"], told.exit["kind"], told.exit["insurance"]) == (3, LIQUIDATION, 5 * USD)


def test_liquidations_are_outside_the_cap():
    """Two longs of 1 coin, a candle that trades 0.1 coin: both are taken over in full at 90.46."""
    told = story([order(1), order(1, agent=1)], [(100.0, 100.0, 90.0, 99.0, 0.1)], funded=(True, True))
    assert [(row["qty"], row["price"]) for row in told.of("exit")] == [(COIN, 9046)] * 2
    assert told.accounts["insurance"] == 2 * 46_000_000


def test_shortfall_touches_no_other_agent():
    """A long (10x) and a short (10x) of 1 coin, open 85: the long's shortfall of 5 is the insurance's, the short is as before."""
    told = story([order(1), order(-1, agent=1)], [flat(85.0)], funded=(True, True))
    assert told.exit["insurance"] == 5 * USD
    assert told.after[-1][1] == told.after[-2][1]


@pytest.mark.parametrize(("side", "edge"), [(1, 9046), (-1, 10945)])
def test_equity_meets_maintenance_at_the_price_shown(side, edge):
    """Long: at 90.46 equity 10 - 9.54 = 0.46 > 0.4523 = 0.5 % of 90.46, at 90.45 0.45 < 0.45225.
    Short: at 109.45 equity 0.55 > 0.54725, at 109.46 0.54 < 0.5473. The price shown is the last before, against the agent."""
    assert story([order(side)]).liquidation == edge
    equity = [10 * USD + side * (price * COIN - 100 * USD) for price in (edge, edge - side)]
    assert equity[0] * 200 > edge * COIN
    assert equity[1] * 200 < (edge - side) * COIN
