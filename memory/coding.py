"""Unit keys as small integers in two planes: a coarse one that is scanned and a fine one that re-ranks.

What: a key k (unit length, [d]) is stored as k_j ~ scale * (coarse_j - 128 + fine_j / levels), with the scale of each
key set by its largest component. The coarse plane is one byte per component and all that a search reads; the fine
plane holds the rest and is read for the few candidates. One byte alone is compression ratio 0.25 of float32, one fine
byte more is 0.5 (16-bit fixed point: finer than float16, which numba does not know on a CPU), two fine bytes are the
uncompressed arm (24 bits, float32's own precision). Where there is no fine plane the scale is set once more, so that
the error is orthogonal to the key: what resembles the key sees least of it. Layout of the coarse plane: sixteen keys
form a block, four bytes of each in turn, [blocks, D / 4, 16, 4] (block_dot.py).
Source: scalar quantisation with exact re-ranking as in vector search (product quantisation's refine step, Jegou et
al. 2011, reduced to its simplest case); the orthogonal error is the limit of anisotropic quantisation (Guo et al.
2020). Shapes: d key components, D of them after padding. Units: none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from memory.block_dot import LANES

if TYPE_CHECKING:
    from numpy.typing import NDArray

ZERO_CODE = 128  # the code of 0: codes are unsigned so that unsigned-times-signed integer products apply
_FINE: dict[float, tuple[type[np.signedinteger[Any]], int]] = {
    0.25: (np.int8, 0),
    0.5: (np.int8, 254),
    1.0: (np.int16, 65534),
}


def padded_width(dim: int) -> int:
    """D: components per stored key, a multiple of the four that lie together."""
    return -(-dim // 4) * 4


def fine_plane(compression_ratio: float) -> tuple[type[np.signedinteger[Any]], int]:
    """Integer type and levels of the fine plane, levels 0 for none. Raises ValueError on other ratios."""
    if compression_ratio not in _FINE:
        raise ValueError(f"compression_ratio must be one of {sorted(_FINE)}, got {compression_ratio!r}")
    return _FINE[compression_ratio]


@njit(cache=True)
def byte_of(row: int, component: int, groups: int) -> int:
    """Place of one key component in the flat coarse plane; `groups` is D / 4."""
    return ((row // LANES * groups + component // 4) * LANES + row % LANES) * 4 + component % 4


@njit(cache=True)
def encode(unit_key: NDArray[Any], row: int, codes: NDArray[Any], fine: NDArray[Any], levels: int) -> float:
    """Write one unit key [d] into `row` of codes [blocks, D / 4, 16, 4] and fine [rows, D or 0]; returns its scale."""
    largest = 0.0
    for j in range(unit_key.size):
        largest = max(largest, abs(float(unit_key[j])))
    scale = float(np.float32(largest / 127.0))
    flat, groups, along = codes.reshape(-1), codes.shape[1], 0.0
    for j in range(groups * 4):
        exact = float(unit_key[j]) / scale if j < unit_key.size and scale > 0 else 0.0
        coarse = min(max(np.rint(exact), -127.0), 127.0)
        flat[byte_of(row, j, groups)] = np.uint8(coarse + ZERO_CODE)
        if levels == 0 and j < unit_key.size:
            along += coarse * float(unit_key[j])
        if levels > 0:
            limit = levels // 2
            fine[row, j] = min(max(np.rint((exact - coarse) * levels), -limit), limit)
    return float(np.float32(1.0 / along)) if along > 0.0 else scale


@njit(cache=True)
def decode(
    row: int, codes: NDArray[Any], fine: NDArray[Any], levels: int, scale: float, dim: int
) -> NDArray[np.float32]:
    """The stored key [d] of `row`, float32, to the precision of its planes."""
    key = np.empty(dim, np.float32)
    flat, groups = codes.reshape(-1), codes.shape[1]
    for j in range(dim):
        component = float(flat[byte_of(row, j, groups)]) - ZERO_CODE
        if levels > 0:
            component += fine[row, j] / levels
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
