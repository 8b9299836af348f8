"""Retrieval time, recall and bytes of one and the same build, against a flat numpy ring and faiss flat.

Every arm answers the same single queries over the same unit keys (dimension 64), one thread. `nested` is the whole
`NestedMemory.read`: working, episodic and semantic levels, attention and estimate. `numpy` is a contiguous float32
ring with one matrix-vector product and argpartition, `faiss` IndexFlatIP; both return only the eight rows. Queries
are timed in turns of 20 per arm, so that a busy machine slows all alike; compare ratios. Bytes: all arrays of the
nested memory at capacity over 256 bytes (64 float32) per episode of a flat store without values. Run:
OPENBLAS_NUM_THREADS=1 python -m benchmarks.memory_retrieval [--queries 2000]
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from memory import NestedMemory
from memory.block_dot import SELECTED

DIM, K, TURN = 64, 8, 20


def faiss_index(keys):
    try:
        import faiss
    except ImportError:
        return None
    faiss.omp_set_num_threads(1)
    index = faiss.IndexFlatIP(DIM)
    index.add(keys)
    return index


def measure(count, ratio, queries, correlation, seed=0):
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=DIM)

    def draw(size):
        mixed = np.sqrt(1 - correlation) * rng.normal(size=(size, DIM)) + np.sqrt(correlation) * shared
        return (mixed / np.linalg.norm(mixed, axis=1, keepdims=True)).astype(np.float32)

    keys, asked = draw(count), draw(queries)
    memory = NestedMemory(DIM, episodic=count, compression_ratio=ratio)
    for row in range(count):
        memory.write(keys[row], float(row), row)
    index = faiss_index(keys)

    def flat(query):
        similarity = keys @ query
        best = np.argpartition(similarity, -K)[-K:]
        return best[np.argsort(-similarity[best])]

    arms = {"nested": memory.read, "numpy": flat}
    if index is not None:
        arms["faiss"] = lambda query: index.search(query[None], K)
    times = {name: np.empty(queries) for name in arms}
    for warm in asked[:20]:
        for arm in arms.values():
            arm(warm)
    for start in range(0, queries, TURN):
        for name, arm in arms.items():
            for number in range(start, min(start + TURN, queries)):
                before = time.perf_counter_ns()
                arm(asked[number])
                times[name][number] = time.perf_counter_ns() - before
    hits = 0
    for query in asked[:300]:
        exact = np.argsort(-(keys.astype(np.float64) @ query.astype(np.float64)), kind="stable")[:K]
        hits += len(set(memory.read(query).times.astype(int).tolist()) & set(exact.tolist()))
    return times, hits / (K * min(300, queries)), memory.nbytes / (count * DIM * 4)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--sizes", type=int, nargs="*", default=[500, 5000, 50000])
    options = parser.parse_args()
    print(f"scan by: {SELECTED}; times in µs, p50 / p99")
    print(
        f"{'items':>6} {'ratio':>5} {'keys':>10} {'nested':>14} {'numpy':>15} {'faiss':>15} {'p50':>18} {'recall@8':>9}"
    )
    for ratio in (0.5, 0.25):
        for correlation in (0.0, 0.9):
            for count in options.sizes:
                times, recall, share = measure(count, ratio, options.queries, correlation)
                cells = [np.quantile(t, [0.5, 0.99]) / 1000 for t in times.values()]
                shown = " ".join(f"{a:7.1f}/{b:7.1f}" for a, b in cells)
                change = " ".join(f"{cells[0][0] / other[0] - 1:+.0%}" for other in cells[1:])
                kind = "random" if correlation == 0 else "rho .9"
                print(
                    f"{count:6} {ratio:5} {kind:>10} {shown} {change:>18} {recall:9.4f} bytes x{share:.3f}", flush=True
                )


if __name__ == "__main__":
    main()
