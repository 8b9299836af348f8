"""What an order gets: slippage, price, quantity, notional, fee. All integers; every rounding goes against the agent.

Units: prices in 10^-p, quantities in 10^-q, amounts in 1e-8 of the quote currency, fractions in parts per 1e8.
Impact follows the square-root law (Almgren et al., "Direct estimation of equity market impact", 2005; Toth et al.,
"Anomalous price impact", 2011): relative price move = impact * sqrt(demand / volume), one for all orders of a side.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from trader.broker.market import HALF_SPREAD, IMPACT, LOT, MAKER_FEE, NOTIONAL_DIVISOR, PARTICIPATION, TAKER_FEE, TICK
from trader.core.money import FRACTION_SCALE, OVERFLOW, integer_sqrt, mul_div_ceil, mul_div_floor

_ROOT_SCALE = 1_000_000
_SQUARE_SCALE = _ROOT_SCALE * _ROOT_SCALE
_SCALABLE = 1 << 52
_LIMB = (1 << 32) - 1
_DIGIT = 10
_DIGIT_MASK = (1 << _DIGIT) - 1

NO_OFFER = -1
"""What a candle without volume offers."""


@njit(cache=True, nogil=True)
def sum_limbs(high: int, low: int, quantity: int) -> tuple[int, int]:
    """Add a quantity (of either sign) to a sum kept as high * 2^32 + low, 0 <= low < 2^32: many together are more than
    64 bits hold."""
    low += quantity & _LIMB
    return high + (quantity >> 32) + (low >> 32), low & _LIMB


@njit(cache=True, nogil=True)
def counted(value: int) -> int:
    """The value itself.

    Raises:
        OverflowError: it is beyond counting; it is refused, never wrapped.
    """
    if value == OVERFLOW:
        raise OverflowError("a position's value reaches 4.6e18 units of 1e-8")
    return value


@njit(cache=True, nogil=True)
def _next_digit(
    quotient: int, remainder: int, price: int, digit: int, divisor: int, bits: int = _DIGIT
) -> tuple[int, int]:
    """One step of the long division of price * quantity by the divisor: the next `bits` bits of the quantity."""
    part = counted(mul_div_floor(price, digit, divisor))
    # both remainders are below the divisor, itself below 2^52: the sum fits
    rest = (remainder << bits) + (price * digit - part * divisor)
    carry = rest // divisor
    return (quotient << bits) + part + carry, rest - carry * divisor


@njit(cache=True, nogil=True)
def summed_value(price: int, high: int, low: int, market: NDArray[np.int64]) -> int:
    """floor(price * (high * 2^32 + low) / D) modulo 2^64, for a sum of any size and sign.

    Long division of the quantity's digits in base 2^10, so that each step stays in 64 bits. Modulo 2^64 is enough for
    whoever subtracts what it is compared with, and knows that the difference fits.

    Raises:
        OverflowError: one digit's value is beyond counting.
    """
    divisor = market[NOTIONAL_DIVISOR]
    negative = high < 0
    if negative:
        high, low = (-high - 1, (1 << 32) - low) if low else (-high, 0)
    quotient = 0
    remainder = 0
    for shift in range(60, -1, -_DIGIT):
        quotient, remainder = _next_digit(quotient, remainder, price, (high >> shift) & _DIGIT_MASK, divisor)
    # the low limb has 32 bits: two of them, then three digits
    quotient, remainder = _next_digit(quotient, remainder, price, low >> 30, divisor, 2)
    for shift in range(20, -1, -_DIGIT):
        quotient, remainder = _next_digit(quotient, remainder, price, (low >> shift) & _DIGIT_MASK, divisor)
    if negative:
        return -quotient - (remainder > 0)
    return quotient


@njit(cache=True, nogil=True)
def shared_out(available: int, high: int, low: int) -> tuple[int, int]:
    """A candle's offer and the summed demand (high * 2^32 + low) as a ratio of exact divisors.

    A demand that the offer covers is left as it is; else both are halved together until the demand is below 2^52, the
    offer down and the demand up: never over the offer.
    """
    if high < 1 << 30 and (high << 32) + low <= available:
        return available, (high << 32) + low
    while high >= _SCALABLE >> 32:
        low += (high & 1) << 32
        high = high >> 1
        low = (low >> 1) + 1
        high += low >> 32
        low = low & _LIMB
        available = available >> 1
    return available, (high << 32) + low


@njit(cache=True, nogil=True)
def quantity_share(quantity: int, available: int, demand: int, lot: int) -> int:
    """An order's pro-rata part of what a candle offers, in whole lots: floor(quantity * min(1, available / demand)).

    available and demand as `shared_out` gives them; a candle without volume (NO_OFFER) gives nobody anything, whereas
    an offer of 0 meets a demand of 0: shadow orders add none.
    """
    if available == NO_OFFER:
        return 0
    if demand <= available:
        return quantity
    share = min(mul_div_floor(quantity, available, demand), quantity)
    return share // lot * lot


@njit(cache=True, nogil=True)
def participation_quantity(volume: int, market: NDArray[np.int64]) -> int:
    """The most that all agents together may trade in a candle of this volume; NO_OFFER without volume."""
    if volume <= 0:
        return NO_OFFER
    return mul_div_floor(volume, market[PARTICIPATION], FRACTION_SCALE)


@njit(cache=True, nogil=True)
def slippage_fraction(high: int, low: int, volume: int, market: NDArray[np.int64]) -> int:
    """Half spread plus impact of one side's summed demand (high * 2^32 + low), in parts per 1e8."""
    if (high == 0 and low == 0) or volume <= 0:
        return market[HALF_SPREAD]
    while volume >= _SCALABLE or high >= 1 << 30:
        low = (low + ((high & 1) << 32)) >> 1
        high = high >> 1
        volume = max(volume >> 1, 1)
    ratio = mul_div_floor((high << 32) + low, _SQUARE_SCALE, volume)
    if ratio == OVERFLOW:
        ratio = _SQUARE_SCALE * _ROOT_SCALE
    return market[HALF_SPREAD] + mul_div_ceil(market[IMPACT], integer_sqrt(ratio), _ROOT_SCALE)


