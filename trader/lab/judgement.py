"""From the returns of an evaluation's sessions to its figures: intervals, tests, twins, costs, and what was in sample.

Everything is computed on equal steps (days, or hours below 30 days of history); the headline uses steps of the test
windows alone. The population's return is the mean over its seeds: capital divided among them in equal parts, never the
best of them. Statistics and their sources: `trader.lab.stats`; what each figure means: docs/evaluation.md.

Axes: n steps, S seeds, A archetypes, K random agents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trader.lab import stats
from trader.lab.windows import Grid
from trader.report import intervals, metrics

Floats = NDArray[np.float64]

SEED: Final = 2_026
"""Of every bootstrap: the same sessions give the same figures."""
LEVEL: Final = 0.05
"""Of a test; the interval is the central 95 %."""


@dataclass(frozen=True, slots=True)
class Series:
    """Step returns of everything that is judged.

    population: float64 [S, n]; archetypes: [S, n, A]; names: of the archetypes [A]; twins: by kind [S, n];
    costs: by multiple [S, n]; paths: by rule [1, n]; rivals: by name [n]; random: [K, n]; block: mean block of the
    bootstrap in steps, None: by the data.
    """

    steps: Grid
    population: Floats
    archetypes: Floats
    names: tuple[str, ...]
    twins: Mapping[str, Floats]
    costs: Mapping[float, Floats]
    paths: Mapping[str, Floats]
    rivals: Mapping[str, Floats]
    random: Floats
    block: float | None

    @property
    def headline(self) -> Floats:
        """The population out of sample [n of the test windows]."""
        return np.asarray(self.population.mean(axis=0)[self.steps.test])


def figures(returns: Floats, steps: Grid, block: float | None) -> dict[str, Any]:
    """Annual return, Sharpe ratio and others of one series, each with its interval where it has one."""
    per_year = steps.per_year
    found = metrics.statistics(returns, per_year)
    spans = intervals.intervals(returns, _of(per_year), seed=SEED, length=block)
    told: dict[str, Any] = {
        "total_return": float(found["total_return"]),
        "annual_return": float(found["annual_return"]),
        "volatility": float(found["volatility"]),
        "sharpe": float(found["sharpe"]),
        "max_drawdown": float(found["step_drawdown"]),
    }
    for name in ("annual_return", "sharpe"):
        told[f"{name}_interval"] = list(spans[name]) if name in spans else None
    return told


def against(returns: Floats, other: Floats, steps: Grid) -> dict[str, Any]:
    """One series minus another: difference of annual returns with its paired interval."""
    of = _of(steps.per_year)
    found = intervals.paired(returns, other, of, seed=SEED)
    name = "annual_return"
    gap = float(of(returns)[name] - of(other)[name])
    return {"annual_return": gap, "annual_return_interval": list(found[name]) if found else None}


def _of(per_year: float) -> intervals.Statistics:
    def of(drawn: Floats) -> dict[str, Floats]:
        return {"annual_return": metrics.annual_return(drawn, per_year), "sharpe": metrics.sharpe(drawn, per_year)}

    return of


def out_of_sample(series: Series) -> dict[str, Any]:
    """The headline's figures, each seed's, and each test window's total return."""
    steps = series.steps
    headline = series.population.mean(axis=0)
    windows = [
        {
            "begin_ms": int(steps.points[np.flatnonzero(window)[0]]),
            "end_ms": int(steps.points[np.flatnonzero(window)[-1] + 1]),
            "steps": int(window.sum()),
            "total_return": float(np.expm1(np.log1p(headline[window]).sum())),
        }
        for window in steps.windows
        if window.any()
    ]
    yearly = metrics.annual_return(series.population[:, steps.test], steps.per_year)
    return {
        **figures(series.headline, steps, series.block),
        "steps": int(steps.test.sum()),
        "windows": windows,
        "seeds_annual_return": yearly.tolist(),
        "seeds_interquartile_mean": float(stats.interquartile_mean(yearly[:, None])),
        "minimum_track_record_steps": float(stats.minimum_track_record(series.headline)),
        "psr": float(stats.probabilistic_sharpe(series.headline)),
    }


def in_sample(series: Series) -> dict[str, Any]:
    """The train window, named as what it is: the population's figure there, and the best of all it contains, picked there.

    `flagged`: something looked good in sample (probability above 95 % that its ratio is positive, nobody counting) and
    does not out of sample.
    """
    steps = series.steps
    population = series.population.mean(axis=0)
    every = np.concatenate([series.archetypes[k] for k in range(len(series.archetypes))], axis=1)
    ratios = np.nan_to_num(stats.moments(every[steps.train].T).sharpe, nan=-np.inf)
    best = int(ratios.argmax())
    entries = {
        "population": (population, "the population"),
        "best": (every[:, best], f"the best of {every.shape[1]} archetypes and seeds, picked in sample"),
    }
    told: dict[str, Any] = {"train_steps": int(steps.train.sum())}
    for name, (returns, words) in entries.items():
        inside, outside = returns[steps.train], returns[steps.test]
        looks = [float(stats.probabilistic_sharpe(part)) for part in (inside, outside)]
        told[name] = {
            "told": words,
            "in_sample_annual_return": _annual(inside, steps),
            "out_of_sample_annual_return": _annual(outside, steps),
            "in_sample_psr": looks[0],
            "out_of_sample_psr": looks[1],
            "survives": not (looks[0] > 1 - LEVEL and not looks[1] > 1 - LEVEL),
        }
    told["flagged"] = not (told["population"]["survives"] and told["best"]["survives"])
    return told


