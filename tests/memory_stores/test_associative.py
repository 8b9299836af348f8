"""Associative memories: closed forms against independent oracles, bounds as properties, numpy equals torch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from memory import associative as am

sizes = st.integers(1, 12)
seeds = st.integers(0, 2**32 - 1)


def gaussian(seed, *shape, scale=1.0):
    return np.random.default_rng(seed).normal(scale=scale, size=shape)


@given(seeds, sizes, sizes, st.floats(0.01, 50.0))
def test_proximal_delta_is_the_argmin_of_its_problem(seed, d_v, d_k, rate):
    """Oracle: the normal equations of 1/2|Wk-v|^2 + 1/(2 rate)|W-M|^2, solved densely."""
    rng = np.random.default_rng(seed)
    memory, key, value = rng.normal(size=(d_v, d_k)), rng.normal(scale=3, size=d_k), rng.normal(size=d_v)
    normal = np.outer(key, key) + np.eye(d_k) / rate
    oracle = np.linalg.solve(normal, (np.outer(value, key) + memory / rate).T).T
    np.testing.assert_allclose(am.proximal_delta(memory, key, value, rate), oracle, rtol=1e-8, atol=1e-8)


@given(seeds, sizes, sizes, st.integers(1, 6), st.floats(0.01, 20.0), st.floats(0.5, 1.0))
def test_window_delta_is_the_weighted_argmin(seed, d_v, d_k, c, rate, retention):
    rng = np.random.default_rng(seed)
    memory, keys, values = rng.normal(size=(d_v, d_k)), rng.normal(size=(c, d_k)), rng.normal(size=(c, d_v))
    weights = rng.uniform(size=c)
    normal = (keys.T * weights) @ keys + np.eye(d_k) / rate
    oracle = np.linalg.solve(normal, ((values.T * weights) @ keys + retention * memory / rate).T).T
    ours = am.window_delta(memory, keys, values, weights, rate, retention)
    np.testing.assert_allclose(ours, oracle, rtol=1e-7, atol=1e-7)


def test_window_of_one_is_proximal_delta_and_weight_zero_leaves_a_pair_out():
    memory, key, value = gaussian(0, 3, 5), gaussian(1, 5), gaussian(2, 3)
    other_key, other_value = gaussian(3, 5), gaussian(4, 3)
    one = am.window_delta(memory, key[None], value[None], np.ones(1), 0.7)
    np.testing.assert_allclose(one, am.proximal_delta(memory, key, value, 0.7))
    two = am.window_delta(memory, np.stack([other_key, key]), np.stack([other_value, value]), np.array([0.0, 1.0]), 0.7)
    np.testing.assert_allclose(two, one)


@given(seeds, st.floats(-3, 3), st.floats(0.05, 1.0), st.floats(-4, 4))
def test_homogeneous_part_has_norm_at_most_retention(seed, log_scale, retention, log_rate):
    """Spectral norm of alpha I - eta k k^T by numpy's SVD, for keys and rates over many orders of magnitude."""
    key = gaussian(seed, 8, scale=10.0**log_scale)
    rate = am.clamp_rate(np.float64(10.0**log_rate), key, retention)
    # write with value 0 on the identity: what is left is exactly the homogeneous part
    homogeneous = am.delta(np.eye(8), key, np.zeros(8), rate, retention)
    assert np.linalg.norm(homogeneous, 2) <= retention * (1 + 1e-9)


def test_clamp_is_needed():
    """Without it the same write amplifies: the property above is able to fail."""
    key = np.full(8, 2.0)
    assert np.linalg.norm(am.delta(np.eye(8), key, np.zeros(8), 0.5, 0.9), 2) > 1.0


