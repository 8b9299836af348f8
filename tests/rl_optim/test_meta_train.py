"""Offline training of the controller: it improves a task where improvement is known to exist, and ships usable
weights.
"""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from torch import nn

from rl.optim import NestedAdam, trading_jobs
from rl.optim.controller import SIZE
from rl.optim.meta_train import Job, Settings, centred_ranks, compare, find_job, hash_of, log_cost, main, toy_job, train
from rl.optim.tasks import RegimeToy
from rl.optim.trading_jobs import trading_job
from rl.optim.weights import NAMED, SHIPPED, load_weights


def timid_quadratic(make_optimizer):
    """A rate far too small: raising it early is all there is to learn."""
    theta = nn.Parameter(torch.ones(8))
    optimizer = make_optimizer([theta])
    total = 0.0
    for _ in range(60):
        optimizer.zero_grad()
        loss = (theta**2).sum()
        loss.backward()
        optimizer.observe(loss=loss)
        optimizer.step()
        total += loss.item()
    return total / 60


def timid_job(seed):
    return Job(timid_quadratic, 1e-3)


def test_es_learns_to_raise_a_timid_rate():
    phi = train(timid_job, Settings(seed=0, generations=12, pairs=4, jobs=1), log=lambda _: None)
    assert phi.shape == (SIZE,)
    assert log_cost(phi, timid_job(0)) < log_cost(None, timid_job(0)) - 0.1
    report = compare({"trained": phi}, timid_job, 2, log=lambda _: None)
    assert report["trained"]["high"] < -0.1
    assert report["off"]["low"] <= report["off"]["difference"] <= report["off"]["high"]


def test_es_is_reproducible_and_writes_what_it_did(tmp_path, capsys):
    paths = [tmp_path / name for name in ("a.json", "b.json")]
    job = f"{toy_job.__module__}:{toy_job.__name__}"
    for path in paths:
        options = f"--seed 3 --generations 1 --pairs 1 --jobs 1 --validation 1 --make-job {job} --out"
        assert main([*options.split(), str(path)]) == 0
    records = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    assert records[0] == records[1]
    assert records[0]["trained_on"] == job
    assert load_weights(paths[0]).shape == (SIZE,)
    assert records[0]["sha256"] == hash_of(records[0]["phi"])
    assert "held-out" in capsys.readouterr().out


def test_a_stopped_training_goes_on_bit_for_bit(tmp_path):
    kept, quiet = tmp_path / "half.json", {"log": lambda _: None}
    whole = train(timid_job, Settings(generations=3, pairs=2, jobs=1), **quiet)
    train(timid_job, Settings(generations=1, pairs=2, jobs=1), checkpoint=kept, **quiet)
    assert np.array_equal(train(timid_job, Settings(generations=3, pairs=2, jobs=1), checkpoint=kept, **quiet), whole)
    with pytest.raises(ValueError, match="other settings"):
        train(timid_job, Settings(seed=1, generations=3, pairs=2, jobs=1), checkpoint=kept, **quiet)
    kept.write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match="not a checkpoint"):
        train(timid_job, Settings(generations=3, pairs=2, jobs=1), checkpoint=kept, **quiet)


def test_trading_jobs_are_functions_of_their_seed_and_hear_their_optimizer(monkeypatch):
    monkeypatch.setattr(trading_jobs, "STEPS", {"PPO": 1024, "A2C": 4096, "DQN": 400})
    timid = np.zeros(SIZE)
    timid[-2] = -3.0  # output bias of the rate: a quarter from the first decision on
    seen = set()
    for seed in range(40):
        job = trading_job(seed)
        if job.task.policy in seen:
            continue
        seen.add(job.task.policy)
        first = log_cost(None, job)
        assert math.isfinite(first)
        assert log_cost(None, job) == first
        quick = Job(dataclasses.replace(job.task, lr=0.02), 0.02, job.options)
        assert log_cost(timid, quick) != log_cost(None, quick)
        assert 0.0 < job.task.oracle() < 8.0
    assert seen == {"PPO", "A2C", "DQN"}


@pytest.mark.parametrize("name", ["", "nowhere:at_all", "rl.optim:nothing", "rl.optim"])
def test_a_job_that_is_not_there_is_refused(name):
    with pytest.raises(ValueError, match="no job"):
        find_job(name)


def test_ranks():
    np.testing.assert_allclose(centred_ranks(np.array([3.0, 1.0, 2.0])), [0.5, -0.5, 0.0])
    np.testing.assert_allclose(centred_ranks(np.array([1.0, 1.0, 2.0])), [-0.25, -0.25, 0.5])


def test_shipped_weights_load_and_say_how_they_were_made():
    record = json.loads(SHIPPED.read_text(encoding="utf-8"))
    assert {"trained_on", "command", "seed", "held_out_against_identity"} <= set(record)
    optimizer = NestedAdam([nn.Parameter(torch.zeros(3))], weights="shipped")
    assert torch.equal(optimizer.driver.net.phi, load_weights(SHIPPED))
    with pytest.raises(ValueError, match="finite numbers"):
        load_weights(np.zeros(3))
    with pytest.raises(ValueError, match="finite numbers"):
        load_weights(np.full(SIZE, math.nan))


def test_weights_trained_on_trading_carry_their_card():
    record = json.loads(NAMED["trading"].read_text(encoding="utf-8"))
    assert record["trained_on"] == f"{trading_job.__module__}:{trading_job.__name__}"
    assert record["sha256"] == hash_of(record["phi"])
    assert {"off", "trained", "shipped", "jobs"} <= set(record["held_out_against_identity"])
    optimizer = NestedAdam([nn.Parameter(torch.zeros(3))], weights="trading")
    assert torch.equal(optimizer.driver.net.phi, load_weights(NAMED["trading"]))


def test_toy_is_a_function_of_its_seed_and_small_version_of_the_gate_holds():
    """benchmarks/optim_regime_toy.py is the gate; here two seeds, three rates and 800 steps."""
    rates = (3e-4, 3e-3, 3e-2)
    costs = {"adam": [], "nested": []}
    for seed in (0, 1):
        task = RegimeToy(seed, steps=800, switch_every=200)
        clipped = RegimeToy(seed, steps=800, switch_every=200, max_grad_norm=0.5)
        for rate in rates:
            costs["adam"].append(clipped(lambda p, rate=rate: torch.optim.Adam(p, lr=rate, fused=True)))
            costs["nested"].append(task(lambda p, rate=rate: NestedAdam(p, lr=rate)))
    assert np.mean(costs["nested"]) < 0.85 * np.mean(costs["adam"])
    again = RegimeToy(0, steps=800, switch_every=200)(lambda p: NestedAdam(p, lr=rates[0]))
    assert again == costs["nested"][0]
