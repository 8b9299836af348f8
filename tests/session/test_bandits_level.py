"""MetaRL bandits and calibration inside a session."""

from __future__ import annotations

import numpy as np
import pytest

from agents import layout as at
from trader.core.rows import ENTRY, EXIT, TABLES, Parameter
from trader.session.bandits import ARMS, FLOOR

SETS = (
    "levels.bandits.every=10", "levels.bandits.patience=5", "levels.self_modifier.enabled=false",
    "levels.calibration.every=10", "population.controls={ frozen = 0.1, random = 0.1 }",
)  # fmt: skip


@pytest.fixture(scope="module")
def block(make_block):
    return make_block(frames=2500, seed=4)


@pytest.fixture(scope="module")
def whole(run, make_config, block):
    return run(make_config(*SETS), block)


def column(rows, table, name):
    values = rows.column(table, name)
    kind = next(c.kind for c in TABLES[table].columns if c.name == name)
    return values.view(np.float64) if kind == "float" else values


def test_every_ticket_is_redeemed_once_by_a_trade_decided_after_it(whole):
    rows = whole[1]
    tickets, trades = column(rows, "bandit", "ticket"), column(rows, "bandit", "trade")
    assert len(set(tickets.tolist())) == len(tickets)
    used = trades[trades >= 0]
    assert len(set(used.tolist())) == len(used) > 100
    decided = dict(
        zip(rows.column("entry", "trade").tolist(), rows.column("entry", "decided_ms").tolist(), strict=True)
    )
    closed = dict(zip(rows.column("exit", "trade").tolist(), rows.column("exit", "time_ms").tolist(), strict=True))
    drawn, known = column(rows, "bandit", "decided_ms"), column(rows, "bandit", "time_ms")
    for trade, drawn_ms, time_ms in zip(trades.tolist(), drawn.tolist(), known.tolist(), strict=True):
        if trade >= 0:
            assert drawn_ms < decided[trade] < closed[trade] <= time_ms


def test_propensities_are_what_arms_were_drawn_with(whole):
    """Each arm is drawn as often as its propensities say: inverse weighting brings every arm to one."""
    rows = whole[1]
    arm, propensity = column(rows, "bandit", "arm"), column(rows, "bandit", "propensity")
    assert set(arm.tolist()) == set(ARMS)
    assert (propensity >= FLOOR / len(ARMS) - 1e-12).all()
    traded = column(rows, "bandit", "parameter") != int(Parameter.MUTATION_STRENGTH)
    for value in ARMS:
        weights = np.where(arm[traded] == value, 1.0 / propensity[traded], 0.0)
        assert abs(weights.mean() - 1.0) < 5 * weights.std() / np.sqrt(len(weights))


def test_rewards_are_bounded_and_follow_the_result(whole):
    rows = whole[1]
    reward, trade = column(rows, "bandit", "reward"), column(rows, "bandit", "trade")
    assert ((reward >= 0) & (reward <= 1)).all()
    result = dict(zip(rows.column("exit", "trade").tolist(), rows.column("exit", "trade_pnl").tolist(), strict=True))
    for number, value in zip(trade.tolist(), reward.tolist(), strict=True):
        if number >= 0:
            assert (value > 0.5) == (result[number] > 0) or value == 0.5
    ran_out = (trade < 0) & (column(rows, "bandit", "parameter") != int(Parameter.MUTATION_STRENGTH))
    assert ran_out.any()
    assert (reward[ran_out] == 0.5).all()


