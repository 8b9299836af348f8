"""Policies in other people's code: spaces of all kinds, wrong arguments, environments that break the rules."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple

from rl.policies import A2C, A3C, DQN, PPO

SMALL = {
    DQN: {"learning_starts": 50, "batch_size": 16, "n_envs": 2},
    PPO: {"n_envs": 2, "n_epochs": 2, "batch_size": 32},
    A2C: {"n_envs": 2},
    A3C: {"mode": "turns", "workers": 2, "processes": 1},
}
OBSERVATIONS = {
    "float64": Box(-1, 1, (3,), np.float64),
    "unbounded": Box(-np.inf, np.inf, (3,), np.float32),
    "bytes": Box(0, 255, (4, 4), np.uint8),
    "number": Box(-1, 1, (), np.float32),
    "discrete": Discrete(5, start=2),
    "several": MultiDiscrete([2, 3]),
    "binary": MultiBinary(4),
    "dict": Dict({"a": Box(-1, 1, (2,)), "b": Discrete(3)}),
    "tuple": Tuple((Box(-1, 1, (2,)), Discrete(3))),
}
ACTIONS = {
    "shifted": Discrete(3, start=-1),
    "box": Box(-2, 2, (2,), np.float32),
    "float64": Box(-2, 2, (2,), np.float64),
    "matrix": Box(-1, 1, (2, 2), np.float32),
    "several": MultiDiscrete([2, 3]),
}


class Sampler(gym.Env):
    """Random observations, a reward of one, episodes of 20; refuses actions that are not of its space."""

    def __init__(self, observations, actions):
        self.observation_space, self.action_space, self.count = observations, actions, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(np.int64(action) if isinstance(action, int) else action), action
        self.count += 1
        return self.observation_space.sample(), 1.0, self.count % 20 == 0, False, {}


def cart_pole():
    return gym.make("CartPole-v1")


def check(kind, observations, actions, tmp_path):
    policy = kind(lambda: Sampler(observations, actions), seed=3, **SMALL[kind]).learn(120)
    first = policy.steps_done
    assert policy.learn(120).steps_done >= first + 120
    seen = [observations.sample() for _ in range(8)]
    answers = [policy.predict(one) for one in seen]
    assert all(actions.contains(answer) for answer in answers)
    policy.save(tmp_path / "p")
    again = kind.load(tmp_path / "p")
    assert all(np.array_equal(again.predict(one), answer) for one, answer in zip(seen, answers, strict=True))
    if not isinstance(observations, Dict | Tuple):
        np.testing.assert_allclose(policy.predict(np.stack(seen)), np.stack(answers), atol=1e-5)
    policy.close()


@pytest.mark.parametrize("kind", list(SMALL))
@pytest.mark.parametrize("name", list(OBSERVATIONS))
def test_observations_of_all_kinds(kind, name, tmp_path):
    check(kind, OBSERVATIONS[name], Discrete(3), tmp_path)


@pytest.mark.parametrize("kind", list(SMALL))
@pytest.mark.parametrize("name", list(ACTIONS))
def test_actions_of_all_kinds(kind, name, tmp_path):
    if kind is DQN and not isinstance(ACTIONS[name], Discrete):
        with pytest.raises(ValueError, match="Discrete action space"):
            DQN(lambda: Sampler(OBSERVATIONS["float64"], ACTIONS[name]))
        return
    check(kind, OBSERVATIONS["float64"], ACTIONS[name], tmp_path)


@pytest.mark.parametrize("kind", list(SMALL))
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seed": 1.5}, "seed is a whole number"),
        ({"seed": "x"}, "seed is a whole number"),
        ({"learning_rate": "x"}, "learning_rate is a number"),
        ({"learning_rate": float("nan")}, "learning_rate must be finite"),
        ({"hidden": 64}, "hidden is a sequence"),
        ({"max_grad_norm": -1.0}, "max_grad_norm is positive"),
        ({"n_envs": 1.5}, "n_envs is a whole number"),
        ({"optimizer": "sgd"}, "optimizer is"),
    ],
    ids=str,
)
def test_wrong_values_are_named(kind, options, words):
    with pytest.raises((TypeError, ValueError), match=words):
        kind(cart_pole, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"exploration_fraction": -1.0}, {"exploration_final_eps": 2.0}, {"alpha": -1.0}, {"beta": 1.5},
        {"learning_starts": -1}, {"target_sync": True}, {"target_sync": "x"}, {"target_sync": 0},
    ],
    ids=str,
)  # fmt: skip
def test_wrong_values_of_dqn_are_named(options):
    with pytest.raises(ValueError, match="|".join(["period", "target.sync", *options])):
        DQN(cart_pole, **options)


def test_environments_that_are_none_or_not_new_are_refused():
    with pytest.raises(TypeError, match="no Gymnasium environment"):
        PPO(lambda: 3)
    one = cart_pole()
    with pytest.raises(ValueError, match="same environment twice"):
        PPO(lambda: one, n_envs=2).learn(100)
    for steps in (1.5, "x", None, True):
        with pytest.raises(TypeError, match="steps is a whole number"):
            PPO(cart_pole).learn(steps)


def test_the_plain_adam_of_policies_is_torchs():
    """The flat buffer is an implementation, not another optimizer."""
    nets = []
    for optimizer in ("adam", lambda parameters, lr: torch.optim.Adam(parameters, lr=lr, eps=1e-5)):
        policy = PPO(cart_pole, seed=1, optimizer=optimizer, learning_rate=1e-3, n_envs=2, n_epochs=3)
        policy.learn(64)
        nets.append(torch.cat([p.detach().ravel() for p in policy.net.parameters()]))
    assert float((nets[0] - nets[1]).abs().max()) < 1e-6
    assert policy.updates_done == 3
