"""The self-modifier in a session: tried on trial, judged by pairs, decided again, rolled back; genomes stay as they were."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from agents import genome
from agents import layout as at
from trader.core.rows import MODIFICATION, TABLES, OrderKind

SETS = (
    "levels.self_modifier.every=10", "levels.self_modifier.window=120", "levels.self_modifier.trial=60",
    "levels.self_modifier.trial_trades=1", "levels.self_modifier.points=5", "levels.self_modifier.margin=0.5",
    "levels.self_modifier.budget=32", "levels.bandits.enabled=false", "population.controls={ frozen = 0.1, random = 0.1 }",
)  # fmt: skip
OFF = "levels.self_modifier.enabled=false"


@pytest.fixture(scope="module")
def block(make_block):
    return make_block(frames=2500, seed=4)


@pytest.fixture(scope="module")
def whole(run, make_config, block):
    return run(make_config(*SETS), block)


def rows_of(rows, name="modification"):
    return [dict(zip([c.name for c in TABLES[name].columns], line, strict=True)) for line in rows.rows(name).tolist()]


def real(value):
    return float(np.array([value], np.int64).view(np.float64)[0])


def test_changes_are_adopted_kept_and_rolled_back(whole):
    found = rows_of(whole[1])
    assert {line["kept"] for line in found} >= {0, 1}
    for line in found:
        assert real(line["before"]) != real(line["after"])
        assert real(line["confidence_after"]) >= real(line["confidence_before"]) + 5
        assert real(line["expected"]) > 0
        assert line["adopted_ms"] < line["time_ms"] or line["kept"] == -1
        if line["kept"] >= 0:
            assert (real(line["realised"]) >= 0) == bool(line["kept"]), "what was worse came back"
            assert line["time_ms"] - line["adopted_ms"] >= 60 * 3_600_000
        else:
            assert np.isnan(real(line["realised"]))
    trials = {line["trial"] for line in found}
    assert trials == set(range(1, len(trials) + 1))


def test_controls_are_never_touched(whole):
    births = {line["agent"]: line["operator"] for line in births_of(whole[1])}
    assert {births[line["agent"]] for line in rows_of(whole[1])}.isdisjoint({5, 6})


def births_of(rows):
    names = [column.name for column in TABLES["birth"].columns]
    return [dict(zip(names, line, strict=True)) for line in rows.rows("birth")]


def test_genomes_stay_and_phenotypes_are_the_kept_changes(whole):
    engine, rows = whole
    population = engine.books.population
    born = {line["agent"]: json.loads(line["genes"]) for line in births_of(rows)}
    overlay = {}
    for line in rows_of(rows):
        if line["kept"] != 0:
            overlay.setdefault(line["agent"], {})[line["gene"]] = real(line["after"])
    phenotypes, checked = population.phenotypes(), 0
    for row, agent in enumerate(population.roster.agent.tolist()):
        for number, name in enumerate(genome.NAMES):
            if name in ("symbol", "timeframe"):
                continue
            assert population.roster.genomes[row, number] == pytest.approx(born[agent][name])
            expected = overlay.get(agent, {}).get(number, born[agent][name])
            assert phenotypes[row, number] == pytest.approx(expected)
            checked += number in overlay.get(agent, {})
    assert checked > 3, "some changes are in force at the end"


def test_cutting_the_stream_changes_nothing(whole, run, make_config, block):
    assert whole[1].same_as(run(make_config(*SETS), block, cuts=(733, 734, 1400))[1]) is None


def test_a_checkpoint_between_adoption_and_judgement_changes_nothing(whole, run, make_config, block, go_on):
    config = make_config(*SETS)
    adopted = [line["adopted_ms"] for line in rows_of(whole[1]) if line["kept"] >= 0]
    cut = int(np.searchsorted(block.times, adopted[len(adopted) // 2])) + 15
    first, rows = run(config, block[0:cut], finish=False)
    assert first._modifier.trials
    go_on(first, rows, block, cut)
    assert whole[1].same_as(rows) is None


def test_an_entry_taken_back_was_never_sent(run, make_config, block, monkeypatch):
    """On adoption the same candle is decided again: the queue then holds what the changed genes say, or nothing."""
    from trader.session.modifier import SelfModifierLevel

    seen = []
    original = SelfModifierLevel._decide_again

    def watched(self, books, m, rows):
        market = books.population.markets[m]
        before = market.state[rows].copy()
        changed = original(self, books, m, rows)
        seen.append((before, market.state[rows].copy(), market.habits[rows].copy()))
        return changed

    monkeypatch.setattr(SelfModifierLevel, "_decide_again", watched)
    engine, _ = run(make_config(*SETS), block)
    withdrawn = 0
    for before, after, habits in seen:
        for old, new, habit in zip(before, after, habits, strict=True):
            assert new[at.SIDE] == 0
            assert old[at.CASH] == new[at.CASH]
            if new[at.PENDING] == int(OrderKind.ENTRY):
                assert new[at.PENDING_SCORE] >= int(habit[at.THRESHOLD] * 10_000) - 1
                assert new[at.HELD] > 0
            else:
                assert new[at.HELD] == 0
                withdrawn += old[at.PENDING] == int(OrderKind.ENTRY)
    assert withdrawn > 3
    engine.books.check_agents()


def test_a_failing_comparison_leaves_every_gene_as_it_was(run, make_config, block, monkeypatch):
    """What is tried lives in shadows: an exception on the way changes no agent."""
    from trader.session.counterfactual import Counterfactual

    engine, _ = run(make_config(*SETS), block[0:900], finish=False)
    before = engine.books.population.phenotypes()

    def broken(*args, **kwargs):
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr(Counterfactual, "run", broken)
    monkeypatch.setattr(engine._modifier, "_end_trials", lambda *args: [])

    def look_on():
        for step in range(200):
            engine._modifier.update(engine.books, engine.frame + 10 * step, engine.counts.last_ms)

    with pytest.raises(RuntimeError, match="on purpose"):
        look_on()
    assert (engine.books.population.phenotypes() == before).all()


def test_pairs_of_equal_genes_have_no_advantage_and_order_does_not_matter(whole):
    engine = whole[0]
    level, market = engine._modifier, engine.books.population.markets[0]
    block, features = level.recent.last(120)
    rows = np.arange(12)
    genomes = market.phenotypes[rows]
    traits = level._traits(market, rows)
    same = level._pairs[0].run(block, features, (genomes, genomes), *traits)
    assert (same.advantage == 0).all()
    assert (same.error == 0).all()
    other = market.phenotypes[rows[::-1]]
    one = level._pairs[0].run(block, features, (genomes, other), *traits)
    back = level._pairs[0].run(block, features, (other, genomes), *traits)
    np.testing.assert_array_equal(one.advantage, -back.advantage)
    shuffled = np.random.default_rng(0).permutation(12)
    mixed = level._pairs[0].run(
        block, features, (genomes[shuffled], other[shuffled]), *(part[shuffled] for part in traits[:3]), traits[3]
    )
    np.testing.assert_array_equal(mixed.advantage, one.advantage[shuffled])


def test_lamarckian_children_inherit_what_was_kept(run, make_config, block):
    plain, heirs = (
        run(make_config(*SETS, f'levels.self_modifier.inheritance="{how}"'), block)[1]
        for how in ("baldwinian", "lamarckian")
    )
    assert plain.same_as(heirs) is not None
    assert rows_of(heirs)


def test_off_is_the_build_without_it(run, make_config, make_block, monkeypatch):
    import agents.modifier
    import trader.session.counterfactual as counterfactual
    import trader.session.modifier as modifier

    plain = run(make_config(*SETS, OFF), make_block(frames=1200))[1]

    def never(*args, **kwargs):
        raise AssertionError("touched")

    for owner, name in (
        (modifier.SelfModifierLevel, "__init__"), (counterfactual.Counterfactual, "__init__"),
        (agents.modifier.Proposer, "__init__"),
    ):  # fmt: skip
        monkeypatch.setattr(owner, name, never)
    assert plain.same_as(run(make_config(*SETS, OFF), make_block(frames=1200))[1]) is None
    assert len(plain.rows("modification")) == 0
    assert MODIFICATION.name not in plain.numeric


def test_the_session_keeps_no_more_frames_than_it_needs(whole):
    level = whole[0]._modifier
    assert len(level.recent) == level.recent.length == 190
    assert SimpleNamespace(n=len(level.recent.last(50)[0])).n == 50
