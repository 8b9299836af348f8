"""Reading candles and funding stamps from files with the store's columns, and refusing bad ones.

Columns: `ts` (open time, ms UTC), open, high, low, close, volume; funding files `ts, rate`. Other columns are ignored.
Feather, JSON and zip, which other programs write, are read by the importer's rules: names and orders of their own.
A file is accepted whole or refused with one line that names the file, the row (counted from 1, without the header) and
the rule. Nothing is repaired: a wrong candle that is mended silently is a wrong backtest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trader.core.timeframes import name, offset
from trader.core.types import CLOSE, HIGH, LOW, OPEN, VOLUME, UserError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

CANDLE_COLUMNS: Final = ("open", "high", "low", "close", "volume")
SUFFIXES: Final = (".parquet", ".csv", ".feather", ".json", ".zip")
STORED: Final = SUFFIXES[:2]
"""Formats with the store's own columns."""
_EARLIEST_MS: Final = 1_000_000_000_000 // 4
"""1977: an open time below this is not in milliseconds."""
_LATEST_MS: Final = 10_000_000_000_000
"""2286: an open time above this is in micro- or nanoseconds."""


@dataclass(frozen=True, slots=True)
class Candles:
    """times: int64 [T], strictly increasing; values: float64 [T, 5], open, high, low, close, volume."""

    times: NDArray[np.int64]
    values: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Stamps:
    """times: int64 [N], strictly increasing, jittering around the hour; rates: float64 [N], fractions."""

    times: NDArray[np.int64]
    rates: NDArray[np.float64]


def read_candles(path: Path, length_ms: int) -> Candles:
    """Candles of one file.

    Args:
        path: a file with one of `SUFFIXES`.
        length_ms: length of its candles, for the grid.

    Raises:
        UserError: the file cannot be read, lacks a column, or a row breaks a rule.
    """
    if path.suffix not in STORED:
        from trader.feeds.importing.direct import foreign_candles

        return foreign_candles(path, length_ms)
    candles = load_candles(path)
    _check_times(path, candles.times)
    _check_grid(path, candles.times, length_ms)
    _check_values(path, candles)
    return candles


def read_stamps(path: Path) -> Stamps:
    """Funding stamps of one file.

    Raises:
        UserError: the file cannot be read, lacks a column, is unsorted, or a rate is not a finite fraction in [-1, 1].
    """
    if path.suffix not in STORED:
        from trader.feeds.importing.direct import foreign_stamps

        return foreign_stamps(path)
    stamps = load_stamps(path)
    _check_times(path, stamps.times)
    _refuse(path, ~(np.abs(stamps.rates) <= 1.0), "rate must be a fraction between -1 and 1")
    return stamps


def load_candles(path: Path) -> Candles:
    """Candles of a Parquet or CSV file, in its order and unchecked: for reports about bad files."""
    columns = _read(path, CANDLE_COLUMNS)
    return Candles(columns["ts"], np.column_stack([columns[column] for column in CANDLE_COLUMNS]))


def load_stamps(path: Path) -> Stamps:
    """Funding stamps of a Parquet or CSV file, in its order and unchecked."""
    columns = _read(path, ("rate",))
    return Stamps(columns["ts"], columns["rate"])


