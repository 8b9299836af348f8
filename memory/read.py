"""Reading all levels at once, in one compiled call.

What: a query finds its k best experiences in the working store and in the episodic store and its k best semantic slots;
the five voices (these three, the matrix and the prior) are mixed into one estimate (mixture.py). What is returned
as recalled are the k nearest real experiences of both stores together, each once.
Source: founding document (`retrieve` over immediate, recent and historical), nested-learning.md §3.5 and R6: one key
space and one form (values, logits) for all levels. Shapes: k results, v value components, trace [3, k, 7 + v] with
the columns named in mixture.py. Units: the value's; age in episodic capacities.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import njit

from memory.coding import quantise_query
from memory.mixture import AGE, ROW, SEQUENCE, SIMILARITY, TIME, USEFULNESS, VALUES, VARIANCE, attend, combine
from memory.scan import insert_descending, nearest
from memory.semantic import slot_similarities

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from memory.experiences import Rows


class Recall(NamedTuple):
    """What a read returns.

    `values` [n] (or [n, v] if values are vectors), `weights` [n] (sum 1), `times` [n] and `similarities` [n] of the
    n <= k nearest experiences, most similar first; `estimate` (float or [v]) and `uncertainty` (one standard
    deviation, inf when nothing was ever known) over all levels; `voice_weights` [5] and `voice_estimates` [5, v] in the
    order of VOICES; `trace` and `present` are what learning from the outcome needs.
    """

    values: NDArray[np.float32]
    weights: NDArray[np.float64]
    times: NDArray[np.float64]
    estimate: Any
    uncertainty: float
    similarities: NDArray[np.float64]
    voice_weights: NDArray[np.float64]
    voice_estimates: NDArray[np.float64]
    trace: NDArray[np.float64]
    present: NDArray[np.bool_]


@njit(cache=True)
def unit(vector: NDArray[Any]) -> NDArray[np.float32]:
    """Length one, whatever the size of the components; the zero vector stays; NaN or infinity leaves NaN in it."""
    largest = 0.0
    for j in range(vector.size):
        if not abs(vector[j]) <= largest:  # also true for NaN
            largest = abs(vector[j])
    if largest == 0.0:
        return vector.astype(np.float32)
    scaled = vector / largest
    norm = 0.0
    for j in range(vector.size):
        norm += scaled[j] * scaled[j]
    result: NDArray[np.float32] = (scaled / np.sqrt(norm)).astype(np.float32)
    return result


@njit(cache=True)
def _search(
    store: Rows,
    count: int,
    levels: int,
    query: tuple[Any, Any, float, float],
    now: float,
    clock: tuple[int, float],
    entries: NDArray[Any],
) -> None:
    """Fill one level of the trace [k, 7 + v] with the nearest rows of a store."""
    codes, fine, scale, values, stamps, sequence, usefulness = store
    similarities, rows = np.empty(entries.shape[0]), np.empty(entries.shape[0], np.int64)
    found = nearest(codes, fine, levels, scale, stamps, count, query[0], query[1], query[3], now, similarities, rows)
    for i in range(found):
        row = rows[i]
        entries[i, SIMILARITY] = similarities[i]
        entries[i, USEFULNESS] = usefulness[row]
        entries[i, AGE] = (clock[0] - sequence[row]) / clock[1]
        entries[i, SEQUENCE] = sequence[row]
        entries[i, ROW] = row
        entries[i, VARIANCE] = 0.0
        entries[i, TIME] = stamps[row, 0]
        entries[i, VALUES:] = values[row]


@njit(cache=True)
def _search_slots(
    unit_query: NDArray[Any],
    slot_keys: NDArray[Any],
    slot_values: NDArray[Any],
    slot_stats: NDArray[Any],
    clock: tuple[int, float],
    entries: NDArray[Any],
) -> None:
    """The same for the semantic slots; their row is their number, they have no usefulness."""
    similarities = slot_similarities(unit_query, slot_keys)
    best, rows = np.empty(entries.shape[0]), np.empty(entries.shape[0], np.int64)
    filled = 0
    for s in range(similarities.size):
        if slot_stats[s, 0] > 0:
            filled = insert_descending(best, rows, filled, float(similarities[s]), s)
    for i in range(filled):
        s = rows[i]
        entries[i, SIMILARITY] = best[i]
        entries[i, USEFULNESS] = 0.0
        entries[i, AGE] = (clock[0] - slot_stats[s, 2]) / clock[1]
        entries[i, SEQUENCE] = -1.0
        entries[i, ROW] = s
        entries[i, VARIANCE] = slot_stats[s, 1]
        entries[i, TIME] = np.nan
        entries[i, VALUES:] = slot_values[s]


@njit(cache=True)
def _merge(trace: NDArray[Any], limit: int) -> NDArray[np.float64]:
    """The best `limit` entries of working and episodic store together, each experience once, [n, 7 + v]."""
    merged = np.empty((limit, trace.shape[2]))
    first, second, filled = 0, 0, 0
    while filled < limit and (first < limit or second < limit):
        left = trace[0, first, SIMILARITY] if first < limit else -np.inf
        right = trace[1, second, SIMILARITY] if second < limit else -np.inf
        if left == -np.inf and right == -np.inf:
            break
        if right >= left:
            merged[filled] = trace[1, second]
            second += 1
        else:
            merged[filled] = trace[0, first]
            first += 1
        again = False
        for i in range(filled):
            again |= merged[i, SEQUENCE] == merged[filled, SEQUENCE]
        filled += not again
    return merged[:filled]


@njit(cache=True)
def recall_all(
    query: NDArray[Any],
    now: float,
    limit: int,
    clock: tuple[int, float],
    working: Rows,
    episodic: Rows,
    counts: tuple[int, int, int],
    slot_keys: NDArray[Any],
    slot_values: NDArray[Any],
    slot_stats: NDArray[Any],
    matrix: NDArray[Any],
    prior: NDArray[Any],
    semantic: bool,
    skill: NDArray[Any],
    parameters: NDArray[Any],
) -> Any:
    """One read: (finite, merged entries, weights, estimate, variance, gates, voice estimates, trace, present).

    `clock` is (number of the next experience, episodic capacity); `counts` the rows in use of both stores and the
    levels of their fine plane; with `semantic` False (a reader in the past) slots, matrix and prior stay silent.
    """
    size = matrix.shape[0]
    trace = np.zeros((3, limit, VALUES + size))
    trace[:, :, SIMILARITY] = -np.inf
    unit_query = unit(query)
    finite = np.isfinite(unit_query).all()
    coded = quantise_query(unit_query, working[0].shape[1])
    if finite:
        _search(working, counts[0], counts[2], coded, now, clock, trace[0])
        _search(episodic, counts[1], counts[2], coded, now, clock, trace[1])
    voices = np.zeros((5, size))
    present = np.array([True, True, semantic, semantic, semantic and prior[size + 1] > 0])
    if semantic:
        _search_slots(unit_query, slot_keys, slot_values, slot_stats, clock, trace[2])
        voices[4] = prior[:size]
        trained = False
        for c in range(size):
            voices[3, c] = prior[c]
            for j in range(query.size):
                voices[3, c] += matrix[c, j] * unit_query[j]
                trained |= matrix[c, j] != 0
        present[3] = trained
    estimate, variance, gates, estimates = combine(trace, present, voices, float(prior[size]), skill, parameters)
    merged = _merge(trace, limit)
    return finite, merged, attend(merged, parameters), estimate, variance, gates, estimates, trace, present
