"""Isolated margin of linear contracts: initial margin, maintenance, and the price at which a position is taken over.

Formulas (Binance, "Liquidation price of USD-margined futures contracts", isolated mode, one position), with E the
entry value, q the quantity, m the margin left, r and a the maintenance rate and amount of the notional's tier:
    long:   m + q P - E = r q P - a   =>   P = (E - m - a) / (q (1 - r))
    short:  m + E - q P = r q P - a   =>   P = (E + m + a) / (q (1 + r))
The tier is the one of the position's notional at P, found by trying each. The long price is rounded up and the short
one down: against the agent. A price of 0 (long) or 0 (short, none) means that no price takes the position over.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from trader.broker.fills import notional_floor
from trader.broker.market import NOTIONAL_DIVISOR, PERPETUAL, TIER_AMOUNT, TIER_FLOOR, TIER_RATE
from trader.core.money import FRACTION_SCALE, OVERFLOW, mul_div_ceil, mul_div_floor

LEVERAGE_SCALE = 100
"""Leverage is counted in hundredths."""

_SCALABLE = 1 << 52


@njit(cache=True, nogil=True)
def initial_margin(notional: int, leverage: int) -> int:
    """Margin that opens a position of this value at this leverage (hundredths), rounded up."""
    return mul_div_ceil(notional, LEVERAGE_SCALE, leverage)


@njit(cache=True, nogil=True)
def _price_of(value: int, quantity: int, side: int, market: NDArray[np.int64]) -> int:
    """Price at which `quantity` is worth `value`: rounded up for a long, down for a short."""
    divisor = market[NOTIONAL_DIVISOR]
    while quantity >= _SCALABLE:
        # halving rounds against the agent too: a long's price up, a short's down
        quantity = quantity >> 1 if side > 0 else (quantity + 1) >> 1
        value = (value + 1) >> 1 if side > 0 else value >> 1
    if side > 0:
        return mul_div_ceil(value, divisor, quantity)
    return mul_div_floor(value, divisor, quantity)


@njit(cache=True, nogil=True)
def liquidation_price(
    side: int, quantity: int, entry_value: int, margin: int, market: NDArray[np.int64], tiers: NDArray[np.int64]
) -> int:
    """Price at which equity equals maintenance margin; 0 if there is none (always on spot)."""
    if market[PERPETUAL] == 0:
        return 0
    for row in range(tiers.shape[0] - 1, -1, -1):
        rate = tiers[row, TIER_RATE]
        amount = tiers[row, TIER_AMOUNT]
        if side > 0:
            numerator = entry_value - margin - amount
            if numerator <= 0:
                continue
            value = mul_div_ceil(numerator, FRACTION_SCALE, FRACTION_SCALE - rate)
        else:
            value = mul_div_floor(entry_value + margin + amount, FRACTION_SCALE, FRACTION_SCALE + rate)
        if value == OVERFLOW:
            continue
        price = _price_of(value, quantity, side, market)
        if price == OVERFLOW or price <= 0:
            continue
        if notional_floor(price, quantity, market) >= tiers[row, TIER_FLOOR] or row == 0:
            return price
    return 0
