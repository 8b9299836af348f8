"""Finding the files of every symbol under the paths that `--data` names, by the layout of the candle store.

Layout: <source>/<venue>/<BASE-QUOTE>/<timeframe>.parquet, beside it <timeframe>-mark.parquet and funding.parquet; other
formats likewise. A folder without such folders may hold freqtrade's files, <BASE>_<QUOTE>-<timeframe>. A path may be a
file, a symbol folder, a venue folder or a source folder. Where several venues are below it, the one that belongs to the
exchange id and market type is taken. Of a symbol's files, the one of the base timeframe is read, else the coarsest finer
one that divides it. A timeframe may be cut into pieces, `1m-2013`, `1m-2014`.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from trader.core.timeframes import TIMEFRAMES, divides, name
from trader.core.types import UserError
from trader.feeds.files import STORED, SUFFIXES
from trader.feeds.history import MissingHistoryError
from trader.feeds.importing.names import from_name

_PERPETUAL_VENUES: Final = {"binance": "binanceusdm", "kraken": "krakenfutures", "kucoin": "kucoinfutures"}
"""ccxt keeps the linear perpetuals of these exchanges under another id; the others have one id for both."""

_PIECE: Final = re.compile(r"^(?P<timeframe>\d+[mhdw])(?:-(?P<kind>mark|\d+))?$")
_SYMBOL: Final = re.compile(r"^(?P<base>[A-Za-z0-9]+)[-_](?P<quote>[A-Za-z0-9]+)$")


@dataclass(slots=True)
class SymbolFiles:
    """Files of one symbol: candles and mark candles by timeframe in ms (pieces in name order), funding."""

    symbol: str
    venue: str
    folder: Path
    candles: dict[int, list[Path]] = field(default_factory=dict)
    marks: dict[int, list[Path]] = field(default_factory=dict)
    funding: Path | None = None


@dataclass(frozen=True, slots=True)
class StoreFile:
    """What a file of the store is, by its place. kind: candles, mark or funding (then without timeframe)."""

    venue: str
    symbol: str
    timeframe: str
    kind: str


def store_file(path: Path) -> StoreFile | None:
    """What the store's layout says about a file; None if it does not belong to it."""
    folder = path.resolve().parent
    match = _PIECE.match(path.stem)
    if path.suffix not in STORED or _SYMBOL.match(folder.name) is None:
        return None
    symbol, venue = canonical_symbol(folder.name), folder.parent.name
    if path.stem == "funding":
        return StoreFile(venue, symbol, "", "funding")
    if match is None or match["timeframe"] not in TIMEFRAMES:
        return None
    return StoreFile(venue, symbol, match["timeframe"], "mark" if match["kind"] == "mark" else "candles")


def canonical_symbol(text: str) -> str:
    """BASE/QUOTE of `BASE/QUOTE`, `BASE/QUOTE:QUOTE`, `BASE-QUOTE` or `BASE_QUOTE`.

    Raises:
        UserError: it is none of them.
    """
    plain = text.partition(":")[0].replace("/", "-")
    match = _SYMBOL.match(plain)
    if match is None:
        raise UserError(f"symbol {text!r}: must be spelled BASE/QUOTE, for example BTC/USDT")
    return f"{match['base'].upper()}/{match['quote'].upper()}"


def venue_name(exchange_id: str, market_type: str) -> str:
    """Folder name of a venue: ccxt's id of the exchange, of its perpetuals if `market_type` is swap."""
    return _PERPETUAL_VENUES.get(exchange_id, exchange_id) if market_type == "swap" else exchange_id


