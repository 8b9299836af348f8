"""Recurring hidden regimes A-B-C: what is forgotten, and what keeping it costs online.

Regression on batches of 16 with t(2) noise; three random teachers take turns every 300 batches and nobody is told
which is on. Arms have the same network (or the same number of weights) and Huber loss; each uses the best of three Adam
steps on two tuning seeds, which are not among the report seeds. Measured per switch, from the second round on:
  online     clean error of the prediction made before each batch is learned from
  previous   clean error on the regime that just ended, right after the present one ends, as the arm stands
  after n    the same after n labelled batches of it (the arm does with them what it does: a bank infers, others learn)
  return     clean online error over the first 50 batches after a regime comes back
Forgetting is `previous` (or `after n`) minus the error on that regime when it was last on. Seconds are CPU time.
The regimes share their inputs and contradict each other in their targets. So nobody who fits the present one can be
right about the previous one before he is told that it is back: `previous` shows that, `after 1` what one batch of 16
samples is enough for, which is the least a hidden regime can be found from.
Run: python -m benchmarks.memory_regimes [--seeds 5]
"""

from __future__ import annotations

import argparse
import copy
import time

import numpy as np
import torch
from torch import nn

from memory.continuum import ContinuumMemory
from memory.snapshots import RegimeSnapshotBank

INPUTS, WIDTH, BATCH, SPAN, ROUNDS = 8, 24, 16, 300, 3
TOLD = (1, 2, 8)
RATES = (1e-3, 3e-3, 1e-2)


def huber(prediction, target):
    return nn.functional.huber_loss(prediction, target, reduction="none").squeeze(-1)


class Network(nn.Module):
    def __init__(self, seed, periods=(1,), rate=1e-3, mode="chain"):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.enter, self.leave = nn.Linear(INPUTS, WIDTH), nn.Linear(WIDTH, 1)
        with torch.no_grad():
            for parameter in (*self.enter.parameters(), *self.leave.parameters()):
                parameter.uniform_(-0.3, 0.3, generator=generator)
        self.body = ContinuumMemory(WIDTH, periods, mode=mode, multiple=2, rate=rate, seed=seed)

    def forward(self, x):
        return self.leave(self.body(torch.tanh(self.enter(x))))


class SingleRate:
    """Adam on everything after every batch; with `replay` a reservoir of 200 samples of all that was seen."""

    def __init__(self, seed, rate, replay=0):
        self.net = Network(seed, (1, 1, 1), rate)
        for parameter in self.net.parameters():
            parameter.requires_grad_(True)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=rate)
        self.replay, self.held, self.seen = replay, [], 0
        self.rng = np.random.default_rng(seed)

    def predict(self, x):
        with torch.no_grad():
            return self.net(x)

    def learn(self, x, y):
        fresh = (x, y)
        if self.held:
            chosen = self.rng.integers(len(self.held), size=len(x))
            x = torch.cat([x, torch.stack([self.held[i][0] for i in chosen])])
            y = torch.cat([y, torch.stack([self.held[i][1] for i in chosen])])
        loss = huber(self.net(x), y).mean()
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizer.step()
        for pair in zip(*fresh, strict=True) if self.replay else ():
            self.seen += 1
            if len(self.held) < self.replay:
                self.held.append(pair)
            elif (place := self.rng.integers(self.seen)) < self.replay:
                self.held[place] = pair

    def informed(self, batches):
        twin = copy.deepcopy(self)
        for x, y in batches:
            twin.learn(x, y)
        return twin.predict


class Continuum:
    """Continuum memory between two layers that learn after every batch."""

    def __init__(self, seed, rate, periods=(1, 8, 64), mode="chain"):
        self.net = Network(seed, periods, rate, mode)
        self.ends = [*self.net.enter.parameters(), *self.net.leave.parameters()]
        self.optimizer = torch.optim.Adam(self.ends, lr=rate)

    predict = SingleRate.predict
    informed = SingleRate.informed

    def learn(self, x, y):
        loss = huber(self.net(x), y).mean()
        gradients = torch.autograd.grad(loss, self.ends, retain_graph=True)
        self.net.body.observe(loss)
        for parameter, gradient in zip(self.ends, gradients, strict=True):
            parameter.grad = gradient
        nn.utils.clip_grad_norm_(self.ends, 1.0)
        self.optimizer.step()


class Bank:
    """Snapshot bank over the same network; `informed` only infers the regime, no weight is touched."""

    def __init__(self, seed, rate, **options):
        self.bank = RegimeSnapshotBank(Network(seed, (1, 1, 1)), huber, rate=rate, seed=seed, **options)

    def predict(self, x):
        return self.bank.predict(x)

    def learn(self, x, y):
        self.bank.observe(x, y)

    def informed(self, batches):
        twin = copy.deepcopy(self)
        for x, y in batches:
            twin.bank.probabilities = twin.bank.infer(x, y)
        return twin.predict


ARMS = {
    "single rate": SingleRate,
    "continuum 1/8/64": Continuum,
    "continuum 64/8/1": lambda seed, rate: Continuum(seed, rate, (64, 8, 1)),
    "independent 1/8/64": lambda seed, rate: Continuum(seed, rate, mode="independent"),
    "reservoir 200": lambda seed, rate: SingleRate(seed, rate, replay=200),
    "bank": Bank,
    "bank, no replay": lambda seed, rate: Bank(seed, rate, replay=0),
    "bank, one state": lambda seed, rate: Bank(seed, rate, max_states=1),
}


