"""Worked funding examples, stamps put on candles by trader/feeds/funding.py; numbers by hand from docs/exchange.md.

Unless told otherwise: 1 coin at 100.00 with 10x (margin 10, entry fee 0.05), candles of one hour that stand still at 100.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.referee.arithmetic import Tier
from tests.referee.driver import OrderKind, at
from tests.referee.scenarios import HOUR, START, Send
from tests.referee.worked import USD, flat, order, story
from trader.feeds.files import Candles, Stamps
from trader.feeds.funding import TOLERANCE_MS, join

NAN = float("nan")


def amounts(told):
    return [(row["candle"], row["amount"]) for row in told.of("funding")]


def joined(count, stamps, marks=()):
    """Stamps (ms after the start, rate) on `count` hourly candles, as the feed joins them; marks: (ms after start, price)."""
    times = START + np.arange(count) * HOUR
    values = np.array([[price] * 5 for _, price in marks]).reshape(-1, 5)
    candles = [Candles(START + np.array([ms for ms, _ in marks], np.int64), values)] if marks else []
    rates, prices = join(
        times, Stamps(START + np.array([ms for ms, _ in stamps], np.int64), np.array([r for _, r in stamps])), candles
    )
    return {t: (rates[t], prices[t]) for t in range(count) if not np.isnan(rates[t])}


def still(count):
    """Candles after the first two, so that there are `count`."""
    return [flat(100.0)] * (count - 2)


def test_long_pays():
    """100 * 0.0001 = 0.01; margin 9.99, funding account +0.01."""
    told = story([order(1)], still(3), stamps={2: (0.0001, 100.0)})
    assert amounts(told) == [(2, -1_000_000)]
    assert told.accounts["funding"] == 1_000_000
    assert told.accounts[0]["margin"] == 9_99000000


def test_short_receives():
    """100 * 0.0001 = 0.01 into the margin."""
    told = story([order(-1)], still(3), stamps={2: (0.0001, 100.0)})
    assert amounts(told) == [(2, 1_000_000)]
    assert told.accounts[0]["margin"] == 10_01000000


def test_negative_rate_pays_the_long():
    """Rate -0.0003: the long receives 0.03."""
    assert amounts(story([order(1)], still(3), stamps={2: (-0.0003, 100.0)})) == [(2, 3_000_000)]


def test_negative_rate_costs_the_short():
    """Rate -0.0003: the short pays 0.03."""
    assert amounts(story([order(-1)], still(3), stamps={2: (-0.0003, 100.0)})) == [(2, -3_000_000)]


@pytest.mark.parametrize(("side", "amount"), [(1, -409_959), (-1, 409_958)])
def test_rounding_is_against_both(side, amount):
    """0.333333 coins at mark 99.99: floor(9999 * 333333) = 33.32996667; * 0.000123 = 0.00409958590.. : the payer pays
    0.00409959, the receiver gets 0.00409958."""
    told = story([order(side, 0.333333)], still(3), stamps={2: (0.000123, 99.99)})
    assert amounts(told) == [(2, amount)]


def test_the_account_keeps_the_difference_of_roundings():
    """A long and a short of the example above: 0.00409959 in, 0.00409958 out, 0.00000001 stays."""
    sends = [order(1, 0.333333), order(-1, 0.333333, agent=1)]
    told = story(sends, still(3), stamps={2: (0.000123, 99.99)}, funded=(True, True))
    assert told.accounts["funding"] == 1


def test_mark_and_not_last():
    """Mark 110 while the candle opens at 100: 110 * 0.0001 = 0.011."""
    assert amounts(story([order(1)], still(3), stamps={2: (0.0001, 110.0)})) == [(2, -1_100_000)]


def test_without_a_mark_the_open_counts():
    """No mark, open 98: 98 * 0.0001 = 0.0098."""
    assert amounts(story([order(1)], [flat(98.0)], stamps={2: (0.0001, NAN)})) == [(2, -980_000)]


def test_an_amount_of_nothing_is_no_event():
    """0.000001 coin (a unit) at 100: value 0.0001; * 0.00005 = 5e-9, received rounded down: 0."""
    assert amounts(story([order(-1, 0.000001, 1)], still(3), stamps={2: (0.00005, 100.0)})) == []


def test_at_most_the_margin():
    """20x: margin 5, rate 6 %: 6 is owed, 5 paid. Nothing left: (100 - 0) / 0.995 = 100.50251 -> 100.51, above the open 100:
    taken over at 100 with result 0 and fee min(0, 1.25) = 0; pnl = -5 - 0.05."""
    told = story([order(1, leverage=20)], still(3), stamps={2: (0.06, 100.0)})
    assert amounts(told) == [(2, -5 * USD)]
    row = told.exit
    assert (row["step"], row["price"], row["liquidation_fee"]) == (at.PHASE_OPEN_LIQUIDATION, 10_000, 0)
    assert row["trade_pnl"] == -5_05000000


def test_funding_alone_can_liquidate():
    """20x, rate 4.6 %: pays 4.6, margin 0.4; 99.6 / 0.995 = 100.10050 -> 100.11 >= open 100: taken at 100,
    fee min(0.4, 1.25) = 0.4; pnl = -4.6 - 0.4 - 0.05 = -5.05."""
    told = story([order(1, leverage=20)], still(3), stamps={2: (0.046, 100.0)})
    assert told.exit["liquidation_fee"] == 40_000_000
    assert told.exit["trade_pnl"] == -5_05000000


def test_payment_moves_the_liquidation_price_of_a_long():
    """Pays 0.1 of 10: (100 - 9.9) / 0.995 = 90.55276 -> 90.56 (90.46 before)."""
    assert story([order(1)], still(3), stamps={2: (0.001, 100.0)}).liquidation == 9056


def test_receipt_moves_the_liquidation_price_of_a_short():
    """Receives 0.1: (100 + 10.1) / 1.005 = 109.55223 -> 109.55 (109.45 before)."""
    assert story([order(-1)], still(3), stamps={2: (0.001, 100.0)}).liquidation == 10955


def test_payment_in_the_higher_bracket():
    """10 coins, margin 100, from 500: 1 %, amount 2.5; mark 120, rate 0.1 %: 1200 * 0.001 = 1.2, margin 98.8.
    (1000 - 98.8 - 2.5) / 9.9 = 90.77777 -> 90.78."""
    tiers = (Tier(0, 500_000, 0, 125), Tier(500 * USD, 1_000_000, 2_50000000, 50))
    told = story([order(1, 10)], still(3), stamps={2: (0.001, 120.0)}, tiers=tiers)
    assert amounts(told) == [(2, -1_20000000)]
    assert told.liquidation == 9078


def test_four_hour_schedule():
    """Stamps at 4 h, 8 h and 12 h: three payments of 0.01, pnl at the end without an exit: margin 9.97."""
    stamps = joined(14, [(h * HOUR, 0.0001) for h in (4, 8, 12)])
    told = story([order(1)], still(14), stamps=stamps)
    assert amounts(told) == [(4, -1_000_000), (8, -1_000_000), (12, -1_000_000)]
    assert told.accounts[0]["margin"] == 9_97000000


def test_eight_hour_schedule():
    """Stamps at 8 h, 16 h, 24 h with 0.01 %, -0.02 %, 0.03 %: -0.01, +0.02, -0.03."""
    stamps = joined(26, [(8 * HOUR, 0.0001), (16 * HOUR, -0.0002), (24 * HOUR, 0.0003)])
    told = story([order(1)], still(26), stamps=stamps)
    assert amounts(told) == [(8, -1_000_000), (16, 2_000_000), (24, -3_000_000)]


def test_jittered_stamps_find_their_hour():
    """8 h + 3 ms, 16 h - 2 ms, 24 h + 5,000 ms: still candles 8, 16 and 24; marks of the same hours, 101, 102, 103:
    0.0101, 0.0102, 0.0103."""
    marks = [(h * HOUR, price) for h, price in ((8, 101.0), (16, 102.0), (24, 103.0))]
    stamps = joined(26, [(8 * HOUR + 3, 1e-4), (16 * HOUR - 2, 1e-4), (24 * HOUR + TOLERANCE_MS, 1e-4)], marks)
    told = story([order(1)], still(26), stamps=stamps)
    assert amounts(told) == [(8, -1_010_000), (16, -1_020_000), (24, -1_030_000)]


def test_a_stamp_beyond_the_tolerance_waits_for_the_next_candle():
    """2 h + 5,001 ms belongs to no open: candle 3 pays."""
    told = story([order(1)], still(5), stamps=joined(5, [(2 * HOUR + TOLERANCE_MS + 1, 0.0001)]))
    assert amounts(told) == [(3, -1_000_000)]


def test_a_stamp_just_before_the_hour_is_not_lost():
    """3 h - 4,999 ms: within 5 s of candle 3."""
    told = story([order(1)], still(5), stamps=joined(5, [(3 * HOUR - 4_999, 0.0001)]))
    assert amounts(told) == [(3, -1_000_000)]


def test_stamps_of_a_hole_are_paid_by_the_first_candle_after_it():
    """Candles 3 to 5 are missing, stamps at 3 h (0.01 %) and 5 h (0.02 %): candle 6 pays 0.03."""
    times = START + np.array([0, 1, 2, 6]) * HOUR
    rates, _ = join(times, Stamps(START + np.array([3, 5]) * HOUR, np.array([0.0001, 0.0002])), [])
    assert rates[:3].tolist() == pytest.approx([NAN] * 3, nan_ok=True)
    told = story([order(1)], [flat(100.0), None, None, None, flat(100.0)], stamps={6: (rates[3], NAN)})
    assert amounts(told) == [(6, -3_000_000)]


def test_who_opens_at_the_stamp_pays_nothing():
    """The entry fills at candle 1, the stamp is candle 1's: the position was not held before."""
    assert amounts(story([order(1)], still(3), stamps={1: (0.01, 100.0)})) == []


