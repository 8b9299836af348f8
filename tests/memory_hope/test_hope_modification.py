"""Fast weights, journal, rollback, budget, and what may never move: the slow weights and the memory's size."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from memory import fast_weights, layout, trigger
from memory.hope import HOPE
from memory.markets import regime_market


def _until_modified(hope: HOPE, x: np.ndarray) -> int:
    for t, row in enumerate(x):
        if hope.step(row).triggered:
            return t
    raise AssertionError("no modification in this stream")


def _forced(hope: HOPE, row: np.ndarray, force: int) -> None:
    if len(hope._x) == 0:
        hope.reset(row.shape[0] if row.ndim == 2 else 1)
        hope._single = row.ndim == 1
    hope._force[:] = force
    hope.step(row)


def _fast(hope: HOPE) -> np.ndarray:
    at = hope._aoff
    return hope._aux[0, at[layout.S_FAST] : at[layout.S_STATS]].copy()


def test_rollback_of_a_modification_gives_the_frozen_net_back() -> None:
    x = regime_market(np.random.default_rng(1), 1500).features
    hope, still = HOPE(weights=None, trigger_threshold=0.02), HOPE(weights=None, self_modify=False)
    t = _until_modified(hope, x)
    for row in x[: t + 1]:
        still.step(row)
    for row in x[t + 1 : t + 20]:
        assert hope.step(row).prediction.tobytes() != still.step(row).prediction.tobytes()
    slow = hope.slow_hash()
    assert hope.rollback()
    assert not _fast(hope).any()
    for row in x[t + 20 : t + 60]:
        assert hope.step(row).prediction.tobytes() == still.step(row).prediction.tobytes()
    assert hope.slow_hash() == slow == still.slow_hash()
    assert not HOPE(weights=None).rollback()


def test_rollback_is_bit_exact_through_several_modifications() -> None:
    """Openings on top of each other are undone in reverse order, each to the bits that were in force before."""
    x = regime_market(np.random.default_rng(2), 900).features
    hope = HOPE(weights=None, trigger_threshold=2.0)
    before = []
    for t, row in enumerate(x):
        opening = t in (100, 300, 500)
        if opening:
            probe = HOPE(weights=None, trigger_threshold=2.0)
            probe.load_state_dict({k: v.clone() for k, v in hope.state_dict().items()})
            probe._force[:] = -1
            probe.step(row)  # the same bar without opening: what is in force, after this bar's write
            before.append(_fast(probe))
        _forced(hope, row, 1 if opening else -1)
    assert hope.clock()["episodes"] == 3
    for expected in reversed(before):
        assert hope.rollback()
        assert _fast(hope).tobytes() == expected.tobytes()
    assert not hope.rollback()


def test_budget_and_journal_bounds() -> None:
    x = regime_market(np.random.default_rng(3), 6000).features
    hope = HOPE(weights=None, trigger_threshold=0.0)
    size, events = hope.nbytes, []
    hope.step(x[0])
    size = hope.nbytes
    for t, row in enumerate(x[1:], 1):
        if hope.step(row).triggered:
            events.append(t)
    assert len(events) >= 3
    assert min(np.diff(events)) >= trigger.BUDGET
    assert events[0] >= trigger.WARM
    assert hope.nbytes == size
    assert hope.clock()["journal"] <= layout.JOURNAL


def test_a_full_journal_loses_its_oldest_entry_only() -> None:
    hope = HOPE(weights=None, trigger_threshold=2.0)
    x = regime_market(np.random.default_rng(4), 500).features
    for t, row in enumerate(x):
        _forced(hope, row, 1 if t >= 100 and t % 10 == 0 else -1)
    assert hope.clock()["episodes"] == 40
    undone = 0
    while hope.rollback():
        undone += 1
    assert undone == layout.JOURNAL


def test_rollback_of_one_stream_leaves_the_others() -> None:
    x = np.stack([regime_market(np.random.default_rng(s), 300).features for s in (5, 6)], 1)
    hope = HOPE(weights=None, trigger_threshold=2.0)
    for t, row in enumerate(x):
        _forced(hope, row, 1 if t == 200 else -1)
    at = hope._aoff
    other = hope._aux[1].copy()
    assert hope.rollback(stream=0)
    assert hope._aux[1].tobytes() == other.tobytes()
    assert hope._aux[0, at[0] + layout.ACTIVE] == 0.0
    assert hope._aux[1, at[0] + layout.ACTIVE] == 1.0


@pytest.mark.parametrize("weights", ["auto", None])
def test_one_write_for_shadow_and_force_gives_the_bits_of_two(weights: str | None) -> None:
    """While both are the same weights with the same past they are written once; written apart they stay equal."""
    x = regime_market(np.random.default_rng(11), 2500).features
    one, two = (HOPE(weights=weights, trigger_threshold=0.3) for _ in range(2))
    flag = one._aoff[layout.S_CLOCK] + layout.IN_STEP
    together, apart = 0, 0
    for row in x:
        first = one.step(row)
        if len(two._aux):
            two._aux[:, flag] = 0.0
        second = two.step(row)
        assert first.prediction.tobytes() == second.prediction.tobytes()
        assert first.probability == second.probability
        together += one._aux[0, flag] != 0.0
        apart += bool(first.modified) and one._aux[0, flag] == 0.0
    assert together > 100
    two._aux[:, flag] = one._aux[:, flag]
    assert one._aux.tobytes() == two._aux.tobytes()
    assert weights is None or apart > 0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 30.0))
def test_the_cap_bounds_the_change_and_leaves_smaller_ones_alone(seed: int, limit: float) -> None:
    rng = np.random.default_rng(seed)
    targets, rank, width = int(rng.integers(1, 4)), int(rng.integers(1, 9)), 12
    key, up = rng.normal(size=(width, rank)), rng.normal(size=(width, targets))
    b = rng.normal(size=(targets, rank)) * 10 ** rng.uniform(-2, 1)

    def norm(matrix: np.ndarray) -> float:
        return float(np.linalg.norm(up @ matrix @ key.T) / np.sqrt(width))

    capped = b.ravel().copy()
    fast_weights.cap(capped, (key.T @ key / width).ravel(), (up.T @ up).ravel(), limit)
    assert norm(capped.reshape(targets, rank)) <= limit * (1 + 1e-9)
    if norm(b) <= limit * (1 - 1e-9):
        assert capped.tobytes() == b.tobytes()
    else:
        assert np.allclose(capped.reshape(targets, rank), b * limit / norm(b))


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 9), st.integers(1, 3), st.integers(0, 10_000), st.booleans())
def test_compiled_write_equals_torch_write_and_shrinks(rank: int, targets: int, seed: int, delta: bool) -> None:
    rng = np.random.default_rng(seed)
    b, k, v = rng.normal(size=targets * rank), rng.normal(size=rank) * 3, rng.normal(size=targets) * 4
    prior = rng.uniform(0.01, 1.0, rank)
    p = np.diag(prior).ravel().copy()
    alpha, noise = rng.uniform(0.9, 1.0), rng.uniform(0.2, 3.0)
    tensors = [
        torch.from_numpy(a)
        for a in (b.reshape(1, targets, rank).copy(), p.reshape(1, rank, rank).copy(), k[None], v[None])
    ]
    expected, expected_p = fast_weights.write_torch(
        *tensors,
        torch.tensor([alpha], dtype=torch.float64),
        torch.tensor([noise], dtype=torch.float64),
        torch.from_numpy(prior),
        delta,
    )
    old = np.abs(v - alpha * b.reshape(targets, rank) @ k)
    fast_weights.write(b, p, k, v, alpha, noise, prior, delta, np.empty(rank))
    assert np.allclose(b, expected.numpy().ravel(), atol=1e-12)
    assert np.allclose(p, expected_p.numpy().ravel(), atol=1e-12)
    assert (np.abs(v - b.reshape(targets, rank) @ k) <= old + 1e-12).all()  # no write overshoots its label
    assert np.linalg.eigvalsh(p.reshape(rank, rank)).min() > -1e-12
    assert np.linalg.eigvalsh(np.diag(prior) - p.reshape(rank, rank)).min() > -1e-12  # P never exceeds its prior


def test_delta_mode_is_the_proximal_delta_rule() -> None:
    """With P₀ = ηI and noise 1 the write is M ← M - η/(1+η‖k‖²)(Mk - v)kᵀ (§1.5), error unclipped."""
    rng = np.random.default_rng(7)
    m, k, v, eta = rng.normal(size=(2, 4)) * 0.1, rng.normal(size=4), rng.normal(size=2) * 0.1, 0.3
    b = m.ravel().copy()
    fast_weights.write(b, np.eye(4).ravel() * eta, k, v, 1.0, 1.0, np.full(4, eta), True, np.empty(4))
    expected = m - eta / (1 + eta * k @ k) * np.outer(m @ k - v, k)
    assert np.allclose(b.reshape(2, 4), expected, atol=1e-14)


def test_kalman_mode_solves_ridge_regression() -> None:
    """Without forgetting or clipping the writes are exact Bayesian regression with prior P₀."""
    rng = np.random.default_rng(8)
    keys, prior, noise = rng.normal(size=(60, 5)), rng.uniform(0.1, 1.0, 5), 0.7
    labels = keys @ rng.normal(size=5) * 0.3 + 0.1 * rng.normal(size=60)
    b, p = np.zeros(5), np.diag(prior).ravel().copy()
    for k, v in zip(keys, labels, strict=True):
        fast_weights.write(b, p, k, np.array([v]), 1.0, noise, prior, False, np.empty(5))
    expected = np.linalg.solve(keys.T @ keys / noise + np.diag(1 / prior), keys.T @ labels / noise)
    assert np.abs(labels).max() < fast_weights.CLIP
    assert np.allclose(b, expected, atol=1e-10)


def test_cap_holds_and_core_change_goes_through_functional_call() -> None:
    rng = torch.Generator().manual_seed(0)
    d, r, o = 12, 4, 2
    core, key, head = (torch.randn(*s, generator=rng, dtype=torch.float64) for s in ((d, d), (d, r), (d, o)))
    up = fast_weights.lift(head)
    assert torch.allclose(head.mT @ up, torch.eye(o, dtype=torch.float64), atol=1e-5)
    b = torch.randn(3, o, r, generator=rng, dtype=torch.float64) * 50
    gram_key, gram_lift, limit = key.mT @ key / d, up.mT @ up, fast_weights.CAP * core.norm()
    capped = fast_weights.cap_torch(b, gram_key, gram_lift, limit)
    one = torch.ones(3, dtype=torch.float64)
    weights = fast_weights.effective_weight(core, key, capped, up, one)
    change = (weights - core).flatten(1).norm(dim=1)
    assert (change <= fast_weights.CAP * core.norm() + 1e-9).all()
    assert (torch.linalg.matrix_norm(weights - core, 2) <= change + 1e-9).all()
    flat = b[0].reshape(-1).numpy().copy()
    fast_weights.cap(flat, gram_key.numpy().ravel(), gram_lift.numpy().ravel(), float(limit))
    assert np.allclose(flat, capped[0].numpy().ravel(), atol=1e-12)
    n = torch.randn(3, d, generator=rng, dtype=torch.float64)
    direct = n @ core + torch.einsum("sor,sr,do->sd", capped, n @ key / d**0.5, up)
    assert torch.allclose(fast_weights.functional_core(n, weights), direct, atol=1e-10)


def _hostile(rng: np.random.Generator, bars: int) -> np.ndarray:
    """Segments of ±1e6, constants, tiny noise, alternation and ordinary returns, changing every 50 bars."""
    x = np.empty((bars, 24))
    for t in range(0, bars, 50):
        kind, rows = int(rng.integers(6)), min(50, bars - t)
        noise = rng.normal(size=(rows, 24))
        flip = (-1.0) ** np.arange(rows)[:, None] * np.ones(24)
        x[t : t + rows] = [
            noise * 1e9,
            np.full((rows, 24), 3.0),
            noise * 1e-12,
            flip * 1e6,
            noise * 0.01,
            np.zeros((rows, 24)),
        ][kind]
    return x


def soak(bars: int, seed: int, backbone: str) -> None:
    """Adversarial steps, every output finite, memory of one size, cap respected."""
    rng = np.random.default_rng(seed)
    hope = HOPE(weights=None, trigger_threshold=0.1, backbone=backbone)
    hope.step(np.zeros(24))
    size, done = hope.nbytes, 0
    while done < bars:
        for row in _hostile(rng, min(10_000, bars - done)):
            out = hope.step(row)
            assert np.isfinite(out.prediction).all()
            assert 0.0 <= out.probability <= 1.0
        done += min(10_000, bars - done)
        assert hope.nbytes == size
        assert np.isfinite(hope._aux[:, : hope._aoff[layout.S_PH_SCALE]]).all()
        assert np.isfinite(hope._act).all()
        b = hope._aux[0, hope._aoff[layout.S_SHADOW] : hope._aoff[layout.S_SHADOW_P]]
        gram = hope._derived[1 : 1 + 64].reshape(8, 8)
        assert np.sqrt(hope._derived[0] * b @ gram @ b) <= hope._derived[1 + 64 + 8] * (1 + 1e-9)


@pytest.mark.parametrize("backbone", ["attention", "gru"])
def test_twenty_thousand_adversarial_steps(backbone: str) -> None:
    soak(20_000, 1, backbone)


@pytest.mark.nightly
@pytest.mark.parametrize("backbone", ["attention", "gru"])
def test_a_million_adversarial_steps(backbone: str) -> None:
    soak(1_000_000, 2, backbone)
