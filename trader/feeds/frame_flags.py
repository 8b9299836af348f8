"""The exchange's own word that a candle is closed, read from the raw frames of a stream.

The client library drops this flag. Each reader takes a decoded frame of one exchange and gives `(market id or "", open
time ms, five numbers as sent, closed)` for every candle in it; a frame of another form gives nothing. Exchanges without
a reader have no flag: their candles close by a later candle and a confirmation by REST.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

Told = tuple[str, Any, tuple[Any, ...], bool]


def _number(value: Any) -> Any:
    """The float of a text; anything else, and text that is none, as it came, so that the rules refuse it."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _binance(frame: Any) -> Iterator[Told]:
    """Kline stream: https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams."""
    kline = frame.get("k") if isinstance(frame, dict) else None
    if isinstance(kline, dict) and "x" in kline:
        yield str(kline.get("s", "")), kline.get("t"), tuple(_number(kline.get(k)) for k in "ohlcv"), kline["x"] is True


def _bybit(frame: Any) -> Iterator[Told]:
    """Kline topic of v5: `data` is a list of objects with `start` and `confirm`."""
    data = frame.get("data") if isinstance(frame, dict) else None
    for kline in data if isinstance(data, list) else ():
        if isinstance(kline, dict) and "confirm" in kline:
            names = ("open", "high", "low", "close", "volume")
            yield "", kline.get("start"), tuple(_number(kline.get(k)) for k in names), kline["confirm"] is True


def _okx(frame: Any) -> Iterator[Told]:
    """Candle channel: rows [ts, o, h, l, c, volume in base or contracts, …, confirm]."""
    data = frame.get("data") if isinstance(frame, dict) else None
    for kline in data if isinstance(data, list) else ():
        if isinstance(kline, list) and len(kline) >= 9 and str(kline[0]).isdigit():
            yield "", int(kline[0]), tuple(_number(value) for value in kline[1:6]), str(kline[8]) == "1"


READERS: Final[dict[str, Callable[[Any], Iterator[Told]]]] = {
    "binance": _binance,
    "binanceus": _binance,
    "binanceusdm": _binance,
    "bybit": _bybit,
    "okx": _okx,
}


def told(exchange: str, frame: Any) -> list[Told]:
    """Every candle of a frame that carries a flag."""
    reader = READERS.get(exchange)
    return [] if reader is None else list(reader(frame))
