"""Tables from delimited text: encoding, delimiter, banner lines above the header, header or none.

The delimiter is the one of , ; tab | that cuts most lines into the same number (>= 4) of cells. The first line of that
width whose cells are mostly numbers begins the data; the line of that width right above it is the header; whatever
stands above those is a banner and is passed over. A row of another width is refused. Decimal commas and thousands signs are
spelled plainly first (`spelling`).
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from itertools import islice
from typing import Final

from trader.core.types import UserError
from trader.feeds.importing.spelling import plain_numbers
from trader.feeds.importing.table import RawTable

DELIMITERS: Final = ";\t|,"
"""The comma comes last: where another one cuts as well, commas stand inside the numbers."""
LONGEST_BANNER: Final = 50
_LOOKED_AT: Final = 200
_NARROWEST: Final = 4
"""Columns of a table of candles: open, high, low, close at least (a trade has four too, and is told apart later)."""


def text_table(label: str, content: bytes) -> RawTable:
    """The table in a CSV file.

    Raises:
        UserError: not text, no table, or a row with another number of cells.
    """
    text = _decoded(label, content)
    delimiter = _delimiter(label, text)
    rows = _rows(label, text, delimiter)
    if delimiter != "," or '"' in text:
        rows = plain_numbers(label, rows)
    width = _width(rows)
    first = next((i for i, row in enumerate(rows[: LONGEST_BANNER + 1]) if len(row) == width and _is_data(row)), None)
    if first is None:
        raise UserError(f"{label}: row 1: must hold numbers; no row of numbers in the first {LONGEST_BANNER} lines")
    header = _header(label, rows[:first], width)
    data = rows[first:]
    for number, row in enumerate(data, 1):
        if len(row) != width:
            raise UserError(f"{label}: row {number}: must have {width} cells like the others, not {len(row)}")
    columns = tuple([cell.strip() for cell in column] for column in zip(*data, strict=True))
    return RawTable(label, header, columns)


def _header(label: str, above: list[list[str]], width: int) -> tuple[str, ...] | None:
    """The header among the lines above the data; a broken row of data must not pass for a banner."""
    named = len(above[-1]) == width if above else False
    for row in above[:-1] if named else above:
        if len(row) == width or _is_data(row):
            raise UserError(
                f"{label}: row 1: must have {width} cells, most of them numbers, not {','.join(row)[:60]!r}"
            )
    return tuple(name.strip() for name in above[-1]) if named else None


def _decoded(label: str, content: bytes) -> str:
    wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{label}: line {line}: must be UTF-8 text") from None
    if "\0" in text:
        raise UserError(f"{label}: line {text.count(chr(10), 0, text.index(chr(0))) + 1}: must not hold NUL bytes")
    return text


def _delimiter(label: str, text: str) -> str:
    """The delimiter under which most of the first lines have one width."""
    lines = [line for line in islice(io.StringIO(text), _LOOKED_AT) if line.strip()]
    best, votes = "", 0
    for delimiter in DELIMITERS:
        counts = Counter(line.count(delimiter) + 1 for line in lines)
        width, count = max(counts.items(), key=lambda item: (item[0] >= _NARROWEST, item[1], item[0]))
        if width >= _NARROWEST and count > votes:
            best, votes = delimiter, count
    if not best:
        raise UserError(f"{label}: row 1: must have cells separated by comma, semicolon, tab or |")
    return best


def _rows(label: str, text: str, delimiter: str) -> list[list[str]]:
    """All lines that are not blank, as cells."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        return [row for row in reader if len(row) > 1 or (row and row[0].strip())]
    except csv.Error as error:
        raise UserError(f"{label}: line {reader.line_num}: cannot be read as CSV: {error}") from None


def _width(rows: list[list[str]]) -> int:
    counts = Counter(len(row) for row in rows[:_LOOKED_AT])
    return max(counts.items(), key=lambda item: (item[0] >= _NARROWEST, item[1], item[0]))[0]


def _is_data(row: list[str]) -> bool:
    """At least three numbers in it (wide files have many empty cells; a trade's row has a time, a price, an amount)."""
    return sum(_is_number(cell) for cell in row) >= 3


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
