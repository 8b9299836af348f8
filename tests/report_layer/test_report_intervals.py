"""The bootstrap: blocks as the method says, the block length against an independent program, coverage, pairing."""

from __future__ import annotations

import numpy as np
import pytest
from arch.bootstrap import optimal_block_length

from trader.report import intervals, skill


def autoregressive(seed, n, phi):
    noise = np.random.default_rng(seed).standard_normal(n + 100)
    values = np.zeros(n + 100)
    for t in range(1, n + 100):
        values[t] = phi * values[t - 1] + noise[t]
    return values[100:]


@pytest.mark.parametrize("phi", [-0.5, 0.0, 0.3, 0.7, 0.9])
def test_block_length_is_that_of_the_reference(phi):
    """The reference scales its correlations a little differently, which now and then moves the last lag it looks at."""
    equal, ours, theirs = 0, [], []
    for seed in range(30):
        values = autoregressive(100 + seed, (60, 300, 1500)[seed % 3], phi)
        ours.append(intervals.block_length(values))
        theirs.append(max(float(optimal_block_length(values)["stationary"].iloc[0]), 1.0))
        equal += ours[-1] == pytest.approx(theirs[-1], rel=1e-9)
    assert equal >= 24
    assert np.median(ours) == pytest.approx(np.median(theirs), rel=0.1)


def test_a_still_series_has_blocks_of_one():
    assert intervals.block_length(np.full(50, 0.3)) == 1.0


def test_draws_are_blocks_of_the_circle_with_geometric_lengths():
    n, length = 100, 8.0
    index = np.concatenate(list(intervals.draws(n, length, 5)))
    assert index.shape == (intervals.REPLICATIONS, n)
    continues = (np.diff(index, axis=1) % n) == 1
    assert continues.mean() == pytest.approx(1 - 1 / length + 1 / length / n, abs=0.003)
    assert np.bincount(index.ravel(), minlength=n).min() > 0.9 * intervals.REPLICATIONS


def test_the_size_of_a_piece_changes_nothing(monkeypatch):
    values = autoregressive(1, 200, 0.2) * 0.01
    of = lambda drawn: {"mean": drawn.mean(-1)}  # noqa: E731
    whole = intervals.intervals(values, of, seed=3)
    assert intervals.intervals(values, of, seed=3) == whole
    assert intervals.intervals(values, of, seed=4) != whole


def test_coverage_of_a_dependent_mean():
    """Nominally 95 %; blocks that ignore the dependence would reach 78 %."""
    of = lambda drawn: {"mean": drawn.mean(-1)}  # noqa: E731
    covered, naive = 0, 0
    for seed in range(100):
        values = autoregressive(1000 + seed, 200, 0.5)
        low, high = intervals.intervals(values, of, seed=seed)["mean"]
        covered += low <= 0 <= high
        low, high = intervals.intervals(values, of, seed=seed, length=1.0)["mean"]
        naive += low <= 0 <= high
    assert 86 <= covered <= 99
    assert naive < covered - 5


def test_pairing_takes_away_what_both_share():
    market = autoregressive(7, 400, 0.1)
    own = np.random.default_rng(1).standard_normal(400)
    ours = market + 0.1 + 0.05 * (own - own.mean())
    of = lambda drawn: {"mean": drawn.mean(-1)}  # noqa: E731
    low, high = intervals.paired(ours, market, of, seed=1)["mean"]
    assert low < 0.1 < high
    assert high - low < 0.1
    alone = intervals.intervals(ours, of, seed=1)["mean"]
    assert alone.high - alone.low > 2 * (high - low)


def test_too_few_returns_have_no_interval():
    few = np.zeros(intervals.FEWEST_RETURNS - 1)
    assert intervals.intervals(few, lambda drawn: {"mean": drawn.mean(-1)}, seed=1) == {}
    assert intervals.paired(few, few, lambda drawn: {"mean": drawn.mean(-1)}, seed=1) == {}


@pytest.mark.parametrize("trials", [10, 100, 1000])
def test_the_expected_maximum_is_that_of_a_simulation(trials):
    simulated = np.random.default_rng(trials).standard_normal((4000, trials)).max(axis=1).mean()
    assert skill.expected_maximum(trials) == pytest.approx(simulated, abs=0.06)
    assert skill.expected_maximum(1) == 0.0


def test_the_best_of_many_without_skill_is_not_believed():
    """The plain probability is deceived by the best of 100, the deflated one is not."""
    deceived, believed = 0, 0
    for seed in range(60):
        noise = np.random.default_rng(seed).standard_normal((100, 500)) * 0.01
        best = noise[np.argmax(noise.mean(1) / noise.std(1))]
        deceived += skill.probabilistic_sharpe(best, 0.0) > 0.95
        believed += skill.deflated(best, 365.25, 100)["probability"] > 0.95
    assert deceived >= 55
    assert believed <= 3


def test_a_real_edge_is_believed():
    returns = 0.002 + 0.01 * np.random.default_rng(0).standard_normal(1000)
    assert skill.deflated(returns, 365.25, 100)["probability"] > 0.99


def test_without_variation_nothing_is_claimed():
    assert np.isnan(skill.deflated(np.zeros(100), 365.25, 5)["probability"])
    assert np.isnan(skill.deflated(np.zeros(2), 365.25, 5)["best_of_chance"])
