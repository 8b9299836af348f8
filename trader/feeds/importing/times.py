"""Open times in every spelling, as ms UTC: epochs of four units, and dates of the forms that exporters write.

The unit of an epoch follows from its size (seconds have 9 or 10 digits until 2286, each finer unit three more) and must
be the same in all rows. A date's form is the first of `FORMS` that reads every row; day-first and month-first dates that
read both ways are refused, not guessed. Dates without a zone are in `zone`. A number that a spreadsheet rounded
(1.70027E+12) has lost its candle and is refused.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

from trader.core.types import UserError
from trader.feeds.importing.table import Column, cell, empty

FORMS: Final = (
    "%Y%m%d %H%M%S", "%Y%m%d", "%Y-%m-%d %I-%p", "%Y-%m-%d %I:%M:%S %p", "%Y-%m-%d %I:%M %p",
    "%Y/%m/%d", "%Y/%m/%d %H:%M", "%Y/%m/%d %H:%M:%S", "%Y.%m.%d", "%Y.%m.%d %H:%M", "%Y.%m.%d %H:%M:%S",
    "%d.%m.%Y", "%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M:%S.%f", "%d.%m.%Y %H:%M:%S.%f GMT%z",
    "%d-%b-%Y", "%d %b %Y", "%b %d, %Y", "%B %d, %Y", "%d %b %Y %H:%M:%S", "%d-%b-%Y %H:%M:%S",
    "%m/%d/%Y", "%d/%m/%Y", "%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M:%S", "%d/%m/%Y %H:%M:%S",
    "%m/%d/%Y %I:%M:%S %p", "%d/%m/%Y %I:%M:%S %p", "%m/%d/%Y %I:%M %p", "%d/%m/%Y %I:%M %p", "%m/%d/%y", "%d/%m/%y",
)  # fmt: skip
HISTDATA: Final = "%Y%m%d %H%M%S"
"""HistData.com's generic ASCII form, whose documentation says: Eastern Standard Time, without daylight saving."""
EASTERN_STANDARD: Final = timezone(timedelta(hours=-5), "EST")
_ISO: Final = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.,]\d{1,9})?)?)?\s?(Z|UTC|[+-]\d\d:?\d\d)?")
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_OFFSET: Final = re.compile(r"(?:UTC|GMT)?([+-])(\d{1,2})(?::?(\d\d))?")
_SCIENTIFIC: Final = re.compile(r"[+-]?\d+(?:\.(\d*))?[eE]\+?(\d+)")
_UNITS: Final = ((1e8, 1e10, 1_000.0), (1e11, 1e13, 1.0), (1e14, 1e16, 1e-3), (1e17, 1e19, 1e-6))
"""(from, below, milliseconds in one) of seconds, milli-, micro- and nanoseconds: the years 1973 to 2286."""
_MINUTE_MS: Final = 60_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def zone_of(text: str) -> tzinfo:
    """A zone by name: UTC, EST (always UTC-5), +02:00, UTC-5, or a place such as America/New_York.

    Raises:
        UserError: no such zone.
    """
    if text.upper() in ("UTC", "Z", "GMT"):
        return UTC
    if text.upper() == "EST":
        return EASTERN_STANDARD
    match = _OFFSET.fullmatch(text.upper())
    if match is not None and int(match[2]) < 15 and int(match[3] or 0) < 60:
        delta = timedelta(hours=int(match[2]), minutes=int(match[3] or 0))
        return timezone(-delta if match[1] == "-" else delta)
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UserError(f"--tz: no zone {text!r}: name UTC, EST, an offset as +02:00, or as America/New_York") from None


def is_time(column: Column, form: str | None = None) -> bool:
    """Whether the first value of a column looks like a time, in this strptime form or any known one."""
    if not isinstance(column, list):
        return column.dtype.kind == "M" or bool(_unit(np.float64(column[0])))
    text = column[0]
    if _NUMBER.fullmatch(text):
        return bool(_unit(np.float64(float(text)))) or _eight_digits(text)
    return any(_read(text, one) is not None for one in (form, None, *FORMS))


