"""What one bar does to the state of one stream: label, normalise, learn, journal, undo. All compiled, all in place.

State is `aux`, one flat float64 array per stream (names, order: memory.layout); `aoff` are the starts of its parts.
`derived` float64 follows from the slow weights: [UᵀU (O·O), AᵀA/d (R·R), prior (R), cap, U (D·O)].
Axes: I inputs, O targets, R rank, D width. Deviations are those of the running mean and variance of each input.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from memory import fast_weights, trigger
from memory.layout import (
    A8,
    A128,
    ACTIVE,
    ARMED,
    BAR,
    COUNT_S,
    D_DELTA,
    D_RANK,
    D_TARGETS,
    EPISODES,
    F16,
    FORGET,
    IN_STEP,
    JOURNAL,
    JOURNALED,
    LAST_EVENT,
    LAST_RESTART,
    NOISE,
    OPENED,
    S16,
    S_AD_ERROR,
    S_AD_SCALE,
    S_CENTER,
    S_CLOCK,
    S_FAST,
    S_FAST_P,
    S_FROZEN,
    S_JOURNAL,
    S_KEY,
    S_LSTM,
    S_MEAN,
    S_OFFSET,
    S_PH_SCALE,
    S_PH_SKILL,
    S_SCALE,
    S_SCRATCH,
    S_SHADOW,
    S_SHADOW_P,
    S_STATS,
    S_VAR,
    SKILL,
    STAT_SIZE,
    SVAR,
    TRIGGERED,
    WRITES,
)  # fmt: skip

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

LIMIT = 1e6  # inputs are clipped here before anything else
LABEL_CLIP = 6.0  # labels are winsorised at six deviations
INPUT_CLIP = 5.0
MEMORY = 512.0  # bars of the running mean and variance of each input
FLOOR = 1e-9  # smallest deviation: a constant input is zero, not noise


@njit(cache=True)
def normalise(aux: F64, aoff: I64, bar: int, x: F64, z: F32, inputs: int) -> None:
    """Deviations of x [I] from running mean and variance, which then take x in (winsorised at eight deviations)."""
    mean, var = aoff[S_MEAN], aoff[S_VAR]
    rate = max(1.0 / (bar + 1.0), 1.0 / MEMORY)
    for i in range(inputs):
        value = min(max(x[i], -LIMIT), LIMIT)
        gap = value - aux[mean + i]
        if bar >= 32:
            bound = 8.0 * math.sqrt(aux[var + i]) + FLOOR
            gap = min(max(gap, -bound), bound)
        aux[mean + i] += rate * gap
        aux[var + i] += rate * (gap * gap * (1.0 - rate) - aux[var + i])
        deviation = math.sqrt(aux[var + i]) + FLOOR
        z[i] = min(max((value - aux[mean + i]) / deviation, -INPUT_CLIP), INPUT_CLIP)


@njit(cache=True)
def label(aux: F64, aoff: I64, x: F64, y: F64) -> None:
    """Y [O]: the new bar's targets in the deviations that were known at the last prediction."""
    for o in range(len(y)):
        value = min(max(x[o], -LIMIT), LIMIT)
        gap = (value - aux[aoff[S_CENTER] + o]) / aux[aoff[S_SCALE] + o]
        y[o] = min(max(gap, -LABEL_CLIP), LABEL_CLIP)


@njit(cache=True)
def context_of(aux: F64, aoff: I64, derived: F64, dims: I64, out: F64) -> None:
    """The modifier's context [8] (module memory.modifier)."""
    stats = aux[aoff[S_STATS] : aoff[S_STATS] + STAT_SIZE]
    clock = aoff[S_CLOCK]
    bar = aux[clock + BAR]
    out[0] = math.log((stats[A8] + 1e-3) / (stats[A128] + 1e-3))
    out[1] = min(max(10.0 * stats[SKILL], -4.0), 4.0)
    out[2] = trigger._t(stats[S16 + 1], stats[SVAR], min(stats[COUNT_S], 64.0))  # noqa: SLF001 - one compiled unit
    out[3] = math.log1p(bar - aux[clock + LAST_RESTART]) / 6.0
    out[4] = math.log1p(bar - aux[clock + LAST_EVENT]) / 8.0
    out[5] = left_share(aux, aoff[S_SHADOW_P], derived, dims)
    out[6], out[7] = ph_shares(aux, aoff)


