"""From a table and its layout to candles or funding stamps: the rules of the store, told by the rows of the file.

Values are checked in the file's order, so a refusal names the row that the author sees; then rows are sorted by time
(files come newest first) and checked for duplicates, step and grid. Nothing is repaired. What is remarkable and allowed
becomes a note: rows out of order, a volume of zero everywhere, the values of one row again under another time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo

import numpy as np
from numpy.typing import NDArray

from trader.core.timeframes import TIMEFRAMES, name, offset
from trader.core.types import UserError
from trader.feeds.files import CANDLE_COLUMNS, Candles, Stamps, broken_rules
from trader.feeds.importing.columns import PRICES, Layout
from trader.feeds.importing.table import Column, RawTable, cell, empty, numbers, refuse
from trader.feeds.importing.times import parse_times
from trader.feeds.importing.volumes import base_volume


@dataclass(frozen=True, slots=True)
class Extract:
    """candles or stamps of one symbol of a file, as sorted rows; their step; how times were read; notes."""

    content: Candles | Stamps
    length_ms: int
    zone: str
    notes: tuple[str, ...]


def extract_candles(
    table: RawTable, layout: Layout, *, length_ms: int | None, named_ms: int | None, zone: tzinfo | None,
    form: str | None, without_volume: bool, clean: bool,
) -> Extract:  # fmt: skip
    """Candles of one layout.

    Args:
        table: the file.
        layout: what its columns are.
        length_ms: length of the candles; None: the most frequent step of the rows.
        named_ms: the length that the file's name tells; the rows must not contradict it.
        zone: zone of dates without one.
        form: strptime form of dates.
        without_volume: a file without volume is taken, with zeros.
        clean: take away the noise of the last binary digit (`decimals`).

    Raises:
        UserError: a row breaks a rule, or something must be told by an option.
    """
    rows = _rows(table, layout)
    times, told = _times(table, layout, zone, form)
    times = times[rows]
    values, notes = _values(table, layout, rows, without_volume)
    if clean:
        values = decimals(values)
    after = f"; {layout.note}, another order can be named by --columns" if layout.note else ""
    for bad, rule in broken_rules(values):
        refuse(table.label, rows, bad, rule, after)
    order = _sorted(table.label, rows, times, notes)
    times, values = times[order], values[order]
    length = _length(table.label, times, length_ms, named_ms)
    off = (times - offset(length)) % length != 0
    rule = f"ts is off the grid: a {name(length)} candle opens at a whole multiple of {length} ms (UTC); see --timeframe, --tz"
    refuse(table.label, rows[order], off, rule)
    _remark(values, rows[order], notes)
    if layout.note:
        notes.insert(0, layout.note)
    return Extract(Candles(times, values), length, told, tuple(notes))


def decimals(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The values, each that lies one unit in the last place beside a decimal of 15 digits replaced by that decimal.

    Programs that read 0.00162 and write 0.0016200000000000001 are common; a double keeps any decimal of 15 digits, so
    the neighbour is noise. Longer decimals stay as they are. The order of values is kept (nothing moves past another).
    """
    distinct, back = np.unique(values, return_inverse=True)
    short = np.fromiter((float(f"{value:.15g}") for value in distinct.tolist()), np.float64, len(distinct))
    with np.errstate(invalid="ignore"):
        near = np.abs(short - distinct) <= np.spacing(np.abs(distinct))
    return np.where(near, short, distinct)[back].reshape(values.shape)


def extract_stamps(table: RawTable, layout: Layout, *, zone: tzinfo | None, form: str | None, clean: bool) -> Extract:
    """Funding stamps: `rate`, or `open` in the files freqtrade writes.

    Raises:
        UserError: a row breaks a rule.
    """
    place = layout.places.get("rate", layout.places.get("open"))
    if place is None:
        raise UserError(f"{table.label}: must have a rate column; name it by --columns")
    times, told = _times(table, layout, zone, form)
    rows = np.arange(len(table))
    rates = numbers(table.label, "rate", table.columns[place], rows)
    refuse(table.label, rows, ~(np.abs(rates) <= 1.0), "rate must be a fraction between -1 and 1")
    notes: list[str] = []
    order = _sorted(table.label, rows, times, notes)
    rates = decimals(rates) if clean else rates
    return Extract(Stamps(times[order], rates[order]), 0, told, tuple(notes))


def _rows(table: RawTable, layout: Layout) -> NDArray[np.int64]:
    """Rows (0-based) of this symbol: in a wide file those where it has any value."""
    if not layout.prefix:
        return np.arange(len(table))
    blank = np.ones(len(table), np.bool_)
    for place in (*(layout.places[role] for role in PRICES), *layout.volumes):
        blank &= empty(table.columns[place])
    rows = np.flatnonzero(~blank)
    if len(rows) == 0:
        raise UserError(f"{table.label}: {layout.prefix} has no rows")
    return rows


