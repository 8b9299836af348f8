"""Numbers as people write them: decimal commas and thousands signs, decided for a whole file and never guessed.

`27123,45` and `1.234,5` have decimal commas, `1,234.5` and `1,234,567` have thousands. A cell such as `1,234` is either: another
cell of the file must prove one of the two, else the file is refused. Rows come back with plain numbers (`1234.5`); a file that
writes its numbers in two ways comes back as it is, and whoever reads the numbers refuses the row.
"""

from __future__ import annotations

import re
from typing import Final

from trader.core.types import UserError

_THOUSANDS: Final = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?")
_DECIMAL: Final = re.compile(r"[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+([eE][+-]?\d+)?")
_POINTS: Final = re.compile(r"[+-]?\d{1,3}(\.\d{3})+")
_PLAIN: Final = re.compile(r"[+-]?(\d+\.\d*|\.\d+)([eE][+-]?\d+)?")


def plain_numbers(label: str, rows: list[list[str]]) -> list[list[str]]:
    """The rows with every number that has a comma in plain spelling.

    Raises:
        UserError: the commas can be read in both ways.
    """
    thousands = decimal = points = False
    unclear: tuple[int, str] | None = None
    for place, row in enumerate(rows):
        for cell in map(str.strip, row):
            if "," not in cell:
                points |= _PLAIN.fullmatch(cell) is not None and _POINTS.fullmatch(cell) is None
                continue
            as_thousands, as_decimal = _THOUSANDS.fullmatch(cell), _DECIMAL.fullmatch(cell)
            if as_thousands and as_decimal:
                unclear = unclear or (place, cell)
            thousands |= bool(as_thousands and not as_decimal)
            decimal |= bool(as_decimal and not as_thousands)
    if decimal and (thousands or points):
        return rows
    # beside numbers with decimal points, 1,234 has a thousands sign
    if unclear and not (thousands or decimal or points):
        line, cell = unclear
        raise UserError(
            f"{label}: line {line + 1}: {cell!r} reads as {cell.replace(',', '.')} and as {cell.replace(',', '')}: "
            "write numbers with a decimal point and without thousands signs"
        )
    if decimal:
        return [[_pointed(text) for text in row] for row in rows]
    return [[text.replace(",", "") if _THOUSANDS.fullmatch(text.strip()) else text for text in row] for row in rows]


def _pointed(text: str) -> str:
    """A cell of a file with decimal commas, in which a point is a thousands sign."""
    cell = text.strip()
    if _DECIMAL.fullmatch(cell) or _POINTS.fullmatch(cell):
        return cell.replace(".", "").replace(",", ".")
    return text
