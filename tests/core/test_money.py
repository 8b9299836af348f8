"""Integer money against Python's unbounded integers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trader.core import money

small = st.integers(-(1 << 61), 1 << 61)
positive = st.integers(1, money.DIVISOR_LIMIT - 1)


def refused(a, b, d):
    """The float estimate is what decides near the limit; a hair below it either answer is right."""
    return abs(a * b) // d >= money.LIMIT


@settings(max_examples=2000, deadline=None)
@given(a=small, b=st.integers(0, 1 << 61), d=positive)
def test_mul_div_is_exact_or_refused(a, b, d):
    floor, ceil = money.mul_div_floor(a, b, d), money.mul_div_ceil(a, b, d)
    if refused(a, b, d):
        assert floor == money.OVERFLOW or abs(floor) >= money.LIMIT * 0.999
        return
    near = abs(a * b) // d > money.LIMIT * 0.999
    assert floor == a * b // d or (near and floor == money.OVERFLOW)
    assert ceil == -(-a * b // d) or (near and ceil == money.OVERFLOW)


def test_a_notional_beyond_int64_products_is_exact():
    price, quantity = 6_000_012_345_678, 100_000_000_000
    assert price * quantity > 2**63
    assert money.mul_div_floor(price, quantity, 10**8) == price * quantity // 10**8


@settings(max_examples=500, deadline=None)
@given(value=st.integers(0, money.LIMIT))
def test_integer_square_root(value):
    assert money.integer_sqrt(value) == math.isqrt(value)


@pytest.mark.parametrize(
    ("amount", "exponent", "text"),
    [
        (0, 8, "0.00000000"),
        (-1, 8, "-0.00000001"),
        (123456789, 8, "1.23456789"),
        (-250000000, 8, "-2.50000000"),
        (7, 0, "7"),
    ],
)
def test_decimal_text(amount, exponent, text):
    assert money.decimal_text(amount, exponent) == text


def test_amounts_typed_by_people():
    assert money.to_amount(1_000_000.0) == 10**14
    assert money.to_amount(0.1) == 10_000_000
    assert money.to_fraction(0.0005) == 50_000
    for value in (float("nan"), float("inf"), 1e12):
        with pytest.raises(ValueError, match="too large"):
            money.to_amount(value)
