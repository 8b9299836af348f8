"""How each symbol is priced and traded, as far as it is known without asking an exchange.

An unknown instrument gets tick and lot 1e-8: never steps guessed from its candles, that would look ahead. Perpetuals
take their leverage brackets from a file in ccxt's unified form (`fetch_leverage_tiers`: symbol to a list of
`{minNotional, maintenanceMarginRate, maxLeverage}`, plain or gzipped JSON), else one bracket for all sizes. Amounts of
a bracket follow from continuity of the maintenance margin: amount_k = amount_(k-1) + floor_k * (rate_k - rate_(k-1)).
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

from trader.core.types import Instrument, LeverageTier, UserError

SCALE: Final = 100_000_000
"""Amounts and rates are integers in 1e-8."""

DEFAULT_TIERS: Final = (
    LeverageTier(notional_floor=0, maintenance_rate=500_000, maintenance_amount=0, maximum_leverage=20),
)
"""Without a file: 0.5 % maintenance margin and at most 20-fold leverage, whatever the size."""

SPOT_FEE: Final = 0.001
SWAP_MAKER: Final = 0.0002
SWAP_TAKER: Final = 0.0005
"""Binance's fees for an ordinary account (spot 0.1 % both; USDT perpetuals 0.02 % and 0.05 %), November 2026."""


@dataclass(frozen=True, slots=True)
class TradingTerms:
    """What the config says of trading: market type, fees as fractions (None: the default of that type), tiers file."""

    market_type: str = "spot"
    maker: float | None = None
    taker: float | None = None
    tiers: Path | None = None


def instruments_for(symbols: tuple[str, ...], terms: TradingTerms) -> tuple[Instrument, ...]:
    """One instrument a symbol, in the same order.

    Raises:
        UserError: the tiers file cannot be read or does not have the shape above.
    """
    perpetual = terms.market_type == "swap"
    maker = terms.maker if terms.maker is not None else (SWAP_MAKER if perpetual else SPOT_FEE)
    taker = terms.taker if terms.taker is not None else (SWAP_TAKER if perpetual else SPOT_FEE)
    brackets = read_tiers(terms.tiers) if perpetual and terms.tiers is not None else {}
    return tuple(
        Instrument(
            symbol=symbol,
            perpetual=perpetual,
            maker_fee=round(maker * SCALE),
            taker_fee=round(taker * SCALE),
            tiers=brackets.get(symbol, DEFAULT_TIERS) if perpetual else (),
            source=_source(symbol, terms.tiers, brackets),
        )
        for symbol in symbols
    )


def _source(symbol: str, path: Path | None, brackets: dict[str, tuple[LeverageTier, ...]]) -> str:
    steps = "default steps 1e-8"
    return f"{steps}; tiers {path}" if symbol in brackets else steps


def read_tiers(path: Path) -> dict[str, tuple[LeverageTier, ...]]:
    """Brackets of every symbol of a tiers file, by BASE/QUOTE.

    Raises:
        UserError: the file cannot be read, is not JSON, or a symbol's brackets have the wrong shape or order.
    """
    try:
        raw = path.read_bytes()
        data = json.loads(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw, parse_float=Decimal)
    except (OSError, EOFError, ValueError) as error:
        raise UserError(f"exchange.tiers: {path}: cannot be read as JSON: {error}") from error
    if not isinstance(data, dict):
        raise UserError(f"exchange.tiers: {path}: must be an object of symbols")
    # BASE/QUOTE:QUOTE-YYMMDD is a dated future: another contract with the same BASE/QUOTE
    return {
        symbol.partition(":")[0]: _tiers(path, symbol, rows)
        for symbol, rows in data.items()
        if "-" not in symbol.partition(":")[2]
    }


def _tiers(path: Path, symbol: str, rows: Any) -> tuple[LeverageTier, ...]:
    """Brackets of one symbol, lowest first, with their maintenance amounts."""
    tiers: list[LeverageTier] = []
    try:
        for row in rows:
            floor = _units(row["minNotional"])
            rate = _units(row["maintenanceMarginRate"])
            leverage = int(row["maxLeverage"])
            amount = 0
            if tiers:
                last = tiers[-1]
                # rounded up: a later bracket never asks for less than the one before at their common border
                step = Decimal(floor * (rate - last.maintenance_rate)) / SCALE
                amount = last.maintenance_amount + int(step.to_integral_value(ROUND_CEILING))
            if leverage < 1 or not 0 < rate < SCALE or (tiers and floor <= tiers[-1].notional_floor):
                raise UserError(
                    f"exchange.tiers: {path}: {symbol}: brackets must ascend, rate in (0, 1), leverage >= 1"
                )
            tiers.append(LeverageTier(floor, rate, amount, leverage))
    except (KeyError, TypeError, InvalidOperation, ValueError) as error:
        raise UserError(f"exchange.tiers: {path}: {symbol}: not a list of leverage brackets ({error!r})") from error
    if not tiers or tiers[0].notional_floor != 0:
        raise UserError(f"exchange.tiers: {path}: {symbol}: the first bracket must begin at 0")
    return tuple(tiers)


def _units(value: Any) -> int:
    """A JSON number in 1e-8, to the nearest: files of floats say 0.06650000000000001."""
    return int((Decimal(value) * SCALE).to_integral_value(ROUND_HALF_EVEN))