def test_a_drawn_multiplier_acts_on_its_habit_and_controls_keep_one(whole):
    engine, _ = whole
    level = next(level for level in engine.levels if level.spec.name == "bandits")
    population = engine.books.population
    place = {agent: row for row, agent in enumerate(population.roster.agent.tolist())}
    multipliers = np.concatenate([market.multipliers for market in population.markets])
    assert len(level._open) > 20
    for agent, ticket in level._open.items():
        assert multipliers[place[agent], ticket.parameter - 1] == ticket.arm
    controls = np.isin(population.roster.operator, (5, 6))
    assert controls.any()
    assert (multipliers[controls] == 1.0).all()
    for market in population.markets:
        stop = market.phenotypes[:, list(__import__("agents.genome", fromlist=["x"]).NAMES).index("stop_atr")]
        np.testing.assert_allclose(market.habits[:, at.STOP_ATR], stop * market.multipliers[:, 2])


def test_mutation_strength_is_drawn_at_birth_and_rewarded_by_the_first_judgement(whole):
    rows = whole[1]
    births = column(rows, "bandit", "parameter") == int(Parameter.MUTATION_STRENGTH)
    assert births.sum() > 5
    born = dict(zip([r[2] for r in rows.rows("birth")], [r[1] for r in rows.rows("birth")], strict=True))
    for agent, drawn in zip(
        column(rows, "bandit", "agent")[births].tolist(), column(rows, "bandit", "decided_ms")[births].tolist(),
        strict=True,
    ):  # fmt: skip
        assert born[agent] == drawn


def test_windows_are_another_way_to_forget(run, make_config, block, whole):
    other = run(make_config(*SETS, 'levels.bandits.forgetting="window"', "levels.bandits.window=30"), block)[1]
    assert whole[1].same_as(other) is not None
    assert len(other.rows("bandit")) > 100


def test_confidence_is_told_before_the_trade_and_is_the_score_until_enough_is_known(whole):
    rows = whole[1]
    confidence, score = rows.column("entry", "confidence"), rows.column("entry", "score")
    assert (confidence[:30] == score[:30]).all()
    later = confidence != score
    assert later.sum() > 100
    assert ((confidence >= 0) & (confidence <= 10_000)).all()
    bins = at.BINS * score // 10_000
    last = rows.rows("entry")[-1]
    engine = whole[0]
    table = engine.books.population.calibration[last[ENTRY.position("archetype")]]
    assert not np.isnan(table).any()
    assert abs(last[ENTRY.position("confidence")] / 1e4 - table[bins[-1]]) < 0.2


def test_told_probabilities_say_more_than_scores_out_of_sample(whole):
    """Told at the decision, compared with what came; how near they are is `benchmarks/calibration_error.py`."""
    rows = whole[1]
    told = dict(zip(rows.column("entry", "trade").tolist(), rows.column("entry", "confidence").tolist(), strict=True))
    score = dict(zip(rows.column("entry", "trade").tolist(), rows.column("entry", "score").tolist(), strict=True))
    trades = rows.column("exit", "trade")
    won = rows.column("exit", EXIT.columns[EXIT.position("trade_pnl")].name) > 0
    later = slice(len(trades) // 3, None)
    probability = np.array([told[trade] for trade in trades[later].tolist()]) / 1e4
    raw = np.array([score[trade] for trade in trades[later].tolist()]) / 1e4
    assert np.mean((probability - won[later]) ** 2) < np.mean((raw - won[later]) ** 2)


@pytest.mark.parametrize("name", ["bandits", "calibration"])
def test_off_is_the_build_without_it(name, run, make_config, make_block, monkeypatch):
    from rl.bandits import PooledThompson
    from trader.session import calibration

    off = make_config(*SETS, f"levels.{name}.enabled=false")
    plain = run(off, make_block(frames=1200))[1]

    def never(*args, **kwargs):
        raise AssertionError("touched")

    if name == "bandits":
        monkeypatch.setattr(PooledThompson, "__init__", never)
        assert len(plain.rows("bandit")) == 0
    else:
        monkeypatch.setattr(calibration, "probabilities", never)
        assert (plain.column("entry", "confidence") == plain.column("entry", "score")).all()
    assert plain.same_as(run(off, make_block(frames=1200))[1]) is None
