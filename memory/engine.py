"""One bar for all streams, compiled: label, learning, prediction, decision. HOPE.step and replays are this function.

Order inside a bar, so that nothing sees its own future:
  1 the new bar labels the last prediction (its first O inputs, in deviations as known when it was predicted);
  2 detectors, shadow and weights in force learn from that label;
  3 the bar is normalised, the backbone moves on, the frozen prediction is made;
  4 the trigger decides; a modification takes the shadow's weights and is journaled before;
  5 if a modification is in force its change of the core's output is added. It goes around the continuum block on the
    residual path, so B k moves the prediction by exactly B k and costs no second pass.
The frozen prediction never depends on 4 and 5: fast weights act behind the recurrence. So undoing a modification is
copying O·R + R² floats back, and a silent net gives the frozen net's bits.

Arrays per stream: `act` float32 (backbone), `aux` float64 (module memory.stream), `out` float64
[OUT + 2·O + 2·D]: scalars, prediction and frozen prediction in the target's own units, embedding, core input n.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from memory import fast_weights, modifier, trigger
from memory.backbone_kernel import continuum, encode, matvec_add
from memory.layout import (
    ACTIVE,
    ALARM,
    ARMED,
    B_HEAD,
    BAR,
    CONTEXT,
    D_INPUTS,
    D_RANK,
    D_TARGETS,
    D_WIDTH,
    EPISODES,
    EVIDENCE,
    F16,
    FORGET,
    IN_STEP,
    LAST_EVENT,
    LAST_RESTART,
    MODIFIED,
    MODIFIER_HIDDEN,
    NOISE,
    PROBABILITY,
    RELEASES,
    ROLLBACKS,
    S16,
    S_CENTER,
    S_CLOCK,
    S_FAST,
    S_FAST_P,
    S_FROZEN,
    S_KEY,
    S_LSTM,
    S_MEAN,
    S_OFFSET,
    S_SCALE,
    S_SCRATCH,
    S_SHADOW,
    S_SHADOW_P,
    S_STATS,
    S_VAR,
    STAT_SIZE,
    STRENGTH,
    TRIGGERED,
    W_CORE,
    W_HEAD,
    W_KEY,
)  # fmt: skip
from memory.stream import (
    FLOOR,
    context_of,
    label,
    learn,
    left_share,
    normalise,
    open_episode,
    ph_shares,
    pop,
    release,
    restart,
)  # fmt: skip

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

OUT = 8
(O_PROBABILITY, O_TRIGGERED, O_MODIFIED, O_ALARM, O_ACTIVE, O_EPISODES, O_BAR, O_STRENGTH) = range(OUT)
# one bar's record for the differentiable replay: controls, what happened, and the modifier's context
RECORD = 8 + CONTEXT
(R_FORGET, R_NOISE, R_STRENGTH, R_RESTART, R_EVENT, R_ACTIVE, R_TICK, R_PROBABILITY) = range(8)
MODE_TRIGGER, MODE_OFF = 0, 1


@njit(cache=True)
def evidence_of(dims: I64, aoff: I64, derived: F64, aux: F64, fast: bool, bar: int, evidence: F64) -> None:
    """Evidence [12] on bar `bar` about the shadow, or about what is in force (`fast`)."""
    stats = aux[aoff[S_STATS] : aoff[S_STATS] + STAT_SIZE]
    scale, skill = ph_shares(aux, aoff)
    left = left_share(aux, aoff[S_FAST_P] if fast else aoff[S_SHADOW_P], derived, dims)
    since = bar - aux[aoff[S_CLOCK] + LAST_RESTART]
    trigger.gather(stats, fast, bar, since, scale, skill, left, evidence)


@njit(cache=True)
def probability_of(dims: I64, off: I64, aoff: I64, w: F32, derived: F64, aux: F64, fast: bool) -> float:
    """Stage 2: P(the shadow, or what is in force, beats the frozen net over the horizon)."""
    evidence = np.empty(EVIDENCE)
    evidence_of(dims, aoff, derived, aux, fast, int(aux[aoff[S_CLOCK] + BAR]), evidence)
    return trigger.estimate(off, w, evidence)[1]


@njit(cache=True)
def set_controls(dims: I64, off: I64, aoff: I64, w: F32, derived: F64, aux: F64, record: F64) -> None:
    """Run the modifier once and keep what it read in the record."""
    context, controls = record[8 : 8 + CONTEXT], np.empty(3)
    context_of(aux, aoff, derived, dims, context)
    modifier.modify(dims, off, w, context, aux[aoff[S_LSTM] : aoff[S_LSTM] + 2 * MODIFIER_HIDDEN], controls)
    clock = aoff[S_CLOCK]
    aux[clock + FORGET], aux[clock + NOISE], aux[clock + STRENGTH] = controls[0], controls[1], controls[2]
    record[R_TICK] = 1.0


@njit(cache=True)
def decide(
    dims: I64,
    off: I64,
    aoff: I64,
    w: F32,
    derived: F64,
    aux: F64,
    threshold: float,
    force: int,
    alarm: bool,
    record: F64,
) -> None:
    """Part 4 of the bar. force: 0 the trigger decides, 1 open now, 2 release now, -1 neither."""
    clock = aoff[S_CLOCK]
    bar = int(aux[clock + BAR])
    if alarm:
        restart(dims, aoff, derived, aux)
        aux[clock + ALARM], aux[clock + LAST_RESTART] = 1.0, bar
        aux[clock + ARMED] = bar + trigger.ARMED_BARS
    if alarm or bar % modifier.PERIOD == 0:
        set_controls(dims, off, aoff, w, derived, aux, record)
    armed, active = aux[clock + ARMED] >= bar or bar % trigger.REVIEW == 0, aux[clock + ACTIVE] != 0.0
    every = trigger.EVERY_AWAKE if armed or active else trigger.EVERY_ASLEEP
    due = bar % every == 0 or alarm
    candidate = aux[clock + PROBABILITY]
    if due:
        candidate = probability_of(dims, off, aoff, w, derived, aux, False)
        aux[clock + PROBABILITY] = candidate
        if active and aux[clock + IN_STEP] == 0.0:  # else both are the same weights with the same past
            aux[clock + PROBABILITY] = probability_of(dims, off, aoff, w, derived, aux, True)
    stats = aoff[S_STATS]
    rested = bar - aux[clock + LAST_EVENT] >= trigger.BUDGET and bar >= trigger.WARM
    better = not active or aux[stats + S16] > aux[stats + F16]
    if force == 1 or (force == 0 and due and armed and rested and better and candidate >= threshold):
        open_episode(dims, aoff, aux)
        aux[clock + PROBABILITY] = candidate
    elif active and (force == 2 or (due and force == 0 and aux[clock + PROBABILITY] < trigger.RELEASE * threshold)):
        release(dims, aoff, aux)
        aux[clock + RELEASES] += 1.0
    record[R_FORGET], record[R_NOISE], record[R_STRENGTH] = (
        aux[clock + FORGET],
        aux[clock + NOISE],
        aux[clock + STRENGTH],
    )
    record[R_RESTART], record[R_EVENT] = aux[clock + ALARM], aux[clock + TRIGGERED]
    record[R_ACTIVE], record[R_PROBABILITY] = aux[clock + ACTIVE], aux[clock + PROBABILITY]


@njit(cache=True)
def begin(dims: I64, aoff: I64, derived: F64, aux: F64, act: F32) -> None:
    """An empty stream: everything zero, the shadow's covariance at its prior."""
    aux[:] = 0.0
    act[:] = 0.0
    aux[aoff[S_CLOCK] + ARMED] = -1.0
    restart(dims, aoff, derived, aux)


