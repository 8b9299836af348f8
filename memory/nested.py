"""Nested memory: working, episodic and semantic store behind one write and one read.

What: experiences (a key, a value, a time) go into three levels with clocks of their own. Working memory takes every
one; the episodic store those the gate admits; the semantic store absorbs, on a slow clock (every 64 writes) or at the
latest on eviction, what is settled. A read asks all levels at once (read.py). When an outcome is known, `learn` turns
it into training: of the mixture's parameters, of each voice's measured skill, and of the usefulness of every
experience that was recalled, by which the gate is taught and episodes are evicted.
No look-ahead: an experience is visible from its `available_at` on, in every level; the clock is the latest time
written.
Source: founding document (`NestedMemory`, `NestedHOPEMemory`), corrected as in nested-learning.md §2.A and §3.5.
Shapes: key [dim], value scalar or [v]. Units: times as given by the caller, estimates in the value's unit.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from memory.credit import ReadLearner, credit_rows
from memory.episodic import EpisodicMemory
from memory.experience_features import UNSEEN, describe, pack, unpack
from memory.gate import PerceptronNetwork, RandomNetwork, WriteGate
from memory.read import Recall, recall_all, recall_many, unit
from memory.semantic import SemanticMemory
from memory.working import WorkingMemory

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    from memory.experiences import ExperienceStore

GATES = ("learned", "lstm", "open", "random", "shuffled")
_USEFULNESS_RATE = 0.2  # step of the running usefulness of an experience that was recalled


def _gate(kind: str, seed: int) -> WriteGate:
    if kind == "lstm":
        from memory.gate_lstm import LSTMNetwork

        return WriteGate(LSTMNetwork(seed), seed)
    if kind == "random":
        return WriteGate(RandomNetwork(seed), seed, trusted=True)
    return WriteGate(PerceptronNetwork(seed), seed, shuffle=kind == "shuffled")


class NestedMemory:
    """Associative memory in levels; see the module's text.

    `dim` key components; `working`, `episodic` capacities in experiences; `semantic` experiences over which the
    semantic store's `slots` prototypes and matrix remember; `compression_ratio` of stored keys to float32 (.25, .5, 1);
    `gate` one of GATES; `consolidate_every` writes per slow tick. The value's shape is that of the first one written.
    Raises ValueError on sizes below one, an unknown ratio or gate.
    """

    def __init__(
        self,
        dim: int = 64,
        working: int = 50,
        episodic: int = 500,
        semantic: int = 10000,
        slots: int = 100,
        compression_ratio: float = 0.5,
        seed: int = 0,
        *,
        gate: str = "learned",
        consolidate_every: int = 64,
    ) -> None:
        if dim < 1 or consolidate_every < 1 or seed < 0:
            raise ValueError(f"need dim, consolidate_every >= 1 and seed >= 0, got {dim}, {consolidate_every}, {seed}")
        if gate not in GATES:
            raise ValueError(f"gate must be one of {GATES}, got {gate!r}")
        self.dim, self.compression_ratio, self.seed = dim, compression_ratio, seed
        self._sizes = (working, episodic, semantic, slots, consolidate_every)
        self._gate_kind = gate
        self.gate = _gate(gate, seed)
        self.learner = ReadLearner()
        self._projections: dict[tuple[str, int], NDArray[np.float64]] = {}
        self._written, self._clock, self._learning = 0, -np.inf, False
        self._allocate(1)
        self._value_shape: tuple[int, ...] | None = None

    def _allocate(self, value_dim: int) -> None:
        working, episodic, semantic, slots, every = self._sizes
        self.working = WorkingMemory(self.dim, value_dim, working, self.compression_ratio)
        self.episodic = EpisodicMemory(self.dim, value_dim, episodic, self.compression_ratio, every)
        self.semantic = SemanticMemory(self.dim, value_dim, semantic, slots)
        self._matured = 0

    # -------------------------------------------------------------------------------------------------------- write

    def write(
        self,
        key: ArrayLike,
        value: ArrayLike,
        time: float,
        context: ArrayLike | None = None,
        *,
        available_at: float | None = None,
    ) -> None:
        """Take in one experience: key [dim], value (number or [v]), the time it belongs to.

        `available_at` (default `time`) is when its value became known: no read before it sees the experience.
        `context` [any length] is seen by the gate only. Raises ValueError on wrong shapes and on numbers that are not
        finite; nothing is stored then.
        """
        unit_key = self._unit_key(key)
        target = self._value(value)
        known_at = float(time) if available_at is None else float(available_at)
        if not (math.isfinite(time) and math.isfinite(known_at)) or known_at < time:
            raise ValueError(f"need finite time <= available_at, got {time} and {known_at}")
        surroundings = None if context is None else np.asarray(context, np.float64).ravel()
        if surroundings is not None and not np.isfinite(surroundings).all():
            raise ValueError("context has entries that are not finite")
        self._value_shape = np.shape(value)
        features = self._look(unit_key, target, surroundings)
        self._clock = max(self._clock, float(time))
        self._store(unit_key, target, float(time), known_at, features)
        if known_at <= time:
            self.semantic.count_value(target, known_at)
        self._written += 1
        if self._written % self._sizes[4] == 0:
            self.consolidate()

    def _unit_key(self, key: ArrayLike) -> NDArray[np.float32]:
        vector = np.ascontiguousarray(key, np.float64)
        if vector.shape != (self.dim,) or not np.isfinite(vector).all():
            raise ValueError(f"a key is {self.dim} finite numbers, got shape {vector.shape}")
        result: NDArray[np.float32] = unit(vector)
        return result

    def _value(self, value: ArrayLike) -> NDArray[np.float64]:
        single: Any = value
        if type(single) is float and self._value_shape == () and math.isfinite(single):  # as it will mostly be
            return np.array([single])
        target = np.asarray(value, np.float64)
        if target.ndim > 1 or target.size == 0 or not np.isfinite(target).all():
            raise ValueError(f"a value is a finite number or a vector of them, got shape {target.shape}")
        if self._value_shape is not None and target.shape != self._value_shape:
            raise ValueError(f"values here have shape {self._value_shape}, got {target.shape}")
        if self._value_shape is None and target.size != self.semantic.prior.size - 2:
            self._allocate(target.size)
        return np.atleast_1d(target)

    def _look(
        self, unit_key: NDArray[Any], target: NDArray[Any], context: NDArray[Any] | None
    ) -> NDArray[np.float64] | None:
        """Features for the gate, once there is anything to teach it (or a control that needs none)."""
        if self._gate_kind == "open" or not (self._learning or self._gate_kind == "random"):
            return None
        recall = self.read(unit_key)
        return describe(unit_key, target, recall, self.semantic.prior, context, self._projections, self.seed)

    def _store(
        self, unit_key: NDArray[Any], target: NDArray[Any], time: float, known_at: float, features: NDArray[Any] | None
    ) -> None:
        chances, expected = (np.ones(2), np.nan) if features is None else self.gate.judge(features)
        episodic, semantic = self.gate.admits(chances, self._written)
        stores: list[tuple[ExperienceStore, int]] = [(self.working, self.working.next_row(self._written))]
        if episodic:
            stores.append((self.episodic, self.episodic.next_row(self._clock, self.gate.expected_scale)))
        seen = None if features is None else pack(np.array([*features.tolist(), expected, float(chances[0])]))
        for store, row in stores:
            self._absorb(store, row, 1.0)  # what is overwritten and was not absorbed yet
            store.put(row, unit_key, target, time, known_at, self._written)
            if seen is not None:
                store.features[row] = seen
        last, row = stores[-1]  # the longest-lived copy carries the debt to the semantic store
        last.semantic_weight[row] = float(semantic) * max(float(chances[1]), 0.05)

    # -------------------------------------------------------------------------------------------------- slow clock

    def _absorb(self, store: ExperienceStore, row: int, factor: float) -> None:
        """Move what the semantic store is owed of `row`, if its outcome is known by now."""
        weight, available_at = float(store.semantic_weight[row]), float(store.rows.stamps[row, 1])
        if weight <= 0.0 or available_at > self._clock:
            return
        value = store.rows.values[row].astype(np.float64)
        if available_at > store.rows.stamps[row, 0]:
            self.semantic.count_value(value, available_at)  # was not known when it was written
        sequence = int(store.rows.sequence[row])
        self.semantic.absorb(store.key(row), value, weight * factor, sequence, available_at)
        store.semantic_weight[row] = 0.0

    def consolidate(self) -> None:
        """Slow tick: absorb settled episodes, teach the gate, list the next evictions. Called by `write`."""
        rows, store = self.episodic.rows, self.episodic
        owed = np.flatnonzero(store.semantic_weight[: store.count] > 0)
        owed = owed[rows.sequence[owed] < self._written - self._sizes[4]]
        worth = rows.usefulness[: store.count] + store.expected(self.gate.expected_scale)
        scale = float(np.sqrt(np.mean(worth**2))) if store.count else 0.0
        for row in owed[np.argsort(rows.sequence[owed], kind="stable")]:
            extra = max(float(worth[row]) / scale, 0.0) if scale > 0 else 0.0
            self._absorb(store, int(row), 1.0 + min(extra, 3.0))
        if self._learning:
            self._teach_gate()
            kept = 0.5 ** (self._sizes[4] / store.capacity)  # half is left after as many writes as the store has rows
            rows.usefulness[:] *= kept
            self.working.rows.usefulness[:] *= kept
        if store.count == store.capacity:
            store.rank(self._clock, self.gate.expected_scale)

    def _teach_gate(self) -> None:
        store = self.episodic
        order = np.argsort(store.rows.sequence[: store.count], kind="stable")
        mature_before = self._written - max(store.capacity // 2, 1)  # old enough to have been asked for
        sequence = store.rows.sequence[order]
        oldest = self._written - 2 * store.capacity  # beyond, what was measured has faded
        usable = (sequence < mature_before) & (sequence >= oldest) & (store.features[order, 0] != UNSEEN)
        order, sequence = order[usable], sequence[usable]
        seen = unpack(store.features[order])
        usefulness = store.rows.usefulness[order].astype(np.float64)
        self.gate.tick(seen, usefulness, sequence >= self._matured)
        self._matured = max(self._matured, mature_before)

    # --------------------------------------------------------------------------------------------------------- read

    def read(self, query: ArrayLike, k: int = 8, now: float | None = None) -> Recall:
        """Recall the `k` nearest experiences and an estimate of the value at `query` [dim].

        `now` (default: the latest time written) hides everything that was not known then; for a reader in the past the
        summaries (slots, matrix, prior), which cannot be taken apart, are silent. Raises ValueError on a wrong shape,
        on numbers that are not finite and on k < 1.
        """
        vector = np.ascontiguousarray(query, np.float64)
        if vector.shape != (self.dim,) or k < 1:
            raise ValueError(f"a query is {self.dim} numbers and k at least 1, got shape {vector.shape} and k {k}")
        moment = self._clock if now is None else float(now)
        rows, count, finite = recall_all(vector, *self._known(moment, k))
        if not finite:
            raise ValueError("a query needs finite numbers")
        return Recall(rows, count, k, not self._value_shape)

    def read_many(
        self, queries: ArrayLike, k: int = 8, now: float | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """`read` for n queries [n, dim] in one compiled call: summaries [n, 6, 2 + v] and traces [n, 3, k, 8 + v].

        Row 5 of a summary holds (variance, 1, estimate [v]); `recall_from` makes a `Recall` of a row, for `learn`.
        Raises ValueError on a wrong shape, on numbers that are not finite and on k < 1.
        """
        vectors = np.ascontiguousarray(queries, np.float64)
        if vectors.ndim != 2 or vectors.shape[1] != self.dim or k < 1:
            raise ValueError(f"queries are [n, {self.dim}] numbers and k at least 1, got {vectors.shape} and k {k}")
        moment = self._clock if now is None else float(now)
        summaries, traces = recall_many(vectors, k, self.semantic.matrix.shape[0], self._known(moment, k))
        if not summaries[:, 5, 1].all():
            raise ValueError("a query needs finite numbers")
        return summaries, traces

    def _known(self, moment: float, k: int) -> tuple[Any, ...]:
        """What the compiled read needs beside the query: the stores as they are, seen from `moment`."""
        semantic = self.semantic
        return (
            moment, k, self._written, self.working.packed, self.episodic.packed,
            (self.working.count, self.episodic.count, self.working.levels), semantic.slot_keys, semantic.slot_values,
            semantic.slot_stats, semantic.matrix, semantic.prior, moment >= semantic.known_until, self.learner.skill,
            self.learner.parameters,
        )  # fmt: skip

    def recall_from(self, summary: NDArray[np.float64], trace: NDArray[np.float64]) -> Recall:
        """A recall of a row of `read_many`, good for `estimate`, `uncertainty` and `learn`; it lists no experiences."""
        return Recall.of(np.zeros((0, trace.shape[2])), summary, trace, not self._value_shape)

    # -------------------------------------------------------------------------------------------------------- learn

    def learn(self, recall: Recall, outcome: ArrayLike) -> None:
        """Train from the outcome of the situation that `recall` was asked about (at close, when it is known).

        Improves the mixture and credits or debits every recalled experience still stored. Raises ValueError on an
        outcome of another shape than the values or not finite.
        """
        target = self._value(outcome)
        self._learning = True
        gains = self.learner.update(recall, target, self.semantic.prior)
        for level, store in enumerate((self.working, self.episodic)):
            credit_rows(gains[level], recall.trace[level], store.rows.sequence, store.rows.usefulness, _USEFULNESS_RATE)

    def forget(self) -> None:
        """Empty all stores and the clock; what was learned about writing and reading stays."""
        self._allocate(self.semantic.prior.size - 2)
        self._clock, self._matured = -np.inf, self._written

    # -------------------------------------------------------------------------------------------------------- state

    @property
    def nbytes(self) -> int:
        """Bytes of everything kept: stores, summaries, gate, read parameters, projections."""
        parts = self.bytes_by_part()
        return sum(parts.values())

    def bytes_by_part(self) -> dict[str, int]:
        """The same, by part."""
        return {
            "working": self.working.nbytes,
            "episodic": self.episodic.nbytes,
            "semantic": self.semantic.nbytes,
            "gate": self.gate.nbytes + sum(array.nbytes for array in self._projections.values()),
            "read": self.learner.nbytes,
        }

    def __len__(self) -> int:
        """Experiences written so far."""
        return self._written

    def _config(self) -> NDArray[np.float64]:
        kind = float(GATES.index(self._gate_kind))
        return np.array([self.dim, *self._sizes, self.compression_ratio, self.seed, kind], np.float64)

    def _parts(self) -> dict[str, Any]:
        return {
            "working": self.working,
            "episodic": self.episodic,
            "semantic": self.semantic,
            "gate": self.gate,
            "read": self.learner,
        }

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Everything as a flat dictionary of numpy arrays (no objects: `numpy.savez` takes it without pickle)."""
        shape = (-1,) if self._value_shape is None else (len(self._value_shape), *self._value_shape)
        state = {
            "config": self._config(),
            "value_shape": np.array(shape, np.int64),
            "numbers": np.array([self._written, self._clock, float(self._learning), self._matured], np.float64),
        }
        for part, owner in self._parts().items():
            state.update({f"{part}.{name}": array for name, array in owner.state_dict().items()})
        return state

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue exactly where the state was taken. Raises ValueError if it is of a memory made differently."""
        if not np.array_equal(state["config"], self._config()):
            raise ValueError(f"state of a memory made with {state['config']}, this one with {self._config()}")
        rank, *shape = (int(n) for n in state["value_shape"])
        self._value_shape = None if rank < 0 else tuple(shape)
        self._allocate(shape[0] if rank == 1 else 1)
        for part, owner in self._parts().items():
            start = f"{part}."
            owner.load_state_dict({n[len(start) :]: a for n, a in state.items() if n.startswith(start)})
        written, clock, learning, matured = state["numbers"]
        self._written, self._clock = int(written), float(clock)
        self._learning, self._matured = bool(learning), int(matured)

    def save(self, path: str | Path) -> None:
        """Write the state as one `.npz` file."""
        with open(path, "wb") as file:  # noqa: PTH123 - a handle keeps numpy from appending a suffix
            np.savez(file, allow_pickle=False, **self.state_dict())

    def load(self, path: str | Path) -> None:
        """Read a state written by `save`; files that carry objects are refused by numpy."""
        with np.load(path, allow_pickle=False) as file:
            self.load_state_dict(dict(file))
