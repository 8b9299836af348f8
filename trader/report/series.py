"""Equity on equal steps of time, from which every ratio of a report is computed.

A session has a row of equity per frame, and frames are missing where no market had a candle. Ratios need returns over
equal steps, so equity is read on the UTC grid of one step (a day for all but short runs): the value at a grid point is
that of the last frame that had closed by then. A day without candles is a return of zero, and a year has 365.25 days
of 24 hours, because these markets never close. Steps that are not whole at the beginning and the end are left out of
ratios; the total return and the drawdown use every frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
YEAR_MS: Final = 365.25 * DAY_MS

ENOUGH_DAYS: Final = 30
"""From so many whole days on, steps are days; below, hours: 29 daily returns tell too little."""


@dataclass(frozen=True, slots=True)
class EquityCurve:
    """Equity of a run or of a baseline.

    open_ms: int64 [T], open time of each frame, rising; equity: float64 [T], at each frame's close; start: equity
    before the first frame; base_ms: length of a frame.
    """

    open_ms: NDArray[np.int64]
    equity: NDArray[np.float64]
    start: float
    base_ms: int

    @property
    def begin_ms(self) -> int:
        """Open of the first frame."""
        return int(self.open_ms[0])

    @property
    def end_ms(self) -> int:
        """Close of the last frame."""
        return int(self.open_ms[-1]) + self.base_ms

    @property
    def span_ms(self) -> int:
        """From the first open to the last close."""
        return self.end_ms - self.begin_ms


def step_of(curve: EquityCurve) -> int:
    """Length of the step in ms: a day from `ENOUGH_DAYS` days on, else an hour; never below a frame."""
    wanted = DAY_MS if curve.span_ms >= ENOUGH_DAYS * DAY_MS else HOUR_MS
    return max(wanted, curve.base_ms)


def on_grid(curve: EquityCurve, step_ms: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Grid points (ms UTC) within the curve's span, and the equity at each: int64 [n], float64 [n]."""
    first = -(-curve.begin_ms // step_ms)
    last = curve.end_ms // step_ms
    points = np.arange(first, last + 1, dtype=np.int64) * step_ms
    place = np.searchsorted(curve.open_ms + curve.base_ms, points, side="right")
    known = np.concatenate(([curve.start], curve.equity))
    return points, known[place]


def step_returns(curve: EquityCurve, step_ms: int) -> NDArray[np.float64]:
    """Simple returns over equal steps, float64 [n - 1]; empty if equity was not positive at some grid point."""
    _, values = on_grid(curve, step_ms)
    if len(values) < 2 or not (values > 0).all():
        return np.zeros(0)
    return np.asarray(values[1:] / values[:-1] - 1.0)


def steps_per_year(step_ms: int) -> float:
    """How many steps a year has."""
    return YEAR_MS / step_ms