def find_symbols(
    paths: tuple[Path, ...], *, exchange_id: str, market_type: str, symbols: tuple[str, ...] | None = None
) -> dict[str, SymbolFiles]:
    """Files of every wanted symbol under the paths, by symbol, sorted.

    Args:
        paths: files or folders.
        exchange_id: ccxt id of the exchange.
        market_type: `spot` or `swap`.
        symbols: the wanted ones; None takes all that have candles.

    Raises:
        UserError: a path does not exist or holds nothing usable, venues are ambiguous, a wanted symbol is missing, or a
            symbol is found twice.
    """
    wanted = None if symbols is None else tuple(canonical_symbol(symbol) for symbol in symbols)
    found: dict[str, SymbolFiles] = {}
    for path in dict.fromkeys(Path(path) for path in paths):
        for files in _below(path, venue_name(exchange_id, market_type), wanted):
            _merge(found, files)
    if wanted is None:
        chosen = sorted(found)
    else:
        chosen = sorted(set(wanted))
        for symbol in chosen:
            if symbol not in found:
                raise MissingHistoryError(
                    f"feed.symbols: {symbol} is not in {_listed(paths)}{_suggest(symbol, found)}", (symbol,)
                )
    if not chosen:
        raise MissingHistoryError(
            f"{_listed(paths)}: no candles found; expected <BASE-QUOTE>/<timeframe>.parquet or .csv"
        )
    return {symbol: found[symbol] for symbol in chosen}


def source_timeframe(files: SymbolFiles, base_ms: int) -> int:
    """Timeframe to read for a base timeframe: itself, else the coarsest finer one that divides it.

    Raises:
        UserError: there is none.
    """
    if base_ms in files.candles:
        return base_ms
    finer = [length for length in files.candles if length < base_ms and divides(length, base_ms)]
    if not finer:
        have = ", ".join(name(length) for length in sorted(files.candles)) or "none"
        wanted = f"{files.symbol} has no {name(base_ms)} candles and no finer ones to make them of"
        raise MissingHistoryError(f"{files.folder}: {wanted} (it has {have})", (files.symbol,))
    return max(finer)


def detail_timeframe(files: SymbolFiles, base_ms: int) -> int | None:
    """The finest timeframe there is that divides a base timeframe and is shorter; None if there is none."""
    return min((length for length in files.candles if length < base_ms and divides(length, base_ms)), default=None)


def _listed(paths: tuple[Path, ...]) -> str:
    return ", ".join(str(path) for path in paths)


def _suggest(symbol: str, found: dict[str, SymbolFiles]) -> str:
    near = difflib.get_close_matches(symbol, found, 1, 0.5)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; it has {', '.join(sorted(found)[:10])}" if found else ""


def _merge(found: dict[str, SymbolFiles], files: SymbolFiles) -> None:
    """Add a symbol's files to those found so far; the same timeframe from two places is refused."""
    known = found.get(files.symbol)
    if known is None:
        found[files.symbol] = files
        return
    if known.venue != files.venue:
        raise UserError(f"{files.symbol} is in two venues: {known.folder} and {files.folder}; name one of them")
    for mine, other in ((known.candles, files.candles), (known.marks, files.marks)):
        for length, pieces in other.items():
            fresh = [piece for piece in pieces if piece.resolve() not in {p.resolve() for p in mine.get(length, [])}]
            if fresh and known.folder.resolve() != files.folder.resolve() and mine.get(length):
                raise UserError(f"{files.symbol} {name(length)} is there twice: {mine[length][0]} and {fresh[0]}")
            mine[length] = sorted([*mine.get(length, []), *fresh])
    known.funding = known.funding or files.funding


def _below(path: Path, venue: str, wanted: tuple[str, ...] | None) -> list[SymbolFiles]:
    """Files of all symbols at or below one path, of one venue."""
    if path.is_file():
        return [_single_file(path, wanted)]
    if not path.is_dir():
        raise MissingHistoryError(f"{path}: no such file or folder", wanted or ())
    folders = [path] if _SYMBOL.match(path.name) else []
    folders += [folder for folder in sorted(path.rglob("*")) if folder.is_dir() and _SYMBOL.match(folder.name)]
    found = [files for folder in folders if (files := _symbol_folder(folder)).candles] or _named_files(path)
    venues = sorted({files.venue for files in found})
    if len(venues) > 1:
        if venue not in venues:
            raise UserError(
                f"{path}: holds several venues ({', '.join(venues)}) but not {venue}; name one or set exchange.id"
            )
        found = [files for files in found if files.venue == venue]
    return found


