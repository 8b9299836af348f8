"""Bringing any market data file into the candle store: what is detected, what options say, what is refused.

A file becomes pieces, one a symbol: candles, mark candles or funding stamps, with the place in the store that they
belong to. Everything is read and checked before anything is written, so a refused file leaves nothing behind. Options
win over what is detected; what neither tells is asked for by the name of its option.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trader.core.timeframes import milliseconds, name
from trader.core.types import UserError
from trader.feeds.catalogue import canonical_symbol
from trader.feeds.files import Candles, Stamps
from trader.feeds.importing.columns import KLINE_WIDTH, Layout, layouts
from trader.feeds.importing.extract import Extract, extract_candles, extract_stamps
from trader.feeds.importing.names import Named, from_name, split_symbol
from trader.feeds.importing.reading import read_tables
from trader.feeds.importing.table import RawTable
from trader.feeds.importing.times import zone_of

KINDS: Final = ("candles", "mark", "funding")
UNKNOWN_VENUE: Final = "imported"


@dataclass(frozen=True, slots=True)
class Options:
    """What the user says; None: detect it. symbols: one, or those of a wide file; columns: roles by position."""

    symbols: tuple[str, ...] = ()
    timeframe: str | None = None
    venue: str | None = None
    tz: str | None = None
    columns: tuple[str, ...] | None = None
    volume_column: str | None = None
    date_format: str | None = None
    quote: str | None = None
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """One symbol's rows of one file and where they belong. times: how they were read; notes: what was concluded."""

    source: str
    venue: str
    symbol: str
    kind: str
    length_ms: int
    content: Candles | Stamps
    times: str
    notes: tuple[str, ...]

    @property
    def place(self) -> Path:
        """Path below the store's root."""
        stem = {"candles": "", "mark": "-mark"}.get(self.kind)
        file = "funding" if stem is None else name(self.length_ms) + stem
        return Path(self.venue) / self.symbol.replace("/", "-") / f"{file}.parquet"


def read_pieces(path: Path, options: Options) -> list[Piece]:
    """All that one file holds.

    Args:
        path: file of any form that docs/importing.md lists.
        options: what is known about it.

    Raises:
        UserError: one line: file, row and rule, or the option that must tell what cannot be detected.
    """
    _check_options(options)
    pieces: list[Piece] = []
    for filename, table in read_tables(path):
        named = from_name(filename)
        if filename != path.name:
            named = _merged(named, from_name(path.name))
        pieces += _pieces_of(table, named, options)
    return pieces


def _check_options(options: Options) -> None:
    if options.timeframe is not None:
        milliseconds(options.timeframe)
    if options.kind is not None and options.kind not in KINDS:
        raise UserError(f"--kind: must be one of {' '.join(KINDS)}, not {options.kind!r}")
    if options.venue is not None and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", options.venue) is None:
        raise UserError(f"--venue: must be a word of letters, digits, - and _, not {options.venue!r}")
    if options.quote is not None and re.fullmatch(r"[A-Za-z0-9]+", options.quote) is None:
        raise UserError(f"--quote: must be a currency, not {options.quote!r}")


def _merged(inner: Named, outer: Named) -> Named:
    """What the name inside an archive tells, completed by the archive's own."""
    kind = inner.kind if inner.kind != "candles" else outer.kind
    return Named(
        inner.symbol or outer.symbol, inner.timeframe or outer.timeframe, inner.venue or outer.venue, kind,
        (*inner.words, *outer.words),
    )  # fmt: skip


def _pieces_of(table: RawTable, named: Named, options: Options) -> list[Piece]:
    kind = options.kind or named.kind
    found = layouts(table, options.columns, options.volume_column, options.date_format)
    if len(found) > 1 and options.symbols:
        found = _chosen(table, found, options.symbols)
    if "rate" in found[0].places and "open" not in found[0].places:
        kind = "funding"
    pieces: list[Piece] = []
    for layout in found:
        # the symbol first: asking for it costs less than reading a million rows
        symbol = _symbol(table, layout, named, options, alone=len(found) == 1)
        extract = _extract(table, layout, named, options, kind)
        venue = options.venue or named.venue or _kline_venue(table, named) or UNKNOWN_VENUE
        pieces.append(
            Piece(table.label, venue, symbol, kind, extract.length_ms, extract.content, extract.zone, extract.notes)
        )
    return pieces


