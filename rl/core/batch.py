"""A batch of environments with one clear meaning of "next observation", whatever resets the environments.

Gymnasium 1.x vector environments reset in one of three ways, and with the default (NEXT_STEP) the step after the end
of an episode ignores the action and returns reward 0 with the first observation of the next episode: a loop that
does not mask it trains on transitions that never happened. Here every step reports

    successors [N, D]   the observation that truly followed the action (the last one of an episode that ended)
    observations [N, D] what the next action is chosen from (after a reset where one happened)
    valid [N]           False where the step was only a reset

so that policies need not know the mode. Plain environments are reset in the same step, and no step is wasted.

N environments, D observation numbers (float32); rewards float32 in the environment's units.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from rl.core.spaces import ObservationEncoder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

RECENT_EPISODES = 100


class Step(NamedTuple):
    """One step of all environments; see the module's docstring. Arrays are fresh, never reused."""

    successors: NDArray[np.float32]
    observations: NDArray[np.float32]
    rewards: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    any_done: bool
    valid: NDArray[np.bool_]


class EnvironmentBatch:
    """Common part of both kinds of batches: spaces, current observations, statistics of finished episodes."""

    def __init__(self, size: int, observation_space: gym.Space[Any], action_space: gym.Space[Any]) -> None:
        self.size = size
        self.observation_space, self.action_space = observation_space, action_space
        self.encoder = ObservationEncoder(observation_space)
        self.observations = np.zeros((size, self.encoder.size), dtype=np.float32)
        self.returns = [0.0] * size
        self.lengths = [0] * size
        self.recent: deque[tuple[float, int]] = deque(maxlen=RECENT_EPISODES)
        """(undiscounted return, length) of the last episodes."""
        self.finished: list[float] = []
        """Returns of episodes since the reader last cleared it."""
        self.always_valid = np.ones(size, dtype=np.bool_)

    def step(self, actions: Sequence[Any]) -> Step:
        """Act in all environments."""
        raise NotImplementedError

    def close(self) -> None:
        """Release the environments."""
        raise NotImplementedError

    def _count(self, index: int, reward: float, done: bool) -> None:
        self.returns[index] += reward
        self.lengths[index] += 1
        if done:
            self.recent.append((self.returns[index], self.lengths[index]))
            self.finished.append(self.returns[index])
            self.returns[index], self.lengths[index] = 0.0, 0

    def mean_finished(self) -> float | None:
        """Mean return of the episodes that ended since the last call, None if none did."""
        if not self.finished:
            return None
        mean = sum(self.finished) / len(self.finished)
        self.finished.clear()
        return mean


class PlainBatch(EnvironmentBatch):
    """N plain environments stepped in a loop, reset in the same step."""

    def __init__(self, environments: list[gym.Env[Any, Any]], seed: int) -> None:
        first = environments[0]
        super().__init__(len(environments), first.observation_space, first.action_space)
        self.environments = environments
        for index, (environment, one) in enumerate(zip(environments, _seeds(seed, self.size), strict=True)):
            observation, _ = environment.reset(seed=one)
            self.observations[index] = self.encoder(observation)

    def step(self, actions: Sequence[Any]) -> Step:
        """See the module's docstring."""
        size, encoder = self.size, self.encoder
        successors = np.empty((size, encoder.size), dtype=np.float32)
        rewards = np.empty(size, dtype=np.float32)
        terminated, truncated = np.zeros(size, dtype=np.bool_), np.zeros(size, dtype=np.bool_)
        ended: list[int] = []
        flat = encoder.is_flat
        for index, environment in enumerate(self.environments):
            observation, reward, terminal, cut, _ = environment.step(actions[index])
            successors[index] = observation if flat else encoder(observation)
            rewards[index] = reward
            done = terminal or cut
            self._count(index, float(reward), done)
            if done:
                terminated[index], truncated[index] = terminal, cut
                ended.append(index)
        observations = successors
        if ended:
            observations = successors.copy()
            for index in ended:
                observations[index] = encoder(self.environments[index].reset()[0])
        self.observations = observations
        return Step(successors, observations, rewards, terminated, truncated, bool(ended), self.always_valid)

    def close(self) -> None:
        """Close every environment."""
        for environment in self.environments:
            environment.close()


class VectorBatch(EnvironmentBatch):
    """A Gymnasium vector environment in any of its autoreset modes."""

    def __init__(self, environment: VectorEnv[Any, Any, Any], seed: int) -> None:
        super().__init__(environment.num_envs, environment.single_observation_space, environment.single_action_space)
        self.environment = environment
        mode = environment.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        self.mode = mode if isinstance(mode, AutoresetMode) else AutoresetMode(mode)
        self.resetting = np.zeros(self.size, dtype=np.bool_)
        observation, _ = environment.reset(seed=_seeds(seed, self.size))  # type: ignore[arg-type]  # lists are accepted, see its docstring
        self.observations = self._rows(observation)

    def _rows(self, observation: Any) -> NDArray[np.float32]:
        if self.encoder.is_box:
            return np.array(observation, dtype=np.float32).reshape(self.size, -1)
        parts = gym.vector.utils.iterate(self.environment.observation_space, observation)
        return np.stack([self.encoder(part) for part in parts]).astype(np.float32)

    def step(self, actions: Sequence[Any]) -> Step:
        """See the module's docstring."""
        observation, reward, terminal, cut, info = self.environment.step(np.asarray(actions))
        successors = self._rows(observation)
        rewards = np.asarray(reward, dtype=np.float32)
        terminated, truncated = np.array(terminal, dtype=np.bool_), np.array(cut, dtype=np.bool_)
        valid = ~self.resetting
        done = (terminated | truncated) & valid
        observations = successors
        if self.mode is AutoresetMode.NEXT_STEP:
            self.resetting = done
        elif done.any() and self.mode is AutoresetMode.SAME_STEP:
            observations, successors = successors, self._final(successors, info, done)
        elif done.any():
            reset, _ = self.environment.reset(options={"reset_mask": done})
            observations = self._rows(reset)
        for index in np.flatnonzero(valid).tolist():
            self._count(index, float(rewards[index]), bool(done[index]))
        self.observations = observations
        return Step(successors, observations, rewards, terminated, truncated, bool(done.any()), valid)

    def _final(
        self, current: NDArray[np.float32], info: dict[str, Any], done: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Successors with the true final observations in the rows that ended."""
        final = info["final_obs"]
        successors = current.copy()
        for index in np.flatnonzero(done).tolist():
            successors[index] = self.encoder(final[index])
        return successors

    def close(self) -> None:
        """Close the vector environment."""
        self.environment.close()


def _seeds(seed: int, count: int) -> list[int]:
    """Independent reset seeds for `count` environments."""
    return [int(word) for word in np.random.SeedSequence(seed).generate_state(count)]


def make_batch(make_env: Callable[[], Any], count: int, seed: int) -> EnvironmentBatch:
    """`count` environments from `make_env()`; if that makes a vector environment, it is the batch and `count` is not
    used.
    """
    first = make_env()
    if isinstance(first, VectorEnv):
        return VectorBatch(first, seed)
    environments = [first, *(make_env() for _ in range(count - 1))]
    if len({id(environment) for environment in environments}) < count:
        raise ValueError("make_env returned the same environment twice: it has to make a new one at each call")
    return PlainBatch(environments, seed)