@njit(cache=True)
def offsets_of(dims: I64, aoff: I64, aux: F64) -> None:
    """What shadow and weights in force add to the next prediction, in deviations: s · B k."""
    o, r = dims[D_TARGETS], dims[D_RANK]
    key = aux[aoff[S_KEY] : aoff[S_KEY] + r]
    offset, strength = aoff[S_OFFSET], aux[aoff[S_CLOCK] + STRENGTH]
    fast_weights.read(aux[aoff[S_SHADOW] : aoff[S_SHADOW] + o * r], key, aux[offset : offset + o])
    fast_weights.read(aux[aoff[S_FAST] : aoff[S_FAST] + o * r], key, aux[offset + o : offset + 2 * o])
    for j in range(2 * o):
        aux[offset + j] *= strength


@njit(cache=True)
def readout(dims: I64, off: I64, w: F32, c: F32, prediction: F64) -> None:
    """Continuum block on c [D] in place, then the linear readout in deviations."""
    d, o = dims[D_WIDTH], dims[D_TARGETS]
    continuum(dims, off, w, c)
    for j in range(o):
        total = w[off[B_HEAD] + j]
        for i in range(d):
            total += c[i] * w[off[W_HEAD] + i * o + j]
        prediction[j] = total


@njit(cache=True)
def advance(
    dims: I64, off: I64, aoff: I64, w: F32, derived: F64, act: F32, aux: F64, x: F64, calendar: F64, threshold: float,
    mode: int, force: int, out: F64, record: F64,
) -> None:  # fmt: skip
    """One bar x [I] of one stream."""
    d, o, r, clock = dims[D_WIDTH], dims[D_TARGETS], dims[D_RANK], aoff[S_CLOCK]
    bar = int(aux[clock + BAR])
    if bar == 0:
        begin(dims, aoff, derived, aux, act)
    record[:] = 0.0
    aux[clock + TRIGGERED], aux[clock + ALARM], aux[clock + MODIFIED] = 0.0, 0.0, 0.0
    alarm = False
    if bar > 0 and mode != MODE_OFF:
        y = aux[aoff[S_SCRATCH] : aoff[S_SCRATCH] + o]
        label(aux, aoff, x, y)
        alarm = learn(dims, aoff, derived, aux, y)
    z, n, embedding = np.empty(dims[D_INPUTS], np.float32), np.empty(d, np.float32), np.empty(d, np.float32)
    normalise(aux, aoff, bar, x, z, dims[D_INPUTS])
    encode(dims, off, w, act, bar, z, calendar, n)
    embedding[:] = n
    matvec_add(embedding, n, w, off[W_CORE])
    frozen = aux[aoff[S_FROZEN] : aoff[S_FROZEN] + o]
    readout(dims, off, w, embedding, frozen)
    prediction = frozen.copy()
    if mode != MODE_OFF:
        keys(dims, off, w, n, aux[aoff[S_KEY] : aoff[S_KEY] + r])
        decide(dims, off, aoff, w, derived, aux, threshold, force, alarm, record)
        offsets_of(dims, aoff, aux)
        if aux[clock + ACTIVE] != 0.0:
            aux[clock + MODIFIED] = 1.0
            up = o * o + r * r + r + 1
            for j in range(o):
                change = aux[aoff[S_OFFSET] + o + j]
                prediction[j] += change
                for i in range(d):
                    embedding[i] += np.float32(derived[up + i * o + j] * change)
    report(dims, aoff, aux, prediction, embedding, n, out)
    aux[clock + BAR] = bar + 1.0


