"""Feather, JSON and zip as data of a replay, without the store between: read by the importer's rules, without options.

Whatever needs an option (two volumes that the prices do not tell apart, a zone, a wide file) is refused with the advice
to import the file first. Values are taken as they stand, to the last bit.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trader.core.types import UserError
from trader.feeds.files import Candles, Stamps
from trader.feeds.importing.columns import layouts
from trader.feeds.importing.extract import Extract, extract_candles, extract_stamps
from trader.feeds.importing.reading import read_tables

_ADVICE = "import it first: trader data import"


def foreign_candles(path: Path, length_ms: int) -> Candles:
    """Candles of one symbol; the files of a zip one after the other.

    Args:
        path: feather, JSON or zip.
        length_ms: length of the candles.

    Raises:
        UserError: it cannot be read without being told more, or a row breaks a rule.
    """
    parts = [part for part in _extracts(path, length_ms) if isinstance(part.content, Candles)]
    times = np.concatenate([part.content.times for part in parts])
    values = np.concatenate([part.content.values for part in parts if isinstance(part.content, Candles)])
    return Candles(*_in_order(path, times, values))


def foreign_stamps(path: Path) -> Stamps:
    """Funding stamps, as `foreign_candles`."""
    parts = [part.content for part in _extracts(path, None) if isinstance(part.content, Stamps)]
    times = np.concatenate([part.times for part in parts])
    return Stamps(*_in_order(path, times, np.concatenate([part.rates for part in parts])))


def _extracts(path: Path, length_ms: int | None) -> list[Extract]:
    found = []
    for _, table in read_tables(path):
        choices = layouts(table)
        if len(choices) != 1:
            raise UserError(f"{table.label}: holds {len(choices)} symbols; {_ADVICE}")
        if length_ms is None:
            found.append(extract_stamps(table, choices[0], zone=None, form=None, clean=False))
        elif "open" not in choices[0].places:
            raise UserError(f"{table.label}: holds funding, no candles")
        else:
            found.append(
                extract_candles(
                    table,
                    choices[0],
                    length_ms=length_ms,
                    named_ms=None,
                    zone=None,
                    form=None,
                    without_volume=False,
                    clean=False,
                )
            )
    return found


def _in_order(
    path: Path, times: NDArray[np.int64], values: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    order = np.argsort(times, kind="stable")
    times, values = times[order], values[order]
    again = np.flatnonzero(np.diff(times) == 0)
    if len(again):
        raise UserError(f"{path}: row {int(again[0]) + 2}: its open time is in two files of the archive")
    return times, values
