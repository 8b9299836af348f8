"""The mixture of voices against a plain numpy rewrite; leave-one-out and gradient against their definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory import mixture as mx


def scene(seed, size=2, entries=4):
    rng = np.random.default_rng(seed)
    trace = rng.normal(size=(3, entries, mx.VALUES + size))
    trace[:, :, mx.SIMILARITY] = rng.uniform(0, 1, size=(3, entries))
    trace[:, :, mx.VARIANCE] = rng.uniform(0, 1, size=(3, entries)) * (np.arange(3)[:, None] == 2)
    trace[:, :, mx.SEQUENCE] = np.arange(3 * entries).reshape(3, entries)
    trace[1, 0] = trace[0, 1]  # one experience is in both stores
    trace[2, -1, mx.SIMILARITY] = -np.inf  # one slot is missing
    parameters = np.array(mx.DEFAULTS) + rng.normal(scale=0.3, size=mx.PARAMETERS)
    present = np.array([True, True, True, bool(rng.integers(2)), True])
    return trace, present, rng.normal(size=(5, size)), 1.7, rng.normal(size=5), parameters, rng.normal(size=size)


def oracle(trace, present, voices, prior_variance, skill, parameters):
    """Written from the module's text with numpy only."""
    means, spreads, logits = voices.copy(), np.full(5, prior_variance), parameters[:5] + skill
    for level in range(3):
        entries = trace[level][trace[level, :, mx.SIMILARITY] > -np.inf]
        if not len(entries):
            logits[level] = -np.inf
            continue
        inner = np.exp(parameters[mx.LOG_BETA]) * entries[:, mx.SIMILARITY]
        inner += parameters[mx.BY_USEFULNESS] * entries[:, mx.USEFULNESS]
        inner -= parameters[mx.BY_AGE] * entries[:, mx.AGE]
        weights = np.exp(inner - inner.max()) / np.exp(inner - inner.max()).sum()
        means[level] = weights @ entries[:, mx.VALUES :]
        off = entries[:, mx.VALUES :] - means[level]
        spreads[level] = weights @ ((off**2).mean(axis=1) + entries[:, mx.VARIANCE])
        logits[level] += parameters[mx.SLOPE + level] * entries[:, mx.SIMILARITY].max()
    logits[~present] = -np.inf
    shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    estimate = shares @ means
    return estimate, shares @ (spreads + ((means - estimate) ** 2).mean(axis=1)), shares


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_mixture_equals_its_definition(seed, size):
    trace, present, voices, prior_variance, skill, parameters, _ = scene(seed, size)
    estimate, variance, shares, _ = mx.combine(trace, present, voices, prior_variance, skill, parameters)
    expected = oracle(trace, present, voices, prior_variance, skill, parameters)
    np.testing.assert_allclose(estimate, expected[0], rtol=1e-9, atol=1e-12)
    assert variance == pytest.approx(expected[1], rel=1e-9)
    np.testing.assert_allclose(shares, expected[2], atol=1e-12)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_leave_one_out_removes_an_experience_from_both_stores(seed):
    trace, present, voices, prior_variance, skill, parameters, outcome = scene(seed)

    def loss(entries):
        estimate = oracle(entries, present, voices, prior_variance, skill, parameters)[0]
        return mx.huber_loss(estimate, outcome, 0.8)

    gains = mx.leave_one_out(trace, present, voices, prior_variance, skill, parameters, outcome, 0.8)
    for level in range(2):
        for entry in range(trace.shape[1]):
            without = trace.copy()
            twins = without[:2, :, mx.SEQUENCE] == trace[level, entry, mx.SEQUENCE]
            without[:2, :, mx.SIMILARITY][twins] = -np.inf
            assert gains[level, entry] == pytest.approx(loss(without) - loss(trace), abs=1e-9)
    assert gains[0, 1] == gains[1, 0]
    assert (gains[2] == 0).all()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_gradient_descends(seed):
    """A small step against the gradient lowers the loss by about its squared length."""
    trace, present, voices, prior_variance, skill, parameters, outcome = scene(seed)
    gradient = mx.loss_gradient(trace, present, voices, prior_variance, skill, parameters, outcome, 0.8)

    def loss(p):
        return mx.huber_loss(oracle(trace, present, voices, prior_variance, skill, p)[0], outcome, 0.8)

    step = 1e-4 / max(np.linalg.norm(gradient), 1e-6)
    drop = loss(parameters) - loss(parameters - step * gradient)
    assert drop == pytest.approx(step * (gradient @ gradient), rel=0.05, abs=1e-9)


def test_nothing_known_is_infinitely_uncertain():
    trace, _, voices, prior_variance, skill, parameters, _ = scene(0)
    estimate, variance, shares, _ = mx.combine(trace, np.zeros(5, bool), voices, prior_variance, skill, parameters)
    assert np.isinf(variance)
    assert not estimate.any()
    assert not shares.any()
