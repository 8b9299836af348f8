"""Partial pooling: contexts that belong together lend each other evidence.

A context is a tuple (group..., member). The evidence of a member's arm is its own plus that of the rest of its group, of
which at most `strength` rewards count:

    N = N_own + c,  S = S_own + c S_rest / N_rest,  c = min(strength, N_rest)

A member without data starts where its group stands and leaves it as its own rewards come in (the empirical-Bayes estimate
of a normal hierarchy with `strength` as the ratio of the variances within and between members; Efron and Morris 1973).
Shapes: N, S [C, K]; C contexts of all groups.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rl.bandits.thompson import DiscountedThompson, SlidingWindowThompson, Thompson

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]


class _Pooled(Thompson):
    """What both add to Thompson sampling: where evidence comes from. Comes first among the bases."""

    def __init__(self, arms: int | Any, *, strength: float = 20.0, **options: Any) -> None:
        if not strength >= 0.0:
            raise ValueError(f"strength must not be negative, got {strength}")
        self.strength = strength
        self._groups = np.zeros(0, np.int64)
        super().__init__(arms, **options)

    def evidence(self, rows: NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
        """See `Thompson`."""
        groups = self._group_of_rows()
        used, count = len(groups), int(groups.max(initial=-1)) + 1
        pooled = []
        for statistic in (self.N, self.S):
            total = np.zeros((count, len(self.arms)))
            np.add.at(total, groups, statistic[:used])
            pooled.append(np.maximum(total[groups[rows]] - statistic[rows], 0.0))
        rest_n, rest_s = pooled
        lent = np.minimum(rest_n, self.strength)
        mean = np.divide(rest_s, rest_n, out=np.zeros_like(rest_s), where=rest_n > 0.0)
        return self.N[rows] + lent, self.S[rows] + lent * mean

    def _group_of_rows(self) -> NDArray[np.int64]:
        """Number of the group of every row made so far, in the order in which groups were first seen."""
        if len(self._groups) != len(self.rows):
            numbers: dict[Any, int] = {}
            keys = [key[:-1] if isinstance(key, tuple) else None for key in self.rows]
            self._groups = np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)
        return self._groups

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `Bandit`."""
        self._groups = np.zeros(0, np.int64)
        super().load_state_dict(state)


class PooledThompson(_Pooled, DiscountedThompson):
    """`DiscountedThompson` with partial pooling within groups of contexts."""

    settings: ClassVar[tuple[str, ...]] = (*DiscountedThompson.settings, "strength")


class PooledWindowThompson(_Pooled, SlidingWindowThompson):
    """`SlidingWindowThompson` with partial pooling within groups of contexts."""

    settings: ClassVar[tuple[str, ...]] = (*SlidingWindowThompson.settings, "strength")
