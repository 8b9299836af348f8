"""A sum tree: draw an index with probability proportional to its priority in O(log n) (Schaul et al. 2016, B.2.1).

A complete binary tree in one array of 2 * size float64: node i has children 2i and 2i + 1, leaf k is size + k, node 1
is the total. `size` is the capacity rounded up to a power of two. Parents are recomputed from their two children,
never updated by differences: rounding does not drift however many updates there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray


@njit(cache=True)
def _update(tree: NDArray[np.float64], indices: NDArray[np.int64], priorities: NDArray[np.float64]) -> None:
    size = tree.shape[0] // 2
    for k in range(indices.shape[0]):
        node = size + indices[k]
        tree[node] = priorities[k]
        node //= 2
        while node >= 1:
            tree[node] = tree[2 * node] + tree[2 * node + 1]
            node //= 2


@njit(cache=True)
def _find(tree: NDArray[np.float64], masses: NDArray[np.float64], found: NDArray[np.int64]) -> None:
    size = tree.shape[0] // 2
    for k in range(masses.shape[0]):
        mass, node = masses[k], 1
        while node < size:
            node *= 2
            # the second test keeps rounding at the right edge from ending in a leaf of priority zero
            if mass >= tree[node] and tree[node + 1] > 0.0:
                mass -= tree[node]
                node += 1
        found[k] = node - size


class SumTree:
    """Priorities of `capacity` items; all zero at first."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.tree = np.zeros(2 * (1 << max(capacity - 1, 1).bit_length()), dtype=np.float64)

    @property
    def total(self) -> float:
        """Sum of all priorities."""
        return float(self.tree[1])

    def update(self, indices: NDArray[np.int64], priorities: NDArray[np.float64]) -> None:
        """Set priorities (>= 0, finite); the last one wins where an index occurs twice."""
        if not (np.isfinite(priorities).all() and (priorities >= 0.0).all()):
            raise ValueError("priorities must be finite and not negative")
        if indices.size and not (int(indices.min()) >= 0 and int(indices.max()) < self.capacity):
            raise IndexError(f"index outside 0 .. {self.capacity - 1}")
        _update(self.tree, indices, priorities)

    def find(self, masses: NDArray[np.float64]) -> NDArray[np.int64]:
        """The index in whose slice of [0, total) each mass lies."""
        found = np.empty(masses.shape[0], dtype=np.int64)
        _find(self.tree, masses, found)
        return found

    def priorities(self, indices: NDArray[np.int64]) -> NDArray[np.float64]:
        """Current priorities of `indices`."""
        return self.tree[self.tree.shape[0] // 2 + indices]
