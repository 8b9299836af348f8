"""Numbers as people write them: decimal commas and thousands signs, decided for a whole file and never guessed.

`27123,45` and `1.234,5` have decimal commas, `1,234.5` and `1,234,567` have thousands. A cell such as `1,234` is either: another
cell of the file must prove one of the two, else the file is refused. Rows come back with plain numbers (`1234.5`).
"""

from __future__ import annotations

import re
from typing import Final

from trader.core.types import UserError

_THOUSANDS: Final = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?")
_DECIMAL: Final = re.compile(r"[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+([eE][+-]?\d+)?")
_POINTS: Final = re.compile(r"[+-]?\d{1,3}(\.\d{3})+")
_PLAIN: Final = re.compile(r"[+-]?\d*\.\d*([eE][+-]?\d+)?")


def plain_numbers(label: str, rows: list[list[str]]) -> list[list[str]]:
    """The rows with every number that has a comma in plain spelling.

    Raises:
        UserError: the commas can be read in both ways, or both ways are used.
    """
    thousands: str | None = None
    decimal: str | None = None
    unclear: str | None = None
    for row in rows:
        for text in row:
            cell = text.strip()
            if "," not in cell:
                continue
            as_thousands, as_decimal = _THOUSANDS.fullmatch(cell), _DECIMAL.fullmatch(cell)
            if as_thousands and as_decimal:
                unclear = unclear or cell
            elif as_thousands:
                thousands = thousands or cell
            elif as_decimal:
                decimal = decimal or cell
    if thousands and decimal:
        raise UserError(f"{label}: must write its numbers in one way, not {thousands!r} and {decimal!r}")
    if unclear and not (thousands or decimal):
        raise UserError(
            f"{label}: {unclear!r} reads as {unclear.replace(',', '.')} and as {unclear.replace(',', '')}: "
            "write numbers with a decimal point and without thousands signs"
        )
    if thousands:
        return [[text.replace(",", "") if _THOUSANDS.fullmatch(text.strip()) else text for text in row] for row in rows]
    return [[_pointed(label, text) for text in row] for row in rows] if decimal else rows


def _pointed(label: str, text: str) -> str:
    """A cell of a file with decimal commas, in which a point is a thousands sign."""
    cell = text.strip()
    if _DECIMAL.fullmatch(cell) or _POINTS.fullmatch(cell):
        return cell.replace(".", "").replace(",", ".")
    if "." in cell and len(cell) > 1 and _PLAIN.fullmatch(cell):
        raise UserError(f"{label}: must write its numbers in one way, not with decimal commas and {cell[:40]!r}")
    return text
