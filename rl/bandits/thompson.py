"""Thompson sampling with all, discounted or windowed evidence.

Posterior of an arm's mean reward in [0, 1] with evidence N and sum S (`memory.py`):

    beta:    Beta(1 + S, 1 + N - S)                    Thompson 1933; fractional rewards count as fractions of a success
    normal:  N((1/2 + S) / (1 + N), sigma^2 / (1 + N)) one pseudo-reward of 1/2; sigma defaults to 1/2, the largest
    possible

Forgetting widens posteriors, and a wide posterior is tried again: that is the whole answer to non-stationarity (Raj and
Kalyani 2017, discounted; Trovo et al. 2020, sliding window). `memory.py` says what is forgotten when.
The arm is drawn from the exact probability of being best (`best.py`), which is the propensity. Shapes: N, S [C, K].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rl.bandits.best import best_of_beta, best_of_normal
from rl.bandits.memory import Discounted, Everything, SlidingWindow

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]


class Thompson(Everything):
    """Stationary Thompson sampling. posterior: "beta" or "normal" with reward deviation `sigma` (in units of the
    range).
    """

    settings: ClassVar[tuple[str, ...]] = ("posterior", "sigma")

    def __init__(self, arms: int | Any, *, posterior: str = "beta", sigma: float = 0.5, **options: Any) -> None:
        if posterior not in {"beta", "normal"} or not sigma > 0.0:
            raise ValueError(f'posterior is "beta" or "normal" and sigma positive, got {posterior!r} and {sigma}')
        self.posterior, self.sigma = posterior, sigma
        super().__init__(arms, **options)

    def _probabilities(self, rows: NDArray[np.int64]) -> FloatArray:
        """See `Bandit`."""
        if self.posterior == "beta":
            N, S = self.evidence(rows)
            return best_of_beta(1.0 + S, 1.0 + np.maximum(N - S, 0.0))
        return best_of_normal(*self.beliefs(rows))

    def beliefs(self, rows: NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of the posteriors of these rows, [B, K] each, in units of the range."""
        N, S = self.evidence(rows)
        if self.posterior == "beta":
            mean = (1.0 + S) / (2.0 + N)
            return mean, np.sqrt(mean * (1.0 - mean) / (3.0 + N))
        return (0.5 + S) / (1.0 + N), self.sigma / np.sqrt(1.0 + N)

    def expectations(self, context: Any = None) -> FloatArray:
        """See `Bandit`; posterior means."""
        return self._to_reward(self.beliefs(np.array([self.row(context)]))[0][0])

    def evidence(self, rows: NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
        """N and S [B, K] that the posteriors of these rows rest on."""
        return self.N[rows], self.S[rows]


class DiscountedThompson(Discounted, Thompson):
    """Thompson sampling that forgets exponentially; see `memory.Discounted` for the two rates."""

    settings: ClassVar[tuple[str, ...]] = ("posterior", "sigma", "discount", "idle_discount")


class SlidingWindowThompson(SlidingWindow, Thompson):
    """Thompson sampling over the last `window` plays of each arm, at most `horizon` selections old."""

    settings: ClassVar[tuple[str, ...]] = ("posterior", "sigma", "window", "horizon")
