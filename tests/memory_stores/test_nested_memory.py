"""Nested memory from outside: order of eviction, no look-ahead, answers after eviction, bytes, state, refusals."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from memory import NestedMemory

torch.set_num_threads(1)  # for the LSTM gate: tiny matrices, two threads only wait for each other


def filled(count, seed=0, **options):
    rng = np.random.default_rng(seed)
    memory = NestedMemory(**options)
    keys = rng.normal(size=(count, memory.dim))
    for time, key in enumerate(keys):
        memory.write(key, float(time), time)
    return memory, keys


def test_import_loads_neither_torch_nor_numba():
    code = "import memory, sys; assert 'torch' not in sys.modules and 'numba' not in sys.modules; print(dir(memory))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "NestedMemory" in done.stdout
    code = "import sys; from memory import NestedMemory; NestedMemory(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="Nothing"):
        _ = __import__("memory").Nothing


def test_nearest_is_by_cosine_and_an_exact_match_dominates():
    memory, keys = filled(300)
    exact = keys / np.linalg.norm(keys, axis=1, keepdims=True)
    recall = memory.read(7.0 * keys[100], k=8)  # the length of a query does not matter
    best = np.argsort(-(exact @ exact[100]))[:8]
    assert recall.times.tolist() == best.tolist()
    assert recall.values[0] == 100.0
    assert recall.weights.sum() == pytest.approx(1.0)
    assert recall.estimate == pytest.approx(100.0, abs=1.0)
    assert recall.similarities[0] == pytest.approx(1.0, abs=1e-4)
    values, weights, times, estimate, uncertainty = recall
    assert len(values) == len(weights) == len(times) == 8
    assert estimate == recall.estimate
    assert uncertainty == recall.uncertainty < 20.0


def test_untrained_gate_writes_everything_and_the_oldest_leaves_first():
    memory, _ = filled(137, working=10, episodic=40, dim=8)
    assert memory.working.count == 10
    assert sorted(memory.working.rows.sequence.tolist()) == list(range(127, 137))
    assert sorted(memory.episodic.rows.sequence.tolist()) == list(range(97, 137))
    everything = memory.read(np.ones(8), k=200)
    assert sorted(everything.times.tolist()) == list(range(97, 137))  # each once, although the last ten are in both


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
def test_nothing_is_recalled_before_its_outcome_was_known(seed, count):
    """Entries with random delays; a reader at any moment sees what a memory of the known ones would see."""
    rng = np.random.default_rng(seed)
    memory = NestedMemory(dim=6, working=7, episodic=30, slots=5, consolidate_every=8)
    keys, delays = rng.normal(size=(count, 6)), rng.integers(0, 20, size=count)
    for time in range(count):
        memory.write(keys[time], float(time), time, available_at=time + int(delays[time]))
        query = rng.normal(size=6)
        recall = memory.read(query, k=60)
        known = {t for t in range(time + 1) if t + delays[t] <= time}
        assert set(recall.times.astype(int).tolist()) <= known
        # what is known and still held must be there: no filter that simply hides everything
        held = {int(s) for s in memory.episodic.rows.sequence if s >= 0} | {
            int(s) for s in memory.working.rows.sequence if s >= 0
        }
        assert set(recall.times.astype(int).tolist()) == known & held
        past = memory.read(query, k=60, now=time / 2)
        assert set(past.times.astype(int).tolist()) == {t for t in known & held if t + delays[t] <= time / 2}


def test_an_unknown_outcome_does_not_leak_through_the_summaries():
    """Two memories that differ in one value not yet known answer alike in every level until it is known."""
    answers = []
    for hidden in (5.0, -5000.0):
        rng = np.random.default_rng(3)
        memory = NestedMemory(dim=6, working=4, episodic=8, slots=4, consolidate_every=4)
        for time in range(50):
            secret = time == 20
            value = hidden if secret else float(rng.normal())
            memory.write(rng.normal(size=6), value, time, available_at=1000 if secret else time)
        reads = [memory.read(rng.normal(size=6), k=3) for _ in range(20)]
        answers.append([(r.estimate, r.uncertainty, r.values.tolist()) for r in reads])
    assert answers[0] == answers[1]


def test_a_reader_in_the_past_sees_no_later_summaries():
    memory, keys = filled(100, dim=8, working=5, episodic=20)
    recall = memory.read(keys[3], now=50.0)
    assert not recall.present[2:].any()
    assert len(recall) == 0
    assert np.isinf(recall.uncertainty)


def planted(copies=20, distractors=3000, seed=0, **options):
    """A pattern seen `copies` times with noise, then so many unrelated experiences that its episodes are gone."""
    rng = np.random.default_rng(seed)
    memory = NestedMemory(seed=seed, **options)
    pattern, time = rng.normal(size=memory.dim), 0
    for _ in range(copies):
        memory.write(pattern + 0.3 * rng.normal(size=memory.dim), 3.0 + 0.1 * rng.normal(), time)
        time += 1
    before = memory.read(pattern).estimate
    for _ in range(distractors):
        memory.write(rng.normal(size=memory.dim), rng.normal(), time)
        time += 1
    return memory, pattern, before


@pytest.mark.parametrize("seed", range(3))
def test_an_evicted_pattern_is_answered_from_the_semantic_store(seed):
    memory, pattern, before = planted(seed=seed)
    assert memory.episodic.rows.sequence.min() > 20
    recall = memory.read(pattern)
    assert abs(before - 3.0) < 0.2
    assert abs(recall.estimate - 3.0) < 0.3
    assert recall.voice_weights[2] > 0.9
    # without the semantic voice the same query is lost: the store is what answers
    without = memory.read(pattern, now=np.nextafter(memory.semantic.known_until, -np.inf))
    assert abs(without.estimate - 3.0) > 1.0


def test_uncertainty_is_larger_where_nothing_similar_was_seen():
    memory, pattern, _ = planted()
    far = [memory.read(np.random.default_rng(s).normal(size=64)).uncertainty for s in range(100, 120)]
    assert memory.read(pattern).uncertainty < 0.5 * np.median(far)
    assert np.isinf(NestedMemory().read(np.ones(64)).uncertainty)


def test_matrix_voice_learns_a_linear_value():
    """Values linear in the key: after learning from outcomes the matrix is the best voice and is heard."""
    rng = np.random.default_rng(0)
    memory, direction = NestedMemory(dim=16, episodic=100), rng.normal(size=16)
    errors = []
    for time in range(4000):
        key = rng.normal(size=16)
        key /= np.linalg.norm(key)
        value = float(key @ direction)
        recall = memory.read(key)
        if time > 0:
            memory.learn(recall, value)
            errors.append((recall.estimate - value) ** 2)
        memory.write(key, value, time)
    assert np.mean(errors[-500:]) < 0.35 * np.var(direction @ rng.normal(size=(16, 1000)) / 4.0)
    assert memory.learner.skill[3] > memory.learner.skill[1]


@pytest.mark.parametrize("ratio", [0.5, 0.25])
@pytest.mark.parametrize("size", [500, 5000])
def test_bytes_are_within_a_fifth_of_a_flat_float32_store(ratio, size):
    memory = NestedMemory(episodic=size, compression_ratio=ratio)
    memory.write(np.ones(64), 1.0, 0.0)
    assert memory.nbytes == sum(memory.bytes_by_part().values())
    assert memory.nbytes <= 1.2 * size * 64 * 4


def test_bytes_do_not_grow():
    memory, keys = filled(30, dim=8, working=5, episodic=20)
    at_first = memory.nbytes
    for time in range(30, 500):
        memory.write(keys[time % 30], 1.0, time)
    assert memory.nbytes == at_first


@pytest.mark.parametrize("gate", ["learned", "lstm", "random", "shuffled", "open"])
def test_state_round_trip_is_exact(tmp_path, gate):
    rng = np.random.default_rng(0)

    def run(memory, start, stop, rng):
        outputs = []
        for time in range(start, stop):
            key, value = rng.normal(size=8), float(rng.normal())
            recall = memory.read(key)
            memory.learn(recall, value)
            outputs.append((recall.estimate, recall.uncertainty, recall.values.tolist()))
            memory.write(key, value, time, context=rng.normal(size=3))
        return outputs

    options = {"dim": 8, "working": 5, "episodic": 40, "slots": 6, "gate": gate, "consolidate_every": 16}
    memory = NestedMemory(**options)
    run(memory, 0, 300, rng)
    memory.save(tmp_path / "memory.npz")
    twin = NestedMemory(**options)
    twin.load(tmp_path / "memory.npz")
    assert all(np.array_equal(a, twin.state_dict()[n], equal_nan=True) for n, a in memory.state_dict().items())
    assert run(memory, 300, 500, np.random.default_rng(9)) == run(twin, 300, 500, np.random.default_rng(9))
    for array in memory.state_dict().values():
        assert array.dtype != object
    with pytest.raises(ValueError, match="made with"):
        NestedMemory(**{**options, "episodic": 41}).load_state_dict(memory.state_dict())


def test_two_runs_are_equal_to_the_last_bit():
    first, _ = filled(400, dim=8, working=5, episodic=50)
    second, _ = filled(400, dim=8, working=5, episodic=50)
    assert all(np.array_equal(a, second.state_dict()[n], equal_nan=True) for n, a in first.state_dict().items())


def test_vector_values():
    rng = np.random.default_rng(0)
    memory = NestedMemory(dim=8)
    keys, values = rng.normal(size=(50, 8)), rng.normal(size=(50, 3))
    for time in range(50):
        memory.write(keys[time], values[time], time)
    recall = memory.read(keys[10], k=4)
    assert recall.values.shape == (4, 3)
    np.testing.assert_allclose(recall.values[0], values[10], atol=1e-6)
    np.testing.assert_allclose(recall.estimate, values[10], atol=0.05)
    memory.learn(recall, values[10])
    twin = NestedMemory(dim=8)
    twin.load_state_dict(memory.state_dict())
    np.testing.assert_array_equal(twin.read(keys[3]).estimate, memory.read(keys[3]).estimate)


@pytest.mark.parametrize("scale", [1e-300, 1e-6, 1e6, 1e200])
def test_any_size_of_key_works(scale):
    memory, keys = filled(50, dim=8)
    memory.write(keys[0] * scale, 77.0, 51.0)
    assert memory.read(keys[0] * scale).times[0] in {0.0, 51.0}
    assert np.isfinite(memory.read(keys[0]).estimate)


def test_adversarial_values_stay_finite():
    rng = np.random.default_rng(0)
    memory = NestedMemory(dim=4, working=5, episodic=30, slots=5)
    for time in range(1500):
        key = np.zeros(4) if time % 7 == 0 else rng.normal(size=4) * 10.0 ** rng.integers(-6, 7)
        value = 0.0 if time % 5 == 0 else float(rng.normal() * 10.0 ** rng.integers(-6, 7))
        recall = memory.read(key)
        assert np.isfinite(recall.estimate)
        memory.learn(recall, value)
        memory.write(key, value, time)
    for name, array in memory.state_dict().items():
        assert np.isfinite(array).all() or name.endswith((".features", "gradient")), name


def test_bad_input_is_refused_and_nothing_is_stored():
    memory, _ = filled(5, dim=8)
    before = memory.state_dict()
    for arguments in (
        (np.full(8, np.nan), 1.0, 6.0),
        (np.ones(7), 1.0, 6.0),
        (np.ones(8), np.inf, 6.0),
        (np.ones(8), np.ones(2), 6.0),
        (np.ones(8), 1.0, np.nan),
    ):
        with pytest.raises(ValueError, match=r"finite|shape|time"):
            memory.write(*arguments)
    with pytest.raises(ValueError, match="time"):
        memory.write(np.ones(8), 1.0, 6.0, available_at=5.0)
    with pytest.raises(ValueError, match="context"):
        memory.write(np.ones(8), 1.0, 6.0, context=[np.nan])
    for query in (np.full(8, np.nan), np.full(8, np.inf)):
        with pytest.raises(ValueError, match="finite"):
            memory.read(query)
    with pytest.raises(ValueError, match="query"):
        memory.read(np.ones(9))
    with pytest.raises(ValueError, match="k at least"):
        memory.read(np.ones(8), k=0)
    assert all(np.array_equal(a, memory.state_dict()[n], equal_nan=True) for n, a in before.items())
    for options in ({"dim": 0}, {"working": 0}, {"episodic": 0}, {"slots": 0}, {"gate": "other"}, {"seed": -1}):
        with pytest.raises(ValueError, match=r"at least|>= 1|gate"):
            NestedMemory(**options)


def test_many_reads_are_the_reads_one_by_one():
    rng = np.random.default_rng(5)
    memory = NestedMemory(dim=8, working=10, episodic=40, seed=1)
    for time in range(120):
        memory.write(rng.normal(size=8), float(rng.normal()), float(time))
    queries = rng.normal(size=(9, 8))
    summaries, traces = memory.read_many(queries, k=4)
    for query, summary, trace in zip(queries, summaries, traces, strict=True):
        one, again = memory.read(query, k=4), memory.recall_from(summary, trace)
        assert (again.estimate, again.uncertainty) == (one.estimate, one.uncertainty)
        np.testing.assert_array_equal(again.trace, one.trace)
    with pytest.raises(ValueError, match="queries are"):
        memory.read_many(queries[0])
    queries[3, 2] = np.nan
    with pytest.raises(ValueError, match="finite"):
        memory.read_many(queries)
