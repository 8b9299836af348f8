"""Small versions of the benchmarks: what they claim must hold here too, each beside its control."""

import numpy as np
import pytest
import torch

from benchmarks import memory_delay, memory_recall, memory_regimes, memory_retrieval

torch.set_num_threads(1)


@pytest.mark.parametrize(("ratio", "correlation"), [(0.5, 0.0), (0.25, 0.0), (0.5, 0.9), (0.25, 0.9)])
def test_recall_at_eight_and_bytes_hold_on_one_build(ratio, correlation):
    _, recall, share = memory_retrieval.measure(1500, ratio, 60, correlation)
    assert recall >= 0.95
    assert share <= 1.2


def test_nested_memory_bridges_more_than_a_flat_store_of_equal_bytes():
    """MemoryChain at 64 KB: beyond the flat capacity the learned gate still holds the cue, the others do not."""
    size, delay = 65536, 400
    flat = memory_delay.Flat(size)
    assert flat.capacity < delay
    outcome = {}
    for gate in ("learned", "open"):
        nested = memory_delay.Nested(size, 0, gate)
        assert nested.memory.nbytes <= size
        nested.train(memory_delay.Task("MemoryChain", [0, 1]), episodes=400)
        outcome[gate] = memory_delay.success(nested, memory_delay.Task("MemoryChain", [0, 2]), delay, 10)
    assert outcome["learned"] >= 0.9
    assert outcome["open"] < 0.7
    assert memory_delay.success(flat, memory_delay.Task("MemoryChain", [0, 2]), delay, 10) < 0.7


def test_learned_gate_lowers_the_error_and_the_controls_do_not():
    errors = {gate: memory_recall.gate_run(1, gate, 5000)[0] for gate in ("learned", "open", "shuffled", "random")}
    assert errors["learned"] < 0.6 * errors["open"]
    assert errors["shuffled"] == errors["open"]  # the gate stays open: the very same memory
    assert errors["random"] > 0.8 * errors["open"]


def test_bank_forgets_less_than_one_rate_and_continuum_alone_does_not():
    rows = {
        name: memory_regimes.run(memory_regimes.ARMS[name], 100, 1e-2, rounds=2, span=150)
        for name in ("single rate", "continuum 1/8/64", "bank")
    }
    for told in (1, 8):
        column = f"forgotten, {told}"
        assert rows["bank"][column] < 0.7 * rows["single rate"][column]
    assert rows["bank"]["online"] < 1.05 * rows["single rate"]["online"]
    assert rows["continuum 1/8/64"]["forgotten"] > 0.5 * rows["single rate"]["forgotten"]


def test_delta_rule_against_hebbian_at_twelve_pairs():
    rng = np.random.default_rng(0)
    keys, values = memory_recall.keys_of(rng, 12, 32, 0.0, centred=False), rng.normal(size=(12, 32))
    errors = [
        memory_recall.relative_error(keys @ memory_recall.RULES[name](keys, values).T, values)
        for name in ("Hebbian", "delta, 3 passes")
    ]
    assert errors[1] <= 0.10 < errors[0]
