"""A3C: truly asynchronous actor-learners on shared parameters (Mnih et al. 2016, algorithm S3).

`hogwild`: spawned workers pull the shared parameters, roll out, differentiate their own copy and apply the gradient
to the shared parameters and the shared optimizer state without a lock (Recht et al. 2011). Not reproducible by nature.

`turns`: the same learners, but updates happen strictly in the order of the logical workers. At its turn a worker's
gradient, computed from the parameters of its previous turn, is applied, and it pulls anew: every gradient is exactly
`workers - 1` updates old, so asynchrony's effect is there, and the run is bit-reproducible on one machine whatever
the number of processes (`processes=1` runs in this process and spawns nothing).

Telemetry: staleness = updates of the shared parameters between pull and apply. `gradient_hook(worker, update,
gradients) -> gradients` on the policy object sees every gradient before it is applied (fault injection in tests).
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from rl.core.actor_critic import ActorCriticAgent, ActorCriticConfig
from rl.core.learner import Learner, LearnerGradient
from rl.core.processes import CONTEXT, WorkerError, WorkerGroup, WorkerLink
from rl.optim import Telemetry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

    from rl.optim import UpdateRule

MODES = ("hogwild", "turns")
REPORT_EVERY = 32
KEPT_TELEMETRY = 20_000
TURN_SECONDS = 0.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class A3CConfig(ActorCriticConfig):
    """workers: logical actor-learners, each with n_envs environments; mode: "hogwild" or "turns"; processes: only for
    "turns", how many processes the workers are spread over (hogwild always has one a worker). Rewards are scaled by 0.1:
    advantages are not normalised here, and with values of 100 the bounded gradient of Huber's critic would drown in the
    unbounded one of the policy under the common clip (measured: docs/policies.md).
    """

    reward_scale: float = 0.1

    workers: int = 2
    mode: str = "hogwild"
    processes: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mode not in MODES:
            raise ValueError(f"mode is one of {MODES}, got {self.mode!r}")
        if self.workers < 1 or self.processes < 1:
            raise ValueError(f"workers and processes must be at least 1, got {self.workers} and {self.processes}")


@dataclasses.dataclass(frozen=True, slots=True)
class UpdateRecord:
    """Telemetry of one update: which worker, gradient norm before clipping, factor it was scaled by (0: skipped),
    staleness in updates.
    """

    worker: int
    gradient_norm: float
    clip_scale: float
    staleness: int


class A3C(ActorCriticAgent[A3CConfig]):
    """See the module's docstring and `A3CConfig`."""

    config_class: ClassVar[type[A3CConfig]] = A3CConfig
    default_learning_rates: ClassVar[dict[str, float]] = {"nested": 1e-3, "adam": 1e-3, "rmsprop": 3e-3, "other": 1e-3}

    def build(self, generator: torch.Generator) -> None:
        """See `Agent.build`."""
        super().build(generator)
        self.calls = 0
        self.gradient_hook: Callable[[int, int, list[Tensor]], Sequence[Tensor]] | None = None
        self.telemetry: deque[UpdateRecord] = deque(maxlen=KEPT_TELEMETRY)
        self.recent: deque[float] = deque(maxlen=100)
        self.worker_reports: dict[int, dict[str, float]] = {}

    def train_for(self, steps: int, callback: Callable[[Any], bool | None]) -> None:
        """See `Agent.train_for`. Environments start anew in each call, with other seeds."""
        if self.make_env is None:
            raise RuntimeError("this policy was made without environments: it can predict, not learn")
        seed = int(np.random.SeedSequence(self.environment_seed, spawn_key=(self.calls,)).generate_state(1)[0])
        self.calls += 1
        if self.config.mode == "hogwild":
            self._hogwild(steps, seed, callback)
        else:
            self._turns(steps, seed, callback)

    def make_learner(self, index: int, seed: int) -> Learner:
        """A learner with its own network and environments."""
        assert self.make_env is not None
        net = self.make_network(torch.Generator())
        return Learner(self.make_env, net, self.distribution, self.config, seed, index, self.gradient_hook)

    def _packed(self) -> dict[str, Any]:
        """What a worker process needs to make learners."""
        return {
            "make_env": self.make_env,
            "spaces": (self.observation_space, self.action_space),
            "config": dataclasses.asdict(self.config),
            "hook": self.gradient_hook,
            "rate": self.base_learning_rate,
        }

    def _record(self, worker: int, norm: float, scale: float, staleness: int, episode_return: float | None) -> None:
        self.telemetry.append(UpdateRecord(worker, norm, scale, staleness))
        self.updates_done += 1
        if episode_return is not None:
            self.recent.append(episode_return)

    # -- hogwild -----------------------------------------------------------------------------------------------------

    def _hogwild(self, steps: int, seed: int, callback: Callable[[Any], bool | None]) -> None:
        self.rule.share_memory()
        taken, applied, arrived = CONTEXT.Value("q", 0), CONTEXT.Value("q", 0), CONTEXT.Value("q", 0)
        arguments = [(self.rule, self.net, taken, applied, arrived, steps, seed)] * self.config.workers
        start = self.steps_done
        with WorkerGroup(hogwild_worker, self._packed(), arguments) as group:
            while group.running:
                for worker, message in group.messages(timeout=0.2):
                    for record in message["updates"]:
                        self._record(worker, *record)
                    if "report" in message:
                        self.worker_reports[worker] = message["report"]
                self.steps_done = start + int(taken.value)
                if callback(self) is False:
                    break
        self.steps_done = start + int(taken.value)

    # -- turns -------------------------------------------------------------------------------------------------------

    def _turns(self, steps: int, seed: int, callback: Callable[[Any], bool | None]) -> None:
        parameters: list[Tensor] = list(self.net.parameters())
        done = 0
        run = self._turns_here if self.config.processes == 1 else self._turns_spawned
        for worker, result, staleness in run(seed, parameters):
            if self.config.anneal:
                self.rule.set_learning_rate(self.base_learning_rate * max(0.0, 1.0 - done / steps))
            telemetry = Telemetry(loss=result.loss, staleness=staleness, episode_return=result.episode_return)
            update = self.rule.update(telemetry, result.gradients)
            self._record(worker, update.gradient_norm, update.clip_scale, staleness, result.episode_return)
            done += result.steps
            self.steps_done += result.steps
            if done >= steps or callback(self) is False:
                return

    def _turns_here(self, seed: int, parameters: list[Tensor]) -> Iterator[tuple[int, LearnerGradient, int]]:
        """Gradients in turn order, from learners in this process; each pulls when the caller has applied its own."""
        learners = [self.make_learner(index, seed) for index in range(self.config.workers)]
        for learner in learners:
            learner.pull(parameters)
        try:
            turn = 0
            while True:
                learner = learners[turn % len(learners)]
                yield learner.index, learner.gradient(), min(turn, len(learners) - 1)
                learner.pull(parameters)
                turn += 1
        finally:
            for learner in learners:
                learner.batch.close()

    def _turns_spawned(self, seed: int, parameters: list[Tensor]) -> Iterator[tuple[int, LearnerGradient, int]]:
        """The same from spawned processes: worker w lives in process w mod processes."""
        slots = [TurnSlot(parameters) for _ in range(self.config.workers)]
        count = min(self.config.processes, self.config.workers)
        arguments = [(slots, index, count, seed) for index in range(count)]
        with WorkerGroup(turn_worker, self._packed(), arguments) as group:
            turn = 0
            while True:
                worker = turn % len(slots)
                slot = slots[worker]
                while not slot.ready.acquire(timeout=TURN_SECONDS):
                    for _ in group.messages(timeout=0.0):
                        pass  # only deaths are of interest: messages() raises them
                    if not group.running:
                        raise WorkerError("the workers left before the training was done")
                yield worker, slot.read(), min(turn, len(slots) - 1)
                slot.publish(parameters)
                turn += 1

    def digest(self) -> str:
        """SHA-256 of all parameters, to compare runs bit by bit."""
        sha = hashlib.sha256()
        for parameter in self.net.parameters():
            sha.update(parameter.detach().numpy().tobytes())
        return sha.hexdigest()

    def report(self) -> dict[str, float]:
        """See `Agent.report`; with mean staleness and the clipped share of the kept updates."""
        report = super().report()
        if self.recent:
            report["return"] = float(np.mean(self.recent))
        if self.telemetry:
            report["staleness"] = float(np.mean([record.staleness for record in self.telemetry]))
            report["clipped_share"] = float(np.mean([record.clip_scale < 1.0 for record in self.telemetry]))
        return report

    def state_dict(self) -> dict[str, Any]:
        """See `Agent.state_dict`."""
        return {**super().state_dict(), "calls": self.calls}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `Agent.load_state_dict`."""
        super().load_state_dict(state)
        self.calls = int(state["calls"])


class TurnSlot:
    """What one logical worker and the parent exchange: parameters one way, gradients the other, two semaphores.

    numbers: [loss, steps, episode_return or nan].
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self.parameters = [parameter.detach().clone().share_memory_() for parameter in parameters]  # type: ignore[no-untyped-call]
        self.gradients = [torch.zeros_like(parameter).share_memory_() for parameter in self.parameters]  # type: ignore[no-untyped-call]
        self.numbers = torch.zeros(3, dtype=torch.float64).share_memory_()  # type: ignore[no-untyped-call]
        self.ready = CONTEXT.Semaphore(0)
        self.go = CONTEXT.Semaphore(1)

    def write(self, result: LearnerGradient) -> None:
        """Worker: hand a gradient over."""
        torch._foreach_copy_(self.gradients, list(result.gradients))
        ended = float("nan") if result.episode_return is None else result.episode_return
        self.numbers.copy_(torch.tensor([result.loss, float(result.steps), ended], dtype=torch.float64))
        self.ready.release()

    def read(self) -> LearnerGradient:
        """Parent: take it."""
        loss, steps, ended = self.numbers.tolist()
        return LearnerGradient([g.clone() for g in self.gradients], loss, int(steps), None if ended != ended else ended)  # noqa: PLR0124  # nan

    @torch.no_grad()
    def publish(self, parameters: Sequence[Tensor]) -> None:
        """Parent: the worker's next parameters."""
        torch._foreach_copy_(self.parameters, list(parameters))
        self.go.release()


