"""Experiences in contiguous arrays: what the working and the episodic store are made of.

What: a fixed number of rows, one experience each: coded key, value, the time it belongs to, the time from which its
outcome was known, its running number, how useful recalling it has been, and the gate's view of it when it was written.
Nothing is a Python object per experience, so a search is one pass over memory and the bytes can be counted.
Source: founding document, `NestedHOPEMemory`; bytes per row are in docs/memory.md. Shapes: rows [capacity, ...],
values [capacity, v]. Units: times as given by the caller, usefulness in squared standard deviations of the value.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from memory.block_dot import LANES
from memory.coding import decode, encode, fine_plane, padded_width
from memory.experience_features import FEATURES, UNSEEN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_CACHE_LINE = 64


class Rows(NamedTuple):
    """The arrays a search reads, in the order the compiled kernel takes them."""

    codes: NDArray[np.uint8]  # [blocks, D / 4, 16, 4]
    fine: NDArray[Any]  # [capacity, D or 0]
    scale: NDArray[np.float32]  # [16 blocks]: zero in rows that are not there
    values: NDArray[np.float32]  # [capacity, v]
    stamps: NDArray[np.float64]  # [capacity, 2]: time, available_at
    sequence: NDArray[np.int64]  # [capacity]: running number of the experience, -1 where empty
    usefulness: NDArray[np.float32]  # [capacity]


def _aligned_zeros(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Bytes that start on a cache line: else each load of a search touches two lines, and takes half as long again."""
    size = math.prod(shape)
    spare = np.zeros(size + _CACHE_LINE, np.uint8)
    start = -spare.ctypes.data % _CACHE_LINE
    return spare[start : start + size].reshape(shape)


class ExperienceStore:
    """Rows of experiences; the subclasses decide which row a new one takes.

    `capacity` rows of keys with `dim` components, values with `value_dim` components, keys coded to `compression_ratio`
    of float32. Raises ValueError on a capacity below one.
    """

    def __init__(self, dim: int, value_dim: int, capacity: int, compression_ratio: float) -> None:
        if capacity < 1:
            raise ValueError(f"a store needs a capacity of at least 1, got {capacity}")
        kind, self.levels = fine_plane(compression_ratio)
        width, blocks = padded_width(dim), -(-capacity // LANES)
        self.dim, self.capacity, self.count = dim, capacity, 0
        self.rows = Rows(
            _aligned_zeros((blocks, width // 4, LANES, 4)),
            np.zeros((capacity, width if self.levels else 0), kind),
            np.zeros(blocks * LANES, np.float32),
            np.zeros((capacity, value_dim), np.float32),
            np.zeros((capacity, 2)),
            np.full(capacity, -1, np.int64),
            np.zeros(capacity, np.float32),
        )
        self.rows.stamps[:, 1] = np.inf  # an empty row is never available
        self.packed = tuple(self.rows)  # the same as a plain tuple, which compiled code takes a microsecond faster
        # what the gate saw when the row was written then the usefulness it expected and the chance it gave
        self.features = np.full((capacity, FEATURES + 2), UNSEEN, np.int8)
        # what the semantic store is still to absorb of each row, 0 when done or refused
        self.semantic_weight = np.zeros(capacity, np.float32)

    def put(
        self, row: int, unit_key: NDArray[Any], value: NDArray[Any], time: float, available_at: float, sequence: int
    ) -> None:
        """Overwrite `row`; usefulness, features and semantic weight start anew."""
        assert 0 <= row < self.capacity
        rows = self.rows
        rows.scale[row] = encode(unit_key, row, rows.codes, rows.fine, self.levels)
        rows.values[row] = value
        rows.stamps[row] = time, available_at
        rows.sequence[row] = sequence
        rows.usefulness[row] = 0.0
        self.features[row] = UNSEEN
        self.semantic_weight[row] = 0.0
        self.count = max(self.count, row + 1)

    def key(self, row: int) -> NDArray[np.float32]:
        """The stored unit key of `row`, decoded, [d]."""
        rows = self.rows
        key: NDArray[np.float32] = decode(row, rows.codes, rows.fine, self.levels, rows.scale[row], self.dim)
        return key

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays at capacity."""
        return sum(array.nbytes for array in self.rows) + self.features.nbytes + self.semantic_weight.nbytes

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Copies of all arrays and counters."""
        state = {name: array.copy() for name, array in self.rows._asdict().items()}
        state["features"], state["semantic_weight"] = self.features.copy(), self.semantic_weight.copy()
        state["count"] = np.array(self.count)
        return state

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over a state. Raises ValueError where a shape or type differs, KeyError where one is missing."""
        arrays = {**self.rows._asdict(), "features": self.features, "semantic_weight": self.semantic_weight}
        for name, array in arrays.items():
            given = np.asarray(state[name])
            if given.shape != array.shape or given.dtype != array.dtype:
                raise ValueError(f"{name}: {given.dtype}{given.shape} does not fit {array.dtype}{array.shape}")
            array[...] = given
        self.count = int(state["count"])
