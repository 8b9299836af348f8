"""Off-policy evaluation of bandits from stored tickets: against a world whose true values are known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from trader.core.errors import UserError
from trader.lab.bandit import POLICIES, judge

ARMS = np.array([0.7, 1.0, 1.4])
WORTH = np.array([0.3, 0.5, 0.7])


@pytest.fixture(scope="module")
def tickets():
    """A logging policy that prefers the wrong arm; rewards are Bernoulli."""
    rng = np.random.default_rng(0)
    count = 4_000
    propensity = np.array([0.6, 0.25, 0.15])
    arm = rng.choice(3, size=count, p=propensity)
    return {
        "decided_ms": np.arange(count) // 5, "ticket": rng.permutation(count), "timeframe": np.full(count, "1h"),
        "regime": np.full(count, "bull"), "parameter": np.where(np.arange(count) % 2, "stop", "take"),
        "arm": ARMS[arm], "propensity": propensity[arm], "reward": (rng.uniform(size=count) < WORTH[arm]).astype(float),
    }  # fmt: skip


def of(lines, policy, parameter="all"):
    return next(line for line in lines if (line["policy"], line["parameter"]) == (policy, parameter))


def test_fixed_policies_get_their_true_value(tickets):
    lines = judge(tickets)
    assert {line["policy"] for line in lines} == set(POLICIES)
    for policy, truth in (("uniform", WORTH.mean()), ("neutral", 0.5)):
        for name in ("ips", "snips", "doubly_robust"):
            found = of(lines, policy)[name]
            assert abs(found["value"] - truth) < 4 * found["standard_error"]
            assert found["standard_error"] < 0.03
    assert of(lines, "uniform")["logged"] == pytest.approx(0.41, abs=0.03)


def test_a_learner_is_worth_more_than_what_was_logged(tickets):
    lines = judge(tickets)
    for policy in ("thompson", "discounted", "window", "ucb"):
        found = of(lines, policy)["snips"]
        assert found["value"] - 2 * found["standard_error"] > of(lines, policy)["logged"]
        assert of(lines, policy, "stop")["tickets"] == 2_000


def test_the_order_of_rows_does_not_matter_and_newest_takes_the_last(tickets):
    order = np.random.default_rng(1).permutation(4_000)
    assert judge({name: values[order] for name, values in tickets.items()}) == judge(tickets)
    assert of(judge(tickets, newest=500), "uniform")["tickets"] == 500


def test_without_tickets_it_says_so(tickets):
    with pytest.raises(UserError, match="no tickets"):
        judge({name: values[:0] for name, values in tickets.items()})


def test_the_command_prints_a_table_and_one_document(tmp_path):
    from typer.testing import CliRunner

    from trader import run
    from trader.cli.app import app

    url = f"sqlite:///{tmp_path / 'runs.db'}"
    run("configs/quickstart.toml", set=["session.candles=600", "population.size=60"], db=url)
    told = CliRunner().invoke(app, ["lab", "bandit", "--db", url])
    assert told.exit_code == 0
    assert "doubly robust" in told.stdout
    document = json.loads(CliRunner().invoke(app, ["lab", "bandit", "--db", url, "--json"]).stdout)
    assert {line["policy"] for line in document["estimates"]} == set(POLICIES)
