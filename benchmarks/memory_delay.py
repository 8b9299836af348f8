"""How long a delay is bridged: MemoryChain, T-maze, RepeatPrevious, MemoryCues, 8 to 1,024 steps, at equal bytes.

MemoryChain: one of four symbols is shown first, then noise symbols, then the first is asked for. T-maze: left or
right is shown first, then a corridor that always looks alike (with noise), then the turn. RepeatPrevious: at every
step the symbol of `delay` steps ago. MemoryCues (bsuite's memory size, with a delay): eight symbols are shown first,
then noise, then one of the eight is asked for by its number; a single latched bit, which bridges the first two tasks at
any length, is not enough there. A delay counts as bridged if at least 90 % of answers are right at it and at all
shorter ones. Arms, each within `--bytes` (GRU: weights; memories: every array they keep):

- GRU: trained by backpropagation through time on each delay in turn, from the weights of the shorter one, for at most
  `--budget` CPU seconds per delay
- flat: first in, first out, float32 keys, values and two times per item; the attention of the untrained nested memory
- nested: NestedMemory, its gate and read trained by `learn` on 600 episodes of 24 steps (RepeatPrevious: delay 8)
- open, random, shuffled: the same with the gate always open, writing at random, or trained on shuffled usefulness

The memories are handed an address: cue and question share a mark and a code of the episode, a step has a code of
its number. The GRU has to find its own. That is the point of a memory, and why the GRU is not the baseline to be proud
of: the flat store is. The gate sees the raw observation as context.
Run: python -m benchmarks.memory_delay [--seeds 5] [--bytes 131072] [--budget 8] [--tasks MemoryCues ...]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from torch import nn

from memory import NestedMemory

DELAYS = (8, 16, 32, 64, 128, 256, 384, 512, 768, 1024)
DIM, SYMBOLS, NOISE = 64, 4, 6
TASKS = ("MemoryChain", "T-maze", "RepeatPrevious", "MemoryCues")
CUES = 8


class Task:
    """Episodes: observations [T, inputs], symbols [T], keys [T, DIM], queries [T, DIM], steps at which it asks.

    Observations are symbol one-hot, cue flag, question flag, noise and, in MemoryCues, the number of the cue. `source`
    says which step's symbol is the answer.
    """

    def __init__(self, name, seed):
        self.name, self.rng, self.cue = name, np.random.default_rng(seed), 0
        self.cues = CUES if name == "MemoryCues" else 1
        self.inputs = SYMBOLS + 2 + NOISE + (CUES if self.cues > 1 else 0)
        fixed = np.random.default_rng(99)
        self.mark, self.spread = fixed.normal(size=DIM), fixed.normal(size=(NOISE, DIM))
        self.frequencies = fixed.uniform(-np.pi, np.pi, size=DIM // 2)

    def source(self, moment, delay):
        return moment - delay if self.name == "RepeatPrevious" else self.cue

    def episode(self, delay):
        length = delay + self.cues if self.name != "RepeatPrevious" else 2 * delay + 8
        symbols = self.rng.integers(2 if self.name == "T-maze" else SYMBOLS, size=length)
        noise = self.rng.normal(size=(length, NOISE))
        observed = np.zeros((length, self.inputs), np.float32)
        observed[np.arange(length), symbols] = 1.0
        observed[:, SYMBOLS + 2 : SYMBOLS + 2 + NOISE] = noise
        if self.name == "RepeatPrevious":
            start = self.rng.integers(1_000_000)  # episodes do not share their step numbers
            phase = (start + np.arange(-delay, length))[:, None] * self.frequencies
            codes = np.concatenate([np.cos(phase), np.sin(phase)], axis=1)
            return observed, symbols, codes[delay:], codes[:length], range(delay, length)
        if self.name == "T-maze":
            observed[1:, :SYMBOLS] = 0.0
            noise = 0.2 * noise + 1.0
        observed[-1, :SYMBOLS] = 0.0
        observed[: self.cues, SYMBOLS], observed[-1, SYMBOLS + 1] = 1.0, 1.0
        self.cue = int(self.rng.integers(self.cues)) if self.cues > 1 else 0
        if self.cues > 1:
            observed[np.arange(CUES), SYMBOLS + 2 + NOISE + np.arange(CUES)] = 1.0
            observed[-1, SYMBOLS + 2 + NOISE + self.cue] = 1.0
        keys = noise @ self.spread / np.sqrt(NOISE)
        address = self.mark + self.rng.normal(size=(self.cues, DIM))
        keys[: self.cues] = address + 0.2 * keys[: self.cues]
        queries = np.repeat((address[self.cue] + 0.2 * keys[-1])[None], length, axis=0)
        return observed, symbols, keys, queries, range(length - 1, length)


class Flat:
    """The flat store: a ring of float32 keys and values with two times each."""

    def __init__(self, size):
        self.capacity = size // (4 * DIM + 4 * SYMBOLS + 16)
        self.keys, self.values = np.zeros((self.capacity, DIM), np.float32), np.zeros((self.capacity, SYMBOLS))
        self.written = 0

    def forget(self):
        self.written = 0

    def write(self, key, value, _time, _context):
        row = self.written % self.capacity
        self.keys[row], self.values[row] = key / np.linalg.norm(key), value
        self.written += 1

    def answer(self, query):
        used = min(self.written, self.capacity)
        similarity = self.keys[:used] @ (query / np.linalg.norm(query))
        best = np.argpartition(similarity, -min(8, used))[-min(8, used) :]
        weights = np.exp(20.0 * (similarity[best] - similarity[best].max()))
        return int((weights @ self.values[best]).argmax())


class Nested:
    """NestedMemory of the largest episodic capacity that fits; answers by its estimate."""

    def __init__(self, size, seed, gate="learned"):
        self.slots = 32
        low, high = 1, size // 100
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._make(middle, seed, gate).nbytes <= size else (low, middle)
        self.capacity, self.memory = low, self._make(low, seed, gate)

    def _make(self, capacity, seed, gate):
        memory = NestedMemory(DIM, working=16, episodic=capacity, slots=self.slots, seed=seed, gate=gate)
        memory.write(np.ones(DIM), np.zeros(SYMBOLS), 0.0)
        memory.forget()
        return memory

    def forget(self):
        self.memory.forget()

    def write(self, key, value, moment, context):
        self.memory.write(key, value, moment, context)

    def answer(self, query):
        return int(np.argmax(self.memory.read(query).estimate))

    def train(self, task, episodes=600, delay=24):
        for _ in range(episodes):
            observed, symbols, keys, queries, asked = task.episode(delay if task.name != "RepeatPrevious" else 8)
            for moment in range(len(symbols)):
                if moment in asked:
                    back = symbols[task.source(moment, 8)]
                    self.memory.learn(self.memory.read(queries[moment]), np.eye(SYMBOLS)[back])
                self.write(keys[moment], np.eye(SYMBOLS)[symbols[moment]], float(len(self.memory)), observed[moment])


def success(arm, task, delay, episodes):
    right = asked_for = 0
    for _ in range(episodes):
        arm.forget()
        observed, symbols, keys, queries, asked = task.episode(delay)
        for moment in range(len(symbols)):
            if moment in asked:
                right += arm.answer(queries[moment]) == symbols[task.source(moment, delay)]
                asked_for += 1
            arm.write(keys[moment], np.eye(SYMBOLS)[symbols[moment]], float(moment), observed[moment])
    return right / asked_for


class Recurrent(nn.Module):
    def __init__(self, size, inputs):
        super().__init__()
        width = 8
        while 4 * (3 * (width + 1) * (width + 1 + inputs + 2) + (width + 2) * SYMBOLS) <= size:
            width += 1
        self.cell, self.head = nn.GRU(inputs, width, batch_first=True), nn.Linear(width, SYMBOLS)

    def forward(self, x):
        return self.head(self.cell(x)[0])


def batch_of(task, delay, size):
    inputs, answers = [], []
    for _ in range(size):
        observed, symbols, _, _, asked = task.episode(delay)
        inputs.append(observed)
        answers.append(symbols[[task.source(moment, delay) for moment in asked]])
    return torch.tensor(np.stack(inputs)), list(asked), torch.tensor(np.stack(answers))


def gru_delay(name, seed, size, budget):
    """Longest delay the GRU bridges, trained on one delay after the other."""
    torch.manual_seed(seed)
    task, reached = Task(name, [seed, 1]), 0
    net = Recurrent(size, task.inputs)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for delay in DELAYS:
        start, accuracy = time.process_time(), 0.0
        while time.process_time() - start < budget and accuracy < 0.97:
            inputs, asked, answers = batch_of(task, delay, 32)
            outputs = net(inputs)[:, asked]
            loss = nn.functional.cross_entropy(outputs.flatten(0, 1), answers.flatten())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            accuracy = 0.9 * accuracy + 0.1 * float((outputs.argmax(-1) == answers).float().mean())
        inputs, asked, answers = batch_of(Task(name, [seed, 2]), delay, 100)
        with torch.no_grad():
            right = float((net(inputs)[:, asked].argmax(-1) == answers).float().mean())
        if right < 0.9:
            break
        reached = delay
    return reached


def memory_delay(arm, name, seed, episodes):
    reached = 0
    for delay in DELAYS:
        if success(arm, Task(name, [seed, 2]), delay, episodes if name != "RepeatPrevious" else 1) < 0.9:
            break
        reached = delay
    return reached


def one(name, arm, seed, options):
    if arm == "GRU":
        return gru_delay(name, seed, options.bytes, options.budget), None
    if arm == "flat":
        return memory_delay(Flat(options.bytes), name, seed, options.episodes), None
    nested = Nested(options.bytes, seed, "learned" if arm == "nested" else arm)
    assert nested.memory.nbytes <= options.bytes
    nested.train(Task(name, [seed, 1]))
    return memory_delay(nested, name, seed, options.episodes), nested.memory.gate


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--bytes", type=int, default=131072)
    parser.add_argument("--budget", type=float, default=8.0)
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--tasks", nargs="*", default=list(TASKS))
    parser.add_argument("--arms", nargs="*", default=["flat", "nested", "open", "random", "shuffled", "GRU"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    flat, nested = Flat(options.bytes).capacity, Nested(options.bytes, 0).capacity
    print(f"{options.bytes} bytes: flat holds {flat} items, nested {nested} episodes")
    rng = np.random.default_rng(0)
    for name in options.tasks:
        reached = {}
        for arm in options.arms:
            outcomes = [one(name, arm, seed, options) for seed in range(options.seeds)]
            reached[arm] = np.array([delay for delay, _ in outcomes], float)
            print(f"{name:15} {arm:9} delay per seed {reached[arm].astype(int).tolist()}", end="")
            gates = [gate for _, gate in outcomes if gate is not None]
            if gates:
                rates = np.mean([gate.rates for gate in gates], axis=0)
                print(
                    f"  write rates {rates.round(2)}, selective {sum(g.selective for g in gates)}/{len(gates)}", end=""
                )
            print(flush=True)
        for other in options.arms:
            if other != "nested" and "nested" in reached:
                ratios = np.log2(np.maximum(reached["nested"], 4) / np.maximum(reached[other], 4))
                low, high = np.quantile(rng.choice(ratios, size=(10_000, len(ratios))).mean(axis=1), [0.025, 0.975])
                print(
                    f"{name:15} nested / {other:9} x{2 ** ratios.mean():.2f} [{2**low:.2f}, {2**high:.2f}]", flush=True
                )


if __name__ == "__main__":
    main()
