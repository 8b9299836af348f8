"""Statistics of the laboratory against hand-worked numbers and independent packages."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from trader.lab import stats
from trader.report import intervals, skill


def noise(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape)


class TestSeedsAndTasks:
    def test_interquartile_mean_cuts_a_quarter_at_each_end(self):
        assert stats.interquartile_mean(np.array([[1.0], [2], [3], [100]])) == 2.5

    @pytest.mark.parametrize("shape", [(3, 1), (5, 4), (7, 3), (20, 2)])
    def test_interquartile_mean_is_scipys_trimmed_mean(self, shape):
        values = noise(*shape)
        assert stats.interquartile_mean(values) == pytest.approx(scipy.stats.trim_mean(values, 0.25, axis=None))

    def test_interquartile_mean_is_vectorised(self):
        values = noise(6, 5, 2)
        assert np.allclose(stats.interquartile_mean(values), [stats.interquartile_mean(each) for each in values])

    def test_interval_is_scipys_percentile_bootstrap(self):
        values = noise(40, 1)
        ours = stats.stratified_bootstrap(values, lambda v: v.mean((-2, -1)), seed=3)
        theirs = scipy.stats.bootstrap(
            (values[:, 0],), np.mean, method="percentile", n_resamples=10_000, rng=np.random.default_rng(5)
        ).confidence_interval
        assert ours.value == pytest.approx(values.mean())
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)

    def test_strata_are_kept(self):
        """Redrawn within tasks, the difference between tasks adds nothing to the interval."""
        values = np.tile([0.0, 100.0], (10, 1))
        found = stats.stratified_bootstrap(values, lambda v: v.mean((-2, -1)), seed=1)
        assert found == (50.0, 50.0, 50.0)

    def test_pairs_cancel_what_both_share(self):
        shared = 50 * noise(20, 1)
        found = stats.paired_bootstrap(shared + 1.0, shared, seed=1)
        assert found.low == pytest.approx(1.0)
        assert found.high == pytest.approx(1.0)
        with pytest.raises(ValueError, match="equal shapes"):
            stats.paired_bootstrap(shared, shared[1:], seed=1)

    def test_interval_covers(self):
        """95 % intervals of the mean of 30 normal values hold it in 90 to 98 % of 200 draws."""
        inside = 0
        for draw in range(200):
            low, high = stats.stratified_bootstrap(
                noise(30, 1, seed=draw), lambda v: v.mean((-2, -1)), seed=draw, resamples=1000
            )[1:]
            inside += low <= 0 <= high
        assert 180 <= inside <= 196

    def test_probability_of_improvement_by_hand(self):
        first, second = np.array([[3.0], [1.0]]), np.array([[2.0], [1.0]])
        # 3 beats 2 and 1, 1 loses to 2 and ties with 1: (1 + 1 + 0 + 0.5) ÷ 4
        assert stats.probability_of_improvement(first, second) == 0.625

    def test_probability_of_improvement_is_mann_whitney(self):
        first, second = noise(12, 1, seed=2) + 0.4, noise(9, 1, seed=3)
        u = scipy.stats.mannwhitneyu(first[:, 0], second[:, 0]).statistic
        assert stats.probability_of_improvement(first, second) == pytest.approx(u / (12 * 9))


class TestHolm:
    def test_by_hand(self):
        """Holm 1979: .01 × 4, .02 × 3, .03 × 2, .04 × 1 made monotone."""
        assert stats.holm(np.array([0.01, 0.04, 0.03, 0.02])) == pytest.approx([0.04, 0.06, 0.06, 0.06])

    def test_is_statsmodels(self):
        from statsmodels.stats.multitest import multipletests

        p = np.random.default_rng(4).uniform(size=30) ** 3
        assert stats.holm(p) == pytest.approx(multipletests(p, method="holm")[1])


class TestSharpe:
    def test_moments_are_scipys(self):
        returns = np.random.default_rng(1).standard_t(5, size=(4, 300))
        found = stats.moments(returns)
        assert found.sharpe == pytest.approx(returns.mean(1) / returns.std(1, ddof=1))
        assert found.skewness == pytest.approx(scipy.stats.skew(returns, axis=1))
        assert found.kurtosis == pytest.approx(scipy.stats.kurtosis(returns, axis=1, fisher=False))

    def test_probabilistic_sharpe_by_hand(self):
        """Returns 3, −1, repeated 50 times: mean 1, s = 1 ÷ 2.0101, skewness 0, kurtosis 1, so z = s √99."""
        returns = np.tile([3.0, -1.0], 50)
        s = 1 / math.sqrt(4 * 100 / 99)
        z = s * math.sqrt(99)
        assert stats.probabilistic_sharpe(returns) == pytest.approx(scipy.stats.norm.cdf(z))
        assert stats.minimum_track_record(returns) == pytest.approx(1 + (scipy.stats.norm.ppf(0.95) / s) ** 2)

    @pytest.mark.parametrize(("steps_a_year", "years"), [(250, 2.73), (52, 2.83), (12, 3.24)])
    def test_published_track_record(self, steps_a_year, years):
        """Bailey and López de Prado 2012: an annual ratio of 2 is above 1 after 2.73 years of daily, 2.83 of weekly and
        3.24 of monthly normal returns."""
        returns = standardised(2 / math.sqrt(steps_a_year))
        needed = float(stats.minimum_track_record(returns, 1 / math.sqrt(steps_a_year)))
        assert needed / steps_a_year == pytest.approx(years, abs=0.01)

    def test_minimum_track_record_is_where_psr_crosses(self):
        returns = noise(200) + 0.1
        needed = float(stats.minimum_track_record(returns))
        m = stats.moments(returns)
        spread = 1 - m.skewness * m.sharpe + (m.kurtosis - 1) / 4 * m.sharpe**2
        assert scipy.stats.norm.cdf(m.sharpe * math.sqrt(needed - 1) / math.sqrt(spread)) == pytest.approx(0.95)
        assert stats.minimum_track_record(-np.abs(returns) - 0.01) == math.inf

    def test_agrees_with_the_report(self):
        returns = np.random.default_rng(8).standard_t(4, size=250) * 0.01 + 0.001
        assert stats.probabilistic_sharpe(returns, 0.02) == pytest.approx(skill.probabilistic_sharpe(returns, 0.02))
        found = skill.deflated(returns, 365.25, 40)["probability"]
        assert stats.deflated_sharpe(returns, 40) == pytest.approx(found)

    @pytest.mark.parametrize(("trials", "simulated"), [(10, 1.544), (100, 2.500), (1000, 3.245), (100_000, 4.452)])
    def test_best_of_chance_is_what_simulation_gives(self, trials, simulated):
        assert stats.chance_sharpe(trials, 1.0) == pytest.approx(simulated, rel=0.025)

    def test_variance_of_the_trials_only_makes_it_harder(self):
        returns = noise(300) + 0.1
        alone = stats.deflated_sharpe(returns, 50)
        assert stats.deflated_sharpe(returns, 50, variance=1e-9) == alone
        assert stats.deflated_sharpe(returns, 50, variance=0.02) < alone
        assert stats.deflated_sharpe(returns, 1) == stats.probabilistic_sharpe(returns)

    def test_without_variation_is_nan(self):
        assert np.isnan(stats.probabilistic_sharpe(np.full(50, 0.01)))
        assert np.isnan(stats.minimum_track_record(np.zeros(50)))

    def test_effective_trials(self):
        same = np.tile(noise(100), (8, 1))
        assert stats.effective_trials(same) == pytest.approx(1.0)
        assert 7.0 < stats.effective_trials(noise(8, 5000)) <= 8.0
        assert stats.effective_trials(np.zeros((3, 50))) == 0.0


def standardised(s):
    """A sample with mean s, deviation 1 (ddof 1), skewness 0 and kurtosis 3: two symmetric pairs in the right shares."""
    # values ±√3 with weight 1/6 each and 0 with weight 2/3 have kurtosis 3
    values = np.array([math.sqrt(3)] * 500 + [-math.sqrt(3)] * 500 + [0.0] * 2000)
    return values * math.sqrt((len(values) - 1) / len(values)) + s


class TestNoise:
    def test_the_best_of_a_hundred_passes_naively_and_not_deflated(self):
        naive = deflated = 0
        for draw in range(60):
            returns = noise(100, 500, seed=draw)
            ratios = stats.moments(returns).sharpe
            best = returns[ratios.argmax()]
            naive += stats.probabilistic_sharpe(best) > 0.95
            deflated += stats.deflated_sharpe(best, 100, float(ratios.var(ddof=1))) > 0.95
        assert naive >= 54
        assert deflated <= 3

    def test_a_true_edge_survives_deflation(self):
        returns = noise(100, 500)
        returns[0] += 0.3
        assert stats.deflated_sharpe(returns[0], 100) > 0.95


class TestOverfitting:
    def test_by_hand(self):
        """Two strategies, two blocks. In block one A is better, in block two B: whoever is chosen loses. PBO = 1."""
        a, b = [3.0, 1.0, -1.0, -3.0], [-1.0, -3.0, 3.0, 1.0]
        found = stats.overfitting(np.array([a, b]).T, blocks=2, resamples=4)
        assert found.probability == 1.0
        # rank 1 of 2: ω = 1/3, λ = ln(1/2)
        assert found.logits == pytest.approx([math.log(0.5)] * 2)

    def test_a_lasting_edge_is_not_overfit(self):
        returns = noise(400, 20)
        returns[:, 7] += 0.5
        found = stats.overfitting(returns)
        assert found.probability == 0.0
        assert found.high < 0.05

    def test_brute_force(self):
        """All C(6, 3) splits one by one."""
        from itertools import combinations

        returns = noise(63, 5, seed=6)
        blocks = np.array_split(returns[3:], 6)
        logits = []
        for chosen in combinations(range(6), 3):
            inside = np.concatenate([blocks[k] for k in chosen])
            outside = np.concatenate([blocks[k] for k in range(6) if k not in chosen])
            best = (inside.mean(0) / inside.std(0)).argmax()
            ranks = scipy.stats.rankdata(outside.mean(0) / outside.std(0))
            omega = ranks[best] / 6
            logits.append(math.log(omega / (1 - omega)))
        assert stats.overfitting(returns, blocks=6, resamples=2).logits == pytest.approx(logits)

    def test_noise_has_a_wide_band(self):
        found = [stats.overfitting(noise(500, 50, seed=seed), resamples=50) for seed in range(10)]
        assert 0.25 < np.mean([each.probability for each in found]) < 0.75
        assert np.mean([each.high - each.low for each in found]) > 0.2

    def test_too_little_is_nan(self):
        assert np.isnan(stats.overfitting(noise(10, 5)).probability)
        assert np.isnan(stats.overfitting(noise(100, 1)).probability)
        with pytest.raises(ValueError, match="even"):
            stats.overfitting(noise(100, 5), blocks=5)


class TestSuperior:
    def test_is_archs(self):
        from arch.bootstrap import SPA

        from trader.report.intervals import rule

        returns = noise(200, 6, seed=9) * 0.01 + 0.0005
        length = math.ceil(np.median([rule(returns[:, k]) for k in range(6)]))
        test = SPA(np.zeros(200), -returns, block_size=length, reps=300, seed=4)
        test.compute()
        found = stats.superior_ability(returns, seed=4, resamples=300)
        assert found.p_value == test.pvalues["consistent"]

    def test_size_and_power(self):
        rejected = found = 0
        for draw in range(40):
            returns = noise(300, 30, seed=draw)
            rejected += stats.superior_ability(returns, seed=draw, resamples=200).p_value < 0.05
            returns[:, 3] += 0.3
            planted = stats.superior_ability(returns, seed=draw, resamples=200)
            found += planted.p_value < 0.05
        assert rejected <= 5  # 40 draws at 5 %: more than 5 has a chance of 1 %
        assert found >= 32

    def test_steps_are_archs_where_it_has_an_answer_and_all_may_be_superior(self):
        from arch.bootstrap import StepM

        returns = noise(300, 6, seed=12) + np.array([0.6, 0.25, 0.1, 0.0, -0.1, 0.3])
        found = stats.superior_ability(returns, seed=3, resamples=400)
        length = int(np.ceil(np.median([intervals.rule(returns[:, k]) for k in range(6)])))
        theirs = StepM(np.zeros(300), -returns, block_size=length, reps=400, seed=3)
        theirs.compute()
        assert list(found.superior) == [int(place) for place in theirs.superior_models]
        assert 0 < len(found.superior) < 6
        steep = noise(300, 3, seed=2) * np.array([1.0, 0.2, 3.0]) + np.array([0.9, 0.05, 0.7])
        assert stats.superior_ability(steep, seed=1, resamples=300).superior == (0, 1, 2)

    def test_names_the_superior_ones_even_beside_one_that_never_moved(self):
        returns = noise(400, 6, seed=2)
        returns[:, 0] = 0.0
        returns[:, 4] += 0.5
        found = stats.superior_ability(returns, seed=1, resamples=300)
        assert found.superior == (4,)
        assert found.p_value < 0.01

    def test_against_a_benchmark(self):
        market = noise(300, seed=5)
        returns = market[:, None] + 0.05 * noise(300, 4, seed=6)
        assert stats.superior_ability(returns, market, seed=1, resamples=200).p_value > 0.05

    def test_nothing_moved(self):
        assert stats.superior_ability(np.zeros((100, 3)), seed=1) == (1.0, 1.0, 1.0, ())
