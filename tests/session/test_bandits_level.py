"""MetaRL bandits and calibration inside a session."""

from __future__ import annotations

import numpy as np
import pytest

from agents import layout as at
from trader.core.rows import ENTRY, TABLES, Parameter
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


class _Told:
    """Keeps the table that the agents would read."""

    population = property(lambda self: self)

    def calibrate(self, table):
        self.table = table


@pytest.mark.parametrize("seed", range(3))
def test_told_probabilities_are_near_the_truth_where_it_is_known(make_config, seed):
    """Trades whose chance is known, and is not their score: told before, within .05 of it; two archetypes, two truths.
    How near it comes on whole markets, where trades are no independent cases, is `benchmarks/calibration_error.py`."""
    from trader.report.calibration import expected_calibration_error
    from trader.session.calibration import CalibrationLevel
    from trader.session.outcomes import Outcome

    level, books = CalibrationLevel(make_config(), 2), _Told()
    generator = np.random.Generator(np.random.Philox(seed))
    blank = Outcome(*[0] * len(Outcome._fields))
    told, raw, truths, won = [], [], [], []
    for boundary in range(60):
        score, archetype = generator.uniform(0.2, 0.9, 100), generator.integers(0, 2, 100)
        truth = np.where(archetype == 0, 0.2 + 0.3 * score, 0.7 * score**2)
        outcome = generator.random(100) < truth
        if boundary >= 20:
            told += books.table[archetype, (at.BINS * score).astype(np.int64)].tolist()
            raw, truths, won = raw + score.tolist(), truths + truth.tolist(), won + outcome.tolist()
        level.take([
            blank._replace(
                trade=100 * boundary + i, archetype=int(archetype[i]), score=int(1e4 * score[i]), pnl=2 * int(outcome[i]) - 1
            )
            for i in range(100)
        ])  # fmt: skip
        level.update(books, boundary, boundary)
    assert np.abs(np.array(told) - truths).mean() < 0.05
    assert expected_calibration_error(np.array(told), np.array(won)) < 0.05
    assert expected_calibration_error(np.array(raw), np.array(won)) > 0.15


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
