"""Writing pieces into the candle store: joined with what is there, all or nothing, each file replaced in one step.

Rows that are there already must be the same; another value for the same open time is refused (or the file replaced as
a whole, if asked for). All files are written beside their places first and moved there when the last one is complete.
The bytes depend on the rows alone: the same data from two formats gives equal files.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trader.core.types import UserError
from trader.feeds.files import CANDLE_COLUMNS, Candles, Stamps, read_candles, read_stamps
from trader.feeds.importers import Piece


def join(pieces: Sequence[Piece], root: Path, *, fresh: bool) -> dict[Path, Piece]:
    """What each file of the store will hold: pieces of one place joined, and with what is there unless `fresh`.

    Raises:
        UserError: two of them disagree about an open time, or a file of the store is damaged.
    """
    joined: dict[Path, Piece] = {}
    for piece in pieces:
        path = root / piece.place
        before = joined.get(path)
        content = piece.content
        if before is not None:
            content = _together(before.content, content, piece.source, before.source)
        elif path.exists() and not fresh:
            stored = read_candles(path, piece.length_ms) if isinstance(content, Candles) else read_stamps(path)
            content = _together(stored, content, piece.source, str(path))
        joined[path] = replace(piece, content=content)
    return joined


def _together(before: Candles | Stamps, after: Candles | Stamps, source: str, known: str) -> Candles | Stamps:
    """The rows of both, in order; the same open time must have the same values."""
    old, new = _matrix(before), _matrix(after)
    times = np.concatenate((before.times, after.times))
    values = np.concatenate((old, new))
    order = np.argsort(times, kind="stable")
    times, values = times[order], values[order]
    again = np.flatnonzero(np.diff(times) == 0)
    for row in again[(values[again] != values[again + 1]).any(axis=1)]:
        moment = np.datetime64(int(times[row]), "ms")
        place = int(np.searchsorted(after.times, times[row])) + 1
        raise UserError(
            f"{source}: candle {place} in order of time ({moment} UTC) must equal that of {known}; --replace takes the new file"
        )
    keep = np.ones(len(times), np.bool_)
    keep[again + 1] = False
    times, values = times[keep], values[keep]
    return Candles(times, values) if isinstance(after, Candles) else Stamps(times, values[:, 0])


def _matrix(content: Candles | Stamps) -> NDArray[np.float64]:
    return content.values if isinstance(content, Candles) else content.rates[:, None]


def write(files: dict[Path, Piece]) -> None:
    """Write all files, or none.

    Raises:
        OSError: the disk does not take them; what was there before is untouched unless some were moved already.
    """
    waiting: list[tuple[Path, Path]] = []
    try:
        for path, piece in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            beside = path.with_name(f".{path.name}.{os.getpid()}")
            waiting.append((beside, path))
            _write_one(beside, piece.content)
        while waiting:
            beside, path = waiting.pop(0)
            beside.replace(path)
    finally:
        for beside, _ in waiting:
            beside.unlink(missing_ok=True)


def _write_one(path: Path, content: Candles | Stamps) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, Any] = {"ts": content.times}
    if isinstance(content, Candles):
        columns |= {column: content.values[:, i] for i, column in enumerate(CANDLE_COLUMNS)}
    else:
        columns["rate"] = content.rates
    # by its path: a Python file in the hands of Arrow's threads can bring the process down when it ends
    pq.write_table(pa.table(columns), str(path), compression="zstd")
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())