@njit(cache=True)
def keys(dims: I64, off: I64, w: F32, n: F32, key: F64) -> None:
    """K [R] = Aᵀ n / √d."""
    d, r = dims[D_WIDTH], dims[D_RANK]
    product = np.zeros(r, np.float32)
    matvec_add(product, n, w, off[W_KEY])
    for j in range(r):
        key[j] = product[j] / math.sqrt(d)


@njit(cache=True)
def report(dims: I64, aoff: I64, aux: F64, prediction: F64, embedding: F32, n: F32, out: F64) -> None:
    """Write `out` and remember what the next label has to be compared with."""
    o, clock = dims[D_TARGETS], aoff[S_CLOCK]
    for j in range(o):
        center, scale = aux[aoff[S_MEAN] + j], math.sqrt(aux[aoff[S_VAR] + j]) + FLOOR
        aux[aoff[S_CENTER] + j], aux[aoff[S_SCALE] + j] = center, scale
        out[OUT + j] = center + scale * prediction[j]
        out[OUT + o + j] = center + scale * aux[aoff[S_FROZEN] + j]
    for i in range(dims[D_WIDTH]):
        out[OUT + 2 * o + i] = embedding[i]
        out[OUT + 2 * o + dims[D_WIDTH] + i] = n[i]
    out[O_PROBABILITY], out[O_TRIGGERED] = aux[clock + PROBABILITY], aux[clock + TRIGGERED]
    out[O_MODIFIED], out[O_ALARM], out[O_ACTIVE] = aux[clock + MODIFIED], aux[clock + ALARM], aux[clock + ACTIVE]
    out[O_EPISODES], out[O_BAR], out[O_STRENGTH] = aux[clock + EPISODES], aux[clock + BAR], aux[clock + STRENGTH]


@njit(cache=True)
def run(
    dims: I64, off: I64, aoff: I64, w: F32, derived: F64, act: F32, aux: F64, x: F64, calendar: F64, threshold: float,
    mode: int, force: I64, out: F64, record: F64,
) -> int:  # fmt: skip
    """T bars of S streams: x [S, T, I], calendar [T, 4], force [S, T], out [S, T, ·], record [S, T, RECORD].

    Returns 1 and changes nothing when x holds NaN. The only entry point: each one would be compiled on its own.
    """
    for s in range(x.shape[0]):
        for t in range(x.shape[1]):
            for i in range(x.shape[2]):
                if math.isnan(x[s, t, i]):
                    return 1
    for s in range(x.shape[0]):
        for t in range(x.shape[1]):
            advance(
                dims, off, aoff, w, derived, act[s], aux[s], x[s, t], calendar[t], threshold, mode, force[s, t],
                out[s, t], record[s, t],
            )  # fmt: skip
    return 0


@njit(cache=True)
def undo(dims: I64, aoff: I64, aux: F64) -> bool:
    """Pop the journal between two bars; what is then in force makes the pending correction anew."""
    if not pop(dims, aoff, aux):
        return False
    clock = aoff[S_CLOCK]
    aux[clock + ROLLBACKS] += 1.0
    aux[clock + ARMED] = -1.0  # the same alarm must not open it again
    offsets_of(dims, aoff, aux)
    return True
