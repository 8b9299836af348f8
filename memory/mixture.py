"""One estimate from several memories: attention inside each, a gate between them, and what each entry was worth.

What: inside a level its entries are weighted p_i = softmax(beta s_i + b u_i - lambda age_i) (similarity, usefulness,
age); each level gives the mean and variance of its values under p; the matrix gives M q + mean; a fifth voice is the
prior (mean and variance of all values), for queries that resemble nothing. A softmax over the voices (bias, slope on
the best similarity, measured skill) mixes them: the estimate is the mean and the uncertainty the standard deviation
of that mixture, so that disagreement between levels counts as well as spread inside them.
The same function gives the training signals at close: the gradient of the Huber loss in the 11 parameters, and by
leaving each entry out once, exactly, how useful it was.
Source: founding document (`weighted_combine` with learned weights), nested-learning.md §3.5. Shapes: trace [3, k, 7 +
v], five voices in the order of VOICES, parameters [11]. Units: the value's; losses in squared standard deviations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

VOICES = ("working", "episodic", "slots", "matrix", "prior")
SIMILARITY, USEFULNESS, AGE, SEQUENCE, ROW, VARIANCE, TIME, VALUES = range(8)  # columns of a trace
# parameters: bias per voice, slope on the best similarity of the three searched levels, log beta, usefulness, age
PARAMETERS = 11
SLOPE, LOG_BETA, BY_USEFULNESS, BY_AGE = 5, 8, 9, 10
# untrained: a match of similarity .5 counts as much as knowing nothing, an exact one 3,000 times as much
DEFAULTS = (0.0, 0.0, 0.0, 5.0, 8.0, 16.0, 16.0, 16.0, np.log(20.0), 0.0, 0.0)


@njit(cache=True)
def attend(entries: NDArray[Any], parameters: NDArray[Any]) -> NDArray[np.float64]:
    """Weights of the entries [k, 7 + v] of one level; similarity -inf marks an absent one. Sum 1, or 0 if all are."""
    logits = np.empty(entries.shape[0])
    highest = -np.inf
    for i in range(entries.shape[0]):
        logits[i] = np.exp(parameters[LOG_BETA]) * entries[i, SIMILARITY]
        if entries[i, SIMILARITY] > -np.inf:
            logits[i] += parameters[BY_USEFULNESS] * entries[i, USEFULNESS] - parameters[BY_AGE] * entries[i, AGE]
            highest = max(highest, logits[i])
    if highest == -np.inf:
        return np.zeros(entries.shape[0])
    weights: NDArray[np.float64] = np.exp(logits - highest)
    weights /= weights.sum()
    return weights


@njit(cache=True)
def combine(
    trace: NDArray[Any],
    present: NDArray[Any],
    voices: NDArray[Any],
    prior_variance: float,
    skill: NDArray[Any],
    parameters: NDArray[Any],
) -> tuple[NDArray[np.float64], float, NDArray[np.float64], NDArray[np.float64]]:
    """Mix the voices: estimate [v], variance, voice weights [5], voice estimates [5, v].

    `voices` [5, v] holds the estimates of matrix and prior in its last two rows, `present` [5] which voices may speak.
    """
    size = voices.shape[1]
    estimates, variances, logits = voices.copy(), np.full(5, prior_variance), np.full(5, -np.inf)
    for level in range(3):
        weights = attend(trace[level], parameters)
        if not present[level] or weights.sum() == 0.0:
            continue
        estimates[level] = 0.0
        for i in range(weights.size):
            if weights[i] > 0:
                estimates[level] += weights[i] * trace[level, i, VALUES:]
        variance = 0.0
        for i in range(weights.size):
            if weights[i] > 0:
                off = trace[level, i, VALUES:] - estimates[level]
                variance += weights[i] * (trace[level, i, VARIANCE] + (off * off).sum() / size)
        variances[level] = variance
        best = trace[level, :, SIMILARITY].max()
        logits[level] = parameters[level] + parameters[SLOPE + level] * best + skill[level]
    for voice in range(3, 5):
        if present[voice]:
            logits[voice] = parameters[voice] + skill[voice]
    estimate, gates = np.zeros(size), np.zeros(5)
    if logits.max() == -np.inf:
        return estimate, np.inf, gates, estimates
    gates = np.exp(logits - logits.max())
    gates /= gates.sum()
    for voice in range(5):
        if gates[voice] > 0:
            estimate += gates[voice] * estimates[voice]
    variance = 0.0
    for voice in range(5):
        if gates[voice] > 0:
            off = estimates[voice] - estimate
            variance += gates[voice] * (variances[voice] + (off * off).sum() / size)
    return estimate, variance, gates, estimates


@njit(cache=True)
def leave_one_out(
    trace: NDArray[Any],
    present: NDArray[Any],
    voices: NDArray[Any],
    prior_variance: float,
    skill: NDArray[Any],
    parameters: NDArray[Any],
    outcome: NDArray[Any],
    deviation: float,
) -> NDArray[np.float64]:
    """How much worse the estimate would have been without each entry, [3, k], in Huber units of `deviation` squared.

    Exact: the mixture is computed again without the experience, in both stores if it is in both.
    """
    estimate, _, _, _ = combine(trace, present, voices, prior_variance, skill, parameters)
    full = huber_loss(estimate, outcome, deviation)
    gains = np.zeros(trace.shape[:2])
    for level in range(2):
        for i in range(trace.shape[1]):
            if trace[level, i, SIMILARITY] == -np.inf:
                continue
            without = trace.copy()
            for other in range(2):
                for m in range(trace.shape[1]):
                    if trace[other, m, SEQUENCE] == trace[level, i, SEQUENCE]:
                        without[other, m, SIMILARITY] = -np.inf
            estimate, _, _, _ = combine(without, present, voices, prior_variance, skill, parameters)
            gains[level, i] = huber_loss(estimate, outcome, deviation) - full
    return gains


@njit(cache=True)
def huber_loss(estimate: NDArray[Any], outcome: NDArray[Any], deviation: float) -> float:
    """Mean Huber loss over value components, error in units of `deviation`, linear beyond one."""
    total = 0.0
    for c in range(outcome.size):
        error = abs(estimate[c] - outcome[c]) / deviation
        total += 0.5 * error * error if error <= 1.0 else error - 0.5
    return total / outcome.size


@njit(cache=True)
def loss_gradient(
    trace: NDArray[Any],
    present: NDArray[Any],
    voices: NDArray[Any],
    prior_variance: float,
    skill: NDArray[Any],
    parameters: NDArray[Any],
    outcome: NDArray[Any],
    deviation: float,
) -> NDArray[np.float64]:
    """Gradient of the Huber loss in the read parameters [11] by central differences (22 mixtures, all in cache)."""
    gradient = np.zeros(parameters.size)
    step = 1e-4
    for p in range(parameters.size):
        moved = parameters.copy()
        moved[p] = parameters[p] + step
        above, _, _, _ = combine(trace, present, voices, prior_variance, skill, moved)
        moved[p] = parameters[p] - step
        below, _, _, _ = combine(trace, present, voices, prior_variance, skill, moved)
        gradient[p] = (huber_loss(above, outcome, deviation) - huber_loss(below, outcome, deviation)) / (2 * step)
    return gradient
