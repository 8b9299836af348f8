"""Upper confidence bounds with all, discounted or windowed evidence.

    UCB1:    S/N + sqrt(2 ln n / N)                               Auer et al. 2002
    D-UCB:   S/N + 2 sqrt(xi ln n / N), n = sum of discounted N   Garivier, Moulines 2011, section 3
    SW-UCB:  S/N + sqrt(xi ln min(t, tau) / N)                    the same, section 4

Deterministic but for ties, which are drawn evenly: the propensity of a sole maximum is one (set `floor` to log data
that other bandits can be judged on). Arms without evidence come first. Shapes: N, S [C, K]; rewards in [0, 1].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rl.bandits.memory import Discounted, Everything, SlidingWindow

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

NO_EVIDENCE = 1e-9  # discounted counts of an arm never vanish, they underflow


class UCB1(Everything):
    """Optimism in the face of uncertainty, for stationary rewards. `width` scales the bonus (1 is Auer's)."""

    settings: ClassVar[tuple[str, ...]] = ("width",)

    def __init__(self, arms: int | Any, *, width: float = 1.0, **options: Any) -> None:
        if not width >= 0.0:
            raise ValueError(f"width must be >= 0, got {width}")
        self.width = width
        super().__init__(arms, **options)

    def _bonus(self, N: FloatArray, total: FloatArray) -> FloatArray:
        """Confidence width [B, K]."""
        return self.width * np.sqrt(2.0 * np.log(np.maximum(total, 1.0)) / N)

    def _probabilities(self, rows: NDArray[np.int64]) -> FloatArray:
        """See `Bandit`."""
        N = self.N[rows]
        known = np.maximum(N, NO_EVIDENCE)
        index = self.S[rows] / known + self._bonus(known, self.total(rows))
        index = np.where(N <= NO_EVIDENCE, np.inf, index)
        best = index == index.max(axis=1, keepdims=True)
        result: FloatArray = best / best.sum(axis=1, keepdims=True)
        return result


class _Restless(UCB1):
    """Both non-stationary forms share the exploration constant xi."""

    settings: ClassVar[tuple[str, ...]] = ("width", "xi")
    factor: ClassVar[float] = 1.0

    def __init__(self, arms: int | Any, *, xi: float = 0.1, **options: Any) -> None:
        if not xi > 0.0:
            raise ValueError(f"xi must be positive, got {xi}")
        self.xi = xi
        super().__init__(arms, **options)

    def _bonus(self, N: FloatArray, total: FloatArray) -> FloatArray:
        return self.width * self.factor * np.sqrt(self.xi * np.log(np.maximum(total, 1.0)) / N)


class DiscountedUCB(Discounted, _Restless):
    """D-UCB. The paper proves bounds for xi > 1/2; in practice .1 explores enough (docs/bandits.md)."""

    settings: ClassVar[tuple[str, ...]] = ("width", "xi", "discount", "idle_discount")
    factor: ClassVar[float] = 2.0


class SlidingWindowUCB(SlidingWindow, _Restless):
    """SW-UCB."""

    settings: ClassVar[tuple[str, ...]] = ("width", "xi", "window", "horizon")
