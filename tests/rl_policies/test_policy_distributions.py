"""Distributions against torch's own, sampling against probabilities."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from rl.core.distributions import make_distribution
from rl.core.networks import ActorCritic, Perceptron, QNetwork

GENERATOR = torch.Generator().manual_seed(0)


def test_categorical_equals_torch():
    distribution = make_distribution(gym.spaces.Discrete(4))
    logits = torch.randn(10, 4, generator=GENERATOR)
    actions = torch.arange(10) % 4
    reference = torch.distributions.Categorical(logits=logits)
    log_probability, entropy = distribution.log_probability(logits, actions, None)
    torch.testing.assert_close(log_probability, reference.log_prob(actions))
    torch.testing.assert_close(entropy, reference.entropy())


def test_multi_categorical_equals_torch():
    distribution = make_distribution(gym.spaces.MultiDiscrete([2, 3]))
    logits = torch.randn(6, 5, generator=GENERATOR)
    actions = torch.tensor([[0, 2], [1, 1], [0, 0], [1, 2], [0, 1], [1, 0]])
    parts = [torch.distributions.Categorical(logits=part) for part in (logits[:, :2], logits[:, 2:])]
    log_probability, entropy = distribution.log_probability(logits, actions, None)
    torch.testing.assert_close(log_probability, sum(p.log_prob(actions[:, i]) for i, p in enumerate(parts)))
    torch.testing.assert_close(entropy, sum(p.entropy() for p in parts))


def test_gaussian_equals_torch_and_is_clipped_on_the_way_out():
    space = gym.spaces.Box(-1, 1, (2,), np.float32)
    distribution = make_distribution(space)
    net = ActorCritic(3, 2, (4,), continuous=True)
    with torch.no_grad():
        net.log_deviation.copy_(torch.tensor([-0.5, 0.3]))
    mean, actions = torch.randn(7, 2, generator=GENERATOR), torch.randn(7, 2, generator=GENERATOR)
    reference = torch.distributions.Normal(mean, net.log_deviation.exp())
    log_probability, entropy = distribution.log_probability(mean, actions, net)
    torch.testing.assert_close(log_probability, reference.log_prob(actions).sum(-1))
    torch.testing.assert_close(entropy, reference.entropy().sum(-1))
    out = distribution.to_environment(np.array([[5.0, -5.0]], np.float32))
    assert space.contains(out[0])


def test_sampling_follows_the_probabilities():
    distribution = make_distribution(gym.spaces.Discrete(3, start=2))
    logits = np.array([[0.0, 1.0, -1.0]], np.float32)
    rng = np.random.default_rng(0)
    actions = distribution.sample(np.repeat(logits, 40_000, 0), distribution.noise(rng, (40_000,)), None)
    expected = np.exp(logits[0]) / np.exp(logits[0]).sum()
    assert np.abs(np.bincount(actions, minlength=3) / 40_000 - expected).max() < 0.01
    assert set(distribution.to_environment(actions)) == {2, 3, 4}


def test_unknown_action_space_is_refused():
    with pytest.raises(ValueError, match="Discrete, MultiDiscrete or Box"):
        make_distribution(gym.spaces.MultiBinary(3))


def test_dueling_heads_subtract_the_mean_advantage():
    net = QNetwork(3, 4, (8,), dueling=True, generator=GENERATOR)
    x = torch.randn(5, 3, generator=GENERATOR)
    out = net.body(x)
    expected = out[:, 4:5] + out[:, :4] - out[:, :4].mean(1, keepdim=True)
    torch.testing.assert_close(net(x), expected)
    torch.testing.assert_close(net(x).mean(1), out[:, 4])


def test_initialisation_is_orthogonal_and_seeded():
    one, two = (Perceptron(8, (16,), 2, generator=torch.Generator().manual_seed(3), head_gain=0.01) for _ in range(2))
    weight = one.linears[0].weight
    torch.testing.assert_close(weight.T @ weight, 2.0 * torch.eye(8))
    assert float(one.head.weight.detach().norm()) == pytest.approx(0.01 * np.sqrt(2), rel=1e-5)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
