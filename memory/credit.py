"""Learning to read: the mixture's parameters, each voice's measured skill, and credit to what was recalled.

What: when the outcome of a recalled situation is known, three things are updated. The 11 parameters of the mixture take
a bounded step down the gradient of the Huber loss. The running squared error of every voice gives its skill, the log
precision relative to the prior's. And every recalled experience gets its gain: how much worse the estimate would
have been without it (leave one out, exact).
Source: nested-learning.md §3.5 (read path by prediction loss at close, utility by leave-one-out), M2. Shapes: see
mixture.py. Units: errors in standard deviations of the value.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from memory.mixture import DEFAULTS, PARAMETERS, ROW, SEQUENCE, SIMILARITY, VOICES, leave_one_out, loss_gradient

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from memory.read import Recall

_SKILL_RATE = 0.02  # of the running squared errors
_STEP, _SQUARE_RATE = 0.02, 0.02  # normalised gradient step and its running scale
_ERROR_LIMIT = 3.0  # standard deviations: one outlier does not rewrite a voice's skill
_LOW = np.array([-20.0] * 5 + [0.0] * 3 + [0.0, -5.0, -5.0])  # bounds of the parameters, order of mixture.py
_HIGH = np.array([20.0] * 5 + [60.0] * 3 + [np.log(200.0), 5.0, 5.0])


@njit(cache=True)
def credit_rows(
    gains: NDArray[Any], trace: NDArray[Any], sequence: NDArray[Any], usefulness: NDArray[Any], rate: float
) -> None:
    """Move the usefulness of every experience recalled from one store towards its gain [k], if it is still stored.

    trace [k, 8 + v] is the store's part of a recall's; sequence, usefulness: the store's rows.
    """
    for i in range(len(gains)):
        row = int(trace[i, ROW])
        if trace[i, SIMILARITY] > -np.inf and sequence[row] == trace[i, SEQUENCE]:
            usefulness[row] = usefulness[row] + rate * (gains[i] - usefulness[row])


class ReadLearner:
    """Holds what reading has learned: `parameters` [11], `squared_errors` [5], `skill` [5]."""

    def __init__(self) -> None:
        self.parameters = np.array(DEFAULTS)
        self.squared_errors = np.ones(len(VOICES))
        self.skill = np.zeros(len(VOICES))
        self._square = np.zeros(PARAMETERS)

    def update(self, recall: Recall, outcome: NDArray[np.float64], prior: NDArray[np.float64]) -> NDArray[np.float64]:
        """Learn from one outcome [v]; returns the gain [3, k] of every entry of the recall's trace.

        `prior` as in semantic.py; while its deviation is zero (no two values differ yet) nothing is learned.
        """
        size = outcome.size
        variance = float(prior[size])
        gains: NDArray[np.float64] = np.zeros(recall.trace.shape[:2])
        if variance <= 0.0 or not recall.present[-1]:
            return gains
        deviation = math.sqrt(variance)
        trace, present, voices = recall.trace, recall.present, recall.voice_estimates
        skill, parameters = self.skill, self.parameters
        gains = leave_one_out(trace, present, voices, variance, skill, parameters, outcome, deviation)
        gradient = loss_gradient(trace, present, voices, variance, skill, parameters, outcome, deviation)
        self._square += _SQUARE_RATE * (gradient**2 - self._square)
        self.parameters -= _STEP * gradient / (np.sqrt(self._square) + 0.1)
        np.minimum(np.maximum(self.parameters, _LOW), _HIGH, out=self.parameters)
        self._judge_voices(recall, outcome, deviation)
        return gains

    def _judge_voices(self, recall: Recall, outcome: NDArray[np.float64], deviation: float) -> None:
        speaking = recall.present & (recall.voice_weights > 0)
        squares = (recall.voice_estimates - outcome) ** 2
        errors = np.sqrt(squares[:, 0] if outcome.size == 1 else squares.mean(axis=1)) / deviation
        change = np.minimum(errors, _ERROR_LIMIT) ** 2 - self.squared_errors
        self.squared_errors += np.where(speaking, _SKILL_RATE * change, 0.0)
        precision = -0.5 * np.log(self.squared_errors + 1e-3)
        self.skill = np.minimum(np.maximum(precision - precision[-1], -3.0), 3.0)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return self.parameters.nbytes + self.squared_errors.nbytes + self.skill.nbytes + self._square.nbytes

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Copies of all arrays."""
        return {
            "parameters": self.parameters.copy(),
            "squared_errors": self.squared_errors.copy(),
            "skill": self.skill.copy(),
            "square": self._square.copy(),
        }

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over a state of the same shapes."""
        self.parameters[:] = state["parameters"]
        self.squared_errors[:] = state["squared_errors"]
        self.skill = np.array(state["skill"])
        self._square[:] = state["square"]
