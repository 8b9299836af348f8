"""Latency of HOPE.step and what self-modification costs in candles per second; one thread, interleaved blocks.

    python benchmarks/hope_speed.py [--blocks 60]

Medians over all steps. "on" is the whole of it (detectors, shadow, stage 2, writes in force), on markets with hidden
regime changes; "off" is the same net with self_modify=False. The ratio is the median of paired ratios of the
process's CPU seconds over interleaved blocks of 500 candles, so that other load on the machine falls on both.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from memory.drift import ADWIN_SIZE, adwin
from memory.hope import HOPE
from memory.markets import regime_market

BLOCK = 500
LIMITS = {("gru", 1): 120, ("attention", 1): 200, ("gru", 5): 180, ("attention", 5): 300}


def block(hope: HOPE, x: np.ndarray) -> tuple[float, list[int], float]:
    """(seconds, ns per step, share of steps in force)."""
    times, used = [], 0.0
    begin = time.process_time()
    for row in x:
        start = time.perf_counter_ns()
        out = hope.step(row)
        times.append(time.perf_counter_ns() - start)
        used += np.mean(out.modified)
    return time.process_time() - begin, times, used / len(x)


def compare(backbone: str, streams: int, blocks: int, **kwargs) -> None:
    markets = [regime_market(np.random.default_rng([3, s]), blocks * BLOCK).features for s in range(streams)]
    x = markets[0] if streams == 1 else np.stack(markets, 1)
    on, off = HOPE(backbone=backbone, **kwargs), HOPE(backbone=backbone, self_modify=False, **kwargs)
    ratios, times_on, times_off, used = [], [], [], []
    for i in range(blocks):
        part = x[i * BLOCK : (i + 1) * BLOCK]
        order = (on, off) if i % 2 else (off, on)
        results = {id(net): block(net, part) for net in order}
        if i < 2:
            continue  # warm-up and compilation
        ratios.append(results[id(off)][0] / results[id(on)][0])
        times_on += results[id(on)][1]
        times_off += results[id(off)][1]
        used.append(results[id(on)][2])
    median_on, median_off = np.median(times_on) / 1e3, np.median(times_off) / 1e3
    episodes = sum(on.clock(s)["episodes"] for s in range(streams)) / (streams * blocks * BLOCK) * 1e4
    limit = LIMITS.get((backbone, streams), "-") if not kwargs else "-"
    print(
        f"{backbone:9s} {kwargs or ''} streams {streams}: on {median_on:6.1f} us "
        f"(p99 {np.quantile(times_on, 0.99) / 1e3:.1f}, limit {limit}), "
        f"off {median_off:6.1f} us; "
        f"candles/s on/off {np.median(ratios):.3f} [{np.quantile(ratios, 0.25):.3f}, {np.quantile(ratios, 0.75):.3f}]; "
        f"in force {np.mean(used):.1%} of bars, {episodes:.1f} modifications per 10,000 bars; trained {on.trained}"
    )


def detectors() -> None:
    """Cost of one value for river's detectors and for the compiled ones, both called from Python."""
    from river import drift

    values = np.abs(np.random.default_rng(0).normal(size=20_000))
    river, state = drift.ADWIN(), np.zeros(ADWIN_SIZE)
    adwin(state, 1.0, 0.002, 32)
    for name, call in {
        "river ADWIN": river.update,
        "compiled ADWIN, called from Python": lambda v: adwin(state, v, 0.002, 32),
    }.items():
        start = time.perf_counter()
        for v in values:
            call(v)
        print(f"{name}: {(time.perf_counter() - start) / len(values) * 1e6:.2f} us a value")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=40)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for backbone in ("gru", "attention"):
        for streams in (1, 5):
            compare(backbone, streams, args.blocks)
    compare("attention", 1, 6, core="titans")
    detectors()


if __name__ == "__main__":
    main()
