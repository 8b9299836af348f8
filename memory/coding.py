"""Unit keys as small integers in two planes: a coarse one that is scanned and a fine one that re-ranks.

What: a key k (unit length, [d]) is stored as k_j ~ scale * (coarse_j - 128 + fine_j / levels), with the scale of each
key set by its largest component. The coarse plane is one byte per component and all that a search reads; the fine plane
holds the rest and is read for the few candidates. One byte alone is compression ratio 0.25 of float32, one fine byte
more is 0.5 (16-bit fixed point: finer than float16, which numba does not know on a CPU), two fine bytes are the
uncompressed arm (24 bits, float32's own precision).
Source: scalar quantisation with exact re-ranking as in vector search (product quantisation's refine step, Jegou et al.
2011, reduced to its simplest case). Shapes: d key components, D of them after padding. Units: none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

ZERO_CODE = 128  # the code of 0: codes are unsigned so that unsigned-times-signed integer products apply
_FINE: dict[float, tuple[type[np.signedinteger[Any]], int]] = {
    0.25: (np.int8, 0),
    0.5: (np.int8, 254),
    1.0: (np.int16, 65534),
}


def padded_width(dim: int) -> int:
    """D: components per stored key, a multiple of what one vector instruction takes."""
    chunk = 64 if dim > 32 else 16
    return -(-dim // chunk) * chunk


def fine_plane(compression_ratio: float) -> tuple[type[np.signedinteger[Any]], int]:
    """Integer type and levels of the fine plane, levels 0 for none. Raises ValueError on other ratios."""
    if compression_ratio not in _FINE:
        raise ValueError(f"compression_ratio must be one of {sorted(_FINE)}, got {compression_ratio!r}")
    return _FINE[compression_ratio]


@njit(cache=True)
def encode(unit_key: NDArray[Any], codes: NDArray[Any], fine: NDArray[Any], levels: int) -> float:
    """Write one unit key [d] into its rows `codes` [D] and `fine` [D or 0]; returns its scale (0 for a zero key)."""
    largest = 0.0
    for j in range(unit_key.size):
        largest = max(largest, abs(float(unit_key[j])))
    codes[:] = ZERO_CODE
    fine[:] = 0
    if largest == 0.0:
        return 0.0
    scale = float(np.float32(largest / 127.0))
    for j in range(unit_key.size):
        exact = unit_key[j] / scale
        coarse = min(max(np.rint(exact), -127.0), 127.0)
        codes[j] = np.uint8(coarse + ZERO_CODE)
        if levels > 0:
            limit = levels // 2
            fine[j] = min(max(np.rint((exact - coarse) * levels), -limit), limit)
    return scale


@njit(cache=True)
def decode(codes: NDArray[Any], fine: NDArray[Any], levels: int, scale: float, dim: int) -> NDArray[np.float32]:
    """The stored key [d], float32, to the precision of its planes."""
    key = np.empty(dim, np.float32)
    for j in range(dim):
        component = float(codes[j]) - ZERO_CODE
        if levels > 0:
            component += fine[j] / levels
        key[j] = component * scale
    return key


@njit(cache=True)
def quantise_query(unit_query: NDArray[Any], width: int) -> tuple[NDArray[np.int8], NDArray[np.int16], float, float]:
    """A unit query [d] as int8 [D] for scanning and int16 [D] for re-ranking, with the two scales."""
    coarse, exact = np.zeros(width, np.int8), np.zeros(width, np.int16)
    largest = 0.0
    for j in range(unit_query.size):
        largest = max(largest, abs(unit_query[j]))
    if largest == 0.0:
        return coarse, exact, 0.0, 0.0
    for j in range(unit_query.size):
        coarse[j] = np.int8(np.rint(unit_query[j] * (127.0 / largest)))
        exact[j] = np.int16(np.rint(unit_query[j] * (32767.0 / largest)))
    return coarse, exact, largest / 127.0, largest / 32767.0
