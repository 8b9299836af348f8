"""Which column is what: by the names in the header, by --columns, or by the orders that files without header have.

Roles: ts, open, high, low, close, volume (in the base currency) and rate (funding). A wide file has one set of columns a
symbol, named `BTC:open` or `BTC_open`. Without a header the usual order is tried, then those that exchanges are known
to write; the one in which no candle contradicts itself is taken and said. None fits: the refusal names the rows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import numpy as np

from trader.core.types import UserError
from trader.feeds.importing.table import RawTable, empty
from trader.feeds.importing.times import is_epoch, is_time

PRICES: Final = ("open", "high", "low", "close")
ROLES: Final = ("ts", *PRICES, "volume", "rate")
KLINE_WIDTH: Final = 12
"""Binance's kline rows: open time, o, h, l, c, volume, close time, quote volume, trades, two taker volumes, unused."""

_TIME_NAMES: Final = (
    "ts", "timestamp", "unix", "unixtime", "unixtimestamp", "opentime", "time", "datetime", "date", "gmttime", "utctime",
    "timeutc", "dateutc", "localtime", "utc", "starttime", "start", "begin", "opendate", "t", "timedate", "index", "",
)  # fmt: skip
"""Best first: an epoch is certain, a date column may lack the hour."""
_CLOCK_NAMES: Final = ("time", "clock", "timeofday")
_PRICE_NAMES: Final = {
    "open": ("open", "o", "openprice", "priceopen"),
    "high": ("high", "h", "highprice", "max", "pricehigh"),
    "low": ("low", "l", "lowprice", "min", "pricelow"),
    "close": ("close", "c", "closeprice", "priceclose", "last", "closelast"),
    "rate": ("rate", "fundingrate", "lastfundingrate"),
}
_BASE_VOLUMES: Final = (
    "volume",
    "vol",
    "v",
    "basevolume",
    "volumebase",
    "volumefrom",
    "tickvol",
    "tickvolume",
    "shares",
)
_QUOTE_VOLUMES: Final = (
    "quotevolume", "volumequote", "volumeto", "quoteassetvolume", "turnover", "quotevol", "amountquote",
)  # fmt: skip
ORDERS: Final = (
    ("ts", "open", "high", "low", "close", "volume"),
    ("ts", "open", "close", "high", "low", "volume"),
    ("ts", "low", "high", "open", "close", "volume"),
    ("ts", "volume", "open", "high", "low", "close"),
    ("ts", "close", "high", "low", "open", "volume"),
)
"""The usual one, Bitfinex, Coinbase, GoCryptoTrader, btgym; an order of six is tried on tables of five and six."""
FEWEST_ROWS: Final = 10
"""Below this, another order than the usual one is not concluded from the candles."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Places of the columns of one symbol: by role, of its volumes (all that could be), and of a symbol column.

    prefix: what stands before the names in a wide file; clock: place of a time of day beside the date; note: what was
    concluded and not read.
    """

    places: dict[str, int]
    volumes: tuple[int, ...] = ()
    symbol: int | None = None
    clock: int | None = None
    prefix: str = ""
    note: str = ""


def plain(name: str) -> str:
    """A column's name without case, brackets, leading numbers and signs: `<OPEN>`, `1. open`, `Open` are all open."""
    return re.sub(r"[^a-z]", "", re.sub(r"^\s*\d+\.\s*", "", name.lower()))


def layouts(
    table: RawTable, order: tuple[str, ...] | None = None, volume: str | None = None, form: str | None = None
) -> list[Layout]:
    """Layouts of a table: one, or in a wide file one a symbol.

    Args:
        table: the file.
        order: roles by position (`--columns`); other words mean: ignore.
        volume: name of the volume column (`--volume-column`), "none" for none.
        form: strptime form of dates (`--date-format`).

    Raises:
        UserError: a column cannot be found or named.
    """
    if order is not None:
        return [_ordered(table, order)]
    if table.header is None:
        return [_headless(table, form)]
    wide = _wide(table, volume, form)
    return wide or [_named(table, table.header, volume, form)]