def _times(table: RawTable, layout: Layout, zone: tzinfo | None, form: str | None) -> tuple[NDArray[np.int64], str]:
    place = layout.places["ts"]
    column: Column = table.columns[place]
    if layout.clock is not None:
        clock = table.columns[layout.clock]
        column = [f"{cell(column, row)} {cell(clock, row)}" for row in range(len(table))]
    shown = (table.header[place] if table.header else "") or "time"
    return parse_times(table.label, shown, column, zone, form, zoned=place in table.zoned)


def _values(
    table: RawTable, layout: Layout, rows: NDArray[np.int64], without_volume: bool
) -> tuple[NDArray[np.float64], list[str]]:
    """float64 [N, 5] of these rows, and notes."""
    prices = [numbers(table.label, role, table.columns[layout.places[role]], rows) for role in PRICES]
    candidates = [numbers(table.label, "volume", table.columns[place], rows) for place in layout.volumes]
    notes: list[str] = []
    if not candidates:
        if not without_volume:
            raise UserError(
                f"{table.label}: has no volume column (in the base currency); name one by --volume-column, or: none"
            )
        candidates = [np.zeros(len(rows))]
        notes.append("no volume: zeros")
    if len(candidates) == 1:
        volume = candidates[0]
    elif len(candidates) == 2:
        shown = tuple(table.header[place] if table.header else str(place + 1) for place in layout.volumes)
        volume, note = base_volume(
            table.label, (shown[0], shown[1]), (candidates[0], candidates[1]), prices[2], prices[1]
        )
        notes.append(note)
    else:
        raise UserError(f"{table.label}: has {len(candidates)} volume columns; choose one by --volume-column")
    return np.column_stack([*prices, volume]), notes


def _sorted(label: str, rows: NDArray[np.int64], times: NDArray[np.int64], notes: list[str]) -> NDArray[np.int64]:
    """Order by time; duplicates are refused, other orders than ascending are noted."""
    order = np.argsort(times, kind="stable")
    step = np.diff(times[order])
    if (step == 0).any():
        second = np.zeros(len(rows), np.bool_)
        second[order[1:][step == 0]] = True
        refuse(label, rows, second, "its open time is there twice (duplicate candle)")
    falling = int((np.diff(times) < 0).sum())
    if falling and 2 * falling > len(times) - 1:
        notes.append("newest first: turned round")
        falling = len(times) - 1 - falling
    if falling:
        notes.append(f"{falling} rows out of order: sorted")
    return order


def _length(label: str, times: NDArray[np.int64], wanted: int | None, named: int | None) -> int:
    """Length of the candles: the wanted one, else that of the name, else the most frequent step of the rows."""
    steps, counts = np.unique(np.diff(times), return_counts=True)
    if wanted is not None or len(steps) == 0:
        if wanted is None and named is None:
            raise UserError(f"{label}: row 1: one row tells no step; name its --timeframe")
        length = wanted if wanted is not None else named
        assert length is not None
        if len(steps) > 1 and steps[0] > length:
            raise UserError(f"{label}: row 2: rows are at least {_shown(int(steps[0]))} apart, never {name(length)}")
        return length
    length = int(steps[np.argmax(counts)])
    if named is not None and named != length:
        if named in steps:
            return named
        raise UserError(
            f"{label}: row 2: rows are mostly {_shown(length)} apart, but its name says {name(named)}; "
            "name the --timeframe"
        )
    if length not in TIMEFRAMES.values():
        raise UserError(
            f"{label}: row 2: rows are mostly {length} ms apart, which is none of {' '.join(TIMEFRAMES)}; "
            "name the --timeframe"
        )
    return length


def _shown(length_ms: int) -> str:
    return next((text for text, ms in TIMEFRAMES.items() if ms == length_ms), f"{length_ms} ms")


def _remark(values: NDArray[np.float64], rows: NDArray[np.int64], notes: list[str]) -> None:
    """What the rules allow and a person should know."""
    if not values[:, CANDLE_COLUMNS.index("volume")].any():
        notes.append("volume is 0 in every row")
        return
    moved = (values[:, 1] > values[:, 2]) & (values[:, 4] > 0.0)
    _, first, counts = np.unique(values[moved], axis=0, return_index=True, return_counts=True)
    again = int((counts - 1).sum())
    if again:
        row = int(rows[moved][first[counts > 1]].min()) + 1
        notes.append(f"{again} rows have the values of another row under another time (first: row {row})")
