"""Ablation of what writes and what sets the writes, on one fixed predictor: which core, which rule, which modifier.

    python benchmarks/hope_cores.py [--steps 40]

Every arm starts from the shipped predictor with untrained fast parts, gets the same outer steps on the same markets,
and is then measured on held-out markets: mean gain of the shadow (always learning, in force on every bar) over the
frozen net, Huber loss in squared deviations x 1e4, with a 95 % bootstrap interval over markets; and the median time of
one `HOPE.step`, one stream, one thread.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from benchmarks.hope_common import huber, interval
from memory import backbone, train
from memory.hope import HOPE
from memory.layout import WEIGHT_NAMES
from memory.markets import planted, regime_market

FAST = ("key_weight", "log_prior", "modifier", "control_weight", "control_bias")
ARMS = {
    "low rank, kalman, MLP modifier": {},
    "low rank, delta rule, MLP modifier": {"write": "delta"},
    "low rank, kalman, LSTM modifier": {"modifier": "lstm"},
    "low rank, kalman, rank 2": {"rank": 2},
    "self-modifying Titans": {"core": "titans"},
}


def start(shipped: HOPE, shape: dict) -> HOPE:
    hope = HOPE(weights=None, **shape)
    with torch.no_grad():
        for name in WEIGHT_NAMES:
            if name not in FAST:
                source = shipped.weights[backbone.span(shipped.config, name)]
                hope.weights[backbone.span(hope.config, name)] = source
    return hope


def train_titans(hope: HOPE, rng: np.random.Generator, stage: train.Stage) -> None:
    assert hope.titans is not None
    hope.titans.net.chunk = 16
    optimizer = torch.optim.Adam(hope.titans.parameters(), lr=3e-3)
    hope.weights.requires_grad_(False)
    for _ in range(stage.steps):
        array = train.markets_batch(rng, stage.streams, stage.bars, [])
        loss = titans_loss(hope, array).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(hope.titans.parameters(), 1.0)
        optimizer.step()


def titans_loss(hope: HOPE, array: np.ndarray, frozen: bool = False) -> torch.Tensor:
    """Huber loss of the frozen or of the always-modified prediction, [S, T']."""
    prepared = hope.unroll(array, np.zeros((array.shape[1], 4)), False)[2]
    single, groups = backbone.views(hope.config, hope.weights)
    n = backbone.encode(hope.config, single, groups, prepared.z, prepared.calendar)
    prediction = backbone.readout(single, groups, n + n @ single["core_weight"])[0].double()
    if not frozen:
        prediction = prediction + (hope.titans.change(n)[0] @ single["head_weight"]).double()
    warm = train.WARM_BARS
    return torch.nn.functional.huber_loss(
        prediction[:, warm:-1], prepared.y[:, warm + 1 :], delta=2.5, reduction="none"
    )[..., 0]


def gain(hope: HOPE, array: np.ndarray) -> np.ndarray:
    """Gain of the always-learning shadow per market, [S]."""
    with torch.no_grad():
        if hope.titans is not None:
            return (titans_loss(hope, array, frozen=True) - titans_loss(hope, array)).mean(1).numpy()
        unrolled, _, prepared = hope.unroll(array, np.zeros((array.shape[1], 4)), True)
    y = prepared.y[:, train.WARM_BARS + 1 :, 0].numpy()
    frozen, shadow = (p[:, train.WARM_BARS : -1, 0].numpy() for p in (unrolled.frozen, unrolled.shadow))
    return (huber(y - frozen) - huber(y - shadow)).mean(1)


def latency(hope: HOPE, x: np.ndarray) -> float:
    if hope.titans is not None:
        hope.titans.net.chunk = 1
    times = []
    for row in x:
        begin = time.perf_counter_ns()
        hope.step(row)
        times.append(time.perf_counter_ns() - begin)
    return float(np.median(times[50:])) / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--markets", type=int, default=48)
    args = parser.parse_args()
    torch.set_num_threads(1)
    shipped = HOPE()
    print(
        f"predictor: {shipped.provenance.predictor}; {args.steps} outer steps an arm, {args.markets} held-out markets"
    )
    tests = {
        "random regimes": np.stack(
            [regime_market(np.random.default_rng([71, i]), 900).features for i in range(args.markets)]
        ),
        "novel switch": np.stack(
            [planted(np.random.default_rng([72, i]), "novel", 900, 300).features for i in range(args.markets)]
        ),
    }
    for name, shape in ARMS.items():
        hope, rng = start(shipped, shape), np.random.default_rng(70)
        if hope.titans is not None:
            train_titans(hope, rng, train.Stage(args.steps, 16, 384, 3e-3, True))
        else:
            train.outer_loop(hope, rng, train.Stage(args.steps, 16, 384, 5e-2, True), [])
        cells = []
        for title, array in tests.items():
            mean, low, high = interval(1e4 * gain(hope, array))
            cells.append(f"{title} {mean:+6.1f} [{low:+.1f}, {high:+.1f}]")
        micros = latency(hope, tests["random regimes"][0][:400])
        print(f"{name:36s} | " + " | ".join(cells) + f" | step {micros:.1f} us", flush=True)


if __name__ == "__main__":
    main()
