"""Batches of environments: the same true transitions in every autoreset mode of Gymnasium 1.x."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from rl.core.batch import PlainBatch, VectorBatch, make_batch
from rl.core.distributions import make_distribution
from rl.core.networks import ActorCritic
from rl.core.rollout import collect, training_rows


class Counter(gym.Env):
    """Observation: steps taken and episode number. Ends after `length` steps, by termination or truncation in turn."""

    observation_space = gym.spaces.Box(-1, 1000, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, length=3):
        self.length, self.episode = length, -1

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time, self.episode = 0, self.episode + 1
        return np.array([self.time, self.episode], np.float32), {}

    def step(self, action):
        self.time += 1
        done = self.time >= self.length
        observation = np.array([self.time, self.episode], np.float32)
        return observation, float(self.time), done and self.episode % 2 == 0, done and self.episode % 2 == 1, {}


def transitions(batch, steps):
    """(observation, reward, successor, terminated, truncated) of environment 0, masked by validity."""
    out = []
    for _ in range(steps):
        before = batch.observations.copy()
        step = batch.step([0] * batch.size)
        if step.valid[0]:
            ends = bool(step.terminated[0]), bool(step.truncated[0])
            out.append((*before[0], float(step.rewards[0]), *step.successors[0], *ends))
    return out


def vector(mode):
    return VectorBatch(SyncVectorEnv([lambda: Counter(3), lambda: Counter(4)], autoreset_mode=mode), seed=0)


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_every_mode_tells_the_same_story(mode):
    plain = PlainBatch([Counter(3), Counter(4)], seed=0)
    expected = transitions(plain, 12)
    found = transitions(vector(mode), 16)
    assert found[: len(expected)] == expected
    # the true final observation, never the one after the reset
    assert [row[3] for row in expected if row[5] or row[6]] == [3.0] * 4
    assert {row[5:] for row in expected if row[5] or row[6]} == {(True, False), (False, True)}


def test_next_step_resets_are_marked_and_counted_once():
    batch = vector(AutoresetMode.NEXT_STEP)
    valid = [bool(batch.step([0, 0]).valid[0]) for _ in range(8)]
    assert valid == [True, True, True, False, True, True, True, False]
    assert [length for _, length in batch.recent] == [3, 4, 3]
    assert [value for value, _ in batch.recent] == [6.0, 10.0, 6.0]


@pytest.mark.parametrize("mode", [None, *AutoresetMode])
def test_rollout_rows_hold_no_transition_that_never_happened(mode):
    batch = PlainBatch([Counter(3), Counter(4)], 0) if mode is None else vector(mode)
    net = ActorCritic(2, 2, (8,))
    rollout = collect(batch, net, make_distribution(Counter.action_space), 14, np.random.default_rng(0))
    rows = training_rows(rollout, net, make_distribution(Counter.action_space), 0.9, 0.8)
    assert len(rows) == int(rollout.valid.sum())
    # no row starts from a final observation: time runs 0 .. length - 1
    assert rows.observations[:, 0].max() <= 3.0
    assert (rows.observations[:, 0] == 3.0).sum() == (rollout.observations[rollout.valid][:, 0] == 3.0).sum()
    assert mode is not AutoresetMode.NEXT_STEP or not rollout.all_valid


def test_truncation_is_bootstrapped_from_the_true_last_observation():
    batch = PlainBatch([Counter(3)], 0)
    net = ActorCritic(2, 2, (8,))
    distribution = make_distribution(Counter.action_space)
    rollout = collect(batch, net, distribution, 8, np.random.default_rng(0))
    rows = training_rows(rollout, net, distribution, 0.9, 0.0)
    import torch

    with torch.no_grad():
        last = float(net.value(torch.tensor([[3.0, 1.0]])))
    # lambda 0: advantage + value = r + gamma V(successor). Episode 0 terminates at step 2, episode 1 is cut at step 5
    assert float(rows.returns[2]) == pytest.approx(3.0, abs=1e-5)
    assert float(rows.returns[5]) == pytest.approx(3.0 + 0.9 * last, abs=1e-5)


def test_plain_environments_and_seeds():
    batch = make_batch(lambda: gym.make("CartPole-v1"), 3, seed=5)
    again = make_batch(lambda: gym.make("CartPole-v1"), 3, seed=5)
    assert batch.size == 3
    np.testing.assert_array_equal(batch.observations, again.observations)
    assert len({tuple(row) for row in batch.observations.tolist()}) == 3
