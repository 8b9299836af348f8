"""Looking at a candle store: what is there, and whether every file keeps the rules.

Unlike a reader, which stops at the first broken row, an inspection counts them all: holes, duplicates, rows out of
order or off the grid, and candles that contradict themselves. Holes are facts, not faults: exchanges had outages.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trader.core.timeframes import milliseconds, offset
from trader.core.types import UserError
from trader.feeds.catalogue import store_file
from trader.feeds.files import Candles, broken_rules, load_candles, load_stamps


@dataclass(frozen=True, slots=True)
class FileReport:
    """One file of a store. first_ms, last_ms: open times; missing: candles in its holes; first_bad: row and rule."""

    path: Path
    venue: str
    symbol: str
    timeframe: str
    kind: str
    rows: int
    first_ms: int
    last_ms: int
    holes: int = 0
    missing: int = 0
    duplicates: int = 0
    bad_rows: int = 0
    first_bad: str = ""

    @property
    def ok(self) -> bool:
        """No duplicate and no bad row."""
        return not (self.duplicates or self.bad_rows)


def inspect(paths: tuple[Path, ...]) -> list[FileReport]:
    """A report of every store file at or below the paths, by path.

    Raises:
        UserError: a path is not there, or holds no file of the store's layout.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise UserError(f"{path}: no such file or folder")
        inside = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        matching = [file for file in inside if store_file(file) is not None]
        if not matching:
            raise UserError(f"{path}: no candles found; expected <venue>/<BASE-QUOTE>/<timeframe>.parquet")
        found += matching
    return [_report(path) for path in dict.fromkeys(found)]


def _report(path: Path) -> FileReport:
    known = store_file(path)
    assert known is not None
    try:
        content = load_stamps(path) if known.kind == "funding" else load_candles(path)
    except UserError as error:
        told = str(error).removeprefix(f"{path}: ")
        return FileReport(
            path, known.venue, known.symbol, known.timeframe, known.kind, 0, 0, 0, bad_rows=1, first_bad=told
        )
    times = content.times
    steps = np.diff(times)
    bad = np.concatenate(([False], steps < 0))
    rules = [(bad, "ts must be in ascending order")]
    holes = missing = 0
    if isinstance(content, Candles):
        length = milliseconds(known.timeframe)
        rules.append(((times - offset(length)) % length != 0, "ts is off the grid"))
        rules += list(broken_rules(content.values))
        gaps = steps[steps > length]
        holes, missing = len(gaps), int((gaps // length - 1).sum())
    else:
        rules.append((~(np.abs(content.rates) <= 1.0), "rate must be a fraction between -1 and 1"))
    any_bad = np.logical_or.reduce([rows for rows, _ in rules])
    first = ""
    if any_bad.any():
        row = int(np.argmax(any_bad))
        first = f"row {row + 1}: {next(rule for rows, rule in rules if rows[row])}"
    duplicates = len(times) - len(np.unique(times))
    if duplicates and not first:
        first = f"row {int(np.argmax(steps == 0)) + 2}: ts is there twice"
    return FileReport(
        path, known.venue, known.symbol, known.timeframe, known.kind, len(times), int(times.min()), int(times.max()),
        holes, missing, duplicates, int(any_bad.sum()), first,
    )  # fmt: skip
