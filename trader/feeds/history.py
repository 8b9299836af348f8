"""What a replay tells before it starts: one line a symbol, and the command that gets what is missing.

Agents decide once their indicators are warm; those candles (`needed`) are read before `feed.start`, or, where the
history does not begin early enough, taken from the beginning of what is traded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from trader.core.timeframes import name
from trader.core.types import UserError

STORE: Final = "data/candles"


class MissingHistoryError(UserError):
    """Candles that were asked for are not there; symbols: those that are known to be missing."""

    def __init__(self, message: str, symbols: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.symbols = symbols


@dataclass(frozen=True, slots=True)
class Wanted:
    """The history that a session asks for. needed: base candles of warm-up; times in ms UTC, None where not told."""

    exchange: str
    market_type: str
    base_ms: int
    needed: int
    start_ms: int | None
    end_ms: int | None


def download_command(wanted: Wanted, symbols: tuple[str, ...], *, until_ms: int | None = None) -> str:
    """The command that downloads a history, warm-up included.

    Args:
        wanted: what the session asks for.
        symbols: BASE/QUOTE of what is missing; none: the reader names them.
        until_ms: end of what is missing; None: the end of what is wanted.
    """
    words = ["trader data download"]
    words += [f"--symbol {symbol}" for symbol in symbols] or ["--symbol BASE/QUOTE"]
    words += [
        f"--exchange {wanted.exchange}",
        f"--market-type {wanted.market_type}",
        f"--timeframe {name(wanted.base_ms)}",
    ]
    if wanted.start_ms is not None:
        words.append(f"--start {moment_text(wanted.start_ms - wanted.needed * wanted.base_ms)}")
    end = until_ms if until_ms is not None else wanted.end_ms
    if end is not None:
        words.append(f"--end {moment_text(end)}")
    return " ".join([*words, f"--out {STORE}"])


def opening_lines(described: Mapping[str, Any], wanted: Wanted) -> list[str]:
    """One line a symbol: rows, span, step, zone, holes, the minimum length; then what is missing, and how to get it.

    Args:
        described: `ReplayFeed.describe()`.
        wanted: what the session asks for.
    """
    step, zone = described["step"], described["zone"]
    lines = []
    short: dict[int, list[str]] = {}
    for symbol, one in described["symbols"].items():
        source = "" if one["source_step"] == step else f" (made of {one['source_step']})"
        holes = f"{one['holes']} holes" + (f" ({one['missing']} candles)" if one["holes"] else "")
        span = f"{moment_text(one['first_ms'])} to {moment_text(one['last_ms'])}"
        lines.append(
            f"{symbol}: {one['rows']} rows, {span}, step {step}{source}, zone {zone}, {holes}, "
            f"minimum {wanted.needed} rows (warm-up)"
        )
        if one["rows"] <= wanted.needed:
            lines[-1] += ": too short, agents of the longest timeframe will not be warm"
        if wanted.start_ms is not None and one["first_ms"] > wanted.start_ms - wanted.needed * wanted.base_ms:
            short.setdefault(one["first_ms"], []).append(symbol)
    for first_ms, symbols in sorted(short.items()):
        command = download_command(wanted, tuple(symbols), until_ms=first_ms)
        lines.append(f"{', '.join(symbols)}: history before {moment_text(first_ms)} is missing; to get it: {command}")
    return lines


def moment_text(moment_ms: int) -> str:
    """A moment in ms UTC as people read it, to the minute."""
    moment = datetime.fromtimestamp(moment_ms / 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%MZ")