@njit(cache=True)
def ph_shares(aux: F64, aoff: I64) -> tuple[float, float]:
    """The two Page-Hinkley sums as shares of their thresholds."""
    a, b = aoff[S_PH_SCALE], aoff[S_PH_SKILL]
    if aux[a] == 0.0:
        return 0.0, 0.0
    scale = max(aux[a + 2] - aux[a + 4], aux[a + 5] - aux[a + 3]) / trigger.PH_SCALE_THRESHOLD
    skill = (aux[b + 5] - aux[b + 3]) / trigger.PH_SKILL_THRESHOLD if aux[b] > 0.0 else 0.0
    return min(scale, 2.0), min(skill, 2.0)


@njit(cache=True)
def left_share(aux: F64, start: int, derived: F64, dims: I64) -> float:
    """Trace P / trace P₀ of the covariance at `start`."""
    o, r = dims[D_TARGETS], dims[D_RANK]
    now, prior = 0.0, 0.0
    for i in range(r):
        now += aux[start + i * r + i]
        prior += derived[o * o + r * r + i]
    return now / prior


@njit(cache=True)
def learn(dims: I64, aoff: I64, derived: F64, aux: F64, y: F64) -> bool:
    """Part 2 of the bar: detectors, statistics, shadow and weights in force take the label y [O]. True on an alarm."""
    o, r = dims[D_TARGETS], dims[D_RANK]
    clock = aoff[S_CLOCK]
    bar = int(aux[clock + BAR])
    stats = aux[aoff[S_STATS] : aoff[S_STATS] + STAT_SIZE]
    residual = aux[aoff[S_SCRATCH] + o : aoff[S_SCRATCH] + 2 * o]
    scratch = aux[aoff[S_SCRATCH] + 2 * o : aoff[S_SCRATCH] + 2 * o + r]
    size, error, nothing, shadow, fast, power_s, power_f = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for j in range(o):
        residual[j] = y[j] - aux[aoff[S_FROZEN] + j]
        f, g = aux[aoff[S_OFFSET] + j], aux[aoff[S_OFFSET] + o + j]
        size += abs(y[j]) / o
        error += trigger.huber(residual[j]) / o
        nothing += trigger.huber(y[j]) / o
        shadow += trigger.huber(residual[j] - f) / o
        fast += trigger.huber(residual[j] - g) / o
        power_s += f * f / o
        power_f += g * g / o
    trigger.update_scale(stats, bar, size, nothing - error)
    trigger.update_advantage(stats, False, error - shadow, power_s)
    key = aux[aoff[S_KEY] : aoff[S_KEY] + r]
    prior = derived[o * o + r * r : o * o + r * r + r]
    alpha, noise = aux[clock + FORGET], aux[clock + NOISE]
    _write(dims, aoff[S_SHADOW], aoff[S_SHADOW_P], derived, aux, key, residual, alpha, noise, prior, scratch)
    if aux[clock + ACTIVE] != 0.0:
        trigger.update_advantage(stats, True, error - fast, power_f)
        if aux[clock + IN_STEP] != 0.0:
            _copy_shadow(dims, aoff, aux)
        else:
            _write(dims, aoff[S_FAST], aoff[S_FAST_P], derived, aux, key, residual, alpha, noise, prior, scratch)
        aux[clock + WRITES] += 1.0
    return trigger.pre_gate(
        aux[aoff[S_PH_SCALE] : aoff[S_PH_SKILL]], aux[aoff[S_PH_SKILL] : aoff[S_AD_SCALE]],
        aux[aoff[S_AD_SCALE] : aoff[S_AD_ERROR]], aux[aoff[S_AD_ERROR] : aoff[S_LSTM]], size, error, nothing - error,
    )  # fmt: skip


@njit(cache=True, inline="always")
def _write(
    dims: I64,
    at: int,
    at_p: int,
    derived: F64,
    aux: F64,
    key: F64,
    v: F64,
    alpha: float,
    noise: float,
    prior: F64,
    scratch: F64,
) -> None:
    """One capped delta-rule write on the weights at `at` with covariance at `at_p`."""
    o, r = dims[D_TARGETS], dims[D_RANK]
    b, p = aux[at : at + o * r], aux[at_p : at_p + r * r]
    fast_weights.write(b, p, key, v, alpha, noise, prior, dims[D_DELTA] != 0, scratch)
    fast_weights.cap(b, derived[o * o : o * o + r * r], derived[: o * o], derived[o * o + r * r + r])


