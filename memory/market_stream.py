"""The 24 inputs of `memory.markets.features`, one candle at a time: what HOPE was trained on, for use on live streams.

State is one float64 array per stream [STATE]: counters, running scales and mirrored rings of log prices and log volume
(each value is written twice, one ring length apart, so that a window is one contiguous slice, oldest first). Feeding
the candles of a series one by one gives the rows of `features` (tests compare them).
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from memory.markets import FEATURES

Array = NDArray[np.float64]

RING: Final = 64
"""Longest window: the fall from the 64-bar high."""

(BAR, FAST, MIDDLE, SLOW, UP, DOWN, CO, LEAD_SCALE, SCALARS) = range(9)
LOGS: Final = SCALARS
LEADS: Final = LOGS + 2 * RING
VOLUMES: Final = LEADS + 2 * RING
STATE: Final = VOLUMES + 2 * RING


@njit(cache=True)
def _push(state: Array, ring: int, at: int, value: float) -> None:
    state[ring + at] = value
    state[ring + at + RING] = value


@njit(cache=True)
def _window(state: Array, ring: int, bar: int, length: int) -> Array:
    """The last `length` values (fewer at the start) up to bar `bar`, oldest first."""
    length = min(length, bar + 1)
    end = ring + bar % RING + RING + 1
    return state[end - length : end]


@njit(cache=True)
def step(state: Array, candle: Array, leader: float, row: Array) -> None:
    """Take in one candle [open, high, low, close, volume] and the leader's close; write row [24]. Prices are positive.

    Names and formulas are those of `memory.markets.features`.
    """
    bar = int(state[BAR])
    o, h, low, c = candle[0], candle[1], candle[2], candle[3]
    _push(state, LOGS, bar % RING, math.log(c))
    _push(state, LEADS, bar % RING, math.log(leader))
    _push(state, VOLUMES, bar % RING, math.log(max(candle[4], 1e-12)))
    logs, leads = _window(state, LOGS, bar, RING), _window(state, LEADS, bar, RING)
    volumes = _window(state, VOLUMES, bar, 32)
    last = len(logs) - 1
    r = logs[last] - logs[last - 1] if bar > 0 else math.log(c / o)
    g = leads[last] - leads[last - 1] if bar > 0 else 0.0
    _scales(state, r, g, 1.0 / (bar + 1.0))
    span = math.log(h / low)
    row[0], row[1], row[2], row[3], row[4] = r, g, r - g, abs(r), span
    row[5] = (c - low) / (h - low) - 0.5 if h > low else 0.0
    row[6] = volumes[-1] - volumes[-2] if bar > 0 else 0.0
    for i in range(5):
        row[7 + i] = logs[last] - logs[max(0, last - 2 ** (i + 1))]
    row[12] = leads[last] - leads[max(0, last - 8)]
    row[13], row[14] = 0.5 * math.log(state[FAST] + 1e-12), 0.5 * math.log(state[MIDDLE] + 1e-12)
    row[15] = 0.5 * math.log(state[SLOW] + 1e-12)
    row[16], row[17] = row[13] - row[15], abs(g)
    recent = logs[max(0, last - 19) :]
    row[18] = (logs[last] - recent.mean()) / (recent.std() + 1e-6)
    row[19] = (state[UP] - state[DOWN]) / (state[UP] + state[DOWN] + 1e-12)
    row[20] = logs[last] - logs.max()
    row[21] = np.sign(r) * (volumes[-1] - volumes.mean())
    row[22] = state[CO]
    row[23] = abs(math.log(c / o)) / (span + 1e-12)
    state[BAR] = bar + 1.0


@njit(cache=True)
def _scales(state: Array, r: float, g: float, rate: float) -> None:
    """Running scales of both returns, strength of rises and falls, and their co-movement."""
    state[FAST] += max(rate, 1.0 / 8) * (r * r - state[FAST])
    state[MIDDLE] += max(rate, 1.0 / 32) * (r * r - state[MIDDLE])
    state[SLOW] += max(rate, 1.0 / 128) * (r * r - state[SLOW])
    state[LEAD_SCALE] += max(rate, 1.0 / 128) * (g * g - state[LEAD_SCALE])
    state[UP] += (max(r, 0.0) - state[UP]) / 14.0
    state[DOWN] += (max(-r, 0.0) - state[DOWN]) / 14.0
    product = r * g / (math.sqrt(state[SLOW] * state[LEAD_SCALE]) + 1e-12)
    state[CO] += (min(max(product, -4.0), 4.0) - state[CO]) / 32.0


@njit(cache=True)
def follow(state: Array, candles: Array, leaders: Array) -> Array:
    """Rows [T, 24] of T further candles [T, 5] of one stream, with the leader's closes [T]."""
    rows = np.empty((len(candles), FEATURES))
    for t in range(len(candles)):
        step(state, candles[t], leaders[t], rows[t])
    return rows
