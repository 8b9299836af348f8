"""The write gate: open until proven, selective when usefulness is predictable, open under shuffled labels."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from memory import NestedMemory
from memory.episodic import EpisodicMemory
from memory.experience_features import FEATURES, pack, unpack
from memory.gate import PROOF_TICKS, PerceptronNetwork, RandomNetwork, WriteGate
from memory.gate_lstm import LSTMNetwork
from memory.read import unit

torch.set_num_threads(1)  # tiny matrices: two threads only wait for each other


def teach(gate, ticks, seed=0, rows=64, useful=0.2):
    """Experiences whose usefulness shows in feature 9, noted, judged and trained tick by tick as the memory does."""
    rng = np.random.default_rng(seed)
    for _ in range(ticks):
        features = rng.uniform(-1, 1, size=(rows, FEATURES))
        marked = rng.random(rows) < useful
        features[:, 9] = np.where(marked, 2.0, 0.0)
        judged = [gate.judge(row) for row in features]
        seen = np.array([[*row, noted, chances[0]] for row, (chances, noted) in zip(features, judged, strict=True)])
        usefulness = 0.5 * marked + 0.02 * rng.normal(size=rows)
        gate.tick(seen, usefulness, np.ones(rows, bool))
    plain, marked = np.zeros(FEATURES), np.zeros(FEATURES)
    marked[9] = 2.0
    return gate.judge(plain)[0], gate.judge(marked)[0]


@pytest.mark.parametrize("network", [PerceptronNetwork, LSTMNetwork])
def test_a_predictable_usefulness_makes_the_gate_selective(network):
    gate = WriteGate(network(0), 0)
    assert (gate.judge(np.ones(FEATURES))[0] == 1.0).all()
    plain, marked = teach(gate, 60)
    assert gate.selective
    assert marked[0] == 1.0
    assert plain[0] < 0.5


def test_shuffled_usefulness_leaves_the_gate_open():
    gates = [WriteGate(PerceptronNetwork(seed), seed, shuffle=True) for seed in range(10)]
    for seed, gate in enumerate(gates):
        teach(gate, 40, seed)
    assert sum(gate.selective for gate in gates) <= 1


def test_few_ticks_prove_nothing():
    gate = WriteGate(PerceptronNetwork(0), 0)
    teach(gate, PROOF_TICKS - 1)
    assert not gate.selective


def test_where_everything_is_useful_nothing_is_refused():
    gate = WriteGate(PerceptronNetwork(0), 0, trusted=True)
    rng = np.random.default_rng(0)
    for _ in range(60):
        features = rng.uniform(-1, 1, size=(64, FEATURES))
        gate.judge(features[0])
        seen = np.concatenate([features, np.zeros((64, 1)), np.ones((64, 1))], axis=1)
        gate.tick(seen, 0.5 + 0.05 * rng.normal(size=64), np.ones(64, bool))
    chances = [gate.judge(rng.uniform(-1, 1, size=FEATURES))[0] for _ in range(20)]
    assert np.mean(chances) > 0.99


def test_perceptron_training_follows_the_written_out_loss():
    """The hand-written gradient against central differences of the loss it claims to descend."""
    rng = np.random.default_rng(0)
    network = PerceptronNetwork(0)
    network.weights[:] = rng.normal(scale=0.3, size=network.weights.size)
    features, usefulness = rng.normal(size=(20, FEATURES)), rng.normal(size=20)
    labels = rng.integers(0, 2, size=(20, 2)).astype(float)
    weights = rng.uniform(0.5, 1.5, size=20)

    def loss(flat):
        kept, network.weights = network.weights, flat
        outputs = network.score(features)
        network.weights = kept
        chances = 1 / (1 + np.exp(-outputs[:, :2]))
        cross = -(labels * np.log(chances) + (1 - labels) * np.log(1 - chances)).sum(axis=1)
        error = np.abs(outputs[:, 2] - usefulness)
        return (weights * (cross + np.where(error <= 1, 0.5 * error**2, error - 0.5))).mean()

    captured = []
    network._adam = captured.append
    network.train(features, usefulness, labels, weights)
    numeric = np.empty_like(network.weights)
    for index in range(numeric.size):
        step = np.zeros_like(numeric)
        step[index] = 1e-5
        numeric[index] = (loss(network.weights + step) - loss(network.weights - step)) / 2e-5
    np.testing.assert_allclose(captured[0], numeric, atol=1e-7)


def test_random_network_is_repeatable_and_unrelated():
    first, second = RandomNetwork(3), RandomNetwork(3)
    scores = [first.score(np.zeros(FEATURES)) for _ in range(200)]
    assert all(np.array_equal(s, second.score(np.ones(FEATURES))) for s in scores)
    assert abs(np.mean(scores)) < 0.5


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=13))
def test_packed_features_return_within_half_a_step(numbers):
    array = np.array(numbers)
    np.testing.assert_allclose(unpack(pack(array)), array, atol=0.5 * 3 / 127 + 1e-9)
    assert np.isnan(unpack(pack(np.array([np.nan])))).all()


def test_eviction_by_usefulness_then_age_and_the_young_are_spared():
    store = EpisodicMemory(4, 1, 8, 0.5, horizon=8)
    for row in range(8):
        store.put(store.next_row(0.0), unit(np.ones(4)), np.zeros(1), 0.0, 0.0, row)
    store.rows.usefulness[:] = [0.5, 0.1, 0.9, 0.1, 0.0, 0.3, -1.0, -2.0]
    store.rank(0.0)
    order = [store.next_row(0.0) for _ in range(8)]
    assert order == [4, 1, 3, 5, 0, 2, 7, 6]  # rows 6 and 7 are the youngest quarter: last, whatever their use
    store.rows.stamps[4, 1] = 5.0  # not known yet: everything known goes first
    store.rank(0.0)
    assert [store.next_row(0.0) for _ in range(8)][-1] == 4


def test_learning_credits_the_experience_that_answered():
    """One stored experience answers a question right, one misleads: leave-one-out says which."""
    rng = np.random.default_rng(0)
    memory = NestedMemory(dim=16, working=4, episodic=50)
    keys = rng.normal(size=(30, 16))
    for time in range(30):
        memory.write(keys[time], 2.0 if time == 3 else -2.0 if time == 4 else 0.1 * rng.normal(), time)
    between = keys[3] / np.linalg.norm(keys[3]) + 0.8 * keys[4] / np.linalg.norm(keys[4])
    memory.learn(memory.read(between), 2.0)
    usefulness = memory.episodic.rows.usefulness
    assert usefulness[3] > 0.0 > usefulness[4]
    assert usefulness[3] == usefulness.max()


def test_learning_to_read_beats_the_untrained_mixture():
    """Values change their meaning every 20 steps, so that only recent experiences help: learning must find that out."""
    late = {}
    for learns in (True, False):
        rng = np.random.default_rng(0)
        memory = NestedMemory(dim=8, working=10, episodic=400, slots=4)
        kinds, errors, level = rng.normal(size=(5, 8)), [], np.zeros(5)
        for time in range(2500):
            kind = int(rng.integers(5))
            if time % 20 == 0:
                level = rng.normal(size=5)
            key = kinds[kind] + 0.05 * rng.normal(size=8)
            recall = memory.read(key)
            errors.append((recall.estimate - level[kind]) ** 2)
            if learns and time > 1:
                memory.learn(recall, level[kind])
            memory.write(key, level[kind], time)
        late[learns] = np.mean(errors[-1000:])
    assert late[True] < 0.85 * late[False]


def test_forget_keeps_what_was_learned_and_nothing_else():
    rng = np.random.default_rng(0)
    memory = NestedMemory(dim=8, working=5, episodic=40)
    for time in range(200):
        key = rng.normal(size=8)
        memory.learn(memory.read(key), float(key[0])) if time else None
        memory.write(key, float(key[0]), time)
    parameters = memory.learner.parameters.copy()
    memory.forget()
    recall = memory.read(rng.normal(size=8))
    assert len(recall) == 0
    assert not recall.present[2:].any() or recall.voice_weights[:3].sum() == 0
    np.testing.assert_array_equal(memory.learner.parameters, parameters)
    memory.write(np.ones(8), 4.0, 0.0)
    assert memory.read(np.ones(8), k=50).values.tolist() == [4.0]
