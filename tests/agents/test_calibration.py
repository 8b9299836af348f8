"""From scores to probabilities, and the network that proposes changes of genes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from agents import genome
from agents.calibration import ENOUGH, isotonic, probabilities
from agents.layout import BINS
from agents.modifier import CHANGED, MODIFIABLE, Proposer, changed
from trader.report.calibration import calibration, expected_calibration_error

VALUES = arrays(np.float64, 12, elements=st.floats(0, 1))
WEIGHTS = arrays(np.float64, 12, elements=st.floats(0.1, 50))


@given(values=VALUES, weights=WEIGHTS)
def test_isotonic_regression_is_the_nearest_non_decreasing_sequence(values, weights):
    fitted = isotonic(values, weights)
    assert (np.diff(fitted) >= -1e-12).all()
    assert np.isclose((fitted * weights).sum(), (values * weights).sum())
    loss = (weights * (values - fitted) ** 2).sum()
    rng = np.random.default_rng(0)
    for _ in range(20):
        other = np.sort(np.clip(fitted + rng.normal(size=len(values)) * 0.1, 0, 1))
        assert loss <= (weights * (values - other) ** 2).sum() + 1e-9


def test_isotonic_by_hand():
    # 3 and 1 violate the order: their mean, weighted 1 to 3, is 1.5
    assert isotonic(np.array([1.0, 3.0, 1.0, 4.0]), np.array([1.0, 1.0, 3.0, 1.0])).tolist() == [1.0, 1.5, 1.5, 4.0]


def test_too_few_cases_are_no_probability():
    cases = np.zeros((3, BINS))
    cases[0, 4] = ENOUGH - 1
    assert np.isnan(probabilities(cases, cases)).all()
    cases[0, 4] = ENOUGH
    assert not np.isnan(probabilities(cases, cases)).any()


def test_many_cases_speak_for_themselves_and_few_follow_their_archetype():
    cases, wins = np.zeros((2, BINS)), np.zeros((2, BINS))
    cases[0, 5], wins[0, 5] = 10_000, 3_000
    cases[0, 15], wins[0, 15] = 10_000, 7_000
    found = probabilities(cases, wins)
    assert found[0, 5] == pytest.approx(0.3, abs=0.01)
    assert found[0, 15] == pytest.approx(0.7, abs=0.01)
    assert (np.diff(found, axis=1) >= 0).all()
    assert found[1, 0] == pytest.approx(0.5, abs=0.01), "an archetype without cases is like everybody"


def test_calibration_error_of_truth_is_small_and_of_a_lie_is_its_size():
    rng = np.random.default_rng(0)
    told = rng.uniform(size=50_000)
    won = rng.uniform(size=50_000) < told
    assert expected_calibration_error(told, won) < 0.01
    assert expected_calibration_error(np.full(50_000, 0.9), rng.uniform(size=50_000) < 0.6) == pytest.approx(
        0.3, abs=0.01
    )
    assert np.isnan(expected_calibration_error(told[:0], won[:0]))


def test_the_report_tells_how_far_confidence_can_be_believed():
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.2, 0.8, size=20_000)
    won = rng.uniform(size=20_000) < truth
    trades = {
        "confidence": truth * 100, "score": np.full(20_000, 90.0), "pnl": np.where(won, 1.0, -1.0),
        "return_on_margin": np.where(won, 0.1, -0.1),
    }  # fmt: skip
    found = calibration(trades)
    assert found["error"] < 0.015
    assert found["brier"] < found["brier_of_rate"] < found["brier_of_score"]
    assert [line["cases"] for line in found["bins"]] == [2_000] * 10
    assert np.isclose(found["bins"][0]["rate"], found["bins"][0]["told"], atol=0.04)
    assert calibration({name: values[:0] for name, values in trades.items()}) == {"cases": 0, "bins": []}


class TestProposals:
    """Bounded, sparse, reproducible, and they learn."""

    genomes = genome.settle(genome.from_unit(np.random.default_rng(1).uniform(size=(64, len(genome.GENES)))))

    def test_changes_stay_in_bounds_and_touch_few_genes(self):
        proposal = Proposer(8, 3).propose(np.zeros((64, 8)), np.arange(64), 1)
        assert ((proposal.change != 0).sum(1) <= CHANGED).all()
        after = changed(self.genomes, proposal.change)
        assert (after >= genome.LOW - 1e-12)[:, MODIFIABLE].all()
        assert (after <= genome.HIGH + 1e-12)[:, MODIFIABLE].all()
        other = np.setdiff1d(np.arange(len(genome.GENES)), MODIFIABLE)
        assert (after[:, other] == self.genomes[:, other]).all()
        assert ((after != self.genomes).sum(1) <= CHANGED).all()
        assert (after != self.genomes).any(1).mean() > 0.9

    def test_nothing_changes_without_a_change(self):
        assert (changed(self.genomes, np.zeros((64, len(MODIFIABLE)))) == self.genomes).all()

    def test_same_moment_same_proposal(self):
        once, again = (Proposer(8, 3).propose(np.zeros((64, 8)), np.arange(64), 5) for _ in range(2))
        assert (once.change == again.change).all()
        assert (once.change != Proposer(8, 3).propose(np.zeros((64, 8)), np.arange(64), 6).change).any()
        some = Proposer(8, 3).propose(np.zeros((3, 8)), np.array([5, 1, 9]), 5)
        assert (some.change == once.change[[5, 1, 9]]).all(), "one agent's proposal does not depend on the others"

    def test_learns_which_way_pays_in_which_context(self):
        proposer = Proposer(2, 3)
        rng = np.random.default_rng(0)
        for moment in range(1, 1500):
            inputs = rng.choice([-1.0, 1.0], size=(32, 2))
            proposal = proposer.propose(inputs, np.arange(32), moment)
            proposer.learn(proposal, proposal.change[:, 4] * inputs[:, 0] + 0.1 * rng.normal(size=32))
        test = proposer.propose(np.array([[1.0, 1.0], [-1.0, 1.0]]), np.array([0, 1]), 9_999)
        wanted = test.hidden @ proposer.w2.T + proposer.b2
        assert wanted[0, 4] > 0.5
        assert wanted[1, 4] < -0.5

    def test_equal_advantages_teach_nothing(self):
        proposer = Proposer(2, 3)
        proposal = proposer.propose(np.ones((8, 2)), np.arange(8), 1)
        assert proposer.learn(proposal, np.zeros(8)) == 0.0
        assert not proposer.w2.any()
