"""Offline training of the controller's starting weights, by evolution strategies over whole training runs.

    python -m rl.optim.meta_train --seed 0 --generations 40 --out rl/optim/weights/controller.json

The one-step hypergradient is short-sighted: it likes rates that pay at once (Wu et al. 2018). Whole runs are not. A
run is trained with weights phi + sigma eps and with phi - sigma eps on the same data and the same initial network,
one eps for the whole run (ES-Single, Vicol 2023, arXiv 2304.11153; with a single perturbation per run PES and
ES-Single coincide with antithetic ES on the run's cost):

    g = 1 / (2 sigma P) sum_i (u_i+ - u_i-) eps_i,   phi <- phi + rate g / max(1, |g|)

with u the centred ranks of -mean log cost over the generation's jobs (ranks: one diverged run must not rule). Level
3 stays on inside the runs, so phi is trained as what online learning starts from.

What is trained on is a `make_job(seed) -> Job`: a task (`tasks.Task`, a callable that trains once and returns a
positive cost) and a base rate. `--make-job package.module:function` names any other; `toy_job` is the default.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from rl.optim.controller import SIZE, ControllerNet
from rl.optim.nested_adam import NestedAdam
from rl.optim.tasks import RegimeToy, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]
    MakeJob = Callable[[int], "Job"]

BEST_COST = 1e-6  # costs below count as this: a logarithm needs a floor
HELD_OUT = 1_000_000  # seeds from here on are never trained on


class Job(NamedTuple):
    """One training run: what is trained, and the base learning rate it is given."""

    task: Task
    lr: float


def toy_job(seed: int) -> Job:
    """A short regime-switching regression of random size, noise, loss and pace, with a log-uniform rate in [1e-4,
    3e-2].
    """
    rng = np.random.default_rng([seed, 7])
    task = RegimeToy(
        seed=10_000 + seed,
        steps=600,
        switch_every=int(rng.integers(100, 301)),
        batch=int(rng.choice([8, 16, 32])),
        inputs=int(rng.choice([4, 8])),
        hidden=int(rng.choice([16, 32])),
        noise=float(rng.choice([0.05, 0.3, 0.6])),
        outliers=float(rng.choice([0.0, 0.02])),
        layer_norm=bool(rng.random() < 0.3),
    )
    return Job(task, float(np.exp(rng.uniform(math.log(1e-4), math.log(3e-2)))))


def log_cost(phi: FloatArray | None, job: Job) -> float:
    """Log cost of one run with these starting weights (None: the identity)."""

    def make(parameters: Iterable[torch.Tensor]) -> torch.optim.Optimizer:
        return NestedAdam(parameters, lr=job.lr, weights=phi)

    cost = job.task(make)
    return math.log(max(cost, BEST_COST)) if math.isfinite(cost) else math.log(1.0 / BEST_COST)


def centred_ranks(values: FloatArray) -> FloatArray:
    """Ranks scaled to [-1/2, 1/2]; ties share theirs."""
    order = values[:, None]
    ranks = (order > values[None, :]).sum(axis=1) + 0.5 * ((order == values[None, :]).sum(axis=1) - 1)
    result: FloatArray = ranks / max(len(values) - 1, 1) - 0.5
    return result


def train(
    make_job: MakeJob,
    seed: int,
    generations: int,
    pairs: int = 8,
    jobs: int = 3,
    sigma: float = 0.1,
    rate: float = 0.5,
    log: Callable[[str], object] = print,
) -> FloatArray:
    """Meta-trained weights [SIZE]; see the module's docstring for the estimator. rate: longest step of phi per
    generation.
    """
    rng = np.random.default_rng(seed)
    phi: FloatArray = ControllerNet(0, 2.0, 2.0).phi.numpy().copy()
    for generation in range(generations):
        batch = [make_job(int(s)) for s in rng.integers(0, HELD_OUT, jobs)]
        eps = rng.normal(size=(pairs, SIZE))
        candidates = np.concatenate([phi + sigma * eps, phi - sigma * eps])
        costs = np.array([np.mean([log_cost(candidate, job) for job in batch]) for candidate in candidates])
        utility = centred_ranks(-costs)
        gradient = (utility[:pairs] - utility[pairs:]) @ eps / (2.0 * sigma * pairs)
        phi = phi + rate * gradient / max(1.0, float(np.linalg.norm(gradient)))
        log(f"generation {generation}: mean log cost {costs.mean():.4f}, |g| {np.linalg.norm(gradient):.2f}")
    return phi


def compare(phi: FloatArray, make_job: MakeJob, count: int) -> dict[str, float]:
    """Paired mean difference of log cost to the identity start on held-out jobs, with its standard error."""
    batch = [make_job(HELD_OUT + index) for index in range(count)]
    differences = np.array([log_cost(phi, job) - log_cost(None, job) for job in batch])
    error = float(differences.std(ddof=1) / math.sqrt(count)) if count > 1 else math.inf
    return {"log_cost_difference": float(differences.mean()), "standard_error": error, "jobs": count}


def main(arguments: list[str] | None = None) -> int:
    """Train, compare on held-out jobs, write the JSON file with how it was made."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--generations", type=int, default=40)
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--jobs", type=int, default=3, help="training runs per candidate and generation")
    parser.add_argument("--validation", type=int, default=32, help="held-out runs of the comparison")
    parser.add_argument("--make-job", default="rl.optim.meta_train:toy_job", help="package.module:function")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    module, _, function = options.make_job.partition(":")
    make_job = getattr(importlib.import_module(module), function)
    write = sys.stdout.write
    phi = train(
        make_job, options.seed, options.generations, options.pairs, options.jobs, log=lambda line: write(line + "\n")
    )
    held_out = compare(phi, make_job, options.validation)
    write(f"held out: {held_out}\n")
    record: dict[str, Any] = {
        "trained_on": options.make_job,
        "command": f"python -m rl.optim.meta_train --seed {options.seed} --generations {options.generations} "
        f"--pairs {options.pairs} --jobs {options.jobs} --make-job {options.make_job}",
        "seed": options.seed,
        "torch": torch.__version__,
        "held_out_against_identity": held_out,
        "phi": [round(float(value), 6) for value in phi],
    }
    options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
