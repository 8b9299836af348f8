"""The two-stage trigger: cheap change detectors first, then a learned, calibrated estimate that modifying helps.

Stage 1 (the pre-gate) feeds four detectors on every bar: Page-Hinkley and ADWIN on the scale of the returns and on the
net's own error (Page-Hinkley: on its skill, the error of predicting nothing minus its own, whose noise is smaller). An
alarm *arms* the trigger for `ARMED_BARS` and restarts the shadow's covariance.
Stage 2 estimates from evidence [12] whether the shadow (fast weights that always learn and never act) would beat the
frozen net over the next `HORIZON` bars. It is a 12-16-2 network trained on paired counterfactuals on identical candles
(nested-learning.md B7); its outputs are the expected advantage per bar and the logit of P(advantage > 0).
Every `REVIEW` bars stage 2 also looks once without an alarm: after a switch that a net adapting in context half hides,
no detector fires, and the shadow's advantage only shows over hundreds of bars.
The trigger fires when it is armed, P ≥ threshold, and the last modification is `BUDGET` bars old. A modification in
force is released (undone to the frozen net) when P falls below `RELEASE` times the threshold.

Everything here is in deviations of the target: no price scale, no dependence on width or number of inputs.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from memory.drift import PH_BOTH, PH_DOWN, adwin, page_hinkley
from memory.layout import (
    A8,
    A32,
    A128,
    B_T1,
    B_T2,
    COUNT_F,
    COUNT_S,
    E_MEAN,
    E_SCALE,
    EVIDENCE,
    F16,
    HIDDEN,
    S16,
    SKILL,
    W_T1,
    W_T2,
)  # fmt: skip

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

HORIZON = 100  # bars over which a modification has to pay (§3.4)
ARMED_BARS = 160  # how long an alarm keeps stage 2 awake: the evidence of a flipped trend needs some 60 to 120 bars
BUDGET = 50  # bars between two modifications (§3.4)
RELEASE = 0.6  # share of the threshold below which a modification in force is undone
REVIEW = 256  # bars between two looks without an alarm: what leaks in slowly sets no detector off
WARM = 64  # no modification before this many bars: the detectors and scales are still empty
EVERY_AWAKE, EVERY_ASLEEP = 4, 16  # bars between two estimates while armed or in force, and otherwise

# Page-Hinkley (threshold, delta, forgetting) in deviations, and ADWIN's confidence; set on the tuning markets of
# `benchmarks/hope_detection.py --tune`: scale for 0.2 false alarms in 10,000 quiet bars; skill for about 7, because a
# flipped trend hardly shows in the error of a net that adapts in context, and stage 2 sorts false alarms out
PH_SCALE_THRESHOLD, PH_SCALE_DELTA = 30.0, 0.20
PH_SKILL_THRESHOLD, PH_SKILL_DELTA = 8.0, 0.05
PH_FORGET, PH_MIN = 0.9995, 30
ADWIN_DELTA, ADWIN_CLOCK = 0.05, 16
LOSS_CLIP = 3.0  # Huber losses and skills are winsorised before detection: one jump is not a regime


@njit(cache=True)
def huber(x: float) -> float:
    """Huber loss with its corner at 2.5 deviations."""
    a = abs(x)
    return 0.5 * x * x if a <= 2.5 else 2.5 * (a - 1.25)


@njit(cache=True, inline="always")
def pre_gate(
    ph_scale: F64, ph_skill: F64, ad_scale: F64, ad_error: F64, size: float, error: float, skill: float
) -> bool:
    """Feed one bar's |return|, own loss and skill (all in deviations, per target); True on an alarm."""
    clipped = min(max(skill, -LOSS_CLIP), LOSS_CLIP)
    a = page_hinkley(ph_scale, min(size, 4.0), PH_SCALE_THRESHOLD, PH_SCALE_DELTA, PH_FORGET, PH_BOTH, PH_MIN)
    b = page_hinkley(ph_skill, clipped, PH_SKILL_THRESHOLD, PH_SKILL_DELTA, PH_FORGET, PH_DOWN, PH_MIN)
    c = adwin(ad_scale, min(size, 4.0) / 4.0, ADWIN_DELTA, ADWIN_CLOCK)
    d = adwin(ad_error, min(error, LOSS_CLIP) / LOSS_CLIP, ADWIN_DELTA, ADWIN_CLOCK)
    return a or b or c or d


