"""Statistics that say whether a result is more than luck, each with its source.

Returns are simple returns of equal steps (days, unless told otherwise); a Sharpe ratio here is of one step, mean ÷
standard deviation (ddof 1), never annual. Axes: n steps, N strategies, R replications; everything is vectorised over
leading axes. What cannot be computed is NaN. Same data and seed: same numbers.

Sources: [A] Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice"; [H] Holm 1979;
[B] Bailey and López de Prado 2012, "The Sharpe ratio efficient frontier"; [D] the same 2014, "The deflated Sharpe
ratio"; [P] Bailey, Borwein, López de Prado and Zhu 2017, "The probability of backtest overfitting"; [S] Hansen 2005, "A
test for superior predictive ability"; [R] Romano and Wolf 2005, "Stepwise multiple testing"; [E] Efron 1979.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from statistics import NormalDist
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trader.report.intervals import draws, rule
from trader.report.skill import expected_maximum

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""From values [..., runs, tasks] to [...]."""

LEVEL: Final = 0.95
RESAMPLES: Final = 10_000
_NORMAL: Final = NormalDist()
_TINY: Final = 1e-15
_cdf = np.vectorize(lambda z: _NORMAL.cdf(z) if np.isfinite(z) else np.nan, otypes=[np.float64])


class Estimate(NamedTuple):
    """A figure with the central 95 % of its bootstrap replications."""

    value: float
    low: float
    high: float


# --- over seeds and tasks ------------------------------------------------------------------------------------------------


def interquartile_mean(values: Floats) -> Floats:
    """Mean of the middle half over the last two axes, runs and tasks together [A]: ⌊n ÷ 4⌋ values are cut at each end."""
    flat = np.sort(values.reshape(*values.shape[:-2], -1), axis=-1)
    cut = flat.shape[-1] // 4
    return np.asarray(flat[..., cut : flat.shape[-1] - cut].mean(-1))


def stratified_bootstrap(
    values: Floats, statistic: Statistic = interquartile_mean, *, seed: int, resamples: int = RESAMPLES
) -> Estimate:
    """Interval of a statistic of values [runs, tasks]: runs are redrawn within each task [A]."""
    picked = _redraw(values.shape, seed, resamples)
    return _estimate(statistic(values), statistic(np.take_along_axis(values[None], picked, axis=1)))


def paired_bootstrap(
    first: Floats, second: Floats, statistic: Statistic = interquartile_mean, *, seed: int, resamples: int = RESAMPLES
) -> Estimate:
    """Interval of statistic(first − second), both [runs, tasks], run by run with the same seed: pairs are redrawn [E]."""
    if first.shape != second.shape:
        raise ValueError(f"pairs need equal shapes, not {first.shape} and {second.shape}")
    return stratified_bootstrap(first - second, statistic, seed=seed, resamples=resamples)


def probability_of_improvement(first: Floats, second: Floats) -> float:
    """P(a run of `first` beats a run of `second`), ties half, mean over tasks [A]; both [runs, tasks]. Mann-Whitney U ÷ nm."""
    ahead = np.sign(first[:, None, :] - second[None, :, :])
    return float((0.5 * (ahead + 1.0)).mean())


def _redraw(shape: tuple[int, ...], seed: int, resamples: int) -> NDArray[np.int64]:
    generator = np.random.Generator(np.random.PCG64(seed))
    return generator.integers(0, shape[0], (resamples, *shape))


def _estimate(value: Floats, replications: Floats) -> Estimate:
    found = replications[np.isfinite(replications)]
    low, high = np.quantile(found, ((1 - LEVEL) / 2, (1 + LEVEL) / 2)) if len(found) else (np.nan, np.nan)
    return Estimate(float(value), float(low), float(high))


def holm(p_values: Floats) -> Floats:
    """Adjusted p-values [H]: the k-th smallest of m is multiplied by m − k + 1, made monotone, at most 1."""
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    scaled = p[order] * (len(p) - np.arange(len(p)))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted


# --- one Sharpe ratio among many -------------------------------------------------------------------------------------------