class World:
    """Three random two-layer teachers, t(2) noise of scale .1; `shuffled` draws one of them for every batch."""

    def __init__(self, seed, shuffled=False):
        self.rng, self.shuffled = np.random.default_rng([seed, 77]), shuffled
        self.first = self.rng.normal(size=(3, INPUTS, 16)) / np.sqrt(INPUTS)
        self.second = self.rng.normal(size=(3, 16, 1)) / 2.0

    def clean(self, x, regime):
        return torch.tensor(np.tanh(2.0 * x @ self.first[regime]) @ self.second[regime], dtype=torch.float32)

    def batch(self, regime, size=BATCH):
        x = self.rng.normal(size=(size, INPUTS))
        regime = int(self.rng.integers(3)) if self.shuffled else regime
        clean = self.clean(x, regime)
        noise = torch.tensor(0.1 * self.rng.standard_t(2, size=clean.shape), dtype=torch.float32)
        return torch.tensor(x, dtype=torch.float32), clean + noise, clean


def run(make, seed, rate, rounds=ROUNDS, span=SPAN, shuffled=False):
    torch.manual_seed(seed)
    world, arm = World(seed, shuffled), make(seed, rate)
    tests = [world.batch(regime, 400) for regime in range(3)]
    online, previous, informed, returns, last = [], [], {n: [] for n in TOLD}, [], {}
    spent = 0.0

    def error(predict, regime):
        return float(((predict(tests[regime][0]) - tests[regime][2]) ** 2).mean())

    for turn in range(rounds * 3):
        regime = turn % 3
        for step in range(span):
            x, y, clean = world.batch(regime)
            start = time.process_time()
            wrong = float(((arm.predict(x) - clean) ** 2).mean())
            arm.learn(x, y)
            spent += time.process_time() - start
            if turn >= 3:
                online.append(wrong)
                if step < 50:
                    returns.append(wrong)
        if turn >= 3:
            before = (regime - 1) % 3
            batches = [world.batch(before)[:2] for _ in range(max(TOLD))]
            previous.append((error(arm.predict, before), last[before]))
            for told, rows in informed.items():
                rows.append((error(arm.informed(batches[:told]), before), last[before]))
        last[regime] = error(arm.predict, regime)
    blind = np.array(previous)
    aware = {told: np.array(rows) for told, rows in informed.items()}
    return {
        "online": np.mean(online),
        "previous": blind[:, 0].mean(),
        **{f"after {told}": rows[:, 0].mean() for told, rows in aware.items()},
        "return": np.mean(returns),
        "forgotten": (blind[:, 0] - blind[:, 1]).mean(),
        **{f"forgotten, {told}": (rows[:, 0] - rows[:, 1]).mean() for told, rows in aware.items()},
        "seconds": spent,
    }


def change(ours, theirs, rng):
    """Ratio of means minus one, with the percentile bootstrap 95 % interval over seeds (pairs kept together)."""
    draws = rng.integers(len(ours), size=(10_000, len(ours)))
    low, high = np.quantile(ours[draws].mean(axis=1) / theirs[draws].mean(axis=1) - 1, [0.025, 0.975])
    return f"{ours.mean() / theirs.mean() - 1:+.0%} [{low:+.0%}, {high:+.0%}]"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--arms", nargs="*", default=list(ARMS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    results, columns = {}, None
    for name in options.arms:
        rates = {r: np.mean([run(ARMS[name], s, r, rounds=2)["online"] for s in (1000, 1001)]) for r in RATES}
        rate = min(rates, key=rates.get)
        rows = [run(ARMS[name], seed, rate) for seed in range(100, 100 + options.seeds)]
        results[name] = {c: np.array([row[c] for row in rows]) for c in rows[0]}
        if columns is None:
            columns = list(rows[0])
            print(f"{'arm':20} {'rate':>6} " + " ".join(f"{c:>12}" for c in columns))
        cells = " ".join(f"{results[name][c].mean():12.4f}" for c in columns)
        print(f"{name:20} {rate:6.3f} {cells}", flush=True)
    rng = np.random.default_rng(0)
    if "bank" not in results:
        return
    print("\nbank against each arm, paired by seed, bootstrap 95 %: change of forgetting and of online error")
    for name, theirs in results.items():
        if name.startswith("bank"):
            continue
        bank = results["bank"]
        for column in ("forgotten", *(f"forgotten, {told}" for told in TOLD)):
            print(f"  {name:20} {column:20} {change(bank[column], theirs[column], rng)}")
        print(f"  {name:20} {'online error':20} {change(bank['online'], theirs['online'], rng)}")
    print("\nnegative control: regimes drawn anew for every batch, nothing to find (online error, 3 seeds)")
    for name in ("single rate", "bank"):
        errors = [run(ARMS[name], seed, 3e-3, rounds=2, shuffled=True)["online"] for seed in range(3)]
        print(f"  {name:20} {np.mean(errors):.4f}")


if __name__ == "__main__":
    main()
