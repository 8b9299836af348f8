"""Tables of instruments: what an exchange says of its symbols, as a dated JSON file.

Form: `{"format": "instruments 1", "exchange", "date", "sources": [..], "spot": {SYMBOL: listing}, "swap": {SYMBOL: listing}}`
with SYMBOL as BASE/QUOTE; a listing has `tick`, `lot`, and where known `minimum_quantity`, `minimum_notional`, `maker`,
`taker` (all decimal texts) and, in `swap`, `tiers`: `[[notional floor, maintenance rate, maximum leverage], ..]`, lowest
first. `swap` holds linear perpetuals. What ccxt's `load_markets` returns, saved as JSON, is read in its place.

Units of an instrument: prices in 1e-8 or the tick's finer unit, quantities in the lot's own decimals, so that the volume
of very cheap coins fits into 64 bits.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from trader.core.files import read_packed_file
from trader.core.money import LIMIT
from trader.core.types import Instrument, LeverageTier, UserError
from trader.feeds.tiers import tiers_of

FORMAT: Final = "instruments 1"
SPOT, SWAP = "spot", "swap"

SHIPPED: Final = {"binance": "instruments-binance.json", "binanceusdm": "instruments-binance.json"}
"""Files that ship, by ccxt's id of the exchange."""

FINEST_PRICE: Final = 12
FINEST_QUANTITY: Final = 11
"""Most decimals of tick and lot: together at most 23, so that a notional's divisor stays below 2^52."""

_LARGEST_EXPONENT: Final = 30
"""Numbers beyond 1e30 or below 1e-30 are no market's, and 1e999999999 would take for ever to write out."""

