"""Signals from a file (`feed.signals`): what another tool says, joined to a feed's candles.

A file (CSV, JSON, feather or Parquet, zipped or not) has the columns symbol, ts and signal; or, in place of signal, some of
enter_long, exit_long, enter_short, exit_short with 1 or 0 (true, false). ts is the open time of the base candle at whose
close the signal is known, as other tools date their rows; the order it leads to fills at the next candle's open.
A signal is a number in [-1, 1]: above 0 be long, below 0 be short, 0 be flat; an empty cell, or no row, says nothing.
What a file says to frames that a market misses is never heard.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trader.core.files import read_file
from trader.core.timeframes import name, offset
from trader.core.types import Block, Instrument, UserError
from trader.feeds.base import Feed
from trader.feeds.history import moment_text
from trader.feeds.importing.container import Member, members
from trader.feeds.importing.reading import table_of
from trader.feeds.importing.table import Column, RawTable, empty, numbers, refuse
from trader.feeds.importing.times import parse_times

_EVENTS: Final = {"enter_long": 1.0, "enter_short": -1.0, "exit_long": 0.0, "exit_short": 0.0}
_FLAGS: Final = {"": 0.0, "0": 0.0, "0.0": 0.0, "false": 0.0, "nan": 0.0, "1": 1.0, "1.0": 1.0, "true": 1.0}
_TEXT: Final = (b"ARROW1", b"FEA1", b"PAR1", b"[", b"{")


@dataclass(frozen=True, slots=True)
class Signals:
    """What a file says, N rows in its order: symbol and open time in ms UTC of the candle, value in [-1, 1]."""

    label: str
    symbols: tuple[str, ...]
    times: NDArray[np.int64]
    values: NDArray[np.float64]
    rows: NDArray[np.int64]


def read_signals(path: str, digest: str) -> Signals:
    """The signals in a file; rows that say nothing are left out.

    Args:
        path: the file.
        digest: SHA-256 (hex) of what must be in it; empty: anything.

    Raises:
        UserError: it is not there, is not what it was, or a row breaks a rule.
    """
    found = members(Path(path))
    if digest and hashlib.sha256(read_file(path)).hexdigest() != digest:
        raise UserError(f"feed.signals: {path} is not the file it was (sha256 {digest[:16]}… expected)")
    if len(found) != 1:
        raise UserError(f"{path}: must hold one file of signals, not {len(found)}")
    table = _table(found[0])
    columns = dict(zip(table.header or (), table.columns, strict=False))
    for wanted in ("symbol", "ts"):
        if wanted not in columns:
            raise UserError(
                f"{path}: header has no {wanted} column: signals have symbol, ts and signal; it has "
                f"{', '.join(columns)[:200]}"
            )
    values = _values(table, columns)
    symbols = columns["symbol"]
    if not isinstance(symbols, list):
        raise UserError(f"{path}: row 1: symbol must be BASE/QUOTE")
    times, _ = parse_times(table.label, "ts", columns["ts"], None)
    rows = np.flatnonzero(np.isfinite(values))
    twice = _twice(symbols, times)
    refuse(table.label, np.arange(len(table)), twice, "its symbol and ts are there twice")
    return Signals(table.label, tuple(symbols[row] for row in rows.tolist()), times[rows], values[rows], rows)


def _table(member: Member) -> RawTable:
    """The table in a file; text needs a header, and any number of columns will do."""
    if member.content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(_TEXT):
        return table_of(member)
    try:
        text = member.content.decode("utf-8-sig")
        lines = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{member.label}: cannot be read as CSV: {str(error).splitlines()[0]}") from None
    header = tuple(cell.strip().lower() for cell in lines[0])
    for number, row in enumerate(lines[1:], 1):
        if len(row) != len(header):
            raise UserError(f"{member.label}: row {number}: must have {len(header)} cells, not {len(row)}")
    columns = [[cell.strip() for cell in column] for column in zip(*lines[1:], strict=True)]
    return RawTable(member.label, header, tuple(columns))


def _values(table: RawTable, columns: dict[str, Column]) -> NDArray[np.float64]:
    """float64 [N]: the signal of every row, NaN where it says nothing."""
    everything = np.arange(len(table))
    if "signal" in columns:
        told = np.flatnonzero(~empty(columns["signal"]))
        values = np.full(len(table), np.nan)
        values[told] = numbers(table.label, "signal", columns["signal"], told)
        wrong = ~np.isnan(values) & ~(np.abs(values) <= 1.0)
        refuse(table.label, everything, wrong, "signal must be a number from -1 (short) to 1 (long)")
        return values
    events = {word: value for word, value in _EVENTS.items() if word in columns}
    if not any(word.startswith("enter") for word in events):
        raise UserError(
            f"{table.label}: header has no signal column, nor enter_long, exit_long, enter_short, exit_short: it has "
            f"{', '.join(columns)[:200]}"
        )
    raised = {word: _flags(table.label, word, columns[word]) for word in events}
    values = np.full(len(table), np.nan)
    for word in ("exit_long", "exit_short", "enter_long", "enter_short"):
        if word in raised:
            values[raised[word]] = events[word]
    nothing = np.zeros(len(table), np.bool_)
    both = raised.get("enter_long", nothing) & raised.get("enter_short", nothing)
    for side in ("long", "short"):
        both |= raised.get(f"enter_{side}", nothing) & raised.get(f"exit_{side}", nothing)
    refuse(table.label, everything, both, "must not enter and leave the same side, nor enter both sides, at once")
    return values


def _flags(label: str, word: str, column: Column) -> NDArray[np.bool_]:
    texts = [str(cell).lower() for cell in (column if isinstance(column, list) else column.tolist())]
    wrong = np.array([text not in _FLAGS for text in texts], np.bool_)
    refuse(label, np.arange(len(texts)), wrong, f"{word} must be 1 or 0, true or false, or empty")
    return np.array([_FLAGS[text] > 0.0 for text in texts], np.bool_)


def _twice(symbols: list[str], times: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Bool [N]: rows whose symbol and time an earlier row has."""
    seen: set[tuple[str, int]] = set()
    twice = np.zeros(len(times), np.bool_)
    for row, key in enumerate(zip(symbols, times.tolist(), strict=True)):
        twice[row] = key in seen
        seen.add(key)
    return twice


