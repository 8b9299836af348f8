"""Timeframes: the names people use ("1h"), their length in milliseconds, and the grid on which their candles open.

A candle of a timeframe opens at a whole multiple of its length, counted in UTC from the Unix epoch. Weeks are the one
exception: exchanges open them on Monday and the epoch was a Thursday, so that grid is shifted by four days
(Binance, Kraken and the ccxt manual agree on Monday 00:00 UTC).
"""

from __future__ import annotations

import difflib
from typing import Final

from trader.core.types import UserError

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS
WEEK_MS: Final = 7 * DAY_MS
MONDAY_MS: Final = 4 * DAY_MS
"""1970-01-05, the first Monday after the epoch."""

TIMEFRAMES: Final[dict[str, int]] = {
    "1m": MINUTE_MS,
    "3m": 3 * MINUTE_MS,
    "5m": 5 * MINUTE_MS,
    "15m": 15 * MINUTE_MS,
    "30m": 30 * MINUTE_MS,
    "1h": HOUR_MS,
    "2h": 2 * HOUR_MS,
    "4h": 4 * HOUR_MS,
    "6h": 6 * HOUR_MS,
    "8h": 8 * HOUR_MS,
    "12h": 12 * HOUR_MS,
    "1d": DAY_MS,
    "1w": WEEK_MS,
}
"""Every timeframe the platform knows, shortest first."""

_NAMES: Final = {length: text for text, length in TIMEFRAMES.items()}
_SPELLED: Final = {
    "60m": "1h", "120m": "2h", "240m": "4h", "360m": "6h", "480m": "8h", "720m": "12h", "1440m": "1d", "24h": "1d",
    "7d": "1w", "1min": "1m", "5min": "5m", "15min": "15m", "30min": "30m", "hour": "1h", "day": "1d", "week": "1w",
}  # fmt: skip


def milliseconds(text: str) -> int:
    """Length of a timeframe in milliseconds.

    Raises:
        UserError: the name is not one of `TIMEFRAMES`; the message suggests the nearest.
    """
    length = TIMEFRAMES.get(text)
    if length is None:
        lower = text.strip().lower()
        near = [_SPELLED[lower]] if lower in _SPELLED else difflib.get_close_matches(lower, TIMEFRAMES, 1, 0.3)
        suggestion = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"timeframe {text!r}: must be one of {' '.join(TIMEFRAMES)}{suggestion}")
    return length


def name(length_ms: int) -> str:
    """Name of a timeframe of this length in milliseconds.

    Raises:
        UserError: no timeframe has this length.
    """
    text = _NAMES.get(length_ms)
    if text is None:
        raise UserError(f"timeframe of {length_ms} ms: must be one of {' '.join(TIMEFRAMES)}")
    return text


def offset(length_ms: int) -> int:
    """Milliseconds between the epoch and the first candle opening of this timeframe: Monday for weeks, else 0."""
    return MONDAY_MS if length_ms % WEEK_MS == 0 else 0


def divides(finer_ms: int, coarser_ms: int) -> bool:
    """True if candles of `coarser_ms` are whole numbers of candles of `finer_ms`, opening on the finer one's grid."""
    return coarser_ms % finer_ms == 0 and (offset(coarser_ms) - offset(finer_ms)) % finer_ms == 0