def _policy(packed: dict[str, Any]) -> A3C:
    """A shell of the policy in a worker process: it only makes learners."""
    config = {**packed["config"], "optimizer_options": {}}
    agent = A3C(packed["make_env"], spaces=packed["spaces"], optimizer="rmsprop", **config)
    agent.gradient_hook = packed["hook"]
    return agent


def turn_worker(
    link: WorkerLink, packed: dict[str, Any], slots: list[TurnSlot], first: int, count: int, seed: int
) -> None:
    """Process of `turns`: its logical workers, in their order, for ever."""
    agent = _policy(packed)
    own = range(first, len(slots), count)
    learners = [agent.make_learner(index, seed) for index in own]
    while True:
        for index, learner in zip(own, learners, strict=True):
            slot = slots[index]
            link.acquire(slot.go)
            learner.pull(slot.parameters)
            slot.write(learner.gradient())


def hogwild_worker(
    link: WorkerLink,
    packed: dict[str, Any],
    rule: UpdateRule,
    shared: torch.nn.Module,
    taken: Any,
    applied: Any,
    arrived: Any,
    steps: int,
    seed: int,
) -> None:
    """Process of `hogwild`: pull, roll out, differentiate, apply; no lock around the parameters."""
    agent = _policy(packed)
    learner = agent.make_learner(link.index, seed)
    with arrived.get_lock():
        arrived.value += 1
    while arrived.value < agent.config.workers:  # nobody trains alone while others still import
        link.check()
        time.sleep(0.005)
    parameters = list(shared.parameters())
    records: list[tuple[float, float, int, float | None]] = []
    while taken.value < steps:
        link.check()
        before = applied.value
        learner.pull(parameters)
        result = learner.gradient()
        if agent.config.anneal:
            rule.set_learning_rate(packed["rate"] * max(0.0, 1.0 - taken.value / steps))
        staleness = applied.value - before
        telemetry = Telemetry(loss=result.loss, staleness=staleness, episode_return=result.episode_return)
        update = rule.update(telemetry, result.gradients)
        with applied.get_lock():
            applied.value += 1
        with taken.get_lock():
            taken.value += result.steps
        records.append((update.gradient_norm, update.clip_scale, staleness, result.episode_return))
        if len(records) >= REPORT_EVERY:
            link.send(("updates", {"updates": records}))
            records = []
    link.send(("updates", {"updates": records, "report": rule.report()}))
