"""Nearest stored keys to one query: an integer scan over the coarse plane, then exact re-ranking of the candidates.

What: cosine similarity of a query to n stored keys and the k best of them that are available. The scan reads one byte
per component, a quarter of float32's traffic, and keeps 2 k + 8 candidates; these are ranked again in 64-bit integers
from both planes. Integer sums have one value in any order, so the result is the same on every processor, whatever
vector width the compiler picks.
Why a vector type is spelled out below: the byte products of one key are given to the compiler as one 64-lane vector
with a reduction, which it turns into the byte dot-product instruction where there is one (measured: 7 µs per 5,000
keys of 64 components against 9.5 µs for the plain loop) and into ordinary code elsewhere.
Shapes: codes [n, D] uint8, fine [n, D or 0], scale [n], stamps [n, 2] (time, available_at).
Units: similarity in [-1, 1].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array as _make_array

from memory.coding import ZERO_CODE

if TYPE_CHECKING:
    from numpy.typing import NDArray


make_array: Any = _make_array  # numba's own modules carry no types
insert_function: Any = cgutils.get_or_insert_function


def _chunk_dot(lanes: int) -> Any:
    """Intrinsic (codes, element offset, query, query offset) -> int32: dot product of unsigned and signed bytes."""

    @intrinsic
    def chunk_dot(_typing: Any, codes: Any, _offset: Any, query: Any, _start: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            byte, word = ir.IntType(8), ir.IntType(32)
            loaded = []
            for array, position in ((0, 1), (2, 3)):
                data = make_array(signature.args[array])(context, builder, arguments[array]).data
                where = builder.gep(builder.bitcast(data, byte.as_pointer()), [arguments[position]])
                lane_values = builder.load(builder.bitcast(where, ir.VectorType(byte, lanes).as_pointer()))
                lane_values.align = 1
                loaded.append(lane_values)
            wide = ir.VectorType(word, lanes)
            products = builder.mul(builder.zext(loaded[0], wide), builder.sext(loaded[1], wide))
            name = f"llvm.vector.reduce.add.v{lanes}i32"
            reduce = insert_function(builder.module, ir.FunctionType(word, [wide]), name)
            return builder.call(reduce, [products])

        return types.int32(codes, types.int64, query, types.int64), build

    return chunk_dot


_dot64 = _chunk_dot(64)
_dot16 = _chunk_dot(16)


@njit(cache=True)
def insert_descending(scores: NDArray[Any], rows: NDArray[Any], filled: int, score: float, row: int) -> int:
    """Keep the best `scores.size` in descending order, equal ones in order of arrival; returns how many are in."""
    if filled < scores.size:
        place = filled
        filled += 1
    elif score > scores[filled - 1]:
        place = filled - 1
    else:
        return filled
    while place > 0 and scores[place - 1] < score:
        scores[place] = scores[place - 1]
        rows[place] = rows[place - 1]
        place -= 1
    scores[place] = score
    rows[place] = row
    return filled


@njit(cache=True)
def _candidates(
    codes: NDArray[Any],
    scale: NDArray[Any],
    stamps: NDArray[Any],
    count: int,
    query: NDArray[Any],
    now: float,
    scores: NDArray[Any],
    rows: NDArray[Any],
) -> int:
    """Best rows by the coarse plane alone, in units of the query's scale; returns how many were found."""
    width = codes.shape[1]
    bias = np.int32(0)
    for j in range(width):
        bias += np.int32(query[j]) * np.int32(ZERO_CODE)
    filled, threshold = 0, np.float32(-np.inf)
    for row in range(count):
        total = np.int32(-bias)
        if width == 64:
            total += _dot64(codes, row * 64, query, 0)
        elif width % 64 == 0:
            for start in range(0, width, 64):
                total += _dot64(codes, row * width + start, query, start)
        else:
            for start in range(0, width, 16):
                total += _dot16(codes, row * width + start, query, start)
        score = scale[row] * np.float32(total)
        if score > threshold and stamps[row, 1] <= now:
            filled = insert_descending(scores, rows, filled, score, row)
            if filled == scores.size:
                threshold = scores[filled - 1]
    return filled


@njit(cache=True)
def nearest(
    codes: NDArray[Any],
    fine: NDArray[Any],
    levels: int,
    scale: NDArray[Any],
    stamps: NDArray[Any],
    count: int,
    coarse_query: NDArray[Any],
    exact_query: NDArray[Any],
    exact_scale: float,
    now: float,
    similarities: NDArray[Any],
    rows: NDArray[Any],
) -> int:
    """Fill `similarities` and `rows` [k] with the nearest available keys, best first; returns how many there are."""
    size = 2 * rows.size + 8
    rough, candidate_rows = np.empty(size, np.float32), np.empty(size, np.int64)
    found = _candidates(codes, scale, stamps, count, coarse_query, now, rough, candidate_rows)
    filled = 0
    for c in range(found):
        row = candidate_rows[c]
        total, unit = np.int64(0), 1
        if levels > 0:
            unit = levels
            for j in range(codes.shape[1]):
                component = (np.int64(codes[row, j]) - ZERO_CODE) * levels + np.int64(fine[row, j])
                total += component * np.int64(exact_query[j])
        else:
            for j in range(codes.shape[1]):
                total += (np.int64(codes[row, j]) - ZERO_CODE) * np.int64(exact_query[j])
        similarity = float(scale[row]) * exact_scale * float(total) / unit
        filled = insert_descending(similarities, rows, filled, similarity, row)
    return filled
