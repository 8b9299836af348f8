"""Reading all levels at once, in one compiled call.

What: a query finds its k best experiences in the working store and in the episodic store and its k best semantic
slots; the five voices (these three, the matrix and the prior) are mixed into one estimate (mixture.py). What is
returned as recalled are the k nearest real experiences of both stores together, each once.
Source: founding document (`retrieve` over immediate, recent and historical), nested-learning.md §3.5 and R6: one key
space and one form (values, logits) for all levels. Shapes: k results, v value components, trace [3, k, 8 + v] with
the columns named in mixture.py. Units: the value's; age in log(1 + experiences since).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from memory.coding import quantise_query
from memory.mixture import AGE, ROW, SEQUENCE, SIMILARITY, TIME, USEFULNESS, VALUES, VARIANCE, WEIGHT, attend, combine
from memory.scan import insert_descending, nearest
from memory.semantic import slot_similarities

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray


class Recall:
    """What a read returns. Unpacks to (values, weights, times, estimate, uncertainty).

    `values` [n] (or [n, v] if values are vectors), `weights` [n] (sum 1), `times` [n] and `similarities` [n] of the
    n <= k nearest experiences, most similar first; `estimate` (float or [v]) and `uncertainty` (one standard
    deviation, inf when nothing was ever known) over all levels; `voice_weights` [5] and `voice_estimates` [5, v] in the
    order of VOICES; `trace` [3, k, 8 + v] and `present` [5] are what learning from the outcome needs. Arrays are views,
    cut out when they are asked for: a read costs what it is used for.
    """

    __slots__ = ("_count", "_k", "_rows", "_scalar")

    def __init__(self, rows: NDArray[np.float64], count: int, k: int, scalar: bool) -> None:
        self._rows, self._count, self._k, self._scalar = rows, count, k, scalar

    @classmethod
    def of(
        cls, nearest: NDArray[np.float64], summary: NDArray[np.float64], trace: NDArray[np.float64], scalar: bool
    ) -> Recall:
        """A recall of its three parts: nearest [n, 8 + v], summary [6, 2 + v], trace [3, k, 8 + v]."""
        k = trace.shape[1]
        rows = np.zeros((4 * k + 6, trace.shape[2]))
        rows[: 3 * k] = trace.reshape(3 * k, -1)
        rows[3 * k : 3 * k + len(nearest)] = nearest
        rows[4 * k :, : summary.shape[1]] = summary
        return cls(rows, len(nearest), k, scalar)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What a recall is made of, for a checkpoint between question and outcome."""
        scalar = np.array(self._scalar)
        return {"nearest": self._nearest, "summary": self._summary, "trace": self.trace, "scalar": scalar}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Recall:
        """The inverse of `arrays`."""
        return cls.of(arrays["nearest"], arrays["summary"], arrays["trace"], bool(arrays["scalar"]))

    @property
    def trace(self) -> NDArray[np.float64]:
        """What every level found, [3, k, 8 + v]."""
        return self._rows[: 3 * self._k].reshape(3, self._k, -1)

    @property
    def _nearest(self) -> NDArray[np.float64]:
        return self._rows[3 * self._k : 3 * self._k + self._count]

    @property
    def _summary(self) -> NDArray[np.float64]:
        return self._rows[4 * self._k :, : self._rows.shape[1] - VALUES + 2]

    def __iter__(self) -> Iterator[Any]:
        yield from (self.values, self.weights, self.times, self.estimate, self.uncertainty)

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"Recall({len(self)} experiences, estimate={self.estimate}, uncertainty={self.uncertainty:.3g})"

    @property
    def values(self) -> NDArray[np.float64]:
        """Values of the recalled experiences."""
        return self._nearest[:, VALUES] if self._scalar else self._nearest[:, VALUES:]

    @property
    def weights(self) -> NDArray[np.float64]:
        """Attention among them; sums to 1."""
        return self._nearest[:, WEIGHT]

    @property
    def times(self) -> NDArray[np.float64]:
        """Times they belong to."""
        return self._nearest[:, TIME]

    @property
    def similarities(self) -> NDArray[np.float64]:
        """Cosines to the query."""
        return self._nearest[:, SIMILARITY]

    @property
    def estimate(self) -> Any:
        """Expected value at the query, float or [v]."""
        return float(self._summary[5, 2]) if self._scalar else self._summary[5, 2:]

    @property
    def uncertainty(self) -> float:
        """Standard deviation of the mixture."""
        return float(np.sqrt(self._summary[5, 0]))

    @property
    def voice_weights(self) -> NDArray[np.float64]:
        """Share of each voice in the estimate."""
        return self._summary[:5, 0]

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which voices could speak."""
        return self._summary[:5, 1] > 0

    @property
    def voice_estimates(self) -> NDArray[np.float64]:
        """What each voice said; matrix and prior in the last two rows."""
        return np.ascontiguousarray(self._summary[:5, 2:])


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
    store: Any,
    count: int,
    levels: int,
    query: tuple[Any, Any, float, float],
    now: float,
    written: int,
    entries: NDArray[Any],
) -> None:
    """Fill one level of the trace [k, 8 + v] with the nearest rows of a store."""
    codes, fine, scale, values, stamps, sequence, usefulness = store
    similarities, rows = np.empty(entries.shape[0]), np.empty(entries.shape[0], np.int64)
    found = nearest(
        codes, fine, levels, scale, stamps, count, query[0], query[1], query[2], query[3], now, similarities, rows
    )
    for i in range(found):
        row = rows[i]
        entries[i, SIMILARITY] = similarities[i]
        entries[i, USEFULNESS] = usefulness[row]
        entries[i, AGE] = np.log1p(float(written - sequence[row]))
        entries[i, SEQUENCE] = sequence[row]
        entries[i, ROW] = row
        entries[i, VARIANCE] = 0.0
        entries[i, TIME] = stamps[row, 0]
        entries[i, WEIGHT] = 0.0
        for c in range(values.shape[1]):
            entries[i, VALUES + c] = values[row, c]


@njit(cache=True)
def _search_slots(
    unit_query: NDArray[Any],
    slot_keys: NDArray[Any],
    slot_values: NDArray[Any],
    slot_stats: NDArray[Any],
    written: int,
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
        entries[i, AGE] = np.log1p(float(written) - slot_stats[s, 2])
        entries[i, SEQUENCE] = -1.0
        entries[i, ROW] = s
        entries[i, VARIANCE] = slot_stats[s, 1]
        entries[i, TIME] = np.nan
        entries[i, WEIGHT] = 0.0
        for c in range(slot_values.shape[1]):
            entries[i, VALUES + c] = slot_values[s, c]


@njit(cache=True)
def _merge(trace: NDArray[Any], merged: NDArray[Any]) -> int:
    """The best entries of working and episodic store together, each experience once, into merged [k, 8 + v]."""
    limit = merged.shape[0]
    place = np.zeros(2, np.int64)  # next entry of each store
    filled = 0
    while filled < limit:
        left = trace[0, place[0], SIMILARITY] if place[0] < limit else -np.inf
        right = trace[1, place[1], SIMILARITY] if place[1] < limit else -np.inf
        if left == -np.inf and right == -np.inf:
            break
        level = 1 if right >= left else 0
        entry = place[level]
        place[level] += 1
        again = False
        for i in range(filled):
            again |= merged[i, SEQUENCE] == trace[level, entry, SEQUENCE]
        if not again:
            for c in range(trace.shape[2]):
                merged[filled, c] = trace[level, entry, c]
            filled += 1
    return filled


@njit(cache=True)
def recall_all(
    query: NDArray[Any],
    now: float,
    limit: int,
    written: int,
    working: Any,
    episodic: Any,
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
    """One read: (rows [4 k + 6, 8 + v], how many experiences were found, whether the query is finite).

    One array holds all, because each one that is handed back costs a third of a microsecond: first the trace [3 k],
    then the nearest experiences [k, the first n], last the summary [6], of which only 2 + v columns count: a row
    (weight, present, estimate [v]) per voice and, last, (variance, query finite, estimate).
    `working` and `episodic` are the `packed` arrays of the stores; `written` is the number of the next experience;
    `counts` the rows in use of both stores and the levels of their fine plane; with `semantic` False (a reader in the
    past) slots, matrix and prior stay silent.
    """
    size = matrix.shape[0]
    rows = np.zeros((4 * limit + 6, VALUES + size))
    trace, summary = rows[: 3 * limit].reshape((3, limit, VALUES + size)), rows[4 * limit :]
    for i in range(3 * limit):
        rows[i, SIMILARITY] = -np.inf
    unit_query = unit(query)
    finite = np.isfinite(unit_query).all()
    coded = quantise_query(unit_query, working[0].shape[1] * 4)
    if finite:
        _search(working, counts[0], counts[2], coded, now, written, trace[0])
        _search(episodic, counts[1], counts[2], coded, now, written, trace[1])
    voices = np.zeros((5, size))
    present = np.full(5, semantic)
    present[0] = present[1] = True
    present[4] = semantic and prior[size + 1] > 0
    if semantic:
        _search_slots(unit_query, slot_keys, slot_values, slot_stats, written, trace[2])
        voices[4] = prior[:size]
        trained = False
        for c in range(size):
            voices[3, c] = prior[c]
            for j in range(query.size):
                voices[3, c] += matrix[c, j] * unit_query[j]
                trained |= matrix[c, j] != 0
        present[3] = trained
    estimate, variance, gates, estimates = combine(trace, present, voices, float(prior[size]), skill, parameters)
    for voice in range(5):
        summary[voice, 0], summary[voice, 1] = gates[voice], 1.0 if present[voice] else 0.0
        for c in range(size):
            summary[voice, 2 + c] = estimates[voice, c]
    summary[5, 0], summary[5, 1] = variance, 1.0 if finite else 0.0
    for c in range(size):
        summary[5, 2 + c] = estimate[c]
    nearest_ones = rows[3 * limit : 4 * limit]
    found = _merge(trace, nearest_ones)
    weights = attend(nearest_ones[:found], parameters)
    for i in range(found):
        nearest_ones[i, WEIGHT] = weights[i]
    return rows, found, finite


@njit(cache=True)
def recall_many(queries: NDArray[Any], limit: int, size: int, known: Any) -> Any:
    """The same read for n queries [n, dim]: summaries [n, 6, 2 + v] and traces [n, 3, k, 8 + v].

    `known` is everything `recall_all` takes after the query, in its order; `size` is v.
    """
    summaries = np.empty((len(queries), 6, 2 + size))
    traces = np.empty((len(queries), 3, limit, VALUES + size))
    for i in range(len(queries)):
        rows, _, _ = recall_all(queries[i], *known)
        summaries[i] = rows[4 * limit :, : 2 + size]
        traces[i] = rows[: 3 * limit].reshape((3, limit, VALUES + size))
    return summaries, traces
