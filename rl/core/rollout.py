"""On-policy rollouts: T steps of N environments with one network forward per step and no autograd.

Only the policy head runs while acting; values and log-probabilities of the whole rollout are computed afterwards in
one batch each, which is the same mathematics in far fewer kernel calls. Steps that were only resets of a vector
environment are dropped from the training rows.

Shapes: obs [T, N, D], actions [T, N, ...], everything else [T, N].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rl.core.returns import discounted_returns, generalized_advantages

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from rl.core.batch import EnvironmentBatch
    from rl.core.distributions import Distribution
    from rl.core.networks import ActorCritic


@dataclass(slots=True)
class Rollout:
    """What happened, before anything is learned from it. `last` [N, D] are the successors of the last step; `cut`
    lists the truncated steps before the last one, `cut_observations` [len(cut), D] their true final observations.
    """

    observations: NDArray[np.float32]
    actions: NDArray[Any]
    parameters: NDArray[np.float32]
    rewards: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    done: NDArray[np.bool_]
    valid: NDArray[np.bool_]
    all_valid: bool
    last: NDArray[np.float32]
    cut: list[tuple[int, int]]
    cut_observations: list[NDArray[np.float32]]

    def next_values(self, values: NDArray[np.float32], net: ActorCritic) -> NDArray[np.float32]:
        """V of the true successor of every step [T, N], given V of every observation [T, N]."""
        following = np.empty_like(values)
        following[:-1] = values[1:]
        with torch.no_grad():
            following[-1] = net.value(torch.from_numpy(self.last)).numpy()
            if self.cut:
                finals = net.value(torch.from_numpy(np.stack(self.cut_observations))).numpy()
                for (step, environment), value in zip(self.cut, finals, strict=True):
                    following[step, environment] = value
        return following

    def flat_observations(self) -> Tensor:
        """[T * N, D]."""
        return torch.from_numpy(self.observations.reshape(-1, self.observations.shape[-1]))


@dataclass(slots=True)
class TrainingRows:
    """The rows a policy learns from, [R, ...] with R <= T * N."""

    observations: Tensor
    actions: Tensor
    log_probabilities: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor

    def select(self, index: Tensor) -> TrainingRows:
        """Rows by index."""
        return TrainingRows(
            self.observations[index],
            self.actions[index],
            self.log_probabilities[index],
            self.values[index],
            self.advantages[index],
            self.returns[index],
        )

    def __len__(self) -> int:
        return len(self.advantages)


def collect(
    batch: EnvironmentBatch,
    net: ActorCritic,
    distribution: Distribution,
    steps: int,
    generator: np.random.Generator,
    reward_scale: float = 1.0,
) -> Rollout:
    """Act for `steps` steps with the current policy of `net`; noise comes from `generator` in one draw."""
    size, width = batch.size, batch.encoder.size
    observations = np.empty((steps, size, width), dtype=np.float32)
    parameters = np.empty((steps, size, distribution.parameters), dtype=np.float32)
    kind = np.float32 if distribution.continuous else np.int64
    actions = np.empty((steps, size, *distribution.action_shape), dtype=kind)
    rewards = np.empty((steps, size), dtype=np.float32)
    terminated, done, valid = (np.zeros((steps, size), dtype=np.bool_) for _ in range(3))
    noise = distribution.noise(generator, (steps, size))
    cut: list[tuple[int, int]] = []
    finals: list[NDArray[np.float32]] = []
    successors = batch.observations
    with torch.no_grad():
        for t in range(steps):
            observations[t] = batch.observations
            parameters[t] = net.policy(torch.from_numpy(batch.observations)).numpy()
            actions[t] = distribution.sample(parameters[t], noise[t], net)
            step = batch.step(distribution.to_environment(actions[t]))
            successors, rewards[t], valid[t] = step.successors, step.rewards, step.valid
            if step.any_done:
                terminated[t] = step.terminated
                done[t] = (step.terminated | step.truncated) & step.valid
                if t < steps - 1:
                    for n in np.flatnonzero(done[t] & ~step.terminated).tolist():
                        cut.append((t, n))
                        finals.append(successors[n])
    if reward_scale != 1.0:
        rewards *= np.float32(reward_scale)
    return Rollout(
        observations, actions, parameters, rewards, terminated, done, valid, bool(valid.all()), successors, cut, finals
    )


def training_rows(
    rollout: Rollout, net: ActorCritic, distribution: Distribution, discount: float, trace: float
) -> TrainingRows:
    """Values, log-probabilities, advantages (GAE) and value targets (A + V) of a rollout."""
    shape = rollout.rewards.shape
    observations = rollout.flat_observations()
    actions = torch.from_numpy(rollout.actions.reshape(observations.shape[0], *rollout.actions.shape[2:]))
    parameters = torch.from_numpy(rollout.parameters.reshape(observations.shape[0], -1))
    with torch.no_grad():
        values = net.value(observations)
        log_probabilities, _ = distribution.log_probability(parameters, actions, net)
    grid = values.numpy().reshape(shape)
    following = rollout.next_values(grid, net)
    advantages = torch.from_numpy(
        generalized_advantages(rollout.rewards, grid, following, rollout.terminated, rollout.done, discount, trace)
    ).reshape(-1)
    rows = TrainingRows(observations, actions, log_probabilities, values, advantages, advantages + values)
    return rows if rollout.all_valid else rows.select(torch.from_numpy(np.flatnonzero(rollout.valid.reshape(-1))))


def bootstrapped_returns(
    rollout: Rollout, values: NDArray[np.float32], net: ActorCritic, discount: float
) -> NDArray[np.float32]:
    """n-step returns [T, N] of A3C and A2C; values [T, N] of the rollout's observations."""
    following = rollout.next_values(values, net)
    return discounted_returns(rollout.rewards, following, rollout.terminated, rollout.done, discount)