@njit(cache=True, nogil=True)
def slipped_price(price: int, side: int, fraction: int, market: NDArray[np.int64]) -> int:
    """Price moved against an order of `side` (+1 buys, -1 sells) and then to the tick, against it again.

    A market sale is never below one tick.
    """
    move = mul_div_ceil(price, fraction, FRACTION_SCALE)
    tick = market[TICK]
    if side > 0:
        return -(-(price + move) // tick) * tick
    return max((price - move) // tick * tick, tick)


@njit(cache=True, nogil=True)
def notional_floor(price: int, quantity: int, market: NDArray[np.int64]) -> int:
    """Value of a quantity, rounded down: what a seller gets."""
    return mul_div_floor(price, quantity, market[NOTIONAL_DIVISOR])


@njit(cache=True, nogil=True)
def notional_ceil(price: int, quantity: int, market: NDArray[np.int64]) -> int:
    """Value of a quantity, rounded up: what a buyer pays."""
    return mul_div_ceil(price, quantity, market[NOTIONAL_DIVISOR])


@njit(cache=True, nogil=True)
def order_value(price: int, quantity: int, side: int, market: NDArray[np.int64]) -> int:
    """Value of a fill: rounded up for a buyer (+1), down for a seller (-1)."""
    if side > 0:
        return notional_ceil(price, quantity, market)
    return notional_floor(price, quantity, market)


@njit(cache=True, nogil=True)
def taker_fee(notional: int, market: NDArray[np.int64]) -> int:
    """Taker fee of a fill, rounded up."""
    return mul_div_ceil(notional, market[TAKER_FEE], FRACTION_SCALE)


@njit(cache=True, nogil=True)
def maker_fee(notional: int, market: NDArray[np.int64]) -> int:
    """Maker fee of a limit order that rested, rounded up."""
    return mul_div_ceil(notional, market[MAKER_FEE], FRACTION_SCALE)


@njit(cache=True, nogil=True)
def whole_lots(quantity: int, market: NDArray[np.int64]) -> int:
    """A quantity rounded down to whole lots."""
    return quantity // market[LOT] * market[LOT]
