"""Fills, margin and tiers against exact rational arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trader.broker import fills, margin
from trader.broker import market as rule
from trader.broker.market import ExchangeRules, candle_units, market_vector, tier_table
from trader.core.types import Instrument, LeverageTier, UserError


def vector(**options):
    instrument = Instrument("A/USDT", perpetual=True, taker_fee=50_000, **options)
    return market_vector(instrument, ExchangeRules(half_spread=0.0002, impact=0.01))


@settings(max_examples=300, deadline=None)
@given(
    demands=st.lists(st.integers(1, 10**15), min_size=1, max_size=20),
    available=st.integers(-1, 10**16),
    lot=st.sampled_from([1, 10, 1000]),
)
def test_shares_never_exceed_the_offer_and_do_not_depend_on_order(demands, available, lot):
    demands = [d // lot * lot for d in demands]
    total = sum(demands)
    offer, demand_left = fills.shared_out(available, total >> 32, total & 0xFFFFFFFF)
    shares = [fills.quantity_share(d, offer, demand_left, lot) for d in demands]
    assert sum(shares) <= max(available, 0) or total <= available
    assert all(share % lot == 0 and share <= demand for share, demand in zip(shares, demands, strict=True))
    for share, demand in zip(shares, demands, strict=True):
        exact = demand if total <= available else Fraction(demand) * max(available, 0) / max(total, 1)
        assert share > exact - lot - Fraction(demand, 2**40) - 1


@settings(max_examples=300, deadline=None)
@given(
    price=st.integers(1, 10**13),
    side=st.sampled_from([1, -1]),
    fraction=st.integers(0, 10**7),
    tick=st.sampled_from([1, 5, 1000]),
)
def test_slippage_and_tick_go_against_the_order(price, side, fraction, tick):
    market = vector(tick=tick)
    slipped = fills.slipped_price(price, side, fraction, market)
    assert slipped % tick == 0
    exact = price + side * Fraction(price * fraction, 10**8)
    if side > 0:
        assert exact <= slipped < exact + tick + 1
    else:
        assert slipped >= tick
        assert slipped == tick or exact - tick - 1 < slipped <= exact


def impact(demand, volume, market):
    return fills.slippage_fraction(demand >> 32, demand & 0xFFFFFFFF, volume, market)


def test_impact_grows_with_the_square_root_of_demand():
    market = vector()
    base = market[rule.HALF_SPREAD]
    one = impact(10**8, 10**12, market) - base
    four = impact(4 * 10**8, 10**12, market) - base
    assert one == 10_000  # 1 % * sqrt(1e-4) in parts per 1e8
    assert four == 2 * one
    assert impact(0, 10**12, market) == base
    assert impact(5, 0, market) == base
    assert impact(2**55, 2**60, market) - base == pytest.approx(10**6 * (2**-5) ** 0.5, rel=1e-4)


def test_values_are_rounded_against_both_sides():
    market = vector()
    assert fills.order_value(3, 5 * 10**7, 1, market) == 2
    assert fills.order_value(3, 5 * 10**7, -1, market) == 1
    assert fills.taker_fee(1, market) == 1
    assert margin.initial_margin(1_000, 300) == 334


@settings(max_examples=300, deadline=None)
@given(
    side=st.sampled_from([1, -1]),
    price=st.integers(10**6, 10**12),
    quantity=st.integers(10**6, 10**11),
    leverage=st.integers(100, 2000),
    floor=st.integers(10**8, 10**13),
)
def test_liquidation_is_where_equity_meets_maintenance(side, price, quantity, leverage, floor):
    """At the price equity <= maintenance (to rounding), and one part in 10^6 nearer to the entry it is above."""
    tiers = (LeverageTier(0, 500_000, 0, 20), LeverageTier(floor, 1_000_000, floor * 500_000 // 10**8, 10))
    market = vector(tiers=tiers)
    table = tier_table(Instrument("A/USDT", perpetual=True, tiers=tiers))
    cost = fills.order_value(price, quantity, side, market)
    held = margin.initial_margin(cost, leverage)
    found = margin.liquidation_price(side, quantity, cost, held, market, table)

    def above_maintenance(at):
        notional = Fraction(at * quantity, 10**8)
        row = 1 if notional >= floor else 0
        maintenance = notional * int(table[row, rule.TIER_RATE]) / 10**8 - int(table[row, rule.TIER_AMOUNT])
        return held + side * (notional - cost) - maintenance

    if found == 0:
        assert side > 0
        assert above_maintenance(1) > 0
        return
    slack = Fraction(quantity, 10**8) + 3
    assert above_maintenance(found - side) <= slack
    assert above_maintenance(found + side * (found // 10**6 + 2)) > -slack


def test_spot_is_never_liquidated():
    spot = market_vector(Instrument("A/USDT", perpetual=False), ExchangeRules())
    table = tier_table(Instrument("A/USDT", perpetual=False))
    assert margin.liquidation_price(1, 10**8, 10**10, 10**10, spot, table) == 0


def test_candles_in_units_stay_inside_themselves():
    candles = np.array(
        [[0.00000123, 0.00000129, 0.00000121, 0.00000125, 5e15], [60000.1, 60000.1, 60000.1, 60000.1, 0.0]]
    )
    units = candle_units(candles, vector())
    assert units[0].tolist() == [123, 129, 121, 125, 4 * 10**18]
    assert units[1].tolist() == [6000010000000] * 4 + [0]
    absent = candle_units(np.full((1, 5), np.nan), vector())
    assert absent.tolist() == [[0, 0, 0, 0, 0]]


def test_instruments_that_cannot_be_counted_are_refused():
    for options in (
        {"price_exponent": 3, "quantity_exponent": 2},
        {"price_exponent": 18, "quantity_exponent": 8},
        {"tick": 0},
    ):
        with pytest.raises(UserError, match="A/USDT"):
            vector(**options)
