"""Controls and shadows: they learn nothing from selection, take nothing from the pool, and move no price."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest

from agents import controls
from agents.population import founders
from trader.core.rows import TABLES, Cause, Fate, Operator

CONTROLS = "population.controls={frozen=0.1, random=0.2}"
FROZEN, RANDOM = int(Operator.FROZEN), int(Operator.RANDOM)


@pytest.fixture(scope="module")
def session(make_block, make_config, run):
    return run(make_config(CONTROLS), make_block())


def births(rows):
    names = TABLES["birth"].names
    return [dict(zip(names, row, strict=True)) for row in rows.rows("birth")]


def test_shares_leave_somebody_who_evolves():
    assert controls.shares(1000, 0.1, 0.1) == controls.Shares(800, 100, 100)
    assert controls.shares(100, 0.0, 0.0) == controls.Shares(100, 0, 0)
    assert controls.shares(8, 0.05, 0.05) == controls.Shares(6, 1, 1), "a share above nothing is at least one agent"
    assert controls.shares(1, 0.4, 0.4) == controls.Shares(1, 0, 0)
    assert controls.shares(2, 0.4, 0.4).evolving == 1


def test_twins_are_copies_of_founders_from_all_over_the_population():
    first = founders(3, 90, 3, 2, np.arange(3), 0)
    twins = controls.frozen_twins(first, 30)
    assert twins.agent.tolist() == list(range(90, 120))
    assert np.array_equal(twins.genomes, first.genomes[twins.parent_a])
    for column in ("market", "timeframe", "archetype"):
        assert np.array_equal(getattr(twins, column), getattr(first, column)[twins.parent_a])
    assert len(set(twins.parent_a.tolist())) == 30


def test_sql_can_tell_controls_apart(session):
    _, rows = session
    born = births(rows)
    frozen = [row for row in born if row["operator"] == FROZEN]
    drawn = [row for row in born if row["operator"] == RANDOM]
    assert len(frozen) == 12
    assert all(row["frozen"] == 1 and row["generation"] == 0 and row["parent_a"] >= 0 for row in frozen)
    genes = {row["agent"]: row["genes"] for row in born}
    assert all(row["genes"] == genes[row["parent_a"]] for row in frozen)
    generations = {row["generation"] for row in drawn}
    assert generations == set(range(len(generations)))
    assert len(generations) > 10
    assert len(drawn) == 24 * len(generations)
    assert len({row["genes"] for row in drawn}) == len(drawn)
    control = {row["agent"] for row in frozen + drawn}
    judged = set(rows.column("fitness", "agent")[rows.column("fitness", "fate") == int(Fate.CONTROL)].tolist())
    assert judged
    assert judged <= control
    assert not control & set(
        rows.column("fitness", "agent")[rows.column("fitness", "fate") != int(Fate.CONTROL)].tolist()
    )


def test_frozen_agents_never_die_and_random_ones_are_replaced(session):
    _, rows = session
    born = births(rows)
    died = dict(zip(rows.column("death", "agent").tolist(), rows.column("death", "cause").tolist(), strict=True))
    assert not {row["agent"] for row in born if row["operator"] == FROZEN} & set(died)
    drawn = {row["agent"] for row in born if row["operator"] == RANDOM}
    assert {died[agent] for agent in drawn & set(died)} == {int(Cause.REPLACED)}
    assert len(drawn & set(died)) > 100
    parents = {row["parent_a"] for row in born if row["operator"] in {1, 2}} | {row["parent_b"] for row in born}
    assert not parents & drawn, "controls do not breed"


def test_controls_trade_without_capital(session):
    _, rows = session
    control = {row["agent"] for row in births(rows) if row["operator"] in {FROZEN, RANDOM}}
    assert not control & set(rows.column("allocation", "agent").tolist())
    for table in ("entry", "exit", "reject", "partial", "funding"):
        shadow = np.isin(rows.column(table, "agent"), list(control))
        assert (rows.column(table, "funded")[shadow] == 0).all(), table
    exits = rows.column("exit", "agent")
    assert np.isin(exits, list(control)).sum() > 20
    assert (rows.column("exit", "trade_pnl")[np.isin(exits, list(control))] != 0).any()


def test_the_evolving_and_the_pool_do_not_notice_their_controls(make_block, make_config, run):
    """Until the first generation (after it agents' numbers differ), everything of the others is the same, to the unit."""
    block = make_block(frames=495)
    plain = run(make_config(size=84), block, finish=False)[1]
    beside = run(make_config(CONTROLS, size=120), block, finish=False)[1]
    assert len(births(plain)) == 84
    assert len(births(beside)) == 120
    assert plain.rows("birth") == beside.rows("birth")[:84]
    unnumbered = slice(1, None)
    for table in ("equity", "allocation"):
        assert np.array_equal(plain.rows(table)[:, unnumbered], beside.rows(table)[:, unnumbered]), table
    for table in ("entry", "exit", "reject"):
        own = beside.rows(table)[beside.column(table, "agent") < 84]
        assert len(own), table
        assert np.array_equal(plain.rows(table)[:, unnumbered], own[:, unnumbered]), table


def test_the_benefit_of_selection_is_in_every_generations_row(session):
    engine, rows = session
    details = [json.loads(row[7]) for row in rows.rows("level") if row[2] == "evolution"]
    assert len(details) > 10
    told = [detail for detail in details if "benefit" in detail]
    assert len(told) >= len(details) - 2
    for detail in told:
        assert set(detail["benefit"]) == {"frozen", "random"}
        for group, found in detail["benefit"].items():
            expected = detail["profit"]["evolving"] - detail["profit"][group]
            assert found["profit"]["mean"] == pytest.approx(expected, abs=1e-12)
            assert found["profit"]["standard_error"] > 0
    card = next(level for level in engine.levels if level.spec.name == "evolution").card()
    assert set(card) == {"over frozen", "over random", "heritability"}


def test_any_cutting_gives_the_same_rows(session, make_block, make_config, run):
    cut = run(make_config(CONTROLS), make_block(), cuts=(401, 555, 1200, 1201))[1]
    assert session[1].same_as(cut) is None


def test_agents_the_pool_cannot_afford_trade_shadow_accounts(make_block, make_config, run):
    engine, rows = run(make_config("pool.reserve=1.0"), make_block(frames=1500))
    assert len(rows.rows("allocation")) == 0
    assert len(rows.rows("exit")) > 20
    assert (rows.column("exit", "funded") == 0).all()
    equity = rows.column("equity", "equity")
    assert (equity == equity[0]).all()
    assert len(rows.rows("fitness")) > 100, "fitness is learned by all"
    assert engine.orders() == 0
    assert engine.counts.trades == engine.counts.shadow_trades == len(rows.rows("exit"))
    amounts = {name: balance for name, balance in engine.books.ledger.accounts.items() if balance}
    assert set(amounts) == {"world", "pool:cash"}


def test_an_agent_changes_accounts_only_when_flat(make_block, make_config, run):
    """Trades never change hands: every exit is of the same account as its entry, whatever grants come in between."""
    _, rows = run(make_config("pool.capital=3000.0", "exchange.slippage=0.01", CONTROLS), make_block())
    entry = dict(zip(rows.column("entry", "trade").tolist(), rows.column("entry", "funded").tolist(), strict=True))
    for trade, funded in zip(
        rows.column("exit", "trade").tolist(), rows.column("exit", "funded").tolist(), strict=True
    ):
        assert entry[trade] == funded
    steps = [row[3] for row in rows.rows("level") if row[2] == "evolution"]
    assert all(later == earlier + 1 for earlier, later in pairwise(steps))


def test_a_blind_population_has_the_same_births_and_deaths_and_no_selection(make_block, make_config, run):
    """By lot: as many are culled at first, but others, and they are neither better nor worse than those who are kept."""
    block, spec = make_block(frames=2000), TABLES["fitness"]
    culled, shares = {}, {}
    for blind in ("false", "true"):
        _, rows = run(make_config(f"levels.evolution.blind={blind}"), block)
        agent, fate, rank, generation = (
            rows.rows("fitness")[:, spec.position(name)] for name in ("agent", "fate", "rank", "generation")
        )
        chosen = fate == int(Fate.CULLED)
        first = int(generation[chosen].min())
        culled[blind] = set(agent[chosen & (generation == first)].tolist())
        shares[blind] = np.mean(
            [
                rank[chosen & (generation == g)].mean() / rank[generation == g].max()
                for g in np.unique(generation[chosen]).tolist()
            ]
        )
    assert len(culled["false"]) == len(culled["true"]) > 5
    assert len(culled["false"] & culled["true"]) < 0.6 * len(culled["true"])
    assert 0.4 < shares["true"] < 0.6
