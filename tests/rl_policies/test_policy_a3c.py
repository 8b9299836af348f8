"""A3C: reproducible turns, fresh gradients, watched and obedient workers, explosions."""

import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import gymnasium as gym
import numpy as np
import pytest
import torch

from rl.core.agent import single_thread
from rl.core.processes import WorkerError
from rl.core.rollout import collect
from rl.policies import A2C, A3C


def cartpole():
    return gym.make("CartPole-v1")


def turns(processes, workers=2, optimizer="nested", steps=1500, **hyper):
    agent = A3C(cartpole, seed=1, optimizer=optimizer, mode="turns", workers=workers, processes=processes, **hyper)
    return agent.learn(steps)


def alive(pid):
    """Whether a process still runs (a zombie does not)."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("optimizer", ["nested"])
def test_turns_give_the_same_bits_twice_and_for_one_and_two_processes(optimizer):
    here, again, spawned = turns(1, optimizer=optimizer), turns(1, optimizer=optimizer), turns(2, optimizer=optimizer)
    assert here.digest() == again.digest() == spawned.digest()
    assert here.report() == spawned.report()
    assert turns(1, workers=3, optimizer=optimizer).digest() != here.digest()


def test_three_workers_on_two_processes():
    assert turns(2, workers=3, optimizer="adam").digest() == turns(1, workers=3, optimizer="adam").digest()


def test_staleness_of_turns_is_the_number_of_other_workers():
    agent = turns(1, workers=4, optimizer="adam")
    assert [record.staleness for record in agent.telemetry][:8] == [0, 1, 2, 3, 3, 3, 3, 3]


def test_one_worker_in_turns_is_the_synchronous_control():
    """Without other workers there is no asynchrony: the same updates as A2C on the same environment and noise."""
    agent = A3C(cartpole, seed=0, mode="turns", workers=1, optimizer="rmsprop", anneal=False)
    learner = agent.make_learner(0, 5)
    control = A2C(cartpole, seed=0, n_envs=1, optimizer="rmsprop", anneal=False)
    control.net.load_state_dict(agent.net.state_dict())
    control._batch = agent.make_learner(0, 5).batch
    control.generator = agent.make_learner(0, 5).generator
    parameters = list(agent.net.parameters())
    from rl.optim import Telemetry

    with single_thread():  # as `learn` does: sums depend on the number of threads
        for _ in range(20):
            learner.pull(parameters)
            result = learner.gradient()
            agent.rule.update(Telemetry(loss=result.loss), result.gradients)
    control.learn(320)
    for a, b in zip(parameters, control.net.parameters(), strict=True):
        # not to the bit: flat parameters lie unaligned in memory, and BLAS sums them in another order
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


def test_gradients_are_fresh():
    """The regression: with local gradients never cleared, identical steps give norms 1, 2, 3, ... times the first."""
    agent = A3C(cartpole, seed=0, mode="turns", workers=1)
    learner = agent.make_learner(0, 5)
    rollout = collect(learner.batch, learner.net, learner.distribution, 16, learner.generator)
    from rl.core.learner import rollout_gradient

    norms = []
    for _ in range(5):
        learner.pull(list(agent.net.parameters()))
        gradients, _ = rollout_gradient(rollout, learner.net, learner.distribution, learner.config)
        norms.append(float(torch.nn.utils.get_total_norm(gradients)))
    assert norms == [norms[0]] * 5
    assert norms[0] > 0
    assert all(p.grad is None for p in learner.net.parameters())


def test_the_classic_recipe_would_accumulate():
    """What the test above protects from, shown on torch as installed (ikostrikov's `ensure_shared_grads`)."""
    shared, local = torch.nn.Linear(3, 1), torch.nn.Linear(3, 1)
    optimizer = torch.optim.SGD(shared.parameters(), lr=0.0)
    norms = []
    for _ in range(3):
        local.load_state_dict(shared.state_dict())
        optimizer.zero_grad()
        local(torch.ones(1, 3)).sum().backward()
        for mine, theirs in zip(local.parameters(), shared.parameters(), strict=True):
            if theirs.grad is None:
                theirs.grad = mine.grad
        norms.append(float(torch.nn.utils.get_total_norm([p.grad for p in shared.parameters()])))
        optimizer.step()
    np.testing.assert_allclose(norms, [2.0, 4.0, 6.0], rtol=1e-6)


@pytest.mark.parametrize("optimizer", ["nested"])
def test_hogwild_workers_train_the_shared_parameters(optimizer):
    agent = A3C(lambda: gym.make("CartPole-v1"), seed=0, optimizer=optimizer)
    before = agent.digest()
    agent.learn(4000)
    assert agent.steps_done >= 4000
    assert agent.digest() != before
    assert {record.worker for record in agent.telemetry} == {0, 1}
    assert len(agent.telemetry) == agent.updates_done == agent.steps_done // 16
    assert set(agent.worker_reports) == {0, 1}
    assert max(record.staleness for record in agent.telemetry) >= 1  # they do overlap
    assert np.isfinite(agent.report()["return"])
    agent.learn(500)  # and again


def test_hogwild_shares_the_optimizer_state():
    agent = A3C(cartpole, seed=0, optimizer="rmsprop").learn(2000)
    square = agent.rule.optimizer.square_avg
    assert square.is_shared()
    assert float(square.min()) < 0.9  # it started at one, in this process, and others moved it


class Deadly(gym.Wrapper):
    """Kills its process, or raises, after some steps of one environment in a spawned process."""

    def __init__(self, env, parent, how):
        super().__init__(env)
        self.parent, self.how, self.count = parent, how, 0

    def step(self, action):
        self.count += 1
        if self.count > 200 and os.getpid() != self.parent:
            if self.how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise ArithmeticError("planted failure")
        return super().step(action)


@pytest.mark.parametrize(
    ("mode", "how", "words"),
    [
        ("hogwild", "kill", "died, exit code -9"),
        ("turns", "kill", "died, exit code -9"),
        ("turns", "raise", "planted failure"),
    ],
)
def test_a_dead_worker_is_noticed(mode, how, words):
    me = os.getpid()
    agent = A3C(lambda: Deadly(gym.make("CartPole-v1"), me, how), seed=0, mode=mode, processes=2, optimizer="rmsprop")
    start = time.monotonic()
    with pytest.raises(WorkerError, match=words):
        agent.learn(10_000_000)
    assert time.monotonic() - start < 60
    import multiprocessing

    assert not multiprocessing.active_children()


SCRIPT = """
    import sys, gymnasium as gym
    from rl.policies import A3C
    agent = A3C(lambda: gym.make("CartPole-v1"), seed=0, mode=sys.argv[1], processes=2, optimizer="rmsprop")
    shown = []
    def callback(policy):
        if not shown and policy.updates_done > 10:
            import multiprocessing
            shown.append(1)
            print(*[child.pid for child in multiprocessing.active_children()], flush=True)
    agent.learn(100_000_000, callback)
"""


@pytest.mark.parametrize(
    ("mode", "how"), [("hogwild", signal.SIGINT), ("hogwild", signal.SIGKILL), ("turns", signal.SIGKILL)]
)
def test_no_orphan_is_left(mode, how, tmp_path):
    """Ctrl-C reaches the whole group; SIGKILL only the parent. The script has no main guard, on purpose."""
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(SCRIPT))
    process = subprocess.Popen(
        [sys.executable, str(script), mode], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, env={**os.environ, "PYTHONPATH": str(pathlib.Path.cwd())},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509  # no threads here
    )  # fmt: skip
    children = [int(word) for word in process.stdout.readline().split()]
    assert len(children) == 2, process.stderr.read() if process.poll() is not None else children
    if how is signal.SIGINT:
        os.killpg(process.pid, how)
    else:
        process.kill()
    _, errors = process.communicate(timeout=60)
    if how is signal.SIGINT:
        assert "KeyboardInterrupt" in errors
        assert "Error" not in errors
    deadline = time.monotonic() + 20
    while any(alive(pid) for pid in children) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(alive(pid) for pid in children)


