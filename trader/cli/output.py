"""How results reach the person: one JSON document, or plain aligned columns that no terminal width cuts."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path


def write_json(document: object) -> None:
    """One JSON document on stdout, strict: what is not finite is null, decimals are numbers."""
    sys.stdout.write(json.dumps(plain(document), allow_nan=False, ensure_ascii=False) + "\n")


def plain(value: object) -> object:
    """`value` with only what JSON knows."""
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def write_rows(columns: Sequence[str], rows: Iterable[Sequence[object]], *, as_json: bool) -> None:
    """Rows as one JSON array of objects, or as a table; numbers to the right."""
    if as_json:
        write_objects(columns, rows)
        return
    cells = [[_cell(value) for value in row] for row in rows]
    numeric = [all(_is_number(row[place]) for row in cells) for place in range(len(columns))]
    widths = [max([len(name), *(len(row[place]) for row in cells)]) for place, name in enumerate(columns)]
    for row in [list(columns), *cells]:
        words = [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(row, widths, numeric, strict=True)
        ]
        sys.stdout.write("  ".join(words).rstrip() + "\n")


def write_objects(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """One JSON array of objects, written row by row: a million rows need no second copy in memory."""
    opening = "["
    encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
    for row in rows:
        sys.stdout.write(opening + encode(plain(dict(zip(columns, row, strict=True)))))
        opening = ",\n"
    sys.stdout.write("[]\n" if opening == "[" else "]\n")


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float):
        return f"{value:.10g}" if abs(value) < 1e6 else f"{value:.2f}"
    return " ".join(str(value).split())


def _is_number(text: str) -> bool:
    return text == "-" or text.lstrip("-").replace(".", "", 1).replace("e-", "", 1).replace("e+", "", 1).isdigit()