def _extract(table: RawTable, layout: Layout, named: Named, options: Options, kind: str) -> Extract:
    zone = None if options.tz is None else zone_of(options.tz)
    if kind == "funding":
        return extract_stamps(table, layout, zone=zone, form=options.date_format, clean=True)
    return extract_candles(
        table, layout,
        length_ms=None if options.timeframe is None else milliseconds(options.timeframe),
        named_ms=None if named.timeframe is None else milliseconds(named.timeframe),
        zone=zone, form=options.date_format,
        without_volume=kind == "mark" or (options.volume_column or "").lower() == "none",
        clean=True,
    )  # fmt: skip


def _chosen(table: RawTable, found: list[Layout], symbols: tuple[str, ...]) -> list[Layout]:
    """Of a wide file the layouts of these symbols, in their order."""
    chosen = []
    for symbol in map(canonical_symbol, symbols):
        base = symbol.partition("/")[0]
        one = [layout for layout in found if layout.prefix.upper() == base or split_symbol(layout.prefix) == symbol]
        if len(one) != 1:
            has = ", ".join(layout.prefix for layout in found)
            raise UserError(f"--symbol: {table.label} has no columns of {symbol}; it has {has}")
        chosen += one
    return chosen


def _symbol(table: RawTable, layout: Layout, named: Named, options: Options, *, alone: bool) -> str:
    """BASE/QUOTE from the options, a wide file's prefix, the symbol column, or the file's name."""
    if layout.prefix and not (alone and options.symbols):
        return _symbol_of_prefix(table, layout.prefix, named, options)
    if len(options.symbols) > 1:
        raise UserError(f"--symbol: {table.label} holds one symbol, not {len(options.symbols)}")
    if layout.symbol is not None:
        column = [str(value) for value in table.columns[layout.symbol]]
        other = next((row for row, value in enumerate(column) if value != column[0]), None)
        if other is not None:
            raise UserError(
                f"{table.label}: row {other + 1}: symbol must be {column[0]!r} like in row 1, not {column[other][:40]!r}: "
                "a file of several symbols below each other must be cut first"
            )
    if options.symbols:
        return canonical_symbol(options.symbols[0])
    told = split_symbol(str(table.columns[layout.symbol][0])) if layout.symbol is not None else None
    symbol = told or named.symbol
    if symbol is None:
        raise UserError(f"{table.label}: its symbol is not certain; name it by --symbol BASE/QUOTE")
    return symbol


def _symbol_of_prefix(table: RawTable, prefix: str, named: Named, options: Options) -> str:
    base = prefix.upper()
    for symbol in map(canonical_symbol, options.symbols):
        if symbol.partition("/")[0] == base or symbol == split_symbol(prefix):
            return symbol
    whole = split_symbol(prefix)
    if whole is not None and options.quote is None:
        return whole
    if re.fullmatch(r"[A-Z0-9]+", base) is None:
        raise UserError(f"{table.label}: columns {prefix!r} name no symbol; name it by --symbol BASE/QUOTE")
    quote = options.quote or _only_quote(table, named)
    if quote is None:
        raise UserError(f"{table.label}: the quote currency of {prefix} is not certain; name it by --quote")
    return f"{base}/{quote.upper()}"


def _only_quote(table: RawTable, named: Named) -> str | None:
    """The one currency in the file's name that is no symbol of the wide file itself."""
    from trader.feeds.importing.names import QUOTES

    heads = {re.split(r"[:_. -]", title)[0].upper() for title in table.header or ()}
    found = {word.upper() for word in named.words if word.upper() in QUOTES} - heads
    return found.pop() if len(found) == 1 else None


def _kline_venue(table: RawTable, named: Named) -> str | None:
    """Twelve columns are Binance's kline rows; its archive calls linear perpetuals futures-um."""
    if len(table.columns) != KLINE_WIDTH:
        return None
    return "binanceusdm" if "futures" in named.words else "binance"
