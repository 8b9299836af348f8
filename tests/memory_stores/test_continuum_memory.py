"""Continuum memory: frozen inside a chunk, equal to an oracle of mean gradients and torch's Adam, complete state."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from memory import ContinuumMemory

torch.set_num_threads(1)  # tiny matrices: two threads only wait for each other


def stream(count, seed=0, dim=6):
    generator = torch.Generator().manual_seed(seed)
    return [(torch.randn(4, dim, generator=generator), torch.randn(4, dim, generator=generator)) for _ in range(count)]


def observe_all(memory, batches):
    return [memory.observe(((memory(x) - y) ** 2).mean()) for x, y in batches]


@settings(deadline=None, max_examples=20)
@given(
    st.lists(st.integers(1, 7), min_size=1, max_size=3), st.integers(1, 20), st.sampled_from(["chain", "independent"])
)
def test_levels_update_exactly_when_their_chunk_is_full(periods, count, mode):
    memory = ContinuumMemory(6, periods, mode=mode)
    before = [[p.detach().clone() for p in memory.level_parameters(level)] for level in range(len(periods))]
    for number, due in enumerate(observe_all(memory, stream(count)), start=1):
        assert due == [level for level, period in enumerate(periods) if number % period == 0]
    for level, period in enumerate(periods):
        same = all(torch.equal(a, b) for a, b in zip(before[level], memory.level_parameters(level), strict=True))
        assert same == (count < period)
        assert int(memory.counts[level]) == count % period


def test_a_level_equals_torch_adam_on_mean_gradients_at_frozen_weights():
    """Oracle: deepcopy, gradients of a whole chunk at its start, torch.optim.Adam. One level, so it is exactly that."""
    memory = ContinuumMemory(6, [5], clip=1e9, rate=3e-3)
    oracle = ContinuumMemory(6, [5])
    optimizer = torch.optim.Adam(oracle.blocks.parameters(), lr=3e-3)
    batches = stream(20)
    observe_all(memory, batches)
    for start in range(0, 20, 5):
        optimizer.zero_grad()
        torch.stack([((oracle(x) - y) ** 2).mean() for x, y in batches[start : start + 5]]).mean().backward()
        optimizer.step()
    for ours, theirs in zip(memory.blocks.parameters(), oracle.blocks.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_flush_updates_partial_chunks_once():
    memory = ContinuumMemory(6, (1, 4, 100))
    observe_all(memory, stream(6))
    before = [p.detach().clone() for p in memory.level_parameters(2)]
    assert memory.flush() == [1, 2]
    assert not all(torch.equal(a, b) for a, b in zip(before, memory.level_parameters(2), strict=True))
    assert memory.flush() == []
    assert memory.counts.tolist() == [0, 0, 0]


@pytest.mark.parametrize("mode", ["chain", "independent"])
def test_state_in_the_middle_of_a_chunk_round_trips(tmp_path, mode):
    memory = ContinuumMemory(6, (1, 3, 7), mode=mode)
    observe_all(memory, stream(10))
    torch.save(memory.state_dict(), tmp_path / "state.pt")
    twin = ContinuumMemory(6, (1, 3, 7), mode=mode, seed=5)
    twin.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for either in (memory, twin):
        observe_all(either, stream(25, seed=1))
    for name, tensor in memory.state_dict().items():
        assert torch.equal(tensor, twin.state_dict()[name]), name


def test_new_blocks_are_the_identity_and_learning_lowers_the_loss():
    x, y = stream(1)[0]
    for mode in ("chain", "independent"):
        memory = ContinuumMemory(6, (1, 8, 64), mode=mode, rate=1e-2)
        torch.testing.assert_close(memory(x), x)
        losses = []
        for _ in range(300):
            loss = ((memory(x) - y) ** 2).mean()
            losses.append(float(loss.detach()))
            memory.observe(loss)
        assert losses[-1] < 0.1 * losses[0]


def test_observing_leaves_outer_gradients_and_inputs_alone():
    memory, outer = ContinuumMemory(6, (2,)), nn.Linear(6, 6)
    x, y = stream(1)[0]
    loss = ((memory(outer(x)) - y) ** 2).mean()
    memory.observe(loss)
    assert outer.weight.grad is None
    assert all(p.grad is None for p in memory.parameters())


def test_bad_input_is_refused():
    memory = ContinuumMemory(6, (2,))
    before = memory.counts.clone()
    with pytest.raises(ValueError, match="finite"):
        memory.observe((memory(torch.full((1, 6), torch.nan)) ** 2).mean())
    assert torch.equal(memory.counts, before)
    for arguments in ({"periods": ()}, {"periods": (0,)}, {"mode": "other"}, {"rate": (1.0, 2.0), "periods": (1,)}):
        with pytest.raises(ValueError, match=r"periods|rates"):
            ContinuumMemory(6, **arguments)


def test_a_huge_gradient_moves_a_level_by_its_rate_at_most():
    memory = ContinuumMemory(6, (1,), rate=1e-3)
    before = torch.cat([p.detach().reshape(-1) for p in memory.blocks.parameters()])
    memory.observe(1e12 * ((memory(stream(1)[0][0]) - 5.0) ** 2).mean())
    after = torch.cat([p.detach().reshape(-1) for p in memory.blocks.parameters()])
    assert np.isfinite(after.numpy()).all()
    assert (after - before).abs().max() <= 1.01e-3
