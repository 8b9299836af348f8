"""What a file's name tells: symbol, timeframe, venue, and whether it holds candles, mark candles or funding.

Known forms: freqtrade (`UNITTEST_BTC-1m`, `XRP_USDT_USDT-1h-futures`, `-mark`, `-funding_rate`), Binance's archive
(`BTCUSDT-1h-2024-10-28`), HistData (`DAT_ASCII_EURUSD_M1_201705`), else single words: a pair of currencies that are
both well known (`btcusdt`, `btc-usd`), a timeframe (`15m`), an exchange. What is not certain is not said: None.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from trader.core.timeframes import TIMEFRAMES

QUOTES: Final = (
    "USDT", "USDC", "BUSD", "TUSD", "FDUSD", "USD", "EUR", "GBP", "JPY", "CHF", "AUD", "CAD", "TRY", "BTC", "ETH", "BNB",
)  # fmt: skip
"""What symbols written in one word end with; longer endings first where one ends with another."""

BASES: Final = frozenset((
    "BTC", "XBT", "ETH", "LTC", "XRP", "ADA", "BNB", "DOGE", "SOL", "DOT", "AVAX", "LINK", "TRX", "XLM", "XMR", "ZEC",
    "DASH", "ETC", "BCH", "EOS", "NEO", "IOTA", "ATOM", "UNI", "MATIC", "FIL", "ALGO",
    "EUR", "GBP", "AUD", "NZD", "USD", "CAD", "CHF", "XAU", "XAG",
))  # fmt: skip
"""Bases that are believed in a file's name; a `symbol` column or --symbol may name any."""

_FREQTRADE: Final = re.compile(
    r"(?:^|__)(?P<base>[A-Za-z0-9]+)_(?P<quote>[A-Za-z0-9]+?)(?:_(?P<settle>[A-Za-z0-9]+))?"
    r"-(?P<timeframe>\d+[mhdw])(?:-(?P<kind>futures|mark|funding_rate|spot))?$"
)
_STORE: Final = re.compile(r"^(?P<base>[A-Za-z0-9]+)-(?P<quote>[A-Za-z0-9]+)-(?P<timeframe>\d+[mhdw])$")
_KINDS: Final = {"mark": "mark", "funding_rate": "funding"}
_VENUES: Final = frozenset((
    "binance", "binanceusdm", "bitfinex", "bitmex", "bitstamp", "bittrex", "bybit", "coinbase", "ftx", "gateio", "gemini",
    "huobi", "kraken", "krakenfutures", "kucoin", "kucoinfutures", "mexc", "okx", "poloniex",
))  # fmt: skip
_MINUTES: Final = {"M1": "1m", "M5": "5m", "M15": "15m", "M30": "30m", "H1": "1h", "H4": "4h", "D1": "1d"}
_SUFFIXES: Final = re.compile(r"(\.(csv|txt|tsv|json|feather|parquet|zip|gz|wide))+$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Named:
    """symbol BASE/QUOTE, timeframe and venue where the name tells them; kind: candles, mark or funding.

    certain: symbol and timeframe stand in one of the exact forms, nothing was concluded from single words.
    """

    symbol: str | None = None
    timeframe: str | None = None
    venue: str | None = None
    kind: str = "candles"
    words: tuple[str, ...] = ()
    certain: bool = False


def from_name(filename: str) -> Named:
    """What a file name tells."""
    stem = _SUFFIXES.sub("", filename)
    words = tuple(word for word in re.split(r"[^A-Za-z0-9]+", stem) if word)
    match = _FREQTRADE.search(stem) or _STORE.search(stem)
    if match is not None and match["timeframe"] in TIMEFRAMES:
        groups = match.groupdict()
        symbol = f"{groups['base'].upper()}/{groups['quote'].upper()}"
        kind = _KINDS.get(groups.get("kind") or "", "candles")
        return Named(
            symbol, groups["timeframe"], _venue(words, derivative=bool(groups.get("settle"))), kind, words, certain=True
        )
    return Named(_symbol(words), _timeframe(words), _venue(words, derivative="futures" in words), "candles", words)


def split_symbol(text: str) -> str | None:
    """BASE/QUOTE of `BTC/USD`, `BTC-USD`, `BTC_USD`, `BTCUSD`; None where the border is not certain."""
    parts = re.split(r"[/_-]", text.strip().partition(":")[0].upper())
    if len(parts) == 2 and all(re.fullmatch(r"[A-Z0-9]+", part) for part in parts):
        return f"{parts[0]}/{parts[1]}"
    if len(parts) == 1:
        for quote in QUOTES:
            base = parts[0].removesuffix(quote)
            if base != parts[0] and re.fullmatch(r"[A-Z0-9]{2,10}", base):
                return f"{base}/{quote}"
    return None


def _symbol(words: tuple[str, ...]) -> str | None:
    """The one pair of well known currencies among the words, written in one or in two."""
    found = {
        symbol for word in words if (symbol := split_symbol(word)) is not None and symbol.partition("/")[0] in BASES
    }
    for base, quote in pairwise(words):
        if base.upper() in BASES and quote.upper() in QUOTES:
            found.add(f"{base.upper()}/{quote.upper()}")
    return found.pop() if len(found) == 1 else None


def _timeframe(words: tuple[str, ...]) -> str | None:
    found = {word for word in words if word in TIMEFRAMES} | {_MINUTES[word] for word in words if word in _MINUTES}
    return found.pop() if len(found) == 1 else None


def _venue(words: tuple[str, ...], *, derivative: bool) -> str | None:
    found = {word.lower() for word in words} & _VENUES
    if len(found) != 1:
        return None
    venue = found.pop()
    return "binanceusdm" if derivative and venue == "binance" else venue
