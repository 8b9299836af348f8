"""What one whole DQN update costs with each optimizer, against torch's fused Adam and clip.

    python benchmarks/optim_cost.py [--pairs 2000] [--batch 64] [--hidden 64]

An update is: draw a batch, target network forward, loss, backward, clip, step. One thread; the arms take turns
inside one loop, and each ratio is the median over `pairs` of (arm / fused Adam of the same round), so a busy
machine slows both sides alike. Promised: NestedAdam (global, learned clip) <= 1.05. Default Adam, flat Adam without
controller and the two finer controllers are printed beside it: most of what a flat buffer gains is not nesting.
Exit code 1 if the promise is missed.
"""

import argparse
import random
import statistics
import sys
import time

import torch
from torch import nn

from rl.optim import NestedAdam


def make_net(observations, hidden, actions):
    torch.manual_seed(0)
    first, second = nn.Linear(observations, hidden), nn.Linear(hidden, hidden)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Linear(hidden, actions))


def make_update(kind, batch, hidden, observations=8, actions=4):
    """A function that does one update."""
    net, target = make_net(observations, hidden, actions), make_net(observations, hidden, actions)
    data = torch.randn(10_000, observations)
    generator = torch.Generator().manual_seed(0)
    if kind in {"fused adam + clip", "fused adam + clip (again)", "default adam + clip"}:
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused="fused" in kind)
    else:
        special = {"flat, off": {"controller": "off", "clip": 10.0}, "nested (global)": {}}
        options = special.get(kind, {"controller": kind})
        optimizer = NestedAdam(net.parameters(), lr=1e-3, **options)
    nested = isinstance(optimizer, NestedAdam)

    def update():
        rows = torch.randint(0, 10_000, (batch,), generator=generator)
        state, after = data[rows], data[rows.flip(0)]
        action = torch.randint(0, actions, (batch, 1), generator=generator)
        with torch.no_grad():
            goal = state[:, 0] + 0.99 * target(after).max(1).values
        loss = nn.functional.smooth_l1_loss(net(state).gather(1, action).squeeze(1), goal)
        optimizer.zero_grad()
        loss.backward()
        value = loss.item()
        if nested:
            optimizer.observe(loss=value)
        else:
            nn.utils.clip_grad_norm_(net.parameters(), 10.0)
        optimizer.step()

    return update


KINDS = (
    "fused adam + clip",
    "fused adam + clip (again)",  # the same thing twice: what the measurement itself is worth
    "default adam + clip",
    "flat, off",
    "nested (global)",
    "per_tensor",
    "per_element",
)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--hidden", type=int, default=64)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    updates = {kind: make_update(kind, arguments.batch, arguments.hidden) for kind in KINDS}
    times = {kind: [] for kind in KINDS}
    order = random.Random(0)
    for round_index in range(arguments.pairs + 100):
        # a new order each round: whoever follows an expensive arm finds a cold cache
        for kind in order.sample(KINDS, len(KINDS)):
            start = time.process_time_ns()
            updates[kind]()
            if round_index >= 100:
                times[kind].append((time.process_time_ns() - start) / 1000)
    size = sum(p.numel() for p in make_net(8, arguments.hidden, 4).parameters())
    print(f"{size} parameters, batch {arguments.batch}, {arguments.pairs} interleaved rounds, CPU time, 1 thread")
    ratios = {}
    for kind in KINDS:
        ratio = [a / b for a, b in zip(times[kind], times[KINDS[0]], strict=True)]
        ratios[kind] = statistics.median(ratio)
        low, _, high = statistics.quantiles(ratio, n=4)
        median = statistics.median(times[kind])
        print(f"{kind.ljust(28)} {median:8.1f} us   ratio {ratios[kind]:.3f} (quartiles {low:.3f}, {high:.3f})")
    nested = ratios["nested (global)"]
    holds = nested <= 1.05
    print(f"nested (global) / fused adam: {nested:.3f} (promised <= 1.05): {'holds' if holds else 'MISSED'}")
    print(f"nested (global) / flat adam without controller: {nested / ratios['flat, off']:.3f}")
    return int(not holds)


if __name__ == "__main__":
    sys.exit(main())
