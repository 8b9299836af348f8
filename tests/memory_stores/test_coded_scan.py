"""Coded keys and the scan: precision of both planes, equal to a plain numpy search, both instruction paths equal."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from memory import block_dot
from memory.coding import decode, encode, fine_plane, padded_width, quantise_query
from memory.read import unit
from memory.scan import nearest
from memory.working import WorkingMemory

ratios = st.sampled_from([0.25, 0.5, 1.0])


def store_of(keys, ratio, available=None):
    store = WorkingMemory(keys.shape[1], 1, len(keys), ratio)
    for row, key in enumerate(keys):
        store.put(row, unit(key), np.zeros(1), 0.0, 0.0 if available is None else available[row], row)
    return store


def search(store, query, k, now=0.0):
    rows = store.rows
    coarse, exact, coarse_scale, exact_scale = quantise_query(unit(query), padded_width(store.dim))
    found_similarity, found = np.empty(k), np.empty(k, np.int64)
    count = nearest(
        rows.codes,
        rows.fine,
        store.levels,
        rows.scale,
        rows.stamps,
        store.count,
        coarse,
        exact,
        coarse_scale,
        exact_scale,
        now,
        found_similarity,
        found,
    )
    return found[:count], found_similarity[:count]


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 130), st.integers(1, 40), ratios)
def test_decoded_keys_are_close_to_the_step_of_their_planes(seed, dim, count, ratio):
    keys = np.random.default_rng(seed).normal(size=(count, dim))
    store = store_of(keys, ratio)
    levels = fine_plane(ratio)[1]
    for row, key in enumerate(keys):
        exact = key / np.linalg.norm(key)
        step, moved = store.rows.scale[row] / max(levels, 1), 0.0
        if levels == 0:  # the scale that makes the error orthogonal moves the largest component, of 127 steps, furthest
            error = exact - store.key(row)
            assert abs(error @ exact) < 1e-6
            moved = 127 * abs(store.rows.scale[row] - np.abs(exact).max() / 127)
        np.testing.assert_allclose(store.key(row), exact, atol=0.51 * step + moved + 1e-7)


def test_precision_order_of_the_ratios_and_refusal_of_others():
    keys = np.random.default_rng(0).normal(size=(20, 64))
    exact = keys / np.linalg.norm(keys, axis=1, keepdims=True)
    worst = []
    for ratio in (0.25, 0.5, 1.0):
        store = store_of(keys, ratio)
        worst.append(max(np.abs(store.key(row) - exact[row]).max() for row in range(20)))
    assert worst[0] > 20 * worst[1] > 20 * worst[2]
    # two byte planes are finer than float16 is on average
    float16 = np.abs(exact.astype(np.float16) - exact).max()
    assert worst[1] < float16
    with pytest.raises(ValueError, match="compression_ratio"):
        fine_plane(0.3)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(2, 100), st.integers(1, 300), st.integers(1, 12), ratios)
def test_search_equals_a_numpy_search_over_the_decoded_keys(seed, dim, count, k, ratio):
    """Oracle: decode everything, multiply in float64, sort. Equal up to near-ties of the decoded similarity."""
    rng = np.random.default_rng(seed)
    keys, query = rng.normal(size=(count, dim)), rng.normal(size=dim)
    available = rng.integers(0, 3, size=count).astype(float)
    store = store_of(keys, ratio, available)
    found, similarity = search(store, query, k, now=1.0)
    decoded = np.stack([store.key(row) for row in range(count)]).astype(np.float64)
    oracle = decoded @ (query / np.linalg.norm(query))
    oracle[available > 1.0] = -np.inf
    expected = np.sort(oracle)[::-1][: min(k, int((available <= 1.0).sum()))]
    assert len(found) == len(expected) == len(set(found.tolist()))
    assert (available[found] <= 1.0).all()
    np.testing.assert_allclose(oracle[found], expected, atol=2e-4)
    np.testing.assert_allclose(similarity, oracle[found], atol=2e-4)
    assert (np.diff(similarity) <= 0).all()


@pytest.mark.parametrize(
    ("ratio", "correlation", "floor"), [(0.5, 0.0, 0.99), (0.25, 0.0, 0.95), (0.5, 0.95, 0.95), (0.25, 0.9, 0.95)]
)
def test_recall_at_eight(ratio, correlation, floor):
    """Against exact float64 search, on unrelated keys and on keys that share a strong common direction."""
    rng = np.random.default_rng(1)
    shared = rng.normal(size=64)
    keys = np.sqrt(1 - correlation) * rng.normal(size=(3000, 64)) + np.sqrt(correlation) * shared
    queries = np.sqrt(1 - correlation) * rng.normal(size=(40, 64)) + np.sqrt(correlation) * shared
    store = store_of(keys, ratio)
    exact = keys / np.linalg.norm(keys, axis=1, keepdims=True)
    hits = [
        len(set(search(store, q, 8)[0].tolist()) & set(np.argsort(-(exact @ q), kind="stable")[:8].tolist()))
        for q in queries
    ]
    assert np.mean(hits) / 8 >= floor


available_steps = [
    name
    for name, there in {
        "byte dot product": block_dot.has_byte_dot_product(),
        "word pairs": block_dot.has_word_pairs(),
        "any": True,
    }.items()
    if there
]


@pytest.mark.parametrize("name", available_steps)
@pytest.mark.parametrize(("groups", "together"), [(1, 1), (3, 4), (16, 1), (16, 4), (25, 4)])
def test_every_instruction_path_gives_the_same_bits(name, groups, together):
    """Whatever the processor has, and the path for any of them, against plain numpy integers; extreme bytes included."""
    rng = np.random.default_rng(groups)
    codes = rng.integers(1, 256, size=(5, groups, 16, 4), dtype=np.uint8)
    codes[1] = 255
    query = rng.integers(-127, 128, size=groups * 4).astype(np.int8)
    query[:2] = -127, 127
    scale = rng.uniform(size=80).astype(np.float32)
    bias = np.int32(128 * query.astype(np.int64).sum())
    function = block_dot.make_block_scores(block_dot.STEPS[name], together)

    @njit
    def run(codes, query, bias, scale, first, threshold, out):
        width = codes.shape[1]
        return function(codes, first * width * 4, width, query, bias, scale, first, threshold, out)

    for block in range(6 - together):
        keys = codes[block : block + together].transpose(0, 2, 1, 3).reshape(16 * together, -1).astype(np.int64)
        own = scale[block * 16 : (block + together) * 16]
        expected = (keys @ query.astype(np.int64) - bias).astype(np.float32) * own
        threshold = np.float32(np.median(expected))
        out = np.empty(16 * together, np.float32)
        mask = run(codes, query, bias, scale, block * 16, threshold, out)
        np.testing.assert_array_equal(out, expected)
        assert mask == sum(1 << lane for lane in range(16 * together) if expected[lane] > threshold)


def test_zero_keys_and_zero_queries_have_similarity_zero():
    store = store_of(np.array([[0.0] * 8, [1.0] + [0.0] * 7]), 0.5)
    found, similarity = search(store, np.eye(8)[0], 2)
    assert found.tolist() == [1, 0]
    np.testing.assert_allclose(similarity, [1.0, 0.0], atol=1e-4)
    assert search(store, np.zeros(8), 2)[1].tolist() == [0.0, 0.0]


def test_encode_leaves_neighbours_alone():
    kind, levels = fine_plane(0.5)
    codes, fine = np.full((2, 4, 16, 4), 7, np.uint8), np.full((32, 16), 5, kind)
    scale = encode(unit(np.arange(1.0, 17.0)), 17, codes, fine, levels)
    np.testing.assert_allclose(decode(17, codes, fine, levels, scale, 16), unit(np.arange(1.0, 17.0)), atol=1e-5)
    assert (codes != 7).sum() <= 16
    assert (np.delete(fine, 17, axis=0) == 5).all()
