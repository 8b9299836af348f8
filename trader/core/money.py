"""Exact integer money: products of 64-bit integers divided through 128 bits, rounded once, in a stated direction.

Amounts are int64 in 1e-8 of the quote currency; prices int64 in 10^-p and quantities in 10^-q of the instrument.
A notional is price * quantity / 10^(p + q - 8): its product overflows int64 from about 922 units of money on, so every
product goes through `mul_div`. Which rounding is "against the agent" depends on the flow (what it pays is rounded up,
what it receives is rounded down): callers choose `mul_div_floor` or `mul_div_ceil`, and nothing else rounds money.

Method: the quotient is estimated in float64 (relative error below 2^-51, so below 2^11 for a quotient under 2^62); the
remainder a*b - q*d is then exact in wrapping 64-bit arithmetic because it is smaller than 2^63 whenever d < 2^52.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit

AMOUNT_SCALE: Final = 100_000_000
"""Amounts are counted in 1e-8 of the quote currency."""

LIMIT: Final = 4_600_000_000_000_000_000
"""No amount, price or quantity reaches this (just under 2^62); beyond it an operation is refused, never wrapped."""

DIVISOR_LIMIT: Final = 1 << 52
"""Divisors (scales, prices) stay below this, so that `mul_div` is exact."""

OVERFLOW: Final = -(1 << 63)
"""Returned by the kernel-side functions instead of a quotient that would reach LIMIT."""

FRACTION_SCALE: Final = 100_000_000
"""Fees, slippage, participation and rates are parts per 1e8."""

_FLOAT_LIMIT: Final = 4.6e18


@njit(cache=True, nogil=True, inline="always")
def mul_div_floor(a: int, b: int, d: int) -> int:
    """floor(a * b / d) for |a|, |b| < 2^62 and 0 < d < 2^52, or OVERFLOW if the quotient would reach LIMIT."""
    estimate = float(a) * float(b) / float(d)
    if not (-_FLOAT_LIMIT < estimate < _FLOAT_LIMIT):
        return OVERFLOW
    quotient = np.int64(estimate)
    # wrapping multiplication is wanted: the true remainder fits although the products do not
    remainder = np.int64(a) * np.int64(b) - quotient * np.int64(d)
    step = remainder // np.int64(d)
    return quotient + step  # type: ignore[return-value]  # compiled: an int64


@njit(cache=True, nogil=True, inline="always")
def mul_div_ceil(a: int, b: int, d: int) -> int:
    """ceil(a * b / d) under the same bounds as `mul_div_floor`."""
    estimate = float(a) * float(b) / float(d)
    if not (-_FLOAT_LIMIT < estimate < _FLOAT_LIMIT):
        return OVERFLOW
    quotient = np.int64(estimate)
    remainder = np.int64(a) * np.int64(b) - quotient * np.int64(d)
    step = -((-remainder) // np.int64(d))
    return quotient + step  # type: ignore[return-value]  # compiled: an int64


@njit(cache=True, nogil=True, inline="always")
def integer_sqrt(value: int) -> int:
    """floor(sqrt(value)) for 0 <= value < LIMIT; IEEE square root is exact to one unit, then corrected."""
    root = np.int64(np.sqrt(float(value)))
    while root * root > value:
        root -= 1
    while (root + 1) * (root + 1) <= value:
        root += 1
    return root  # type: ignore[return-value]  # compiled: an int64


def to_amount(value: float) -> int:
    """Money typed by a person, in 1e-8, to the nearest unit.

    Raises:
        ValueError: not finite, or too large for the ledger.
    """
    amount = round(value * AMOUNT_SCALE) if np.isfinite(value) else LIMIT
    if abs(amount) >= LIMIT:
        raise ValueError(f"{value} is too large for amounts counted in 1e-8 (limit {LIMIT // AMOUNT_SCALE})")
    return amount


def to_fraction(value: float) -> int:
    """A fee, rate or share as parts per 1e8, to the nearest part."""
    return round(value * FRACTION_SCALE)


def decimal_text(amount: int, exponent: int = 8) -> str:
    """An integer in 10^-exponent as exact decimal text with `exponent` digits after the point."""
    sign = "-" if amount < 0 else ""
    whole, part = divmod(abs(amount), 10**exponent)
    return f"{sign}{whole}.{part:0{exponent}d}" if exponent else f"{sign}{whole}"