def _read(path: Path, wanted: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Columns `ts` (int64) and `wanted` (float64) of a file."""
    import pyarrow as pa

    try:
        table = _read_csv(path, wanted) if path.suffix == ".csv" else _read_parquet(path, wanted)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: cannot be read as {path.suffix[1:]}: column names must be UTF-8 text") from error
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: cannot be read as {path.suffix[1:]}: {str(error).splitlines()[0]}") from error
    if table.num_rows == 0:
        raise UserError(f"{path}: holds no rows")
    columns: dict[str, NDArray[Any]] = {"ts": _times_of(path, table.column("ts"))}
    for column in wanted:
        columns[column] = _floats_of(path, column, table.column(column))
    return columns


def _read_parquet(path: Path, wanted: tuple[str, ...]) -> Any:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        _require_columns(path, file.schema_arrow.names, wanted)
        return file.read(columns=["ts", *wanted])


def _read_csv(path: Path, wanted: tuple[str, ...]) -> Any:
    from pyarrow import csv

    # all columns as text first: a cell that is no number can then be named with its row
    with csv.open_csv(path) as reader:
        names = reader.schema.names
    _require_columns(path, names, wanted)
    import pyarrow as pa

    types = dict.fromkeys(("ts", *wanted), pa.string())
    options = csv.ConvertOptions(
        column_types=types, include_columns=["ts", *wanted], null_values=[""], strings_can_be_null=True
    )
    return csv.read_csv(path, convert_options=options)


def _require_columns(path: Path, names: list[str], wanted: tuple[str, ...]) -> None:
    for column in ("ts", *wanted):
        if names.count(column) != 1:
            shown = ", ".join(map(str, names))[:200]
            raise UserError(
                f"{path}: must have one column {column!r}; it has {shown} (`trader data import` reads others)"
            )


def _times_of(path: Path, column: Any) -> NDArray[np.int64]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_timestamp(column.type):
        column = pc.cast(column, pa.timestamp("ms", column.type.tz), safe=False).cast(pa.int64())
    times = _numbers(path, "ts", column, pa.int64(), "a whole number of milliseconds (UTC)")
    _refuse(path, (times < _EARLIEST_MS) | (times > _LATEST_MS), "ts must be in milliseconds since 1970 (UTC)")
    return times


def _floats_of(path: Path, name_: str, column: Any) -> NDArray[np.float64]:
    import pyarrow as pa

    return _numbers(path, name_, column, pa.float64(), "a number")


def _numbers(path: Path, name_: str, column: Any, kind: Any, rule: str) -> NDArray[Any]:
    """The column as numbers; the first cell that is none, or is empty, is refused by row."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.null_count:
        _refuse(path, np.asarray(pc.is_null(column)), f"{name_} must not be empty")
    try:
        cast = column.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        for row, cell in enumerate(column):
            try:
                pa.array([cell.as_py()], column.type).cast(kind)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                shown = str(cell.as_py())[:40]
                raise UserError(f"{path}: row {row + 1}: {name_} must be {rule}, not {shown!r}") from None
        raise
    return np.array(cast.to_numpy())


def _refuse(path: Path, bad: NDArray[np.bool_], rule: str) -> None:
    """Raise if any row is bad, naming the first and how many more there are."""
    rows = np.flatnonzero(bad)
    if len(rows):
        more = f" (and {len(rows) - 1} more rows)" if len(rows) > 1 else ""
        raise UserError(f"{path}: row {rows[0] + 1}: {rule}{more}")


def _check_times(path: Path, times: NDArray[np.int64]) -> None:
    step = np.diff(times, prepend=times[0] - 1)
    _refuse(path, step == 0, "ts is there twice (duplicate candle)")
    _refuse(path, step < 0, "ts must be in ascending order")


def _check_grid(path: Path, times: NDArray[np.int64], length_ms: int) -> None:
    off = (times - offset(length_ms)) % length_ms != 0
    _refuse(path, off, f"ts is off the grid: a {name(length_ms)} candle opens at a whole multiple of {length_ms} ms")


def _check_values(path: Path, candles: Candles) -> None:
    for bad, rule in broken_rules(candles.values):
        _refuse(path, bad, rule)


def broken_rules(values: NDArray[np.float64]) -> Iterator[tuple[NDArray[np.bool_], str]]:
    """The rules of a candle, each with the rows that break it: finite, positive, high and low around open and close.

    Args:
        values: float64 [N, 5], open, high, low, close, volume.

    Yields:
        bool [N], true where the rule is broken, and the rule in words.
    """
    for i, column in enumerate(CANDLE_COLUMNS):
        yield ~np.isfinite(values[:, i]), f"{column} must be finite"
    for i, column in enumerate(CANDLE_COLUMNS[:4]):
        yield values[:, i] <= 0.0, f"{column} must be > 0"
    yield values[:, VOLUME] < 0.0, "volume must be >= 0"
    yield values[:, HIGH] < values[:, LOW], "high must be >= low"
    yield values[:, HIGH] < np.maximum(values[:, OPEN], values[:, CLOSE]), "high must be >= open and close"
    yield values[:, LOW] > np.minimum(values[:, OPEN], values[:, CLOSE]), "low must be <= open and close"