def _symbol_folder(folder: Path) -> SymbolFiles:
    """Files of one symbol folder; names that are no timeframe are left alone."""
    absolute = folder.resolve()
    files = SymbolFiles(canonical_symbol(absolute.name), absolute.parent.name, folder)
    for path in sorted(folder.iterdir()):
        if path.suffix in SUFFIXES and path.is_file():
            _place(files, path)
    return files


def _named_files(folder: Path) -> list[SymbolFiles]:
    """Files in a folder whose names tell symbol and timeframe for certain."""
    found: dict[str, SymbolFiles] = {}
    for path in sorted(folder.iterdir()):
        named = from_name(path.name)
        if path.suffix not in SUFFIXES or not named.certain or named.symbol is None or named.timeframe is None:
            continue
        files = found.setdefault(named.symbol, SymbolFiles(named.symbol, folder.resolve().name, folder))
        if named.kind == "funding":
            files.funding = files.funding or path
            continue
        pieces = files.marks if named.kind == "mark" else files.candles
        known = pieces.setdefault(TIMEFRAMES[named.timeframe], [])
        if known:
            raise UserError(f"{named.symbol} {named.timeframe} is there twice: {known[0]} and {path}")
        known.append(path)
    return [files for files in found.values() if files.candles]


def _place(files: SymbolFiles, path: Path) -> None:
    """Put one file in its place, by its name."""
    if path.stem == "funding":
        if files.funding is not None:
            raise UserError(f"{files.symbol} funding is there twice: {files.funding} and {path}")
        files.funding = path
        return
    match = _PIECE.match(path.stem)
    if match is None or match["timeframe"] not in TIMEFRAMES:
        return
    pieces = files.marks if match["kind"] == "mark" else files.candles
    known = pieces.setdefault(TIMEFRAMES[match["timeframe"]], [])
    if any(other.stem == path.stem for other in known):
        raise UserError(f"{files.symbol} {path.stem} is there twice: {known[0]} and {path}")
    known.append(path)


def _single_file(path: Path, wanted: tuple[str, ...] | None) -> SymbolFiles:
    """A file named by the user: symbol and timeframe from its place, its name, or the only wanted symbol."""
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path}: must be one of {' '.join(SUFFIXES)}")
    absolute = path.resolve()
    named = from_name(path.name)
    in_place = _PIECE.match(path.stem)
    timeframe = in_place["timeframe"] if in_place else named.timeframe
    kind = (in_place["kind"] or "") if in_place else named.kind
    if timeframe not in TIMEFRAMES or kind in ("mark", "funding"):
        raise UserError(f"{path}: name must be <timeframe>{path.suffix}, with one of {' '.join(TIMEFRAMES)}")
    folder = absolute.parent
    symbol = _symbol_of(path, folder.name if in_place else "", named.symbol, wanted)
    files = SymbolFiles(symbol, folder.parent.name if in_place else folder.name, path.parent)
    files.candles[TIMEFRAMES[timeframe]] = [path]
    if in_place and _SYMBOL.match(folder.name):
        beside = _symbol_folder(path.parent)
        files.marks, files.funding = beside.marks, beside.funding
    return files


def _symbol_of(path: Path, folder: str, named: str | None, wanted: tuple[str, ...] | None) -> str:
    """Symbol of a single file: from its folder, from its name, or the only wanted one."""
    if folder and _SYMBOL.match(folder):
        return canonical_symbol(folder)
    if named is not None:
        return named
    if wanted is not None and len(wanted) == 1:
        return wanted[0]
    parent = path.resolve().parent.name
    raise UserError(f"{path}: its folder {parent!r} is no BASE-QUOTE; name the symbol in feed.symbols")