@settings(deadline=None)
@given(seeds, st.floats(0.5, 0.999), st.floats(0.1, 20.0), st.floats(-2, 3), st.sampled_from([None, 0.5]))
def test_memory_stays_under_the_cap(seed, retention, cap, log_scale, limit):
    """Sixty writes of any size with huge rates: |M|_F never passes the cap, and M moves (the bound is not idleness)."""
    rng = np.random.default_rng(seed)
    memory = np.zeros((4, 6))
    for _ in range(60):
        key, value = rng.normal(scale=10.0**log_scale, size=6), rng.normal(scale=10.0**log_scale, size=4)
        memory = am.bounded_delta(memory, key, value, rng.exponential(10.0), retention, cap, limit)
        assert np.linalg.norm(memory) <= cap * (1 + 1e-9)
    assert np.linalg.norm(memory) > 0


def test_unbounded_rule_from_the_paper_does_explode():
    """The printed form (no proximal step) on N(0, I) keys grows without limit; the proximal one does not."""
    rng = np.random.default_rng(0)
    printed = proximal = np.eye(16)
    for _ in range(20):
        key, value = rng.normal(size=16), np.zeros(16)
        printed, proximal = am.delta(printed, key, value, 1.0), am.proximal_delta(proximal, key, value, 1.0)
    assert np.linalg.norm(printed) > 1e6 > np.linalg.norm(proximal)


@given(st.floats(-6, 6), st.floats(-6, 6))
def test_soft_cap_bounds_and_is_the_identity_for_small_rates(log_rate, log_cap):
    rate, cap = np.float64(10.0**log_rate), np.float64(10.0**log_cap)
    capped = am.soft_cap(rate, cap)
    assert 0 <= capped <= min(rate, cap) * (1 + 1e-9) + 1e-12
    if rate < 1e-3 * cap:
        assert capped == pytest.approx(rate, rel=1e-3)


@given(seeds, st.floats(0.1, 5.0))
def test_huber_limits_length_and_keeps_direction(seed, limit):
    error = gaussian(seed, 5, scale=2.0)
    clipped = am.huber(error, limit)
    assert np.linalg.norm(clipped) <= limit * (1 + 1e-9)
    assert clipped @ error == pytest.approx(np.linalg.norm(clipped) * np.linalg.norm(error))
    if np.linalg.norm(error) <= limit * (1 - 1e-9):
        np.testing.assert_allclose(clipped, error)


def test_huber_bounds_the_influence_of_an_outlier():
    memory, key = np.zeros((1, 4)), am.unit(gaussian(5, 4))
    calm = am.delta(memory, key, np.array([1e6]), 1.0, huber_limit=1.0)
    wild = am.delta(memory, key, np.array([1e6]), 1.0)
    assert np.linalg.norm(calm) <= 1.0 + 1e-9
    assert np.linalg.norm(wild) > 1e5


def test_momentum_matches_the_written_out_recursion():
    """Titans Eq. 13-14 by autograd: S from the gradient of 1/2 |Mk - v|^2."""
    rng = np.random.default_rng(1)
    state = am.MomentumState(rng.normal(size=(3, 4)), rng.normal(size=(3, 4)))
    key, value = rng.normal(size=4), rng.normal(size=3)
    memory = torch.tensor(state.memory, requires_grad=True)
    loss = 0.5 * ((memory @ torch.tensor(key) - torch.tensor(value)) ** 2).sum()
    (gradient,) = torch.autograd.grad(loss, memory)
    momentum = 0.9 * state.momentum - 0.1 * gradient.numpy()
    new = am.momentum_delta(state, key, value, rate=0.1, decay=0.9, forget=0.05)
    np.testing.assert_allclose(new.momentum, momentum)
    np.testing.assert_allclose(new.memory, 0.95 * state.memory + momentum)


