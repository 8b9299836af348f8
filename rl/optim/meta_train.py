"""Offline training of the controller's starting weights, by evolution strategies over whole training runs.

    trader lab controller --seed 0 --generations 12 --out controller.json      (or python -m rl.optim.meta_train …)

The one-step hypergradient is short-sighted: it likes rates that pay at once (Wu et al. 2018). Whole runs are not. A
run is trained with weights phi + sigma eps and with phi - sigma eps on the same data and the same initial network,
one eps for the whole run (ES-Single, Vicol 2023, arXiv 2304.11153; with a single perturbation per run PES and
ES-Single coincide with antithetic ES on the run's cost):

    g = 1 / (2 sigma P) sum_i (u_i+ - u_i-) eps_i,   phi <- phi + rate g / max(1, |g|)

with u the centred ranks of -mean log cost over the generation's jobs (ranks: one diverged run must not rule). Level
3 stays on inside the runs, so phi is trained as what online learning starts from.

What is trained on is a `make_job(seed) -> Job`: a task (a callable that trains once and returns a positive cost), a
base rate, and options of the optimizer. `trading_job` (`trading_jobs.py`) is what ships; `toy_job` the regression toy;
`--make-job package.module:function` names any other. `--checkpoint FILE` makes a stopped training go on where it was.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import math
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rl.optim.controller import SIZE, ControllerNet
from rl.optim.nested_adam import NestedAdam
from rl.optim.tasks import RegimeToy, Task
from rl.optim.weights import SHIPPED, load_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]
    MakeJob = Callable[[int], "Job"]
    Log = Callable[[str], object]

BEST_COST = 1e-6  # costs below count as this: a logarithm needs a floor
HELD_OUT = 1_000_000  # seeds from here on are never trained on
RESAMPLES = 10_000
DEFAULT_JOB = "rl.optim.trading_jobs:trading_job"


@dataclass(frozen=True, slots=True)
class Job:
    """One training run: what is trained, the base learning rate it is given, keywords of the optimizer."""

    task: Task
    lr: float
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Settings:
    """What decides the result. jobs: training runs per candidate and generation; rate: longest step of phi."""

    seed: int = 0
    generations: int = 12
    pairs: int = 8
    jobs: int = 2
    sigma: float = 0.1
    rate: float = 0.5
    make_job: str = DEFAULT_JOB


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


def find_job(name: str) -> MakeJob:
    """The function that `package.module:function` names. Raises ValueError if there is none."""
    module, _, function = name.partition(":")
    try:
        found: MakeJob = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError):
        raise ValueError(f"no job {name!r}: expected package.module:function of a seed") from None
    return found


def log_cost(phi: FloatArray | None, job: Job, **options: Any) -> float:
    """Log cost of one run with these starting weights (None: the identity)."""

    def make(parameters: Iterable[torch.Tensor]) -> torch.optim.Optimizer:
        return NestedAdam(parameters, lr=job.lr, weights=phi, **{**job.options, **options})

    cost = job.task(make)
    return math.log(max(cost, BEST_COST)) if math.isfinite(cost) else math.log(1.0 / BEST_COST)


def centred_ranks(values: FloatArray) -> FloatArray:
    """Ranks scaled to [-1/2, 1/2]; ties share theirs."""
    order = values[:, None]
    ranks = (order > values[None, :]).sum(axis=1) + 0.5 * ((order == values[None, :]).sum(axis=1) - 1)
    result: FloatArray = ranks / max(len(values) - 1, 1) - 0.5
    return result


def train(make_job: MakeJob, settings: Settings, log: Log = print, checkpoint: Path | None = None) -> FloatArray:
    """Meta-trained weights [SIZE]; see the module's docstring for the estimator.

    checkpoint: a JSON file written after every generation and continued from, bit for bit, if it is there. Raises
    ValueError if it was made with other settings.
    """
    rng = np.random.default_rng(settings.seed)
    phi: FloatArray = ControllerNet(0, 2.0, 2.0).phi.numpy().copy()
    first = 0
    if checkpoint is not None and checkpoint.exists():
        first, phi = _continue(checkpoint, settings, rng)
    pairs = settings.pairs
    for generation in range(first, settings.generations):
        batch = [make_job(int(s)) for s in rng.integers(0, HELD_OUT, settings.jobs)]
        eps = rng.normal(size=(pairs, SIZE))
        candidates = np.concatenate([phi + settings.sigma * eps, phi - settings.sigma * eps])
        costs = np.array([np.mean([log_cost(candidate, job) for job in batch]) for candidate in candidates])
        utility = centred_ranks(-costs)
        gradient = (utility[:pairs] - utility[pairs:]) @ eps / (2.0 * settings.sigma * pairs)
        phi = phi + settings.rate * gradient / max(1.0, float(np.linalg.norm(gradient)))
        log(f"generation {generation}: mean log cost {costs.mean():.4f}, |g| {np.linalg.norm(gradient):.2f}")
        if checkpoint is not None:
            _keep(checkpoint, settings, generation + 1, phi, rng)
    return phi


def _identity_of(settings: Settings) -> dict[str, Any]:
    """What must agree between a checkpoint and a training that continues it; more generations may be added."""
    return {name: getattr(settings, name) for name in ("seed", "pairs", "jobs", "sigma", "rate", "make_job")}


def _keep(path: Path, settings: Settings, generation: int, phi: FloatArray, rng: np.random.Generator) -> None:
    document = {"settings": _identity_of(settings), "generation": generation, "phi": phi.tolist()}
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(json.dumps({**document, "rng": rng.bit_generator.state}) + "\n", encoding="utf-8")
    temporary.replace(path)


def _continue(path: Path, settings: Settings, rng: np.random.Generator) -> tuple[int, FloatArray]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        found, generation = document["settings"], int(document["generation"])
        phi = np.array(document["phi"], dtype=np.float64)
        rng.bit_generator.state = document["rng"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a checkpoint of this training ({error})") from None
    if found != _identity_of(settings):
        raise ValueError(f"{path}: was made with other settings: {found}")
    return generation, phi


def compare(arms: dict[str, FloatArray | None], make_job: MakeJob, count: int, log: Log = print) -> dict[str, Any]:
    """Arms beside the identity start on `count` held-out jobs, paired: {arm: {difference, low, high}} and the costs.

    difference: mean of log cost minus that of the identity start (negative: better) with its 95 % interval
    (percentile bootstrap over jobs). The arm "off" is there always: Adam with the learned clip and no controller.
    """
    batch = [make_job(HELD_OUT + index) for index in range(count)]
    costs = {"identity": [log_cost(None, job) for job in batch], "off": [_off(job) for job in batch]}
    costs.update({name: [log_cost(phi, job) for job in batch] for name, phi in arms.items()})
    base = np.array(costs["identity"])
    rng = np.random.default_rng(0)
    rows = rng.integers(0, count, (RESAMPLES, count))
    report: dict[str, Any] = {"jobs": count, "identity": {"mean_log_cost": float(base.mean())}}
    for name, values in costs.items():
        if name != "identity":
            difference = np.array(values) - base
            low, high = np.percentile(difference[rows].mean(axis=1), [2.5, 97.5])
            report[name] = {"difference": float(difference.mean()), "low": float(low), "high": float(high)}
            log(f"{name} against identity, {count} held-out jobs: {difference.mean():+.4f} [{low:+.4f}, {high:+.4f}]")
    return report


def _off(job: Job) -> float:
    return log_cost(None, job, controller="off")


def hash_of(phi: list[float]) -> str:
    """SHA-256 of the numbers as they stand in the file."""
    return hashlib.sha256(json.dumps(phi).encode()).hexdigest()


def card(phi: FloatArray, settings: Settings, held_out: dict[str, Any]) -> dict[str, Any]:
    """The document that ships: the weights, their hash, and how they were made."""
    numbers = [round(float(value), 6) for value in phi]
    return {
        "trained_on": settings.make_job,
        "command": f"python -m rl.optim.meta_train --seed {settings.seed} --generations {settings.generations} "
        f"--pairs {settings.pairs} --jobs {settings.jobs} --make-job {settings.make_job}",
        "seed": settings.seed,
        "torch": torch.__version__,
        "held_out_against_identity": held_out,
        "sha256": hash_of(numbers),
        "phi": numbers,
    }


def make_weights(
    settings: Settings, validation: int, log: Log = print, checkpoint: Path | None = None
) -> dict[str, Any]:
    """Train, judge on held-out jobs beside the identity, Adam and the weights that ship now; the card."""
    torch.set_num_threads(1)
    make_job = find_job(settings.make_job)
    phi = train(make_job, settings, log, checkpoint)
    arms: dict[str, FloatArray | None] = {"trained": phi, "shipped": load_weights(SHIPPED).numpy()}
    held_out = compare(arms, make_job, validation, log)
    return card(phi, settings, held_out)


def write_card(path: Path, document: dict[str, Any]) -> None:
    """One JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Train, compare on held-out jobs, write the JSON file with how it was made."""
    defaults = Settings()
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--generations", type=int, default=defaults.generations)
    parser.add_argument("--pairs", type=int, default=defaults.pairs)
    parser.add_argument("--jobs", type=int, default=defaults.jobs, help="training runs per candidate and generation")
    parser.add_argument("--validation", type=int, default=24, help="held-out runs of the comparison")
    parser.add_argument("--make-job", default=DEFAULT_JOB, help="package.module:function")
    parser.add_argument("--checkpoint", type=Path, default=None, help="continue from, and write, this file")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    settings = Settings(
        options.seed, options.generations, options.pairs, options.jobs, make_job=options.make_job
    )  # the other two keep their defaults
    write = sys.stdout.write

    def log(line: str) -> None:
        write(line + "\n")
        sys.stdout.flush()

    write_card(options.out, make_weights(settings, options.validation, log, options.checkpoint))
    return 0


if __name__ == "__main__":
    sys.exit(main())
