"""Genes, their scales, and what children inherit."""

from __future__ import annotations

import numpy as np
import pytest

from agents import evolution, fitness, genome
from agents import layout as at
from agents.population import Population, founders
from trader.broker.market import ExchangeRules, market_vector
from trader.core.features import FEATURES
from trader.core.rows import Operator
from trader.core.types import Instrument

HOUR = 3_600_000


def roster(size=200, seed=0, markets=3, timeframes=2):
    return founders(seed, size, markets, timeframes, np.arange(3), 0)


def test_the_gene_table_is_complete():
    names = [gene.name for gene in genome.GENES]
    assert len(names) == len(set(names)) >= 32
    assert names[genome.FIRST_WEIGHT :] == [f"weight_{name}" for name in FEATURES]
    for wanted in ("aggression", "patience", "position_size_base", "confidence_threshold", "leverage_cap", "stop_atr",
                   "take_atr", "trailing_atr", "holding_candles", "cooldown_candles", "affinity_bull", "symbol",
                   "timeframe", "mutation_weights"):  # fmt: skip
        assert wanted in names
    for gene in genome.GENES:
        assert gene.meaning
        assert gene.low <= gene.high
        assert gene.scale is not genome.Scale.LOG or gene.low > 0


def test_unit_positions_are_inverse():
    units = np.random.default_rng(0).uniform(size=(50, len(genome.GENES)))
    units[:, genome.IS_CATEGORY] = 0
    genomes = genome.from_unit(units)
    np.testing.assert_allclose(genome.to_unit(genomes), units, atol=1e-9)
    assert (genomes >= genome.LOW).all()
    assert (genomes <= genome.HIGH).all()
    np.testing.assert_allclose(genome.reflect(np.array([-0.2, 0.4, 1.3, 2.1])), [0.2, 0.4, 0.7, 0.1], atol=1e-12)


def test_founders_cover_every_cell_and_depend_on_the_seed():
    first, again, other = roster(), roster(), roster(seed=1)
    assert np.array_equal(first.genomes, again.genomes)
    assert not np.array_equal(first.genomes, other.genomes)
    cells = {tuple(row) for row in np.stack((first.market, first.timeframe, first.archetype), axis=1).tolist()}
    assert len(cells) == 3 * 2 * 3
    own = ~genome.IS_CATEGORY
    assert np.array_equal(genome.settle(first.genomes)[:, own], first.genomes[:, own])


def test_children_inherit_and_stay_in_bounds():
    parents = roster()
    scores = np.linspace(-1, 1, 200)
    scores[:50] = np.nan
    children = evolution.breed(0, 1, parents, scores, 300, 200, HOUR, 3, 3, 2)
    assert children.agent.tolist() == list(range(200, 500))
    assert (children.genomes >= genome.LOW).all()
    assert (children.genomes[:, ~genome.IS_CATEGORY] <= genome.HIGH[~genome.IS_CATEGORY]).all()
    assert (children.parent_a >= 50).all(), "who is not judged does not breed"
    two = children.operator == int(Operator.CROSSOVER)
    assert 0.6 < two.mean() < 0.8
    assert (children.parent_b[~two] == -1).all()
    assert (parents.archetype[children.parent_b[two]] == children.archetype[two]).all()
    assert scores[children.parent_a].mean() > np.nanmean(scores) + 0.2, "tournaments prefer the fit"
    distance = np.abs(genome.to_unit(children.genomes) - genome.to_unit(parents.genomes[children.parent_a]))[~two]
    assert 0 < distance.mean() < 0.15


def test_a_child_does_not_depend_on_how_many_are_born():
    parents, scores = roster(), np.linspace(-1, 1, 200)
    many = evolution.breed(0, 1, parents, scores, 50, 200, 0, 3, 3, 2)
    few = evolution.breed(0, 1, parents, scores, 5, 200, 0, 3, 3, 2)
    assert np.array_equal(many.genomes[:5], few.genomes)


def test_culling_takes_the_worst():
    ranking = np.array([3.0, np.nan, -1.0, 0.5, -1.0])
    assert evolution.cull(ranking, 0.5).tolist() == [False, False, True, False, True]
    assert evolution.cull(ranking, 0.25).tolist() == [False, False, False, False, True]
    assert not evolution.cull(ranking, 0.0).any()


def test_shrinking_predicts_better_than_the_raw_value():
    """A thousand agents of equal skill: the best raw value is luck, and its shrunken value knows."""
    rng = np.random.default_rng(1)
    n, days = 1000, 90
    daily = rng.normal(0.0, 1.0, (n, days))
    table = np.zeros((at.DAY_FIELDS, n))
    table[at.DAY_COUNT], table[at.DAY_SUM], table[at.DAY_SQUARES] = days, daily.sum(1), (daily**2).sum(1)
    found = fitness.estimate(table, np.zeros(n, np.int64))
    best = int(np.argmax(found.raw))
    assert found.raw[best] > 0.3
    assert abs(found.shrunk[best]) < 0.1
    skilled = rng.normal(0.0, 0.2, n)
    daily = rng.normal(skilled[:, None], 1.0, (n, days))
    table[at.DAY_SUM], table[at.DAY_SQUARES] = daily.sum(1), (daily**2).sum(1)
    found = fitness.estimate(table, np.zeros(n, np.int64))
    assert np.mean((found.shrunk - skilled) ** 2) < 0.8 * np.mean((found.raw - skilled) ** 2)


def test_few_days_are_no_estimate():
    table = np.zeros((at.DAY_FIELDS, 3))
    table[at.DAY_COUNT] = (4, 5, 5)
    table[at.DAY_SUM] = (1.0, 0.0, 1.0)
    table[at.DAY_SQUARES] = (1.0, 0.0, 1.0)
    found = fitness.estimate(table, np.zeros(3, np.int64))
    assert found.judged.tolist() == [False, True, True]
    assert np.isnan(found.shrunk[0])
    assert found.raw[1] == 0.0


def test_agents_keep_their_state_when_rows_move():
    market = market_vector(Instrument("A/USDT", perpetual=True), ExchangeRules())
    population = Population([market, market, market], (HOUR, 4 * HOUR))
    population.add(roster(90))
    population.pay(np.arange(1, 91) * 10**8)
    assert np.array_equal(population.column(at.CASH), np.arange(1, 91) * 10**8)
    cash = dict(zip(population.column(at.AGENT).tolist(), population.column(at.CASH).tolist(), strict=True))
    newborn = roster(120, seed=3).take(np.arange(90, 120))
    population.add(newborn)
    assert len(population) == 120
    assert np.array_equal(population.column(at.AGENT), population.roster.agent)
    for agent, amount in zip(population.column(at.AGENT).tolist(), population.column(at.CASH).tolist(), strict=True):
        assert amount == cash.get(agent, 0)
    with pytest.raises(AssertionError, match="never reused"):
        population.add(roster(1))
    gone = population.column(at.CASH) == 0
    population.remove(gone)
    assert len(population) == 90
    with pytest.raises(AssertionError, match="empty-handed"):
        population.remove(np.ones(90, bool))
