"""The rules of one market as one int64 vector, which is what compiled code reads.

Axes: `market` int64 [MARKET_FIELDS]; `tiers` int64 [tiers, 4] (notional floor and maintenance amount in 1e-8 of the
quote currency, maintenance rate in parts per 1e8, maximum leverage), ascending by floor, at least one row.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trader.core.money import DIVISOR_LIMIT, to_fraction
from trader.core.types import Instrument, UserError

(
    PRICE_SCALE,  # 10^price_exponent
    QUANTITY_SCALE,  # 10^quantity_exponent
    NOTIONAL_DIVISOR,  # price * quantity / this = amount in 1e-8
    TICK,
    LOT,
    MINIMUM_QUANTITY,
    MINIMUM_NOTIONAL,
    TAKER_FEE,  # this and the next five: parts per 1e8
    MAKER_FEE,
    PARTICIPATION,
    HALF_SPREAD,
    IMPACT,  # at demand = volume; grows with the square root of demand over volume
    LIQUIDATION_FEE,
    PATH,
    PATH_SEED,
    PERPETUAL,
    LATENCY_MS,
    MARKET_FIELDS,
) = range(18)

TIER_FLOOR, TIER_RATE, TIER_AMOUNT, TIER_LEVERAGE = range(4)

DEFAULT_LIQUIDATION_FEE: Final = 0.0125
"""Binance's USD-margined BTCUSDT contract: exchangeInfo field liquidationFee."""


class Path(IntEnum):
    """Order in which a candle is assumed to visit its extremes."""

    COLOUR = 0
    PESSIMISTIC = 1
    RANDOM = 2
    DETAIL = 3


@dataclass(frozen=True, slots=True)
class ExchangeRules:
    """What the configuration says about fills, all fractions."""

    participation: float = 0.1
    half_spread: float = 0.0002
    impact: float = 0.01
    liquidation_fee: float = DEFAULT_LIQUIDATION_FEE
    path: Path = Path.COLOUR
    path_seed: int = 0
    latency_ms: int = 0


def market_vector(instrument: Instrument, rules: ExchangeRules) -> NDArray[np.int64]:
    """The market vector of an instrument under the configured rules.

    Raises:
        UserError: exponents too fine for exact 64-bit arithmetic, or a step that is not positive.
    """
    digits = instrument.price_exponent + instrument.quantity_exponent
    if not 8 <= digits <= 8 + 15:
        raise UserError(f"{instrument.symbol}: price and quantity digits together must be 8 to 23, not {digits}")
    if instrument.tick < 1 or instrument.lot < 1:
        raise UserError(f"{instrument.symbol}: tick and lot must be positive")
    vector = np.zeros(MARKET_FIELDS, np.int64)
    vector[PRICE_SCALE] = 10**instrument.price_exponent
    vector[QUANTITY_SCALE] = 10**instrument.quantity_exponent
    vector[NOTIONAL_DIVISOR] = 10 ** (digits - 8)
    vector[TICK] = instrument.tick
    vector[LOT] = instrument.lot
    vector[MINIMUM_QUANTITY] = max(instrument.minimum_quantity, instrument.lot)
    vector[MINIMUM_NOTIONAL] = instrument.minimum_notional
    vector[TAKER_FEE] = instrument.taker_fee
    vector[PARTICIPATION] = to_fraction(rules.participation)
    vector[HALF_SPREAD] = to_fraction(rules.half_spread)
    vector[IMPACT] = to_fraction(rules.impact)
    vector[LIQUIDATION_FEE] = to_fraction(rules.liquidation_fee)
    vector[MAKER_FEE] = instrument.maker_fee
    vector[PATH] = int(rules.path)
    vector[PATH_SEED] = rules.path_seed
    vector[LATENCY_MS] = rules.latency_ms
    vector[PERPETUAL] = int(instrument.perpetual)
    assert vector[NOTIONAL_DIVISOR] < DIVISOR_LIMIT
    return vector


def tier_table(instrument: Instrument) -> NDArray[np.int64]:
    """The leverage brackets of an instrument; spot and unknown perpetuals have one without maintenance or bound."""
    if not instrument.tiers:
        return np.array([[0, 0, 0, 1 if not instrument.perpetual else 20]], np.int64)
    rows = [
        (tier.notional_floor, tier.maintenance_rate, tier.maintenance_amount, tier.maximum_leverage)
        for tier in instrument.tiers
    ]
    return np.array(sorted(rows), np.int64)


def candle_units(candles: NDArray[np.float64], market: NDArray[np.int64]) -> NDArray[np.int64]:
    """Candles [T, 5] as integers: prices in price units, volume in quantity units, clipped at the largest amounts.

    Open and close are rounded to the nearest unit; low up and high down, so that a fill inside [low, high] in units is
    inside it in floats (to the precision of the unit). Volume is rounded down.
    """
    scale = float(market[PRICE_SCALE])
    prices = candles[:, :4] * scale
    tolerance = np.maximum(np.abs(prices) * 1e-15, 1e-6)
    units = np.rint(prices)
    units[:, 1] = np.floor(prices[:, 1] + tolerance[:, 1])
    units[:, 2] = np.minimum(np.ceil(prices[:, 2] - tolerance[:, 2]), units[:, 1])
    units[:, 0] = np.clip(units[:, 0], units[:, 2], units[:, 1])
    units[:, 3] = np.clip(units[:, 3], units[:, 2], units[:, 1])
    volume = np.floor(np.minimum(candles[:, 4] * float(market[QUANTITY_SCALE]), 4.0e18))
    out = np.empty((len(candles), 5), np.int64)
    out[:, :4] = np.where(np.isfinite(units), units, 0.0)
    out[:, 4] = np.where(np.isfinite(volume), volume, 0.0)
    return out
