"""Returns and advantages from a rollout: GAE (Schulman et al. 2016, equations 11 and 16) and n-step returns.

    delta_t = r_t + gamma V(s_{t+1}) (1 - terminated_t) - V(s_t)
    A_t     = delta_t + gamma lambda (1 - done_t) A_{t+1},      done = terminated or truncated

`terminated` cuts the bootstrap, `done` cuts only the trace: an episode that was merely cut off (time limit, end of
data) still has a future, and its value is that of the *true* last observation, never of the one after the reset.

Shapes: T steps, N environments, all arrays [T, N]; rewards in the environment's units.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Flags = NDArray[np.bool_]


@njit(cache=True)
def generalized_advantages(
    rewards: Floats,
    values: Floats,
    next_values: Floats,
    terminated: Flags,
    done: Flags,
    discount: float,
    trace: float,
) -> Floats:
    """Advantages [T, N] float32.

    next_values: V of the true successor of each step (of the final observation where an episode was truncated);
    what stands where `terminated` does not matter, even if it is not finite. discount, trace: gamma and lambda in
    [0, 1].
    """
    steps, environments = rewards.shape
    advantages = np.empty((steps, environments), dtype=np.float32)
    for n in range(environments):
        running = 0.0
        for t in range(steps - 1, -1, -1):
            future = 0.0 if terminated[t, n] else next_values[t, n]
            delta = rewards[t, n] + discount * future - values[t, n]
            running = delta + (0.0 if done[t, n] else discount * trace * running)
            advantages[t, n] = running
    return advantages


@njit(cache=True)
def discounted_returns(rewards: Floats, next_values: Floats, terminated: Flags, done: Flags, discount: float) -> Floats:
    """Bootstrapped returns [T, N] float32 of A3C (Mnih et al. 2016, algorithm S3): R_t = r_t + gamma R_{t+1}.

    The recursion starts at the end of the rollout and at each end of an episode from next_values (0 if terminated);
    elsewhere next_values is not read.
    """
    steps, environments = rewards.shape
    returns = np.empty((steps, environments), dtype=np.float32)
    for n in range(environments):
        running = 0.0
        for t in range(steps - 1, -1, -1):
            if terminated[t, n]:
                running = 0.0
            elif done[t, n] or t == steps - 1:
                running = next_values[t, n]
            running = rewards[t, n] + discount * running
            returns[t, n] = running
    return returns
