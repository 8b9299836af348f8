"""How history is cut for an evaluation: train, purge, then test windows with an embargo between them, then the hold-out.

The population lives through all of it once and only ever knows the past; what is cut is its returns. The *train* window is
where founders are drawn and the first generations learn: in sample. The *purge* leaves out everything until the last
position that was opened in it is closed, at most one test window. The *embargo* is left out between two windows, so that
what one shares with the next (a market's mood, an open position) is not counted twice. The *hold-out* is the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from trader.core.errors import UserError
from trader.report.series import EquityCurve, on_grid, step_of, steps_per_year

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from trader.core.config_evaluation import EvaluationConfig
    from trader.lab.history import History
    from trader.lab.simulation import Simulation

FEWEST_STEPS: Final = 20
"""Out of sample; below, blocks of a handful of returns say nothing (`trader.report.intervals`)."""


@dataclass(frozen=True, slots=True)
class Window:
    """From the open of a frame to the close of another, ms UTC."""

    begin_ms: int
    end_ms: int

    def steps(self, points: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which steps between grid points [n + 1] lie whole in the window, bool [n]."""
        return np.asarray((points[:-1] >= self.begin_ms) & (points[1:] <= self.end_ms))


@dataclass(frozen=True, slots=True)
class Lengths:
    """The parts of a history in frames; `development` is all but the hold-out."""

    total: int
    train: int
    test: int
    embargo: int
    holdout: int

    @property
    def development(self) -> int:
        """Frames that may be looked at."""
        return self.total - self.holdout


def lengths(settings: EvaluationConfig, total: int) -> Lengths:
    """The config's lengths for a history of `total` frames.

    Raises:
        UserError: the parts do not fit into it.
    """

    def frames(value: float) -> int:
        return int(value) if value >= 1 else round(value * total)

    found = Lengths(
        total, frames(settings.train), frames(settings.test), frames(settings.embargo), frames(settings.holdout)
    )
    needed = found.train + found.embargo + found.test + found.holdout
    if needed > total or not found.train or not found.test:
        raise UserError(
            f"evaluation: the history has {total} candles, and train, embargo, one test window and hold-out need {needed}"
        )
    return found


@dataclass(frozen=True, slots=True)
class Split:
    """Windows of a history, and how long the purge was; `capped`: a position of the train window outlived it."""

    train: Window
    tests: tuple[Window, ...]
    purge_ms: int
    capped: bool


def split(history: History, parts: Lengths, simulations: Sequence[Simulation]) -> Split:
    """Windows of the development part; simulations tell when the positions of the train window were closed.

    Raises:
        UserError: nothing is left out of sample.
    """
    base_ms, times = history.base_ms, history.times
    begin, train_end = int(times[0]), int(times[parts.train - 1]) + base_ms
    end = int(times[parts.development - 1]) + base_ms
    longest = parts.test * base_ms
    purge_ms, capped = _purge(simulations, train_end, longest, base_ms)
    tests = _roll(train_end + purge_ms + parts.embargo * base_ms, end, longest, parts.embargo * base_ms)
    if not tests:
        raise UserError(
            "evaluation: no test window fits between train window and hold-out; give more candles or shorter windows"
        )
    return Split(Window(begin, train_end), tests, purge_ms, capped)


def _purge(simulations: Sequence[Simulation], train_end: int, longest: int, base_ms: int) -> tuple[int, bool]:
    last = train_end
    for simulation in simulations:
        ends = simulation.closed[simulation.opened < train_end]
        last = max(last, int(ends.max()) if len(ends) else 0)
    if last <= train_end:
        return 0, False
    wanted = min(last, train_end + longest) + base_ms - train_end  # one still open has the largest int64 as its end
    return min(wanted, longest), wanted > longest


def _roll(begin: int, end: int, length: int, embargo: int) -> tuple[Window, ...]:
    """Windows of `length` with `embargo` between; a rest of less than half a window joins the last one."""
    found = []
    while begin + length <= end:
        after = begin + length + embargo
        stop = begin + length if end - after >= length // 2 else end
        found.append(Window(begin, stop))
        begin = stop + embargo
    if end - begin >= length // 2:
        found.append(Window(begin, end))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Grid:
    """The equal steps of an evaluation: points int64 [n + 1], ms; masks bool [n]; windows bool [W, n]; base_ms: of a frame."""

    step_ms: int
    base_ms: int
    points: NDArray[np.int64]
    train: NDArray[np.bool_]
    windows: NDArray[np.bool_]

    @property
    def test(self) -> NDArray[np.bool_]:
        """Steps of all test windows."""
        return np.asarray(self.windows.any(axis=0))

    @property
    def per_year(self) -> float:
        """Steps of a year."""
        return steps_per_year(self.step_ms)

    def frames(self, times: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which frames, opening at `times` [T], close in a step of a test window."""
        place = np.searchsorted(self.points, times + self.base_ms, side="left") - 1
        inside = (place >= 0) & (place < len(self.test))
        return np.asarray(inside & self.test[np.clip(place, 0, len(self.test) - 1)])

    def returns(self, curve: EquityCurve) -> NDArray[np.float64]:
        """Simple returns of a curve on the steps; once nothing is left, 0."""
        _, values = on_grid(curve, self.step_ms)
        alive = np.minimum.accumulate(values > 0)
        before = np.where(alive[:-1], values[:-1], 1.0)
        return np.asarray(np.where(alive[:-1], np.maximum(values[1:] / before - 1.0, -1.0 + 1e-12), 0.0))


def grid(curve: EquityCurve, cut: Split) -> Grid:
    """The steps of a development curve.

    Raises:
        UserError: too few of them are out of sample.
    """
    step = step_of(curve)
    points, _ = on_grid(curve, step)
    windows = np.stack([window.steps(points) for window in cut.tests])
    found = Grid(step, curve.base_ms, points, cut.train.steps(points), windows)
    if found.test.sum() < FEWEST_STEPS:
        raise UserError(
            f"evaluation: {int(found.test.sum())} steps out of sample, and at least {FEWEST_STEPS} are needed: give more candles"
        )
    return found