def _annual(returns: Floats, steps: Grid) -> float:
    return float(metrics.annual_return(returns, steps.per_year)) if len(returns) else float("nan")


def tests(series: Series) -> dict[str, Any]:
    """Superior predictive ability of the population, and of its archetypes, against cash and against random agents."""
    test = series.steps.test
    population = series.headline[:, None]
    archetypes = series.archetypes.mean(axis=0)[test]
    random = series.random.mean(axis=0)[test]
    told: dict[str, Any] = {}
    for name, benchmark in (("cash", None), ("random_agents", random)):
        found = stats.superior_ability(population, benchmark, seed=SEED)
        kinds = stats.superior_ability(archetypes, benchmark, seed=SEED)
        told[name] = {
            "p_value": found.p_value,
            "lower": found.lower,
            "upper": found.upper,
            "archetypes_p_value": kinds.p_value,
            "superior_archetypes": [series.names[k] for k in kinds.superior],
        }
    return told


def overfitting(series: Series) -> dict[str, Any]:
    """Probability of backtest overfitting when the best of archetypes and seeds is picked, with its band."""
    inside = series.steps.train | series.steps.test
    every = np.concatenate([series.archetypes[k] for k in range(len(series.archetypes))], axis=1)[inside]
    found = stats.overfitting(every, seed=SEED)
    return {"probability": found.probability, "band": [found.low, found.high], "strategies": every.shape[1]}


def baselines(series: Series) -> dict[str, Any]:
    """Every rival's figures and the population minus it; of the random agents also how many the population beat."""
    steps, test = series.steps, series.steps.test
    told = {}
    for name, returns in series.rivals.items():
        found = figures(returns[test], steps, series.block)
        told[name] = {**found, "population_minus_this": against(series.headline, returns[test], steps)}
    yearly = metrics.annual_return(series.random[:, test], steps.per_year)
    mean = series.random.mean(axis=0)[test]
    ahead = int((yearly >= _annual(series.headline, steps)).sum())
    told["random_agents"] = {
        **figures(mean, steps, series.block),
        "annual_return": float(yearly.mean()),
        "annual_return_interval": np.quantile(yearly, (LEVEL / 2, 1 - LEVEL / 2)).tolist(),
        "draws": len(yearly),
        "p_value": (1 + ahead) / (1 + len(yearly)),
        "population_minus_this": against(series.headline, mean, steps),
    }
    return told


def twins(series: Series) -> dict[str, Any]:
    """Each twin's annual return out of sample, and the population minus it."""
    steps, test = series.steps, series.steps.test
    return {
        name: {
            "annual_return": _annual(returns.mean(axis=0)[test], steps),
            "population_minus_this": against(series.headline, returns.mean(axis=0)[test], steps),
        }
        for name, returns in series.twins.items()
    }


def costs(series: Series) -> dict[str, Any]:
    """Annual return at every multiple of the costs, and the multiple at which nothing is left, by interpolation."""
    steps, test = series.steps, series.steps.test
    sweep = sorted((multiple, _annual(r.mean(axis=0)[test], steps)) for multiple, r in series.costs.items())
    multiple, told = break_even(sweep)
    return {
        "sweep": [{"multiple": m, "annual_return": value} for m, value in sweep],
        "break_even": multiple,
        "told": told,
    }


def break_even(sweep: Sequence[tuple[float, float]]) -> tuple[float | None, str]:
    """Multiple of the costs at which the return crosses zero; None where it does not cross within the sweep."""
    if sweep[0][1] <= 0:
        free = sweep[0][0] == 0
        return (0.0 if free else None), "gains nothing " + (
            "even without costs" if free else f"at {sweep[0][0]:g} times the costs"
        )
    for (low, above), (high, below) in pairwise(sweep):
        if below <= 0:
            found = low + (high - low) * above / (above - below)
            return found, f"breaks even at {found:.2f} times the costs"
    return None, f"still gains at {sweep[-1][0]:g} times the costs"


def paths(series: Series) -> dict[str, float]:
    """Annual return of the first seed under every rule for the way inside a candle."""
    return {rule: _annual(r[0][series.steps.test], series.steps) for rule, r in series.paths.items()}
