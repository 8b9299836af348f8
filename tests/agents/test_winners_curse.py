"""Winner's curse: of 1,000 agents without skill the best looks excellent; its shrunken fitness says what comes next."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.winners_curse import winners


@pytest.mark.parametrize("age", [7, 14, 30])
def test_the_shrunken_best_is_right_about_the_next_window(age):
    found = winners(1000, age, rounds=60)
    raw, shrunk, then = found.mean(axis=0)
    error = found[:, 2].std(ddof=1) / np.sqrt(len(found))
    print(f"{age} days: best raw {raw:.3f}, shrunken {shrunk:.4f}, next window {then:+.4f} ± {error:.4f}")
    assert raw > 0.5, "luck looks like skill"
    assert abs(shrunk - then) < 3.0 * error
    assert abs(shrunk) < 0.03, "and the next window is worth nothing, by construction"


def test_where_there_is_skill_it_is_not_shrunk_away():
    found = winners(1000, 90, rounds=40, skill=0.1)
    raw, shrunk, then = found.mean(axis=0)
    error = found[:, 2].std(ddof=1) / np.sqrt(len(found))
    assert abs(shrunk - then) < 3.0 * error
    assert 0.15 < shrunk < 0.6 * raw


@pytest.mark.nightly
def test_over_many_populations():
    """300 populations: the error is small enough to see a bias of a hundredth."""
    for age, skill in ((14, 0.0), (30, 0.0), (90, 0.1)):
        found = winners(1000, age, rounds=300, skill=skill)
        error = found[:, 2].std(ddof=1) / np.sqrt(len(found))
        assert abs(found[:, 1].mean() - found[:, 2].mean()) < 3.0 * error
