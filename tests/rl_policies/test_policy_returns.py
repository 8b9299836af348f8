"""Advantages and returns against the definitions, summed term by term."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rl.core.returns import discounted_returns, generalized_advantages


def random_rollout(seed, steps, environments):
    rng = np.random.default_rng(seed)
    rewards, values, following = (rng.normal(size=(steps, environments)).astype(np.float32) for _ in range(3))
    terminated = rng.random((steps, environments)) < 0.2
    truncated = rng.random((steps, environments)) < 0.2
    return rewards, values, following, terminated, terminated | truncated


def naive_advantages(rewards, values, following, terminated, done, gamma, lam):
    """A_t = sum_l (gamma lambda)^l delta_{t+l}, the sum ending with the episode."""
    steps, environments = rewards.shape
    out = np.zeros((steps, environments))
    for n in range(environments):
        for t in range(steps):
            weight = 1.0
            for k in range(t, steps):
                future = 0.0 if terminated[k, n] else float(following[k, n])
                out[t, n] += weight * (float(rewards[k, n]) + gamma * future - float(values[k, n]))
                if done[k, n]:
                    break
                weight *= gamma * lam
    return out


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 3), st.floats(0, 1), st.floats(0, 1))
def test_advantages_equal_the_sum_of_deltas(seed, steps, environments, gamma, lam):
    rollout = random_rollout(seed, steps, environments)
    expected = naive_advantages(*rollout, gamma, lam)
    np.testing.assert_allclose(generalized_advantages(*rollout, gamma, lam), expected, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 3), st.floats(0, 1))
def test_returns_equal_the_discounted_sum(seed, steps, environments, gamma):
    rewards, _, following, terminated, done = random_rollout(seed, steps, environments)
    expected = np.zeros((steps, environments))
    for n in range(environments):
        for t in range(steps):
            weight = 1.0
            for k in range(t, steps):
                expected[t, n] += weight * float(rewards[k, n])
                weight *= gamma
                if terminated[k, n]:
                    break
                if done[k, n] or k == steps - 1:
                    expected[t, n] += weight * float(following[k, n])
                    break
    found = discounted_returns(rewards, following, terminated, done, gamma)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_termination_hides_what_follows_and_truncation_does_not():
    one = np.ones((1, 1), dtype=np.float32)
    yes, no = np.ones((1, 1), dtype=bool), np.zeros((1, 1), dtype=bool)
    poison = np.full((1, 1), np.nan, dtype=np.float32)
    assert generalized_advantages(one, 0 * one, poison, yes, yes, 0.9, 1.0)[0, 0] == 1.0
    assert generalized_advantages(one, 0 * one, 10 * one, no, yes, 0.9, 1.0)[0, 0] == np.float32(10.0)


def test_lambda_one_is_return_minus_value():
    rewards, values, following, terminated, done = random_rollout(3, 20, 4)
    # inside an episode the successor's value is the next observation's
    inside = ~done[:-1]
    following[:-1][inside] = values[1:][inside]
    advantages = generalized_advantages(rewards, values, following, terminated, done, 0.97, 1.0)
    returns = discounted_returns(rewards, following, terminated, done, 0.97)
    np.testing.assert_allclose(advantages + values, returns, atol=1e-5)