def test_who_closes_at_the_stamp_pays_first():
    """Exit ordered at candle 1 fills at candle 2's open, funding 0.01 comes first:
    pnl = 0 - 0.05 (entry) - 0.05 (exit) - 0.01 = -0.11."""
    told = story([order(1), Send(1, 0, "signal")], still(3), stamps={2: (0.0001, 100.0)})
    assert amounts(told) == [(2, -1_000_000)]
    assert (told.exit["kind"], told.exit["trade_pnl"]) == (int(OrderKind.SIGNAL), -11_000_000)


def test_after_a_part_was_sold_the_rest_pays():
    """Candle 2 trades 0.5 coin: half is sold; at candle 3 the other half pays 50 * 0.0001 = 0.005 before it is sold."""
    told = story([order(1), Send(1, 0, "signal")], [flat(100.0, 0.5), flat(100.0)], stamps={3: (0.0001, 100.0)})
    assert amounts(told) == [(3, -500_000)]


def test_spot_pays_none():
    """A coin that is held, not a contract."""
    told = story(
        [order(1, leverage=1)], still(3), stamps={2: (0.01, 100.0)}, perpetual=False, tiers=(Tier(0, 0, 0, 1),)
    )
    assert amounts(told) == []
    assert told.accounts["funding"] == 0


def test_shadow_pays_from_its_virtual_margin():
    """The shadow's row says -0.01; the market's accounts do not move."""
    told = story([order(1)], still(3), stamps={2: (0.0001, 100.0)}, funded=(False,))
    assert amounts(told) == [(2, -1_000_000)]
    assert told.accounts["funding"] == 0
    assert told.accounts[0]["margin"] == 9_99000000


def test_pnl_is_result_less_fees_plus_funding():
    """Entry 100, stamps -0.01 and +0.02, exit at 103: gross 3, fees 0.05 + 0.0515; pnl = 3 - 0.1015 + 0.01 = 2.9085."""
    sends = [order(1), Send(3, 0, "signal")]
    told = story(sends, [*still(4), flat(103.0)], stamps={2: (0.0001, 100.0), 3: (-0.0002, 100.0)})
    row = told.exit
    assert (row["trade_gross"], row["trade_fees"], row["trade_funding"]) == (3 * USD, 10_150_000, 1_000_000)
    assert row["trade_pnl"] == 2_90850000
