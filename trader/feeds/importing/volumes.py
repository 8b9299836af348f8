"""Which of two volume columns counts the base currency: the other one divided by it lies between low and high.

Exporters write both, under names that do not always say which is which (`volume` beside `Volume USD`, or beside
`volume_btc`), and one known file changes its mind in the middle. So the prices decide: quote volume = base volume × an
average price of the candle, which lies within [low, high]. Where the two columns change places, the base one is taken
row by row, and it is said in how many rows.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from trader.core.types import UserError

TOLERANCE: Final = 0.1
"""Both volumes are rounded, to a cent or a millionth; a tenth is far from the price of anything but a currency pair."""
_ENOUGH: Final = 0.9
"""Share of the rows with a volume that must be explained."""


def base_volume(
    label: str, names: tuple[str, str], pair: tuple[NDArray[np.float64], NDArray[np.float64]],
    low: NDArray[np.float64], high: NDArray[np.float64],
) -> tuple[NDArray[np.float64], str]:  # fmt: skip
    """The base volume, float64 [N], and how it was found.

    Args:
        label: file, for messages.
        names: names of the two columns.
        pair: their values, float64 [N] each.
        low: float64 [N], prices of the candles.
        high: float64 [N].

    Raises:
        UserError: the prices do not tell which is which.
    """
    first, second = pair
    told = (first > 0.0) & (second > 0.0)
    is_base = [told & _explains(a, b, low, high) for a, b in ((first, second), (second, first))]
    certain = is_base[0] ^ is_base[1]
    explained = int((is_base[0] | is_base[1]).sum())
    shares = [int((one & certain).sum()) for one in is_base]
    if not certain.any() or explained < _ENOUGH * int(told.sum()):
        raise UserError(
            f"{label}: row 1: volume must be certain: {names[0]!r} or {names[1]!r}? choose by --volume-column"
        )
    chosen = 0 if shares[0] >= shares[1] else 1
    if min(shares) <= 0.01 * int(certain.sum()):
        return pair[chosen], f"volume is column {names[chosen]!r}, as the prices tell"
    return _row_by_row(first, second, is_base[0] & certain, certain), (
        f"columns {names[0]!r} and {names[1]!r} change places: the base volume is taken row by row "
        f"({shares[0]} and {shares[1]} rows)"
    )


def _explains(
    base: NDArray[np.float64], quote: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]
) -> NDArray[np.bool_]:
    return (quote >= base * low * (1.0 - TOLERANCE)) & (quote <= base * high * (1.0 + TOLERANCE))


def _row_by_row(
    first: NDArray[np.float64], second: NDArray[np.float64], first_is_base: NDArray[np.bool_],
    certain: NDArray[np.bool_],
) -> NDArray[np.float64]:  # fmt: skip
    """The base column of each row; rows that do not tell are like the row before them that does (else the first)."""
    rows = np.arange(len(first))
    last = np.maximum.accumulate(np.where(certain, rows, -1))
    source = np.where(last < 0, int(np.argmax(certain)), last)
    return np.where(first_is_base[source], first, second)