class SignalledFeed:
    """A feed whose blocks carry what a file says.

    Raises:
        UserError: the file names a market that the feed does not have, or a time at which no candle opens.
    """

    def __init__(self, feed: Feed, signals: Signals) -> None:
        self._feed = feed
        place = {symbol: m for m, symbol in enumerate(feed.symbols)}
        unknown = np.array([symbol not in place for symbol in signals.symbols], np.bool_)
        known = f"symbol must be one of the session's: {', '.join(feed.symbols)}"
        refuse(signals.label, signals.rows, unknown, known)
        off = (signals.times - offset(feed.base_ms)) % feed.base_ms != 0
        refuse(signals.label, signals.rows, off, f"ts must be the open time of a {name(feed.base_ms)} candle (UTC)")
        order = np.argsort(signals.times, kind="stable")
        self._times = signals.times[order]
        self._market = np.array([place[symbol] for symbol in signals.symbols], np.int64)[order]
        self._values = signals.values[order]

    @property
    def symbols(self) -> tuple[str, ...]:
        """The feed's."""
        return self._feed.symbols

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        """The feed's."""
        return self._feed.instruments

    @property
    def base_ms(self) -> int:
        """The feed's."""
        return self._feed.base_ms

    @property
    def kind(self) -> str:
        """The feed's."""
        return self._feed.kind

    def blocks(self, size: int, after_ms: int | None = None) -> Iterator[Block]:
        """The feed's blocks with `signals`."""
        for block in self._feed.blocks(size, after_ms):
            yield replace(block, signals=self._said(block))

    def _said(self, block: Block) -> NDArray[np.float64]:
        said = np.full(block.present.shape, np.nan)
        first, last = int(block.times[0]), int(block.times[-1])
        rows = np.arange(np.searchsorted(self._times, first), np.searchsorted(self._times, last, "right"))
        frame = np.minimum(np.searchsorted(block.times, self._times[rows]), len(block) - 1)
        here = block.times[frame] == self._times[rows]
        said[frame[here], self._market[rows[here]]] = self._values[rows[here]]
        said[~block.present] = np.nan
        return said

    def describe(self) -> dict[str, Any]:
        """The feed's, and how many signals there are."""
        told = {
            "count": len(self._times),
            "symbols": ", ".join(self.symbols[m] for m in np.unique(self._market).tolist()) or "no market",
            "first": moment_text(int(self._times[0])) if len(self._times) else "never",
            "last": moment_text(int(self._times[-1])) if len(self._times) else "never",
        }
        return {**self._feed.describe(), "signals": told}

    def close(self) -> None:
        """Close the feed."""
        self._feed.close()
