"""The smallest trading problem: i.i.d. standard normal returns, {short, flat, long}, a cost per change of position.

    reward_t = position_t * r_t - cost * |position_t - position_{t-1}|

With `leak` the observation holds r_t, the return that the action about to be taken will earn; without it, the last
return (useless). A learning stack that does not reach 95 % of the dynamic-programming optimum with the leak is broken
(FinRL issues 361 and 1248 show one that is); one that beats zero on fresh data without it is cheating.

Observation [2] float32: return, current position. Actions: Discrete(3) = position + 1. Episodes end by truncation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BOUND = 8.0  # fifteen zeros of probability beyond it


class NextReturnEnv(gym.Env["NDArray[np.float32]", np.int64]):
    """See the module's docstring. `returns` [length] of the running episode is public for the oracle."""

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012  # Gymnasium's own declaration

    def __init__(self, *, leak: bool = True, length: int = 256, cost: float = 0.1) -> None:
        self.leak, self.length, self.cost = leak, length, cost
        self.observation_space = gym.spaces.Box(-BOUND, BOUND, (2,), np.float32)
        self.action_space = gym.spaces.Discrete(3)
        self.returns = np.zeros(length)
        self.step_number = self.position = 0

    def _observe(self) -> NDArray[np.float32]:
        seen = self.step_number if self.leak else self.step_number - 1
        shown = self.returns[seen] if 0 <= seen < self.length else 0.0
        return np.array([min(max(shown, -BOUND), BOUND), self.position], dtype=np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """A fresh episode of noise."""
        super().reset(seed=seed, options=options)
        self.returns = self.np_random.standard_normal(self.length)
        self.step_number = self.position = 0
        return self._observe(), {}

    def step(self, action: np.int64) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """See the module's docstring."""
        position = int(action) - 1
        reward = position * self.returns[self.step_number] - self.cost * abs(position - self.position)
        self.position = position
        self.step_number += 1
        return self._observe(), float(reward), False, self.step_number >= self.length, {}
