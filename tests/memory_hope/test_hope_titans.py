"""Self-modifying Titans: parallel chunks equal the recurrence, gradients equal autograd's, states stay bounded."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from memory.titans import NAMES, SelfModifyingTitans


def _inputs(streams: int, tokens: int, width: int, seed: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(streams, tokens, width, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 3), st.integers(1, 24), st.sampled_from([1, 3, 8, 16]), st.integers(0, 1000))
def test_chunked_equals_sequential(streams: int, tokens: int, chunk: int, seed: int) -> None:
    titans = SelfModifyingTitans(16, chunk=chunk, seed=seed)
    x = _inputs(streams, tokens, 16, seed)
    with torch.no_grad():
        out, state = titans(x)
        expected, expected_state = titans.sequential(x)
    assert (out - expected).abs().max() < 1e-5
    for name in NAMES:
        for mine, theirs in zip(state[name], expected_state[name], strict=True):
            assert (mine - theirs).abs().max() < 1e-5


def test_the_writes_matter_and_are_causal() -> None:
    titans = SelfModifyingTitans(16, chunk=4, seed=1)
    x = _inputs(1, 32, 16, 1)
    changed = x.clone()
    changed[:, 20:] += 1.0
    with torch.no_grad():
        out, other, still = titans(x)[0], titans(changed)[0], titans.frozen(x)
    assert torch.equal(out[:, :20], other[:, :20])
    assert (out[:, 20:] - other[:, 20:]).abs().max() > 1e-2
    assert (out - still).abs().max() > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_gradient_factors_equal_autograd(name: str) -> None:
    titans = SelfModifyingTitans(8, chunk=1, seed=2).double()
    k, v = _inputs(1, 1, 8, 3, torch.float64), _inputs(1, 1, 8, 4, torch.float64)
    state = titans.initial_state(1)
    with torch.no_grad():
        reads = titans._gradient(name, k, v, state)
    target = titans._read(name, v, state).detach()
    loss = 0.5 * ((titans._read(name, k, state) - target) ** 2).sum()
    g1, g2 = torch.autograd.grad(loss, [titans.w1[name], titans.w2[name]])
    assert torch.allclose(reads.r[0].mT @ reads.h[0], g1, atol=1e-12)
    assert torch.allclose(reads.u[0].mT @ k[0], g2, atol=1e-12)


def test_one_token_is_the_papers_equation() -> None:
    """Eq. 90-92 written out for the main memory of one token, independently of the module's recurrences."""
    titans = SelfModifyingTitans(8, chunk=1, seed=5).double()
    x = _inputs(1, 1, 8, 6, torch.float64)
    with torch.no_grad():
        state = titans.initial_state(1)
        k = titans._read("key", x, state)
        k = k / k.norm(dim=-1, keepdim=True)
        v, eta, alpha = (titans._read(n, x, state) for n in ("value", "rate", "decay"))
        reads = titans._gradient("memory", k, v, state)
        rate = float(titans._bounded(eta[..., 0], alpha[..., 0], k, reads))
        a, key = float(alpha), k[0, 0]
        w2 = titans.w2["memory"]
        eye = torch.eye(8, dtype=torch.float64)
        homogeneous = a * eye - rate * torch.outer(key, key)
        expected = w2 @ homogeneous - rate * torch.outer(reads.u[0, 0], key) + (1 - a) * w2
        _, after = titans(x)
    assert torch.linalg.matrix_norm(homogeneous, 2) <= a + 1e-12
    assert torch.allclose(after["memory"][1][0] + w2, expected, atol=1e-12)


def test_states_stay_under_the_cap_on_hostile_inputs() -> None:
    titans = SelfModifyingTitans(16, chunk=8, norm_cap=2.0, seed=3)
    pieces = [_inputs(2, 400, 16, 7) * 1e3, torch.ones(2, 400, 16), torch.zeros(2, 200, 16)]
    with torch.no_grad():
        out, state = titans(torch.cat(pieces, 1))
    assert torch.isfinite(out).all()
    for name in NAMES:
        for layer in state[name]:
            assert layer.flatten(1).norm(dim=1).max() <= 2.0 + 1e-4


def test_refuses_what_it_cannot_take() -> None:
    titans = SelfModifyingTitans(8)
    with pytest.raises(ValueError, match="NaN"):
        titans(torch.full((3, 8), torch.nan))
    with pytest.raises(ValueError, match="tokens"):
        titans(torch.zeros(3, 7))
    with pytest.raises(ValueError, match="positive"):
        SelfModifyingTitans(8, norm_cap=0.0)


def test_learns_by_its_outer_loop() -> None:
    """Gradients reach every parameter, and a few outer steps lower a recall loss."""
    titans = SelfModifyingTitans(8, chunk=4, seed=4)
    x = _inputs(2, 12, 8, 8)
    optimizer = torch.optim.Adam(titans.parameters(), lr=1e-2)
    losses = []
    for _ in range(40):
        out, _ = titans(x)
        loss = ((out[:, 1:] - x[:, :-1]) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in titans.parameters())
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]
