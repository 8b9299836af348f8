"""What the associative rules and the levels recall, with their controls.

1. Relative squared recall error |M k - v|^2 / |v|^2 of 12 pairs at dimension 32, one global scale fitted for each:
   Hebbian sum, delta rule (proximal, one and three passes), momentum, window of 4; keys with correlation 0, .5 and .9,
   and .9 after centring (the decorrelation that features should get).
2. A pattern seen 20 times, then 3,000 unrelated experiences: error of the answer while its episodes are stored, after
   all of them were evicted, and without the semantic store.
3. The gate: 1 experience in 8 is of a kind that is asked about, three times, 10 to 400 steps later, told only by its
   context; the episodic store holds 128.
   Squared error of the answers of a learned, LSTM, open, random and shuffled gate, with their write rates.
Run: python -m benchmarks.memory_recall [--seeds 10]
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from memory import NestedMemory
from memory import associative as am


def keys_of(rng, pairs, dim, correlation, centred):
    keys = np.sqrt(1 - correlation) * rng.normal(size=(pairs, dim)) + np.sqrt(correlation) * rng.normal(size=dim)
    return am.unit(keys - keys.mean(axis=0) if centred else keys)


def relative_error(read, values):
    scale = (read * values).sum() / (read * read).sum()
    return ((scale * read - values) ** 2).sum() / (values**2).sum()


def hebbian(keys, values):
    return sum((am.hebbian(0.0 * np.outer(v, k), k, v) for k, v in zip(keys, values, strict=True)), 0.0)


def delta(keys, values, passes):
    memory = np.zeros((values.shape[1], keys.shape[1]))
    for _ in range(passes):
        for key, value in zip(keys, values, strict=True):
            memory = am.proximal_delta(memory, key, value, 50.0)
    return memory


def momentum(keys, values):
    state = am.MomentumState(np.zeros((values.shape[1], keys.shape[1])), np.zeros((values.shape[1], keys.shape[1])))
    for _ in range(3):
        for key, value in zip(keys, values, strict=True):
            state = am.momentum_delta(state, key, value, rate=0.3, decay=0.5, forget=0.0)
    return state.memory


def window(keys, values):
    memory = np.zeros((values.shape[1], keys.shape[1]))
    for _ in range(3):
        for last in range(len(keys)):
            rows = [(last - back) % len(keys) for back in range(3, -1, -1)]
            memory = am.window_delta(memory, keys[rows], values[rows], np.ones(4), 50.0)
    return memory


RULES = {
    "Hebbian": hebbian,
    "delta, 1 pass": lambda k, v: delta(k, v, 1),
    "delta, 3 passes": lambda k, v: delta(k, v, 3),
    "momentum, 3": momentum,
    "window 4, 3": window,
}


def associative_table(seeds):
    print("1. relative squared error of recall, 12 pairs, dimension 32")
    cases = [(0.0, False), (0.5, False), (0.9, False), (0.9, True)]
    print(f"{'':16}" + "".join(f"{f'rho {c}' + (' centred' if m else ''):>16}" for c, m in cases))
    for name, rule in RULES.items():
        cells = []
        for correlation, centred in cases:
            errors = []
            for seed in range(seeds):
                rng = np.random.default_rng(seed)
                keys, values = keys_of(rng, 12, 32, correlation, centred), rng.normal(size=(12, 32))
                errors.append(relative_error(keys @ rule(keys, values).T, values))
            cells.append(f"{np.mean(errors):16.3f}")
        print(f"{name:16}" + "".join(cells))


def planted(seed, copies=20, distractors=3000):
    rng = np.random.default_rng(seed)
    memory, pattern, time = NestedMemory(seed=seed), rng.normal(size=64), 0
    for _ in range(copies):
        memory.write(pattern + 0.3 * rng.normal(size=64), 3.0 + 0.1 * rng.normal(), time)
        time += 1
    stored = memory.read(pattern).estimate
    for _ in range(distractors):
        memory.write(rng.normal(size=64), rng.normal(), time)
        time += 1
    assert memory.episodic.rows.sequence.min() >= copies
    before = np.nextafter(memory.semantic.known_until, -np.inf)
    return [
        abs(memory.read(pattern).estimate - 3.0),
        abs(stored - 3.0),
        abs(memory.read(pattern, now=before).estimate - 3.0),
    ]


def planted_table(seeds):
    errors = np.array([planted(seed) for seed in range(seeds)])
    print("\n2. planted pattern (value 3, other values N(0, 1)): absolute error, mean and worst of seeds")
    for column, name in enumerate(("evicted, semantic store", "stored, all levels", "evicted, no semantic store")):
        print(f"{name:28} {errors[:, column].mean():.3f} {errors[:, column].max():.3f}")


def gate_run(seed, gate, steps=16000):
    """One experience in eight is marked in its context; each marked one is asked about three times later."""
    rng = np.random.default_rng(seed)
    memory = NestedMemory(32, working=10, episodic=128, slots=8, seed=seed, gate=gate)
    errors, due = [], {}
    for time in range(steps):
        marked = rng.random() < 0.125
        key, value = rng.normal(size=32), float(rng.normal())
        context = np.concatenate([[3.0 * marked], rng.normal(size=3)])
        if marked:
            for later in rng.integers(10, 401, size=3):
                due.setdefault(time + int(later), []).append((key, value))
        for asked, wanted in due.pop(time, ()):
            recall = memory.read(asked + 0.2 * rng.normal(size=32))
            if time > steps // 2:
                errors.append((recall.estimate - wanted) ** 2)
            memory.learn(recall, wanted)
        memory.write(key, value, time, context)
    return np.mean(errors), memory.gate


def gate_table(seeds):
    print("\n3. squared error of answers about marked experiences of 10 to 400 steps ago, episodic store of 128")
    for gate in ("learned", "lstm", "open", "random", "shuffled"):
        runs = [gate_run(seed, gate) for seed in range(seeds)]
        errors = np.array([error for error, _ in runs])
        rates = np.mean([g.rates for _, g in runs], axis=0)
        selective = sum(g.selective for _, g in runs)
        half = 1.96 * errors.std(ddof=1) / np.sqrt(seeds)
        print(
            f"{gate:9} {errors.mean():.3f} +- {half:.3f}  write rates episodic {rates[0]:.2f}, semantic {rates[1]:.2f}"
            f"  selective {selective}/{seeds}",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    torch.set_num_threads(1)  # the LSTM gate
    associative_table(options.seeds)
    planted_table(options.seeds)
    gate_table(options.seeds)


if __name__ == "__main__":
    main()
