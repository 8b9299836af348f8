"""The levels' part of a report, on rows whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from trader.report.card import _bar
from trader.report.levels import levels, modifier


def rows(n=10):
    """Trials with two genes each; the last is under way."""
    trial = np.repeat(np.arange(n), 2)
    kept = [1 if t % 2 else 0 for t in trial[:-2].tolist()] + [None, None]
    return {
        "trial": trial, "expected": trial * 0.01, "realised": np.where(trial % 2, 0.02, -0.01),
        "kept": np.array(kept, object),
    }  # fmt: skip


def test_trials_are_counted_once_and_put_beside_what_was_expected():
    found = modifier(rows())
    assert (found["adopted"], found["kept"], found["rolled_back"], found["under_way"]) == (10, 4, 5, 1)
    assert found["realised_of_kept"] == pytest.approx(0.02)
    assert found["realised_of_rolled_back"] == pytest.approx(-0.01)
    assert sum(part["trials"] for part in found["fifths"]) == len(found["trials"]) == 9
    told = [part["expected"] for part in found["fifths"]]
    assert told == sorted(told)


def test_without_trials_there_is_no_modifier():
    assert modifier({name: values[:0] for name, values in rows().items()}) is None


def test_updates_and_heritability_are_told():
    level = {
        "level": np.array(["pool", "evolution", "pool"], object), "kept": np.array([1, 1, 0]),
        "detail": np.array(["{}", '{"heritability_so_far": {"slope": 0.1}}', "{}"], object),
    }  # fmt: skip
    found = levels(level, rows())
    assert found["updates"]["pool"] == {"updates": 2, "kept": 1}
    assert found["evolution"]["heritability"] == {"slope": 0.1}


def test_bars_point_to_the_side_of_their_sign():
    assert _bar(1.0, 1.0) == " " * 12 + "|" + "#" * 12
    assert _bar(-0.5, 1.0) == " " * 6 + "#" * 6 + "|"
    assert _bar(float("nan"), 0.0) == " " * 12 + "|"