def recall_error(rule, pairs, dim, correlation, seed, passes):
    """Relative recall error after `passes` over the pairs, best of a few scales for the scale-free Hebbian sum."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=dim)
    keys = np.sqrt(1 - correlation) * rng.normal(size=(pairs, dim)) + np.sqrt(correlation) * shared
    keys, values = am.unit(keys), rng.normal(size=(pairs, dim))
    memory = np.zeros((dim, dim))
    for _ in range(passes):
        for key, value in zip(keys, values, strict=True):
            memory = rule(memory, key, value)
    read = np.stack([am.recall(memory, key) for key in keys])
    best = (read * values).sum() / (read * read).sum()  # the best global scale, in favour of both
    return np.sum((best * read - values) ** 2) / np.sum(values**2)


def test_delta_recalls_twelve_pairs_better_than_hebbian():
    hebb = np.mean([recall_error(am.hebbian, 12, 32, 0.0, s, 1) for s in range(10)])
    delta = np.mean(
        [recall_error(lambda m, k, v: am.proximal_delta(m, k, v, 50.0), 12, 32, 0.0, s, 3) for s in range(10)]
    )
    assert delta <= 0.10
    assert 0.2 < hebb < 0.4
    correlated = [
        np.mean([recall_error(rule, 12, 32, 0.5, s, n) for s in range(10)])
        for rule, n in ((am.hebbian, 1), (lambda m, k, v: am.proximal_delta(m, k, v, 50.0), 3))
    ]
    assert correlated[1] < 0.5 * correlated[0]


@given(seeds, st.integers(1, 3))
def test_numpy_and_torch_agree_and_batches_equal_loops(seed, batch):
    rng = np.random.default_rng(seed)
    memory, key, value = rng.normal(size=(batch, 3, 5)), rng.normal(size=(batch, 5)), rng.normal(size=(batch, 3))
    rate, keys = rng.uniform(0.1, 2.0, size=batch), rng.normal(size=(batch, 4, 5))
    values, weights = rng.normal(size=(batch, 4, 3)), rng.uniform(size=(batch, 4))
    tensor = {n: torch.tensor(a) for n, a in locals().items() if isinstance(a, np.ndarray)}
    bounded = am.bounded_delta(memory, key, value, rate, 0.9, 2.0, 1.0)
    window = am.window_delta(memory, keys, values, weights, 0.5, 0.9)
    ours = am.bounded_delta(tensor["memory"], tensor["key"], tensor["value"], tensor["rate"], 0.9, 2.0, 1.0)
    np.testing.assert_allclose(ours.numpy(), bounded, atol=1e-12)
    ours = am.window_delta(tensor["memory"], tensor["keys"], tensor["values"], tensor["weights"], 0.5, 0.9)
    np.testing.assert_allclose(ours.numpy(), window, atol=1e-9)
    for i in range(batch):
        alone = am.bounded_delta(memory[i], key[i], value[i], rate[i], 0.9, 2.0, 1.0)
        np.testing.assert_allclose(alone, bounded[i], atol=1e-12)
    np.testing.assert_array_equal(am.push_window(tensor["keys"], tensor["key"]).numpy(), am.push_window(keys, key))


def test_gradients_flow_and_are_finite_at_the_corners():
    """Zero memory, zero error, zero key: square roots there would give NaN gradients."""
    memory = torch.zeros(3, 5, requires_grad=True)
    key = torch.zeros(5, requires_grad=True)
    value = torch.zeros(3, requires_grad=True)
    rate = torch.tensor(0.5, requires_grad=True)
    new = am.project(am.bounded_delta(memory, am.unit(key), value, rate, 0.9, 1.0, 0.5), 1.0)
    (new.sum() + (new**2).sum()).backward()
    for tensor in (memory, key, value, rate):
        assert tensor.grad is not None
        assert torch.isfinite(tensor.grad).all()
    memory, value = torch.randn(3, 5), torch.randn(3)
    check = torch.autograd.gradcheck(
        lambda k, r: am.bounded_delta(memory.double(), k, value.double(), r, 0.9, 2.0, 1.0),
        (
            torch.randn(5, dtype=torch.double, requires_grad=True),
            torch.tensor(0.4, dtype=torch.double, requires_grad=True),
        ),
    )
    assert check


def test_project_and_push_window():
    memory = gaussian(3, 2, 4, 4, scale=10)
    small = am.project(memory, 1.0)
    np.testing.assert_allclose(am.frobenius_norm(small), 1.0)
    np.testing.assert_array_equal(am.project(small * 0.5, 1.0), small * 0.5)
    window = am.push_window(np.arange(6.0).reshape(3, 2), np.array([9.0, 9.0]))
    np.testing.assert_array_equal(window, [[2, 3], [4, 5], [9, 9]])
