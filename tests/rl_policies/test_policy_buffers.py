"""Replay against naive versions: n-step windows, priorities, sums."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rl.buffers import PRIORITY_EPSILON, PrioritizedReplayBuffer, ReplayBuffer
from rl.core.sum_tree import SumTree


def stream(seed, length):
    rng = np.random.default_rng(seed)
    out = []
    for t, end in enumerate(rng.random(length)):
        terminated, truncated = end < 0.15, 0.15 <= end < 0.3
        observation, successor = np.array([t], np.float32), np.array([t + 0.5], np.float32)
        out.append((observation, int(rng.integers(5)), float(rng.normal()), successor, terminated, truncated))
    return out


def naive_transitions(steps, n, gamma):
    """All transitions that are complete, by start time: (action, R, successor, discount)."""
    out = {}
    for t in range(len(steps)):
        total = 0.0
        for k in range(t, min(t + n, len(steps))):
            total += gamma ** (k - t) * steps[k][2]
            ended = steps[k][4] or steps[k][5]
            if ended or k == t + n - 1:
                discount = 0.0 if steps[k][4] else gamma ** (k - t + 1)
                out[t] = (steps[t][1], total, float(steps[k][3][0]), discount)
                break
    return out


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 6), st.floats(0.1, 1.0))
def test_n_step_transitions_equal_the_naive_ones(seed, length, n, gamma):
    steps = stream(seed, length)
    buffer = ReplayBuffer(100, 1, discount=gamma, n_steps=n)
    for step in steps:
        buffer.add(*step)
    expected = naive_transitions(steps, n, gamma)
    assert len(buffer) == len(expected)
    for row in range(len(buffer)):
        action, total, successor, discount = expected[int(buffer.observations[row, 0])]
        assert buffer.actions[row] == action
        assert buffer.successors[row, 0] == successor
        assert buffer.returns[row] == pytest.approx(total, abs=1e-5)
        assert buffer.discounts[row] == pytest.approx(discount, abs=1e-6)


def test_streams_do_not_mix():
    buffer = ReplayBuffer(100, 1, discount=1.0, n_steps=3, environments=2)
    for t in range(6):
        for environment in range(2):
            sign = 1.0 if environment else -1.0
            observation = np.array([sign * (t + 1)], np.float32)
            buffer.add(observation, environment, sign, observation * 2, False, False, environment)
    assert set(buffer.returns[: len(buffer)].tolist()) == {3.0, -3.0}
    assert (np.sign(buffer.observations[: len(buffer), 0]) == np.sign(buffer.successors[: len(buffer), 0])).all()


def test_ring_overwrites_the_oldest():
    buffer = ReplayBuffer(4, 1, discount=0.9)
    for t in range(6):
        buffer.add(np.array([t], np.float32), 0, 0.0, np.zeros(1, np.float32), False, False)
    assert sorted(buffer.observations[:, 0].tolist()) == [2, 3, 4, 5]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 50))
def test_sum_tree_finds_what_a_cumulative_sum_finds(seed, capacity):
    rng = np.random.default_rng(seed)
    tree, plain = SumTree(capacity), np.zeros(capacity)
    for _ in range(20):
        indices = rng.integers(0, capacity, 5)
        values = rng.integers(0, 20, 5).astype(float)  # integers: sums are exact in any order
        tree.update(indices, values)
        for index, value in zip(indices, values, strict=True):
            plain[index] = value
    assert tree.total == plain.sum()
    if plain.sum() > 0:
        masses = rng.random(30) * plain.sum()
        expected = np.searchsorted(np.cumsum(plain), masses, side="right")
        np.testing.assert_array_equal(tree.find(masses), expected)


def test_sum_tree_never_finds_an_empty_leaf_at_the_edge():
    tree = SumTree(5)
    tree.update(np.array([1, 3]), np.array([0.1, 0.2]))
    found = tree.find(np.array([0.0, tree.total, np.nextafter(tree.total, 9)]))
    assert set(found.tolist()) <= {1, 3}


def test_sum_tree_refuses_what_would_poison_it():
    tree = SumTree(3)
    for bad in (np.nan, np.inf, -1.0):
        with pytest.raises(ValueError, match="finite"):
            tree.update(np.array([0]), np.array([bad]))
    with pytest.raises(IndexError):
        tree.update(np.array([3]), np.array([1.0]))


def test_priorities_draw_in_proportion_and_weights_undo_it():
    rng = np.random.default_rng(0)
    count, alpha, beta = 50, 0.7, 0.5
    buffer = PrioritizedReplayBuffer(64, 1, discount=0.9, alpha=alpha, beta=beta)
    for t in range(count):
        buffer.add(np.array([t], np.float32), 0, 0.0, np.zeros(1, np.float32), False, False)
    errors = rng.gamma(1.0, size=count).astype(np.float32)
    buffer.update_priorities(np.arange(count), errors)
    naive = (np.abs(errors.astype(np.float64)) + PRIORITY_EPSILON) ** alpha
    naive /= naive.sum()
    drawn = np.zeros(count)
    for _ in range(2000):
        sample = buffer.sample(32, rng)
        np.add.at(drawn, sample.indices, 1)
        expected = (count * naive[sample.indices]) ** -beta
        np.testing.assert_allclose(sample.weights, expected / expected.max(), rtol=1e-5)
    # 64,000 stratified draws: the standard error of a share p is below sqrt(p / 64,000)
    assert np.abs(drawn / drawn.sum() - naive).max() < 5 * np.sqrt(naive.max() / drawn.sum())


def test_new_transitions_come_soon_and_bad_errors_do_no_harm():
    buffer = PrioritizedReplayBuffer(8, 1, discount=0.9)
    for t in range(3):
        buffer.add(np.array([t], np.float32), 0, 0.0, np.zeros(1, np.float32), False, False)
    buffer.update_priorities(np.array([0, 1]), np.array([np.nan, 5.0], np.float32))
    buffer.add(np.array([3], np.float32), 0, 0.0, np.zeros(1, np.float32), False, False)
    priorities = buffer.tree.priorities(np.arange(4))
    assert np.isfinite(priorities).all()
    assert priorities[3] == pytest.approx(buffer.largest**buffer.alpha)
    assert priorities[3] == priorities.max()


@pytest.mark.parametrize("kind", [ReplayBuffer, PrioritizedReplayBuffer])
def test_state_round_trip(kind):
    first = kind(16, 1, discount=0.9, n_steps=3)
    for step in stream(1, 20):
        first.add(*step)
    first.update_priorities(np.arange(len(first)), np.arange(len(first), dtype=np.float32))
    second = kind(16, 1, discount=0.9, n_steps=3)
    second.load_state_dict(first.state_dict())
    for step in stream(2, 7):
        first.add(*step)
        second.add(*step)
    one, two = (buffer.sample(8, np.random.default_rng(5)) for buffer in (first, second))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


def test_empty_buffer_says_so():
    for kind in (ReplayBuffer, PrioritizedReplayBuffer):
        with pytest.raises(ValueError, match="empty"):
            kind(4, 1, discount=0.9).sample(2, np.random.default_rng(0))
