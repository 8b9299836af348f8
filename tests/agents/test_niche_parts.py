"""Islands, behaviour, archive and heritability, each on numbers whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from agents import behaviour, genome, heritability, islands
from agents import layout as at
from agents.archive import Archive


def test_migration_goes_round_the_ring_and_takes_the_best():
    island = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2])
    fitness = np.array([1.0, 3.0, 2.0, np.nan, 5.0, 4.0, 0.0, -1.0, 7.0])
    assert islands.moved(island, fitness, 3, 0.34).tolist() == [0, 1, 0, 1, 2, 1, 2, 2, 0]
    assert islands.moved(island, fitness, 1, 0.34).tolist() == island.tolist()


def test_islands_are_settled_evenly_and_by_number_alone():
    agent = np.arange(3_000)
    landed = islands.landed(7, agent, 3)
    assert np.bincount(landed).min() > 900
    assert (islands.landed(7, agent[1_000:], 3) == landed[1_000:]).all()


def test_cells_follow_frequency_and_share_of_wins():
    days = np.zeros((at.DAY_FIELDS, 4))
    days[at.DAY_COUNT] = 100
    closed, wins = np.array([0, 1, 100, 5_000]), np.array([0, 1, 50, 0])
    found = behaviour.cells(days, closed, wins, 4)
    assert (found // 4).tolist() == [0, 0, 2, 3]
    assert (found % 4).tolist() == [0, 3, 2, 0]


def entries(niche, agent, fitness):
    n = len(niche)
    zeros = np.zeros(n, np.int64)
    genomes = np.tile(np.array(agent, float)[:, None], (1, len(genome.GENES)))
    return Archive(np.array(niche), np.array(agent), np.array(fitness), zeros, zeros, zeros, zeros, genomes)


def test_the_archive_keeps_the_fittest_and_forgets_old_luck():
    first = Archive.empty().judged_again(entries([1, 1, 2], [10, 11, 12], [0.5, 0.9, 0.1]))
    assert first.agent.tolist() == [11, 12]
    again = first.judged_again(entries([1, 1], [11, 13], [0.2, 0.3]))  # 11 turned out to be worth less
    assert again.agent.tolist() == [13, 12]
    assert again.fitness.tolist() == [0.3, 0.1]
    reborn = again.renumbered(np.array([1]), np.array([20])).judged_again(entries([2, 3], [14, 20], [0.0, 0.4]))
    assert dict(zip(reborn.niche.tolist(), reborn.agent.tolist(), strict=True)) == {1: 13, 2: 14, 3: 20}
    assert reborn.genomes[:, 0].tolist() == [13.0, 14.0, 20.0]


def test_a_planted_heritability_is_found_and_a_good_month_is_none():
    rng = np.random.default_rng(1)
    tallied = np.zeros(heritability.TALLIES)
    for month in range(40):
        x = rng.normal(size=50) + month
        tallied += heritability.tally(x, 0.4 * x + rng.normal(size=50) + 3.0 * month)
    found = heritability.measured(tallied)
    assert (found.children, found.generations) == (2_000, 40)
    assert found.slope == pytest.approx(0.4, abs=4 * found.standard_error)
    assert found.standard_error == pytest.approx(1 / np.sqrt(2_000), rel=0.1)
    noise = heritability.measured(heritability.tally(rng.normal(size=2_000), rng.normal(size=2_000)))
    assert abs(noise.slope) < 4 * noise.standard_error


def test_few_children_say_nothing():
    few = heritability.tally(np.array([1.0, np.nan]), np.array([2.0, 3.0]))
    assert np.isnan(heritability.measured(few).slope)
