"""What an agent does, as a cell of a grid: how often it trades, and how often it is right.

Two agents with unlike genes may do the same, and mutation may leave genes nearly alike that act differently; niches are
therefore told apart by behaviour, as in quality-diversity search (Mouret and Clune, "Illuminating search spaces by
mapping elites", 2015). Axes: closed trades a day on a logarithmic scale from 1/50 to 20, and the share of them that won.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from agents import layout as at

RAREST: Final = 0.02
"""Trades a day at the lower end of the scale: one in 50 days. Below it everybody is alike."""
BUSIEST: Final = 20.0


def cells(
    days: NDArray[np.float64], closed: NDArray[np.int64], wins: NDArray[np.int64], grid: int
) -> NDArray[np.int64]:
    """Cells [N], in [0, grid^2), from daily results [DAY_FIELDS, N] and counts of closed and won trades [N]."""
    often = closed / np.maximum(days[at.DAY_COUNT], 1.0)
    scale = np.log(np.clip(often, RAREST, BUSIEST) / RAREST) / np.log(BUSIEST / RAREST)
    right = wins / np.maximum(closed, 1)
    first, second = (np.minimum((axis * grid).astype(np.int64), grid - 1) for axis in (scale, right))
    return np.asarray(first * grid + second)
