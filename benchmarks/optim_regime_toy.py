"""Regime-switching regression: nested optimizers against Adam with the same loss and clip, over a grid of learning
rates.

    python benchmarks/optim_regime_toy.py [--seeds 8] [--quick]

Prints, per arm, the interquartile mean over seeds of the mean clean squared error at each initial rate, the best
rate's and the grid's mean; then, for each nested arm against its own control, both gated ratios with 95 % bootstrap
intervals paired by seed: grid mean (must be <= 0.75) and best against best (must be <= 1.03). Exit code 1 if a
gated pair misses either.
"""

import argparse
import sys
from functools import partial

import numpy as np
import torch

from rl.optim import NestedAdam
from rl.optim.tasks import RegimeToy

RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
ADAM = partial(torch.optim.Adam, fused=True)
# name: (task options, optimizer)
ARMS = {
    "adam mse": ({"huber": False}, ADAM),
    "adam mse + clip .5": ({"huber": False, "max_grad_norm": 0.5}, ADAM),
    "adam huber": ({}, ADAM),
    "adam huber + clip .5": ({"max_grad_norm": 0.5}, ADAM),
    "off + autoclip": ({}, partial(NestedAdam, controller="off", clip="auto")),
    "off + zclip": ({}, partial(NestedAdam, controller="off", clip="zclip")),
    "off + learned clip": ({}, partial(NestedAdam, controller="off", clip="learned")),
    "nested mse + clip .5": ({"huber": False}, partial(NestedAdam, clip=0.5)),
    "nested, no clip": ({}, partial(NestedAdam, clip=None)),
    "nested + clip .5": ({}, partial(NestedAdam, clip=0.5)),
    "nested (default)": ({}, NestedAdam),
    "nested shipped": ({}, partial(NestedAdam, weights="shipped")),
    "per_tensor": ({}, partial(NestedAdam, controller="per_tensor")),
    "per_element": ({}, partial(NestedAdam, controller="per_element")),
}
# nested arm, its control (same loss and clip), gated?
PAIRS = (
    ("nested + clip .5", "adam huber + clip .5", True),
    ("nested (default)", "adam huber + clip .5", True),
    ("nested (default)", "off + learned clip", True),
    ("nested, no clip", "adam huber", True),
    ("nested mse + clip .5", "adam mse + clip .5", False),
    ("nested shipped", "adam huber + clip .5", False),
    ("per_tensor", "adam huber + clip .5", False),
    ("per_element", "adam huber + clip .5", False),
)


def interquartile_mean(values, axis=0):
    ordered = np.sort(values, axis=axis)
    cut = values.shape[axis] // 4
    return np.take(ordered, range(cut, values.shape[axis] - cut), axis=axis).mean(axis=axis)


def errors(name, seeds):
    options, optimizer = ARMS[name]
    return np.array([[RegimeToy(seed, **options)(partial(optimizer, lr=rate)) for rate in RATES] for seed in seeds])


def ratio_with_interval(nested, control, statistic, rng, resamples=10_000):
    picks = rng.integers(0, len(nested), (resamples, len(nested)))
    samples = [statistic(nested[p]) / statistic(control[p]) for p in picks]
    return statistic(nested) / statistic(control), *np.quantile(samples, (0.025, 0.975))


def grid_mean(values):
    return interquartile_mean(values).mean()


def best(values):
    return interquartile_mean(values).min()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="only the arms of gated pairs")
    parser.add_argument("--arms", nargs="*")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    wanted = arguments.arms or list(ARMS)
    if arguments.quick:
        wanted = [arm for arm in ARMS if any(gated and arm in pair for *pair, gated in PAIRS)]
    print("initial rate".ljust(24), *(f"{rate:8.0e}" for rate in RATES), "    best grid mean")
    results = {}
    for name in wanted:
        results[name] = errors(name, seeds)
        row = interquartile_mean(results[name])
        print(name.ljust(24), *(f"{v:8.3f}" for v in row), f"{row.min():8.3f} {row.mean():9.3f}", flush=True)
    failed = False
    rng = np.random.default_rng(0)
    print(f"\n{len(seeds)} seeds, ratios nested / control with 95 % intervals")
    for nested, control, gated in PAIRS:
        if nested not in results or control not in results:
            continue
        mean = ratio_with_interval(results[nested], results[control], grid_mean, rng)
        top = ratio_with_interval(results[nested], results[control], best, rng)
        holds = mean[0] <= 0.75 and top[0] <= 1.03
        failed |= gated and not holds
        verdict = ("holds" if holds else "MISSED") if gated else ("holds" if holds else "does not hold (not gated)")
        print(
            f"{nested} / {control}: grid mean {mean[0]:.3f} [{mean[1]:.3f}, {mean[2]:.3f}] (promised <= 0.75), "
            f"best {top[0]:.3f} [{top[1]:.3f}, {top[2]:.3f}] (promised <= 1.03): {verdict}"
        )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