def _ordered(table: RawTable, order: tuple[str, ...]) -> Layout:
    if len(order) > len(table.columns):
        raise UserError(f"--columns: must name at most {len(table.columns)} columns: {table.label} has no more")
    places: dict[str, int] = {}
    for place, role in enumerate(order):
        if role in ROLES and role in places:
            raise UserError(f"--columns: must name {role} once")
        if role in ROLES:
            places[role] = place
    wanted = ("ts", "rate") if "rate" in places else ("ts", *PRICES)
    for role in wanted:
        if role not in places:
            raise UserError(f"--columns: must name {role}; it names {', '.join(places)}")
    volumes = (places.pop("volume"),) if "volume" in places else ()
    return Layout(places, volumes)


def _named(table: RawTable, header: tuple[str, ...], volume: str | None, form: str | None, prefix: str = "") -> Layout:
    """The layout by the header's names; in a wide file those with the prefix, and the time without."""
    # the prefix is cut off first: only then is the rest a name
    names = [plain(_after(name, prefix)) if prefix else plain(name) for name in header]
    time_place, clock = _time(table, [plain(name) for name in header], form)
    places = {"ts": time_place}
    for role, known in _PRICE_NAMES.items():
        found = [i for i, name in enumerate(names) if name in known and i not in (time_place, clock)]
        if len(found) > 1:
            raise UserError(
                f"{table.label}: must have one {role} column: it has {_listed(header)}; name them by --columns"
            )
        if found:
            places[role] = found[0]
    if "rate" in places and not set(PRICES) & set(places):
        return Layout(places)
    places.pop("rate", None)
    missing = [role for role in PRICES if role not in places]
    if missing:
        raise UserError(f"{table.label}: header has no {missing[0]} column: {_listed(header)}; name them by --columns")
    symbol = next((i for i, name in enumerate(names) if name in ("symbol", "pair", "ticker", "market")), None)
    return Layout(places, _volumes(table.label, header, names, volume, prefix), symbol, clock, prefix)


def _time(table: RawTable, names: list[str], form: str | None) -> tuple[int, int | None]:
    """Place of the open time (epochs before dates, fine dates before coarse ones), and of a time of day beside it."""
    candidates = [i for name in _TIME_NAMES for i, other in enumerate(names) if other == name]
    times = [i for i in candidates if is_time(table.columns[i], form)]
    clocks = [i for i in candidates if names[i] in _CLOCK_NAMES and i not in times and _is_clock(table, i)]
    if not times:
        shown = _listed(table.header or ())
        if candidates:
            place = candidates[0]
            told = f"{shown!r}" if names[place] == "" else repr((table.header or ())[place])
            raise UserError(
                f"{table.label}: row 1: {told} must be a time, not {str(table.columns[place][0])[:40]!r}; "
                "name the --columns or the --date-format"
            )
        raise UserError(f"{table.label}: header has no time column: {shown}; name them by --columns")
    epochs = [i for i in times if _is_epoch(table, i)]
    longest = max(times, key=lambda i: len(str(table.columns[i][0])))
    return (epochs[0] if epochs else longest), (clocks[0] if clocks and not epochs else None)


def _is_epoch(table: RawTable, place: int) -> bool:
    column = table.columns[place]
    if isinstance(column, list):
        return is_epoch(column[0])
    return True


def _is_clock(table: RawTable, place: int) -> bool:
    column = table.columns[place]
    return isinstance(column, list) and re.fullmatch(r"\d{1,2}:\d\d(:\d\d)?", column[0]) is not None


def _volumes(label: str, header: tuple[str, ...], names: list[str], volume: str | None, prefix: str) -> tuple[int, ...]:
    """Places of what may be the volume in the base currency; one that names the quote currency only beside another."""
    if volume is not None:
        if volume.lower() == "none":
            return ()
        wanted = volume.strip().lower()
        found = [i for i, name in enumerate(header) if wanted in (name.strip().lower(), _after(name, prefix).lower())]
        if len(found) != 1:
            raise UserError(f"--volume-column: {label} must have one column {volume!r}; it has {_listed(header)}")
        return (found[0],)
    known = [i for i, name in enumerate(names) if name in _BASE_VOLUMES]
    # volume_btc, "Volume USD": the currency is in the name; which of two it is, the prices tell
    marked = [i for i, name in enumerate(names) if name.startswith("volume") and i not in known]
    quotes = [i for i, name in enumerate(names) if name in _QUOTE_VOLUMES]
    rest = [i for i in (*known, *marked) if i not in quotes]
    return tuple(sorted(rest))


