"""Where tables of instruments come from: ccxt's markets and leverage tiers, saved or asked for, and symbol tables in CSV.

A source gives partial knowledge; `merged` lays one over the other, later ones win where they tell anything. Read are:
- ccxt's `load_markets` as JSON: spot and linear perpetuals; steps are step sizes, or whole numbers of decimals where the
  smallest quantity or price says so; quantities of contracts become base currency;
- ccxt's `fetch_leverage_tiers` as JSON: brackets of perpetuals;
- CSV with the columns `market,symbol,type,quote_currency,minimum_price_variation,lot_size,minimum_order_size`
  (type `crypto` or `cryptofuture`; the minimum is a notional).
"""

from __future__ import annotations

import csv
import io
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from trader.core.files import read_packed_file
from trader.core.types import LeverageTier, SurroundingsError, UserError
from trader.feeds.instrument_table import SPOT, SWAP, InstrumentTable, Listing, checked, number, read_json
from trader.feeds.tiers import by_symbol

_CSV_TYPES: Final = {"crypto": SPOT, "cryptofuture": SWAP}
_CSV_COLUMNS: Final = ("market", "symbol", "type", "quote_currency", "minimum_price_variation", "lot_size")


def read_source(path: Path, exchange: str) -> InstrumentTable:
    """What a file tells of an exchange's instruments, whichever of the forms above it has.

    Raises:
        UserError: it cannot be read, or has none of the forms.
    """
    where = f"--from {path}"
    if path.name.removesuffix(".gz").endswith(".csv"):
        return _of_csv(path, exchange, where)
    data = read_json(path, "--from")
    if is_ccxt(data):
        return of_ccxt(data, where)
    tiers = by_symbol(data, where)
    return InstrumentTable(exchange, "", (path.name,), {}, {symbol: _only(rows) for symbol, rows in tiers.items()})


def _only(tiers: tuple[LeverageTier, ...]) -> Listing:
    """A listing of which nothing but its brackets is known; `merged` fills it."""
    return Listing(Decimal(0), Decimal(0), tiers=tiers)


def merged(tables: Iterable[InstrumentTable], exchange: str, date: str, sources: tuple[str, ...]) -> InstrumentTable:
    """One table of several; of a symbol whose tick or lot nobody tells, nothing is kept."""
    markets: dict[str, dict[str, Listing]] = {SPOT: {}, SWAP: {}}
    for table in tables:
        for kind, listings in markets.items():
            for symbol, listing in table.of(kind).items():
                known = listings.get(symbol)
                listings[symbol] = listing if known is None else _over(known, listing)
    kept = {kind: {s: one for s, one in found.items() if one.tick and one.lot} for kind, found in markets.items()}
    return InstrumentTable(exchange, date, sources, kept[SPOT], kept[SWAP])


def _over(known: Listing, told: Listing) -> Listing:
    """`known` with what `told` tells."""
    told_of = {name: getattr(told, name) for name in Listing.__dataclass_fields__ if getattr(told, name)}
    return replace(known, **told_of)


def chosen(table: InstrumentTable, *, quote: str | None, symbols: tuple[str, ...]) -> InstrumentTable:
    """The table's symbols with this quote currency (None: any) and of these names (none: all)."""

    def kept(listings: Mapping[str, Listing]) -> dict[str, Listing]:
        return {
            symbol: one
            for symbol, one in listings.items()
            if (not symbols or symbol in symbols) and (quote is None or symbol.partition("/")[2] == quote)
        }

    return replace(table, spot=kept(table.spot), swap=kept(table.swap))


def with_least_notional(table: InstrumentTable, least: Decimal) -> InstrumentTable:
    """The table with this minimum notional for every perpetual of which no source tells one, named among the sources."""
    swap = {
        symbol: one if one.minimum_notional else replace(one, minimum_notional=least)
        for symbol, one in table.swap.items()
    }
    return replace(
        table, swap=swap, sources=(*table.sources, f"minimum notional of perpetuals where none is told: {least}")
    )


# --- ccxt ---------------------------------------------------------------------------------------------------------------


def is_ccxt(data: Any) -> bool:
    """True for what `load_markets` returns: an object with at least one market that has a `precision`."""
    return isinstance(data, Mapping) and any(isinstance(one, Mapping) and "precision" in one for one in data.values())


def of_ccxt(data: Mapping[str, Any], where: str) -> InstrumentTable:
    """Listings of ccxt's markets: spot and linear perpetuals; what is neither, or no market, is passed over.

    Raises:
        UserError: a market without precision, or with a number that cannot be.
    """
    markets: dict[str, dict[str, Listing]] = {SPOT: {}, SWAP: {}}
    for name, one in data.items():
        if isinstance(one, Mapping) and "precision" in one and (kind := _kind(name, one)) is not None:
            markets[kind][name.partition(":")[0]] = _of_market(one, f"{where}: {name}")
    return InstrumentTable("", "", (), markets[SPOT], markets[SWAP])