@pytest.mark.parametrize("kind", ["once", "growth"])
def test_a_planted_explosion_is_noticed_and_survived(kind):
    start = 300

    def hook(worker, update, gradients):
        grown = 1.03 ** min(max(update - start, 0), 200)
        exploded = 1e6 if update == start else 1.0
        factor = exploded if kind == "once" else grown
        return [gradient * factor for gradient in gradients]

    agent = A3C(cartpole, seed=0, mode="turns")
    agent.gradient_hook = hook
    thresholds = []
    agent.learn(20_000, lambda policy: thresholds.append(policy.rule.report()["threshold"]))
    records = list(agent.telemetry)
    first = 2 * start  # two workers
    assert all(np.isfinite(p.detach().numpy()).all() for p in agent.net.parameters())
    if kind == "once":
        assert any(record.clip_scale < 1e-3 for record in records[first : first + 10])
        assert agent.rule.report()["spikes"] >= 1
    else:
        # norms end 370 times higher for ever, 3 % an update: the threshold follows, what is typical again is not clipped away
        assert thresholds[-1] > 4 * thresholds[first]
        assert np.median([record.clip_scale for record in records[-100:]]) > 0.2
    assert np.mean(list(agent.recent)[-20:]) > 2 * np.mean(list(agent.recent)[:20])
