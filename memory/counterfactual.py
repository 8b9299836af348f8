"""Paired counterfactuals on identical candles: what would a modification have been worth, opened on this bar?

A stream is stepped with the trigger held shut. On chosen bars its whole state is copied and a branch opens the
modification and lives through the next bars; the branch makes the frozen prediction beside its own, so one branch gives
both arms of the pair on the same labels (nested-learning.md B7: no exploration noise, no REINFORCE variance). Half way
through the branch a second pair is taken: what is it worth to *keep* what is in force?

Advantage = mean over `horizon` bars of Huber loss (frozen) - Huber loss (modified), in squared deviations.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from memory.engine import MODE_TRIGGER, OUT, RECORD, advance, evidence_of
from memory.layout import ARMED, D_TARGETS, D_WIDTH, EVIDENCE, S_CENTER, S_CLOCK, S_SCALE
from memory.stream import LABEL_CLIP
from memory.trigger import huber

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


@njit(cache=True)
def paired_loss(aux: F64, aoff: I64, out: F64, x: F64, targets: int) -> float:
    """Huber loss of the frozen prediction minus that of the prediction in `out`, once the next bar x is known."""
    gain = 0.0
    for o in range(targets):
        center, scale = aux[aoff[S_CENTER] + o], aux[aoff[S_SCALE] + o]
        y = min(max((x[o] - center) / scale, -LABEL_CLIP), LABEL_CLIP)
        mine = (out[OUT + o] - center) / scale
        frozen = (out[OUT + targets + o] - center) / scale
        gain += (huber(y - frozen) - huber(y - mine)) / targets
    return gain


@njit(cache=True)
def _live(
    dims: I64,
    off: I64,
    aoff: I64,
    w: F32,
    derived: F64,
    act: F32,
    aux: F64,
    x: F64,
    at: int,
    opening: bool,
    horizon: int,
) -> float:
    """Mean advantage over `horizon` bars from bar `at`, with a modification opened there or already in force."""
    calendar, record = np.zeros(4), np.zeros(RECORD)
    out = np.zeros(OUT + 2 * dims[D_TARGETS] + 2 * dims[D_WIDTH])
    total = 0.0
    for t in range(at, at + horizon):
        force = 1 if opening and t == at else -1
        advance(dims, off, aoff, w, derived, act, aux, x[t], calendar, 2.0, MODE_TRIGGER, force, out, record)
        total += paired_loss(aux, aoff, out, x[t + 1], dims[D_TARGETS])
    return total / horizon


@njit(cache=True)
def collect(
    dims: I64, off: I64, aoff: I64, w: F32, derived: F64, act: F32, aux: F64, x: F64, every: int, horizon: int,
    warm: int, rows: F64,
) -> int:  # fmt: skip
    """Fill rows [N, EVIDENCE + 3] with (evidence, advantage, armed, kept?) from a stream x [T, I]; returns how many.

    Pairs are taken every `every` bars while the trigger is armed and every 4·`every` bars otherwise.
    """
    calendar, record = np.zeros(4), np.zeros(RECORD)
    out = np.zeros(OUT + 2 * dims[D_TARGETS] + 2 * dims[D_WIDTH])
    n = 0
    for t in range(len(x) - 2 * horizon - 2):
        before_act, before_aux = act.copy(), aux.copy()
        advance(dims, off, aoff, w, derived, act, aux, x[t], calendar, 2.0, MODE_TRIGGER, -1, out, record)
        armed = aux[aoff[S_CLOCK] + ARMED] >= t
        if t < warm or t % (every if armed else 4 * every) != 0 or n + 2 > len(rows):
            continue
        evidence_of(dims, aoff, derived, aux, False, t, rows[n, :EVIDENCE])
        rows[n, EVIDENCE] = _live(dims, off, aoff, w, derived, before_act, before_aux, x, t, True, horizon)
        rows[n, EVIDENCE + 1], rows[n, EVIDENCE + 2] = armed, 0.0
        evidence_of(dims, aoff, derived, before_aux, True, t + horizon - 1, rows[n + 1, :EVIDENCE])
        rows[n + 1, EVIDENCE] = _live(
            dims, off, aoff, w, derived, before_act, before_aux, x, t + horizon, False, horizon
        )
        rows[n + 1, EVIDENCE + 1], rows[n + 1, EVIDENCE + 2] = armed, 1.0
        n += 2
    assert not math.isnan(rows[:n].sum())
    return n