class Moments(NamedTuple):
    """Sharpe ratio of a step, skewness and kurtosis (normal: 3) of returns [..., n], each [...]."""

    sharpe: Floats
    skewness: Floats
    kurtosis: Floats


def moments(returns: Floats) -> Moments:
    """Moments along the last axis; NaN without variation."""
    deviation = returns.std(-1)
    safe = np.where(deviation > _TINY, deviation, np.nan)
    n = returns.shape[-1]
    standard = (returns - returns.mean(-1, keepdims=True)) / safe[..., None]
    bessel = np.sqrt((n - 1) / n) if n > 1 else np.nan
    return Moments(returns.mean(-1) / safe * bessel, (standard**3).mean(-1), (standard**4).mean(-1))


def _spread(m: Moments) -> Floats:
    """Variance of the estimated ratio times n [B]: 1 − γ₃ s + (γ₄ − 1) ÷ 4 · s²."""
    spread = 1 - m.skewness * m.sharpe + (m.kurtosis - 1) / 4 * m.sharpe**2
    return np.asarray(np.where(spread > 0, spread, np.nan))


def probabilistic_sharpe(returns: Floats, benchmark: Floats | float = 0.0) -> Floats:
    """P(true ratio > benchmark) [B]: Φ( (s − s*) √(n − 1) ÷ √(1 − γ₃ s + (γ₄ − 1) ÷ 4 · s²) )."""
    m = moments(returns)
    return np.asarray(_cdf((m.sharpe - benchmark) * np.sqrt(returns.shape[-1] - 1) / np.sqrt(_spread(m))))


def minimum_track_record(returns: Floats, benchmark: float = 0.0, level: float = LEVEL) -> Floats:
    """Steps needed before PSR(benchmark) exceeds `level` [B]: 1 + (1 − γ₃ s + (γ₄ − 1) ÷ 4 · s²) (z ÷ (s − s*))².

    Infinite where the ratio is not above the benchmark.
    """
    m = moments(returns)
    ahead = m.sharpe - benchmark
    needed = 1 + _spread(m) * (_NORMAL.inv_cdf(level) / np.where(ahead > 0, ahead, np.nan)) ** 2
    return np.asarray(np.where(ahead > 0, needed, np.where(np.isnan(ahead), np.nan, np.inf)))


def chance_sharpe(trials: int, variance: float) -> float:
    """Ratio that the best of `trials` without skill is expected to show, if their ratios have this variance [D]."""
    return float(np.sqrt(variance) * expected_maximum(trials))


def deflated_sharpe(returns: Floats, trials: int, variance: float | None = None) -> Floats:
    """P(true ratio > what the best of `trials` would show by chance) [D].

    variance: of the trials' ratios; None, or smaller: what chance alone gives one trial of n steps, 1 ÷ n.
    """
    alone = 1.0 / returns.shape[-1]
    return probabilistic_sharpe(returns, chance_sharpe(trials, max(variance or 0.0, alone)))


def effective_trials(returns: Floats) -> float:
    """Independent series among the rows of [N, n]: (Σλ)² ÷ Σλ² of their correlation matrix, 1 to N."""
    varied = returns[returns.std(-1) > _TINY]
    if len(varied) < 2:
        return float(len(varied))
    return float(len(varied) ** 2 / np.sum(np.corrcoef(varied) ** 2))


# --- choosing the best of many -----------------------------------------------------------------------------------------


class Overfitting(NamedTuple):
    """Probability of backtest overfitting with its bootstrap band, and the logits of all splits [C]."""

    probability: float
    low: float
    high: float
    logits: Floats