def _after(name: str, prefix: str) -> str:
    return name[len(prefix) :].lstrip(":_.- ") if prefix and name.startswith(prefix) else ("" if prefix else name)


def _wide(table: RawTable, volume: str | None, form: str | None) -> list[Layout]:
    """One layout for every prefix that stands before all four prices; [] if the file is not wide."""
    header = table.header or ()
    sets: dict[str, set[str]] = {}
    for name in header:
        match = re.fullmatch(r"(.+)[:_. -]+([A-Za-z]+)", name)
        if match and plain(match[2]) in PRICES:
            sets.setdefault(match[1].rstrip(":_.- "), set()).add(plain(match[2]))
    full = [prefix for prefix, roles in sets.items() if roles == set(PRICES)]
    return [_named(table, header, volume, form, prefix) for prefix in full]


def _headless(table: RawTable, form: str | None) -> Layout:
    width = len(table.columns)
    if not is_time(table.columns[0], form):
        first = str(table.columns[0][0])[:40]
        raise UserError(f"{table.label}: row 1: must begin with a time, not {first!r}; name the columns by --columns")
    if width == KLINE_WIDTH:
        return Layout({"ts": 0, "open": 1, "high": 2, "low": 3, "close": 4}, (5,))
    clock = 1 if _is_clock(table, 1) else None
    if width - (clock or 0) < 5:
        shown = ",".join(str(column[0])[:20] for column in table.columns)
        raise UserError(
            f"{table.label}: row 1: a candle must have time, open, high, low, close, volume, not {shown!r}: "
            "these look like trades"
        )
    orders = [tuple(role for role in order if role != "volume") for order in ORDERS[:3]] if width == 5 else list(ORDERS)
    judged = [(_contradictions(table, order, clock or 0), number, order) for number, order in enumerate(orders)]
    _, number, order = min(judged)
    # a few broken rows are no evidence of another order
    if number and (len(table) < FEWEST_ROWS or judged[0][0] * 2 < len(table)):
        _, number, order = judged[0]
    places = {role: place + (clock or 0 if role != "ts" else 0) for place, role in enumerate(order)}
    volumes = (places.pop("volume"),) if "volume" in places else ()
    note = f"columns read as {','.join(order)}" if number else ""
    _no_average(table, places, volumes)
    return Layout(places, volumes, None, clock, "", note)


def _no_average(table: RawTable, places: dict[str, int], volumes: tuple[int, ...]) -> None:
    """Refuse a table without names whose volume, by the usual order, is an average price (Kraken's answers)."""
    if not volumes or len(table.columns) <= volumes[0] + 1:
        return
    low, high, volume = (
        np.fromiter((_number(str(cell)) for cell in table.columns[place]), np.float64, len(table))
        for place in (places["low"], places["high"], volumes[0])
    )
    if np.mean((volume >= low) & (volume <= high)) > 0.5:
        raise UserError(
            f"{table.label}: row 1: column {volumes[0] + 1} should be the volume and lies between low and high: "
            "an average price? name the --columns"
        )


def _contradictions(table: RawTable, order: tuple[str, ...], shift: int) -> int:
    """Rows in which high and low do not hold open and close, or a cell is no number, under this order."""
    values = {}
    for role in PRICES:
        column = table.columns[order.index(role) + shift]
        if isinstance(column, list):
            values[role] = np.fromiter((_number(text) for text in column), np.float64, len(column))
        elif column.dtype.kind == "M":
            return len(table)
        else:
            values[role] = np.where(empty(column), np.nan, column.astype(np.float64))
    top, bottom = np.maximum(values["open"], values["close"]), np.minimum(values["open"], values["close"])
    return int((~((values["high"] >= top) & (values["low"] <= bottom) & (bottom > 0.0))).sum())


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


def _listed(header: tuple[str, ...]) -> str:
    return ",".join(header)[:200]