def _kind(name: str, market: Mapping[str, Any]) -> str | None:
    """`spot`, `swap` for a linear perpetual, else None."""
    pair, _, settle = name.partition(":")
    kind = market.get("type") or ("swap" if settle else "spot")
    if kind == "spot":
        return None if settle else SPOT
    linear = market.get("linear") is not False and settle == pair.partition("/")[2]
    return SWAP if kind == "swap" and linear and "-" not in settle else None


def _of_market(market: Mapping[str, Any], where: str) -> Listing:
    precision, limits = market.get("precision") or {}, market.get("limits") or {}
    least = {name: (limits.get(name) or {}).get("min") for name in ("amount", "price", "cost")}
    size = number(market.get("contractSize") or 1, f"{where}: contractSize")
    maker, taker = (
        None if market.get(name) is None else number(market[name], f"{where}: {name}") for name in ("maker", "taker")
    )
    lot = _step(precision.get("amount"), least["amount"], f"{where}: precision.amount")
    listing = Listing(
        _step(precision.get("price"), least["price"], f"{where}: precision.price"),
        lot * size,
        number(least["amount"] or 0, f"{where}: limits.amount.min") * size,
        number(least["cost"] or 0, f"{where}: limits.cost.min"),
        maker,
        taker,
    )
    return checked(listing, where)


def _step(value: Any, least: Any, where: str) -> Decimal:
    """A step size. A whole number n is n decimals where the smallest quantity or price is 10^-n."""
    if value is None:
        raise UserError(f"{where}: is needed")
    told = number(value, where)
    if least is not None and told == int(told) and 0 <= told <= 18:
        places = Decimal(1).scaleb(-int(told))
        if number(least, where) == places:
            return places
    return told


def ask(exchange: str) -> InstrumentTable:
    """What an exchange says of its instruments now, through ccxt, without an account.

    Raises:
        UserError: ccxt does not know the exchange.
        SurroundingsError: it did not answer.
    """
    import ccxt

    if exchange not in ccxt.exchanges:
        raise UserError(f"--exchange {exchange}: ccxt knows no such exchange")
    client = getattr(ccxt, exchange)({"enableRateLimit": True, "options": {"fetchCurrencies": False}})
    try:
        table = of_ccxt(client.load_markets(), exchange)
        tiers = _asked_tiers(client, exchange)
    except ccxt.BaseError as error:
        text = " ".join(str(error).split())[:200]
        raise SurroundingsError(f"{exchange}: did not tell its markets: {text}; nothing was written") from error
    swap = {symbol: replace(one, tiers=tiers.get(symbol, ())) for symbol, one in table.swap.items()}
    return replace(table, exchange=exchange, swap=swap)


def _asked_tiers(client: Any, exchange: str) -> dict[str, tuple[LeverageTier, ...]]:
    """Brackets where the exchange tells them to everybody; none where it wants an account."""
    import ccxt

    if not client.has.get("fetchLeverageTiers"):
        return {}
    try:
        return by_symbol(client.fetch_leverage_tiers(), exchange)
    except (ccxt.AuthenticationError, ccxt.NotSupported, ccxt.PermissionDenied):
        return {}


# --- CSV ----------------------------------------------------------------------------------------------------------------


def _of_csv(path: Path, exchange: str, where: str) -> InstrumentTable:
    """Listings of one exchange of a CSV symbol table, plain or gzipped; lines that begin with # are comments."""
    try:
        text = read_packed_file(path).decode("utf-8")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise UserError(f"{where}: cannot be read: {error}") from error
    lines = [line for line in io.StringIO(text) if line.strip() and not line.startswith("#")]
    reader = csv.DictReader(lines)
    if missing := set(_CSV_COLUMNS) - set(reader.fieldnames or ()):
        raise UserError(f"{where}: column {min(missing)} is missing")
    markets: dict[str, dict[str, Listing]] = {SPOT: {}, SWAP: {}}
    for row in reader:
        kind, quote, name = _CSV_TYPES.get(row["type"]), row["quote_currency"], row["symbol"]
        if row["market"] != exchange or kind is None or not name.endswith(quote) or name == quote:
            continue
        one = f"{where}: {name} ({row['type']})"
        least = row.get("minimum_order_size") or 0
        markets[kind][f"{name.removesuffix(quote)}/{quote}"] = checked(
            Listing(
                number(row["minimum_price_variation"], one), number(row["lot_size"], one),
                minimum_notional=number(least, one),
            ),
            one,
        )  # fmt: skip
    return InstrumentTable(exchange, "", (path.name,), markets[SPOT], markets[SWAP])
