"""How a history is cut, against windows worked out by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from trader.core.config_evaluation import EvaluationConfig
from trader.core.errors import UserError
from trader.lab.flows import STILL_OPEN
from trader.lab.windows import Grid, Window, grid, lengths, split
from trader.report.series import EquityCurve

HOUR = 3_600_000
DAY = 24 * HOUR


def history(frames):
    return SimpleNamespace(base_ms=HOUR, times=np.arange(frames, dtype=np.int64) * HOUR)


def trades(*pairs):
    opened, closed = np.array(pairs, np.int64).reshape(-1, 2).T
    return SimpleNamespace(opened=opened, closed=closed)


def cut(frames, *pairs, **settings):
    parts = lengths(EvaluationConfig(**settings), frames)
    return split(history(frames), parts, [trades(*pairs)])


def in_hours(windows):
    return [(each.begin_ms // HOUR, each.end_ms // HOUR) for each in windows]


def test_shares_and_candles():
    parts = lengths(EvaluationConfig(train=0.3, test=100.0, embargo=0.01, holdout=200.0), 1000)
    assert (parts.train, parts.test, parts.embargo, parts.holdout, parts.development) == (300, 100, 10, 200, 800)


def test_windows_roll_and_a_short_rest_joins_the_last():
    found = cut(1000, train=300.0, test=100.0, embargo=10.0, holdout=210.0)
    assert in_hours([found.train]) == [(0, 300)]
    assert in_hours(found.tests) == [(310, 410), (420, 520), (530, 630), (640, 790)]
    assert (found.purge_ms, found.capped) == (0, False)


def test_a_long_rest_is_a_window_of_its_own():
    found = cut(1000, train=300.0, test=100.0, embargo=10.0, holdout=120.0)
    assert in_hours(found.tests) == [(310, 410), (420, 520), (530, 630), (640, 740), (750, 880)]
    found = cut(1000, train=300.0, test=100.0, embargo=10.0, holdout=50.0)
    assert in_hours(found.tests)[-2:] == [(750, 850), (860, 950)]


def test_purge_lasts_until_the_train_windows_positions_are_closed():
    """Opened at 290 and closed in the frame that opens at 333: nothing before hour 334 counts. Others do not matter."""
    found = cut(1000, (290 * HOUR, 333 * HOUR), (20 * HOUR, 30 * HOUR), (310 * HOUR, 700 * HOUR),
                train=300.0, test=100.0, embargo=10.0, holdout=200.0)  # fmt: skip
    assert found.purge_ms == 34 * HOUR
    assert in_hours(found.tests)[0] == (344, 444)


@pytest.mark.parametrize("end", [900 * HOUR, STILL_OPEN])
def test_purge_is_at_most_a_test_window(end):
    found = cut(1000, (290 * HOUR, end), train=300.0, test=100.0, embargo=10.0, holdout=200.0)
    assert (found.purge_ms, found.capped) == (100 * HOUR, True)
    assert in_hours(found.tests)[0][0] == 410


def test_what_does_not_fit_is_refused():
    with pytest.raises(UserError, match="the history has 500 candles"):
        lengths(EvaluationConfig(train=300.0, test=100.0, holdout=200.0), 500)
    with pytest.raises(UserError, match="no test window fits"):
        cut(420, (290 * HOUR, STILL_OPEN), train=300.0, test=100.0, embargo=0.0, holdout=10.0)
    with pytest.raises(ValueError, match="sum to less than 1"):
        EvaluationConfig(train=0.5, test=0.3, holdout=0.2)
    with pytest.raises(ValueError, match="whole number"):
        EvaluationConfig(train=1.5)


def test_only_whole_steps_within_a_window_count():
    curve = EquityCurve(np.arange(24 * 80, dtype=np.int64) * HOUR, np.full(24 * 80, 1.0), 1.0, HOUR)
    found = grid(
        curve, SimpleNamespace(train=Window(0, 20 * DAY + HOUR), tests=(Window(20 * DAY + HOUR, 60 * DAY - HOUR),))
    )
    assert found.step_ms == DAY
    assert np.flatnonzero(found.train).tolist() == list(range(20))
    assert np.flatnonzero(found.test).tolist() == list(range(21, 59))
    frames = found.frames(curve.open_ms)
    assert np.flatnonzero(frames).tolist() == list(range(21 * 24, 59 * 24))
    with pytest.raises(UserError, match="3 steps out of sample"):
        grid(curve, SimpleNamespace(train=Window(0, 20 * DAY), tests=(Window(20 * DAY, 23 * DAY),)))


def test_returns_end_where_nothing_is_left():
    equity = np.repeat([1.0, 2.0, 0.0, 5.0], 24)
    points = np.arange(5, dtype=np.int64) * DAY
    steps = Grid(HOUR * 24, HOUR, points, np.zeros(4, bool), np.ones((1, 4), bool))
    curve = EquityCurve(np.arange(96, dtype=np.int64) * HOUR, equity, 1.0, HOUR)
    assert steps.returns(curve) == pytest.approx([0.0, 1.0, -1.0, 0.0])