def parse_times(
    label: str, name: str, column: Column, zone: tzinfo | None, form: str | None = None, *, zoned: bool = False
) -> tuple[NDArray[np.int64], str]:
    """Open times in ms UTC, int64 [N], and how they were read ("epoch seconds", "dates in UTC (assumed)").

    Args:
        label: file, for messages.
        name: what the column is called there.
        column: its cells.
        zone: zone of dates that name none; None: what the form tells, else UTC.
        form: strptime form of the dates; None: the one that fits.
        zoned: the moments of the column are UTC already.

    Raises:
        UserError: an empty cell, no time, another unit than the row before, a rounded number.
    """
    blank = empty(column)
    if blank.any():
        raise UserError(f"{label}: row {int(np.argmax(blank)) + 1}: {name} must not be empty")
    if not isinstance(column, list) and column.dtype.kind == "M":
        moments = column.astype("datetime64[ms]").astype(np.int64)
        if zoned:
            return moments, "UTC"
        return _localised(label, moments, zone or UTC), _told(zone)
    if isinstance(column, list) and (form is not None or not is_epoch(column[0])):
        return _dates(label, name, column, zone, form)
    return _epochs(label, name, column)


def is_epoch(text: str) -> bool:
    """Whether a cell is a count of seconds or finer units, and no date written as a number."""
    return _NUMBER.fullmatch(text) is not None and not _eight_digits(text)


def _eight_digits(text: str) -> bool:
    """20170501: a date, though it is a number too (of seconds: a day in August 1970)."""
    return len(text) == 8 and text.isdigit() and _read(text, "%Y%m%d") is not None


def _unit(value: np.float64) -> float:
    """Milliseconds in one unit of an epoch of this size; 0 if it is none."""
    return next((scale for low, high, scale in _UNITS if low <= value < high), 0.0)


def _epochs(label: str, name: str, column: Column) -> tuple[NDArray[np.int64], str]:
    values = _epoch_numbers(label, name, column)
    scale = _unit(values[0])
    if not scale:
        raise UserError(f"{label}: row 1: {name} must be a time, not {cell(column, 0)!r}")
    low, high, _ = next(unit for unit in _UNITS if unit[2] == scale)
    other = ~((values >= low) & (values < high))
    if other.any():
        row = int(np.argmax(other))
        raise UserError(
            f"{label}: row {row + 1}: {name} must be a time in the unit of row 1, not {cell(column, row)!r}"
        )
    milliseconds = np.rint(values * scale).astype(np.int64)
    if scale < 1.0 and not isinstance(column, list) and column.dtype.kind == "i":
        # nanoseconds have more digits than a float keeps: whole numbers are divided as whole numbers
        milliseconds = column.astype(np.int64) // round(1 / scale)
    _refuse_rounded(label, name, column, milliseconds)
    return milliseconds, {1e3: "epoch seconds", 1.0: "epoch ms", 1e-3: "epoch µs", 1e-6: "epoch ns"}[scale]


def _epoch_numbers(label: str, name: str, column: Column) -> NDArray[np.float64]:
    if not isinstance(column, list):
        return column.astype(np.float64)
    values = np.empty(len(column), np.float64)
    for row, text in enumerate(column):
        if _NUMBER.fullmatch(text) is None:
            raise UserError(f"{label}: row {row + 1}: {name} must be a number like that of row 1, not {text[:40]!r}")
        values[row] = float(text)
    return values