def overfitting(returns: Floats, blocks: int = 10, *, seed: int = 0, resamples: int = 200) -> Overfitting:
    """PBO by combinatorially symmetric cross-validation [P] of returns [n, N].

    The steps are cut into `blocks` (even) equal blocks, odd steps at the beginning left out. In each of the
    C(blocks, blocks ÷ 2) splits the strategy with the best Sharpe ratio in one half is looked up in the other:
    ω = its rank ÷ (N + 1), λ = ln(ω ÷ (1 − ω)), PBO = P(λ ≤ 0). The band is the central 95 % over histories redrawn by
    the stationary bootstrap: on pure noise a single PBO scatters from 0.2 to 0.7.
    """
    if blocks % 2 or blocks < 2:
        raise ValueError(f"blocks must be even, not {blocks}")
    n, strategies = returns.shape
    if n < 2 * blocks or strategies < 2:
        return Overfitting(np.nan, np.nan, np.nan, np.zeros(0))
    logits = _logits(returns, blocks)
    length = rule(returns.mean(-1))
    again = [
        float((_logits(returns[index], blocks) <= 0).mean())
        for part in draws(n, length, seed, resamples)
        for index in part
    ]
    low, high = np.quantile(again, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Overfitting(float((logits <= 0).mean()), float(low), float(high), logits)


def _logits(returns: Floats, blocks: int) -> Floats:
    """λ of every split, from each block's sums of x and x²."""
    size = len(returns) // blocks
    cut = returns[len(returns) - size * blocks :].reshape(blocks, size, -1)
    inside = np.zeros((len(list(combinations(range(blocks), blocks // 2))), blocks))
    for row, chosen in enumerate(combinations(range(blocks), blocks // 2)):
        inside[row, list(chosen)] = 1.0
    half = size * blocks // 2
    first, second = cut.sum(1), (cut**2).sum(1)
    found = _ratio(inside @ first, inside @ second, half)
    kept = _ratio((1 - inside) @ first, (1 - inside) @ second, half)
    best = found.argmax(-1)
    own = np.take_along_axis(kept, best[:, None], axis=1)
    rank = (kept < own).sum(-1) + ((kept == own).sum(-1) + 1) / 2
    omega = rank / (returns.shape[1] + 1)
    return np.asarray(np.log(omega / (1 - omega)))


def _ratio(total: Floats, squares: Floats, n: int) -> Floats:
    """Mean ÷ deviation from Σx and Σx²; 0 without variation: it is nobody's best and nobody's worst."""
    mean = total / n
    variance = squares / n - mean**2
    return np.asarray(np.where(variance > _TINY**2, mean / np.sqrt(np.maximum(variance, _TINY**2)), 0.0))


class Superior(NamedTuple):
    """Hansen's consistent p-value, the bounds below and above it, and the numbers of the superior strategies [R]."""

    p_value: float
    lower: float
    upper: float
    superior: tuple[int, ...]


def superior_ability(
    returns: Floats, benchmark: Floats | None = None, *, seed: int, resamples: int = 1_000, size: float = 0.05
) -> Superior:
    """Is the best of returns [n, N] better than the benchmark [n] (None: cash)? SPA [S], and which are: StepM [R].

    Both by `arch` with the stationary bootstrap; strategies that never moved are left out. p = 1 where none is left.
    Blocks are as long as the median strategy needs: the longest of many is the longest by chance and rejects too often.
    """
    from arch.bootstrap import SPA

    against = np.zeros(len(returns)) if benchmark is None else benchmark
    moved = np.flatnonzero((returns - against[:, None]).std(0) > _TINY)
    if not len(moved) or len(returns) < 20:
        return Superior(1.0, 1.0, 1.0, ())
    length = int(np.ceil(np.median([rule(returns[:, k] - against) for k in moved.tolist()])))
    chosen = returns[:, moved]
    test = SPA(-against, -chosen, block_size=length, reps=resamples, seed=seed)
    test.compute()
    found = test.pvalues
    names = tuple(int(moved[place]) for place in _superior(test, len(moved), size))
    return Superior(float(found["consistent"]), float(found["lower"]), float(found["upper"]), names)


def _superior(test: Any, count: int, size: float) -> list[int]:
    """StepM [R]: take out what is superior and test the rest, until nothing more is. Of `count` strategies, their places.

    Not `arch`'s own loop: version 8 ends in an error where every strategy is superior in more than one step.
    """
    left = np.ones(count, np.bool_)
    while left.any():
        test.subset(left.copy())
        test.compute()
        better = [place for place in np.asarray(test.better_models(size), np.int64).tolist() if left[place]]
        if not better:
            break
        left[better] = False
    return np.flatnonzero(~left).tolist()
