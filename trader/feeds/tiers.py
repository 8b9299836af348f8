"""Leverage brackets of perpetuals: from files in ccxt's unified form, and from tables of instruments.

A file is what `fetch_leverage_tiers` returns (symbol to a list of `{minNotional, maintenanceMarginRate, maxLeverage}`,
plain or gzipped JSON). Amounts of a bracket follow from continuity of the maintenance margin:
amount_k = amount_(k-1) + floor_k * (rate_k - rate_(k-1)), rounded up.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any, Final

from trader.core.money import LIMIT
from trader.core.types import LeverageTier, UserError

SCALE: Final = 100_000_000
"""Amounts and rates are integers in 1e-8."""

_ROW: Final = ("minNotional", "maintenanceMarginRate", "maxLeverage")


def by_symbol(data: Any, where: str) -> dict[str, tuple[LeverageTier, ...]]:
    """Brackets of every perpetual of a file in ccxt's form, by BASE/QUOTE.

    Raises:
        UserError: it is no object of symbols, or a symbol's brackets have the wrong shape or order.
    """
    if not isinstance(data, dict):
        raise UserError(f"{where}: must be an object of symbols")
    # BASE/QUOTE:QUOTE-YYMMDD is a dated future: another contract with the same BASE/QUOTE
    return {
        symbol.partition(":")[0]: tiers_of(rows, f"{where}: {symbol}")
        for symbol, rows in data.items()
        if "-" not in symbol.partition(":")[2]
    }


def tiers_of(rows: Any, where: str) -> tuple[LeverageTier, ...]:
    """Brackets of one symbol, lowest first: rows as objects in ccxt's form, or as [floor, rate, leverage].

    Raises:
        UserError: the wrong shape or order, or a number that cannot be.
    """
    tiers: list[LeverageTier] = []
    try:
        for row in rows:
            floor, rate, leverage = row if isinstance(row, Sequence) else (row[name] for name in _ROW)
            tiers.append(_next(tiers, _units(floor), _units(rate), int(leverage), where))
    except (KeyError, TypeError, InvalidOperation, ValueError, OverflowError) as error:
        raise UserError(f"{where}: not a list of leverage brackets ({error!r})") from error
    if not tiers or tiers[0].notional_floor != 0:
        raise UserError(f"{where}: the first bracket must begin at 0")
    return tuple(tiers)


def _next(tiers: list[LeverageTier], floor: int, rate: int, leverage: int, where: str) -> LeverageTier:
    """The bracket after those so far, with its maintenance amount."""
    amount = 0
    if tiers:
        last = tiers[-1]
        # rounded up: a later bracket never asks for less than the one before at their common border
        step = Decimal(floor * (rate - last.maintenance_rate)) / SCALE
        amount = last.maintenance_amount + int(step.to_integral_value(ROUND_CEILING))
    if leverage < 1 or not 0 < rate < SCALE or (tiers and floor <= tiers[-1].notional_floor):
        raise UserError(f"{where}: brackets must ascend, rate in (0, 1), leverage >= 1")
    if max(floor, abs(amount)) >= LIMIT:
        raise UserError(f"{where}: a bracket beyond {LIMIT // SCALE} cannot be counted")
    return LeverageTier(floor, rate, amount, leverage)


def _units(value: Any) -> int:
    """A JSON number or decimal text in 1e-8, to the nearest: files of floats say 0.06650000000000001."""
    return int((Decimal(value) * SCALE).to_integral_value(ROUND_HALF_EVEN))