def _refuse_rounded(label: str, name: str, column: Column, milliseconds: NDArray[np.int64]) -> None:
    """Scientific notation whose digits do not reach the minute, with times that are off it or repeated."""
    if not isinstance(column, list):
        return
    rounded = [(row, match) for row, text in enumerate(column) if (match := _SCIENTIFIC.fullmatch(text))]
    if not rounded or (len(np.unique(milliseconds)) == len(milliseconds) and not (milliseconds % _MINUTE_MS).any()):
        return
    row, match = rounded[0]
    if int(match[2]) > len(match[1] or ""):
        many = f" ({len(rounded)} of {len(column)} rows)" if len(rounded) > 1 else ""
        raise UserError(
            f"{label}: row {row + 1}: {name} {column[row]!r} was rounded by a spreadsheet and has lost its last digits: "
            f"the time must be whole{many}"
        )


def _dates(
    label: str, name: str, column: list[str], zone: tzinfo | None, form: str | None
) -> tuple[NDArray[np.int64], str]:
    chosen = _form(label, name, column, form)
    if zone is None and chosen == HISTDATA:
        zone = EASTERN_STANDARD
    naive = np.empty(len(column), np.int64)
    aware = 0
    for row, text in enumerate(column):
        moment = _read(text, chosen)
        if moment is None:
            like = f"a date like {column[0]!r}" if row else "a date"
            raise UserError(f"{label}: row {row + 1}: {name} must be {like}, not {text[:40]!r}")
        aware += moment.tzinfo is not None
        if 0 < aware < row + 1:
            raise UserError(f"{label}: row {row + 1}: {name} must name its zone in all rows or in none")
        delta = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
        naive[row] = (delta.days * 86_400 + delta.seconds) * 1000 + delta.microseconds // 1000
    if aware:
        return naive, "dates with their zone"
    return _localised(label, naive, zone or UTC), _told(zone)


def _told(zone: tzinfo | None) -> str:
    return "dates in UTC (assumed)" if zone is None else f"dates in {zone}"


def _form(label: str, name: str, column: list[str], form: str | None) -> str | None:
    """The form of a column's dates (None: ISO). Several can read them: then they must agree."""
    if form is not None:
        if _read(column[0], form) is None:
            raise UserError(f"{label}: row 1: {name} must fit --date-format {form!r}, not {column[0][:40]!r}")
        return form
    fitting = [one for one in (None, *FORMS) if _read(column[0], one) is not None]
    if not fitting:
        raise UserError(f"{label}: row 1: {name} must be a time, not {column[0][:40]!r}; name its --date-format")
    if len(fitting) > 1:
        complete = [one for one in fitting if all(_read(text, one) is not None for text in column)] or fitting[:1]
        different = [text for text in column if len({_read(text, one) for one in complete}) > 1]
        if different:
            raise UserError(
                f"{label}: row {column.index(different[0]) + 1}: {name} {different[0]!r} reads as "
                f"{' and as '.join(str(one) for one in complete)}: name its --date-format"
            )
        return complete[0]
    return fitting[0]


def _read(text: str, form: str | None) -> datetime | None:
    """A moment in this form (None: ISO); None if it is not."""
    try:
        if form is not None:
            return datetime.strptime(text, form)  # noqa: DTZ007 - the zone is the user's to tell
        return datetime.fromisoformat(text.replace(" UTC", "Z").replace("UTC", "Z")) if _ISO.fullmatch(text) else None
    except ValueError:
        return None


def _localised(label: str, naive: NDArray[np.int64], zone: tzinfo) -> NDArray[np.int64]:
    """UTC of local times; an hour that the zone skips or has twice is refused."""
    if zone is UTC:
        return naive
    utc = np.empty_like(naive)
    for row, moment in enumerate(naive.tolist()):
        try:
            local = _EPOCH.replace(tzinfo=None) + timedelta(milliseconds=moment)
            early, late = (local.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1))
        except (OverflowError, ValueError):
            raise UserError(f"{label}: row {row + 1}: the time must lie between the years 1 and 9999") from None
        assert early is not None
        if early != late:
            raise UserError(
                f"{label}: row {row + 1}: {local} is skipped or there twice in {zone}: times must be certain"
            )
        utc[row] = moment - round(early.total_seconds() * 1000)
    return utc