@njit(cache=True)
def _copy_shadow(dims: I64, aoff: I64, aux: F64) -> None:
    """The shadow's weights and covariance into force.

    From an opening until the shadow is restarted both learn the same from the same: one write serves both (`in_step`).
    """
    o, r = dims[D_TARGETS], dims[D_RANK]
    size = o * r + r * r  # weights and covariance lie side by side
    force, shadow = aux[aoff[S_FAST] : aoff[S_FAST] + size], aux[aoff[S_SHADOW] : aoff[S_SHADOW] + size]
    for i in range(size):
        force[i] = shadow[i]


@njit(cache=True)
def restart(dims: I64, aoff: I64, derived: F64, aux: F64) -> None:
    """Give the shadow its prior covariance back: after an alarm it has to learn quickly again."""
    o, r = dims[D_TARGETS], dims[D_RANK]
    for i in range(r):
        for j in range(r):
            aux[aoff[S_SHADOW_P] + i * r + j] = 0.0
        aux[aoff[S_SHADOW_P] + i * r + i] = derived[o * o + r * r + i]
    aux[aoff[S_CLOCK] + IN_STEP] = 0.0


@njit(cache=True)
def push(dims: I64, aoff: I64, aux: F64) -> None:
    """Journal the weights in force; when the journal is full its oldest entry is lost."""
    o, r = dims[D_TARGETS], dims[D_RANK]
    entry = 2 + STAT_SIZE + o * r + r * r
    clock, journal = aoff[S_CLOCK], aoff[S_JOURNAL]
    count = int(aux[clock + JOURNALED])
    if count == JOURNAL:
        for i in range((JOURNAL - 1) * entry):
            aux[journal + i] = aux[journal + entry + i]
        count -= 1
    at = journal + count * entry
    aux[at], aux[at + 1] = aux[clock + ACTIVE], aux[clock + OPENED]
    for i in range(STAT_SIZE):
        aux[at + 2 + i] = aux[aoff[S_STATS] + i]
    for i in range(o * r + r * r):  # fast and its covariance lie side by side
        aux[at + 2 + STAT_SIZE + i] = aux[aoff[S_FAST] + i]
    aux[clock + JOURNALED] = count + 1


@njit(cache=True)
def pop(dims: I64, aoff: I64, aux: F64) -> bool:
    """Undo the last modification bit by bit; False when there is none in the journal."""
    o, r = dims[D_TARGETS], dims[D_RANK]
    entry = 2 + STAT_SIZE + o * r + r * r
    clock = aoff[S_CLOCK]
    count = int(aux[clock + JOURNALED])
    if count == 0:
        return False
    at = aoff[S_JOURNAL] + (count - 1) * entry
    aux[clock + ACTIVE], aux[clock + OPENED] = aux[at], aux[at + 1]
    for i in range(F16, STAT_SIZE):
        if i != COUNT_S:
            aux[aoff[S_STATS] + i] = aux[at + 2 + i]
    for i in range(o * r + r * r):
        aux[aoff[S_FAST] + i] = aux[at + 2 + STAT_SIZE + i]
    for i in range(entry):
        aux[at + i] = 0.0
    aux[clock + JOURNALED] = count - 1
    aux[clock + IN_STEP] = 0.0
    return True


@njit(cache=True)
def release(dims: I64, aoff: I64, aux: F64) -> None:
    """Undo every modification in force: back to the frozen net."""
    while pop(dims, aoff, aux):
        pass
    o, r = dims[D_TARGETS], dims[D_RANK]
    aux[aoff[S_CLOCK] + ACTIVE] = aux[aoff[S_CLOCK] + IN_STEP] = 0.0
    for i in range(o * r + r * r):
        aux[aoff[S_FAST] + i] = 0.0
    for j in range(o):
        aux[aoff[S_OFFSET] + o + j] = 0.0


@njit(cache=True)
def open_episode(dims: I64, aoff: I64, aux: F64) -> None:
    """Journal what is in force, then put the shadow's weights in force."""
    push(dims, aoff, aux)
    clock = aoff[S_CLOCK]
    _copy_shadow(dims, aoff, aux)
    for i in range(5):
        aux[aoff[S_STATS] + F16 + i] = aux[aoff[S_STATS] + S16 + i]
    aux[aoff[S_STATS] + COUNT_S + 1] = aux[aoff[S_STATS] + COUNT_S]
    aux[clock + ACTIVE], aux[clock + TRIGGERED], aux[clock + ARMED] = 1.0, 1.0, -1.0
    aux[clock + LAST_EVENT] = aux[clock + OPENED] = aux[clock + BAR]
    aux[clock + EPISODES] += 1.0
    aux[clock + IN_STEP] = 1.0
