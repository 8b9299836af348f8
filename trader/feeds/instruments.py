"""How each symbol is priced and traded: from a file the config names, else from the table that ships, else by default.

An unknown instrument gets tick and lot 1e-8: never steps guessed from its candles, that would look ahead. Perpetuals
take their leverage brackets from `exchange.tiers`, else from where their steps come from, else one bracket for all
sizes. What was used is stored with the run (`source` says whence), so that no later table changes a resumed or verified
run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Final

from trader.core.types import Instrument, LeverageTier
from trader.feeds.instrument_table import SWAP, Listing, bundled, read_json, read_table
from trader.feeds.tiers import SCALE, by_symbol

DEFAULT_TIERS: Final = (
    LeverageTier(notional_floor=0, maintenance_rate=500_000, maintenance_amount=0, maximum_leverage=20),
)
"""Without a file: 0.5 % maintenance margin and at most 20-fold leverage, whatever the size."""

SPOT_FEE: Final = 0.001
SWAP_MAKER: Final = 0.0002
SWAP_TAKER: Final = 0.0005
"""Binance's fees for an ordinary account (spot 0.1 % both; USDT perpetuals 0.02 % and 0.05 %), November 2026."""

DEFAULT_SOURCE: Final = "default steps 1e-8"


@dataclass(frozen=True, slots=True)
class TradingTerms:
    """What the config says of trading: market type, fees as fractions (None: the instrument's, else the default of that
    type), tiers file, instruments file, and the exchange whose shipped table is used (None: none)."""

    market_type: str = "spot"
    maker: float | None = None
    taker: float | None = None
    tiers: Path | None = None
    instruments: Path | None = None
    exchange: str | None = None


def instruments_for(symbols: tuple[str, ...], terms: TradingTerms) -> tuple[Instrument, ...]:
    """One instrument a symbol, in the same order.

    Raises:
        UserError: a file cannot be read or does not have its form, or an instrument cannot be counted.
    """
    perpetual = terms.market_type == SWAP
    brackets = read_tiers(terms.tiers) if perpetual and terms.tiers is not None else {}
    known = _listings(terms)
    return tuple(_instrument(symbol, terms, known.get(symbol), brackets.get(symbol)) for symbol in symbols)


def _listings(terms: TradingTerms) -> dict[str, tuple[Listing, str]]:
    """Listing and source of every symbol that a table knows; the config's file comes before what ships."""
    found: dict[str, tuple[Listing, str]] = {}
    table = bundled(terms.exchange) if terms.exchange else None
    if table is not None:
        source = f"bundled {table.exchange} table of {table.date}"
        found |= {symbol: (listing, source) for symbol, listing in table.of(terms.market_type).items()}
    if terms.instruments is not None:
        listings = read_table(terms.instruments).of(terms.market_type)
        found |= {symbol: (listing, str(terms.instruments)) for symbol, listing in listings.items()}
    return found


def _instrument(
    symbol: str, terms: TradingTerms, known: tuple[Listing, str] | None, brackets: tuple[LeverageTier, ...] | None
) -> Instrument:
    perpetual = terms.market_type == SWAP
    listing, source = known or (None, DEFAULT_SOURCE)
    maker = _fee(terms.maker, listing.maker if listing else None, SWAP_MAKER if perpetual else SPOT_FEE)
    taker = _fee(terms.taker, listing.taker if listing else None, SWAP_TAKER if perpetual else SPOT_FEE)
    tiers: tuple[LeverageTier, ...] = ()
    if perpetual:
        tiers = brackets or (listing.tiers if listing else ()) or DEFAULT_TIERS
    if brackets:
        source = f"{source}; tiers {terms.tiers}"
    elif perpetual and tiers is DEFAULT_TIERS and listing:
        source = f"{source}; default tiers"
    if listing is None:
        return Instrument(
            symbol=symbol, perpetual=perpetual, maker_fee=maker, taker_fee=taker, tiers=tiers, source=source
        )  # fmt: skip
    one = listing.instrument(symbol, perpetual=perpetual, maker=maker, taker=taker, source=source)
    return replace(one, tiers=tiers)


def _fee(told: float | None, listed: Decimal | None, usual: float) -> int:
    """The config's fee, else the instrument's, else the market type's, in parts per 1e8."""
    fee = told if told is not None else listed if listed is not None else usual
    return round(float(fee) * SCALE)


def instrument_lines(instruments: tuple[Instrument, ...], market: str) -> list[str]:
    """What a session says of its instruments before it starts: one line for each source, one for the unknown."""
    by_source: dict[str, list[str]] = {}
    for one in instruments:
        by_source.setdefault(one.source, []).append(one.symbol)
    lines = []
    for source, symbols in by_source.items():
        names = ", ".join(symbols)
        if source.startswith(DEFAULT_SOURCE):
            lines.append(f"exchange.instruments: nothing is known of {names} ({market}): tick and lot 1e-8, no minimum")
        elif source != "synthetic":
            lines.append(f"exchange.instruments: {names}: {source}")
    return lines


def read_tiers(path: Path) -> dict[str, tuple[LeverageTier, ...]]:
    """Brackets of every symbol of a tiers file, by BASE/QUOTE.

    Raises:
        UserError: the file cannot be read, is not JSON, or a symbol's brackets have the wrong shape or order.
    """
    return by_symbol(read_json(path, "exchange.tiers"), f"exchange.tiers: {path}")