LARGEST_NOTIONAL: Final = LIMIT // 1024
"""Largest notional of an order, in 1e-8: a minimum beyond it could never be met."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One symbol's facts, in the exchange's own decimals; None where the source does not tell."""

    tick: Decimal
    lot: Decimal
    minimum_quantity: Decimal = Decimal(0)
    minimum_notional: Decimal = Decimal(0)
    maker: Decimal | None = None
    taker: Decimal | None = None
    tiers: tuple[LeverageTier, ...] = ()

    def instrument(self, symbol: str, *, perpetual: bool, maker: int, taker: int, source: str) -> Instrument:
        """The instrument; fees in parts per 1e8.

        Raises:
            UserError: a step or minimum that cannot be counted.
        """
        price_exponent = max(8, decimals(self.tick))
        quantity_exponent = decimals(self.lot)
        if price_exponent > FINEST_PRICE or quantity_exponent > FINEST_QUANTITY:
            raise UserError(
                f"{symbol}: tick {self.tick} and lot {self.lot} may have at most {FINEST_PRICE} and {FINEST_QUANTITY} decimals"
            )
        minimum_quantity = _whole_up(self.minimum_quantity, quantity_exponent)
        minimum_notional = _whole_up(self.minimum_notional, 8)
        tick, lot = (
            _whole_up(step, exponent) for step, exponent in ((self.tick, price_exponent), (self.lot, quantity_exponent))
        )
        if max(tick, lot, minimum_quantity) >= LIMIT or minimum_notional > LARGEST_NOTIONAL:
            raise UserError(f"{symbol}: tick, lot or minimum is larger than can be counted")
        return Instrument(
            symbol, perpetual, price_exponent, tick, quantity_exponent, lot, minimum_quantity, minimum_notional, maker, taker,
            self.tiers if perpetual else (), source,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class InstrumentTable:
    """Listings by symbol of one exchange's spot and linear perpetual markets, as of a date (YYYY-MM-DD)."""

    exchange: str
    date: str
    sources: tuple[str, ...] = ()
    spot: Mapping[str, Listing] = field(default_factory=dict)
    swap: Mapping[str, Listing] = field(default_factory=dict)

    def of(self, market_type: str) -> Mapping[str, Listing]:
        """Listings of `spot` or `swap`."""
        return self.swap if market_type == SWAP else self.spot


def decimals(step: Decimal) -> int:
    """Decimals that a step needs: 2 for 0.01 and for 0.050, 0 for 1 and for 10."""
    exponent = step.normalize().as_tuple().exponent
    assert isinstance(exponent, int), "a step is finite"
    return max(-exponent, 0)


def _whole_up(value: Decimal, exponent: int) -> int:
    """Value in 10^-exponent, rounded up: a minimum is never smaller than the exchange's."""
    scaled = value.scaleb(exponent)
    whole = int(scaled)
    return whole + (scaled > whole)


@lru_cache
def bundled(exchange: str) -> InstrumentTable | None:
    """The table that ships for an exchange (ccxt's id); None if there is none."""
    if exchange not in SHIPPED:
        return None
    path = Path(__file__).with_name(SHIPPED[exchange])
    return table_of(json.loads(path.read_text("utf-8")), str(path))


def read_json(path: Path, key: str) -> Any:
    """A JSON file, plain or gzipped, floats as decimals.

    Raises:
        UserError: it cannot be read, named by the config key.
    """
    try:
        return json.loads(read_packed_file(path), parse_float=Decimal)
    except (OSError, EOFError, ValueError, RecursionError, zlib.error) as error:
        raise UserError(f"{key}: {path}: cannot be read as JSON: {error}") from error


def read_table(path: Path) -> InstrumentTable:
    """A table from a file in the form above, or in that of ccxt's `load_markets`.

    Raises:
        UserError: it cannot be read, or a symbol breaks a rule.
    """
    from trader.feeds.instrument_sources import is_ccxt, of_ccxt

    data = read_json(path, "exchange.instruments")
    where = f"exchange.instruments: {path}"
    if is_ccxt(data):
        return of_ccxt(data, where)
    return table_of(data, where)


def table_of(data: Any, where: str) -> InstrumentTable:
    """A table from its JSON form.

    Raises:
        UserError: another form, or a symbol breaks a rule.
    """
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise UserError(
            f'{where}: must be a table of instruments ("format": "{FORMAT}") or what ccxt\'s load_markets returns'
        )
    if unknown := set(data) - {"format", "exchange", "date", "sources", SPOT, SWAP}:
        raise UserError(f"{where}: unknown key {min(unknown)}")
    markets: dict[str, dict[str, Listing]] = {}
    for kind in (SPOT, SWAP):
        listings = data.get(kind, {})
        if not isinstance(listings, dict):
            raise UserError(f"{where}: {kind}: must be an object of symbols")
        markets[kind] = {symbol: listing_of(one, f"{where}: {symbol}") for symbol, one in listings.items()}
    return InstrumentTable(
        str(data.get("exchange", "")), str(data.get("date", "")), tuple(map(str, data.get("sources", ()))),
        markets[SPOT], markets[SWAP],
    )  # fmt: skip


def listing_of(data: Any, where: str) -> Listing:
    """One listing from its JSON form.

    Raises:
        UserError: a number is missing, no number, or out of range; named by `where`.
    """
    if not isinstance(data, dict):
        raise UserError(f"{where}: must be an object with tick and lot")
    if unknown := set(data) - {*Listing.__dataclass_fields__}:
        raise UserError(f"{where}: unknown key {min(unknown)}")
    numbers = {
        name: number(data[name], f"{where}: {name}")
        for name in Listing.__dataclass_fields__
        if name != "tiers" and data.get(name) is not None
    }
    if "tick" not in numbers or "lot" not in numbers:
        raise UserError(f"{where}: tick and lot are needed")
    rows = data.get("tiers") or ()
    return checked(Listing(**numbers, tiers=tiers_of(rows, f"{where}: tiers") if rows else ()), where)


def checked(listing: Listing, where: str) -> Listing:
    """The listing, if its numbers can be.

    Raises:
        UserError: a step that is not positive, a negative minimum, or a fee outside [0, 1).
    """
    if listing.tick <= 0 or listing.lot <= 0:
        raise UserError(f"{where}: tick and lot must be positive")
    if listing.minimum_quantity < 0 or listing.minimum_notional < 0:
        raise UserError(f"{where}: minima must not be negative")
    if any(fee is not None and not 0 <= fee < 1 for fee in (listing.maker, listing.taker)):
        raise UserError(f"{where}: fees must lie in [0, 1)")
    return listing


def valid_date(text: str, where: str) -> str:
    """A date as YYYY-MM-DD.

    Raises:
        UserError: it is none.
    """
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise UserError(f"{where}: {text!r} is no date YYYY-MM-DD") from None


def number(value: Any, where: str) -> Decimal:
    """A finite decimal of a JSON number or text.

    Raises:
        UserError: it is none.
    """
    try:
        result = Decimal(str(value)) if not isinstance(value, bool) else Decimal("NaN")
    except InvalidOperation:
        result = Decimal("NaN")
    if not result.is_finite() or (result and abs(result.adjusted()) > _LARGEST_EXPONENT):
        raise UserError(f"{where}: {value!r} is no finite number")
    return result


def as_text(table: InstrumentTable) -> str:
    """The table as JSON, a symbol a line, symbols in alphabetical order."""
    head = {"format": FORMAT, "exchange": table.exchange, "date": table.date, "sources": list(table.sources)}
    parts = [f" {json.dumps(name)}: {json.dumps(value)}" for name, value in head.items()]
    for kind in (SPOT, SWAP):
        lines = [
            f"  {json.dumps(symbol)}: {json.dumps(_as_object(listing), separators=(',', ':'))}"
            for symbol, listing in sorted(table.of(kind).items())
        ]
        parts.append(f' "{kind}": {{\n' + ",\n".join(lines) + "\n }")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _as_object(listing: Listing) -> dict[str, Any]:
    told: dict[str, Any] = {"tick": _plain(listing.tick), "lot": _plain(listing.lot)}
    for name in ("minimum_quantity", "minimum_notional"):
        if getattr(listing, name):
            told[name] = _plain(getattr(listing, name))
    for name in ("maker", "taker"):
        if getattr(listing, name) is not None:
            told[name] = _plain(getattr(listing, name))
    if listing.tiers:
        told["tiers"] = [
            [_plain(Decimal(tier.notional_floor).scaleb(-8)), _plain(Decimal(tier.maintenance_rate).scaleb(-8)),
             tier.maximum_leverage]
            for tier in listing.tiers
        ]  # fmt: skip
    return told


def _plain(value: Decimal) -> str:
    """Decimal text without an exponent and without zeros at the end."""
    return f"{value.normalize():f}"
