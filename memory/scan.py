"""Nearest stored keys to one query: an integer scan over the coarse plane, then exact re-ranking of the candidates.

What: cosine similarity of a query to n stored keys and the k best of them that are available. The scan reads one byte
per component, a quarter of float32's traffic, and keeps k + 8 candidates; these are ranked again in 64-bit integers
from both planes. Integer sums have one value in any order, so the result is the same on every processor, whatever
vector width the compiler picks.
Shapes: codes [blocks, D / 4, 16, 4] uint8, fine [rows, D or 0], scale [rows], stamps [rows, 2] (time, available_at).
Units: similarity in [-1, 1].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from memory.block_dot import LANES, TOGETHER, block_scores, blocks_scores, lowest_bit
from memory.coding import ZERO_CODE

if TYPE_CHECKING:
    from numpy.typing import NDArray

SPARE = 8  # candidates beyond k that the coarse scan keeps for the exact ranking
_BYTES_AT_ONCE = 256  # 256 x 255 x 32767 is below 2^31
SLACK = 6.0 * 12.0**-0.5  # six standard deviations of a rounding error, in units of the scale that was rounded to


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
    groups = codes.shape[1]
    bias = np.int32(0)
    for j in range(query.size):
        bias += np.int32(query[j]) * np.int32(ZERO_CODE)
    filled, threshold, first = 0, np.float32(-np.inf), 0
    many = LANES * TOGETHER
    block = np.empty(many, np.float32)
    while first < count:
        place, left = first * groups * 4, codes.shape[0] * LANES - first
        if left >= many:
            mask = blocks_scores(codes, place, groups, query, bias, scale, first, threshold, block)
        else:
            mask = block_scores(codes, place, groups, query, bias, scale, first, threshold, block)
        while mask != 0:
            lane: int = lowest_bit(mask)
            mask &= mask - np.uint64(1)
            row, score = first + lane, block[lane]
            if score > threshold and row < count and stamps[row, 1] <= now:
                filled = insert_descending(scores, rows, filled, score, row)
                if filled == scores.size:
                    threshold = scores[filled - 1]
        first += many if left >= many else LANES
    return filled


@njit(cache=True)
def _dot(codes: NDArray[Any], query: NDArray[np.int16], at_once: int) -> int:
    """Exact sum of products; `at_once` of them fit in 32 bits, where sixteen are multiplied in one instruction."""
    total = 0
    for start in range(0, query.size, at_once):
        few, others, part = codes[start : start + at_once], query[start : start + at_once], np.int32(0)
        for j in range(others.size):  # from zero: then the compiler sees that no index is negative
            part = np.int32(part + np.int32(few[j]) * np.int32(others[j]))
        total += int(part)
    return total


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
    coarse_scale: float,
    exact_scale: float,
    now: float,
    similarities: NDArray[Any],
    rows: NDArray[Any],
) -> int:
    """Fill `similarities` and `rows` [k] with the nearest available keys, best first; returns how many there are."""
    size = rows.size + SPARE
    rough, candidate_rows = np.empty(size, np.float32), np.empty(size, np.int64)
    found = _candidates(codes, scale, stamps, count, coarse_query, now, rough, candidate_rows)
    words, groups, filled = codes.reshape(-1).view(np.uint32), codes.shape[1], 0
    four = np.empty(groups, np.uint32)
    row_codes = four.view(np.uint8)
    zero = 0
    for j in range(exact_query.size):
        zero += ZERO_CODE * int(exact_query[j])
    for c in range(found):
        row = candidate_rows[c]
        slack = SLACK * np.sqrt(float(scale[row]) ** 2 + coarse_scale**2)
        if filled == rows.size and float(rough[c]) * coarse_scale + slack < similarities[filled - 1]:
            break  # this one and all after it cannot be among the best any more
        start = row // LANES * groups * LANES + row % LANES
        for group in range(groups):
            four[group] = words[start + group * LANES]
        coarse_sum, fine_sum = _dot(row_codes, exact_query, _BYTES_AT_ONCE) - zero, 0
        if levels > 0:
            fine_sum = _dot(fine[row], exact_query, _BYTES_AT_ONCE if levels < 256 else 1)
        total = float(coarse_sum) if levels == 0 else float(coarse_sum) + float(fine_sum) / levels
        filled = insert_descending(similarities, rows, filled, float(scale[row]) * exact_scale * total, row)
    return filled