@njit(cache=True)
def _mean_step(stats: F64, slot: int, value: float, rate: float) -> None:
    stats[slot] += rate * (value - stats[slot])


@njit(cache=True)
def update_scale(stats: F64, bar: int, size: float, skill: float) -> None:
    """Exponential means of |return| over 8, 32, 128 bars and of the frozen net's skill over 64."""
    first = 1.0 / bar
    clipped = min(size, 6.0)
    _mean_step(stats, A8, clipped, max(first, 1.0 / 8))
    _mean_step(stats, A32, clipped, max(first, 1.0 / 32))
    _mean_step(stats, A128, clipped, max(first, 1.0 / 128))
    _mean_step(stats, SKILL, min(max(skill, -LOSS_CLIP), LOSS_CLIP), max(first, 1.0 / 64))


@njit(cache=True)
def update_advantage(stats: F64, fast: bool, gain: float, power: float) -> None:
    """Means over 16, 64, 256 bars of a candidate's paired advantage, its variance and the size of its correction."""
    at = F16 if fast else S16
    count = COUNT_F if fast else COUNT_S
    stats[count] += 1.0
    first = 1.0 / stats[count]
    gap = gain - stats[at + 1]
    _mean_step(stats, at, gain, max(first, 1.0 / 16))
    _mean_step(stats, at + 1, gain, max(first, 1.0 / 64))
    _mean_step(stats, at + 2, gain, max(first, 1.0 / 256))
    _mean_step(stats, at + 3, gap * gap, max(first, 1.0 / 64))
    _mean_step(stats, at + 4, power, max(first, 1.0 / 64))


@njit(cache=True)
def _t(mean: float, variance: float, count: float) -> float:
    """A t-value pressed into ±4."""
    value = mean / math.sqrt(variance / max(count, 1.0) + 1e-8)
    return 4.0 * math.tanh(value / 4.0)


@njit(cache=True)
def gather(
    stats: F64, fast: bool, bar: int, since_restart: float, ph_scale: float, ph_skill: float, left: float, out: F64
) -> None:
    """Evidence [12] about the shadow (or the weights in force, `fast`); `left` is the share of prior variance left."""
    at = F16 if fast else S16
    count = stats[COUNT_F if fast else COUNT_S]
    variance = stats[at + 3]
    out[0] = _t(stats[at], variance, min(count, 16.0))
    out[1] = _t(stats[at + 1], variance, min(count, 64.0))
    out[2] = _t(stats[at + 2], variance, min(count, 256.0))
    out[3] = min(max(20.0 * stats[at + 1], -4.0), 4.0)
    out[4] = math.log((stats[A8] + 1e-3) / (stats[A128] + 1e-3))
    out[5] = min(max(10.0 * stats[SKILL], -4.0), 4.0)
    out[6] = ph_scale
    out[7] = ph_skill
    out[8] = math.log1p(since_restart) / 6.0
    out[9] = min(10.0 * math.sqrt(stats[at + 4]), 6.0)
    out[10] = left
    out[11] = math.log1p(bar) / 8.0


@njit(cache=True)
def estimate(off: I64, w: F32, evidence: F64) -> tuple[float, float]:
    """(expected advantage per bar, probability that it is positive over `HORIZON` bars) from evidence [12]."""
    advantage, logit = float(w[off[B_T2]]), float(w[off[B_T2] + 1])
    totals = np.empty(HIDDEN)
    first, bias = w[off[W_T1] : off[W_T1] + EVIDENCE * HIDDEN], w[off[B_T1] : off[B_T1] + HIDDEN]
    for j in range(HIDDEN):
        totals[j] = bias[j]
    for i in range(EVIDENCE):
        x = (evidence[i] - w[off[E_MEAN] + i]) * w[off[E_SCALE] + i]
        clipped, row = min(max(x, -5.0), 5.0), first[i * HIDDEN : (i + 1) * HIDDEN]
        for j in range(HIDDEN):
            totals[j] += clipped * row[j]
    for j in range(HIDDEN):
        hidden = math.tanh(totals[j])
        advantage += hidden * w[off[W_T2] + j * 2]
        logit += hidden * w[off[W_T2] + j * 2 + 1]
    return advantage, 1.0 / (1.0 + math.exp(-min(max(logit, -30.0), 30.0)))
