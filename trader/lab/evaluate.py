"""Honest evaluation: whole sessions over one history, cut into windows, judged out of sample. The work of `trader evaluate`.

Sessions are independent and deterministic, and each result is kept on disk when it is there, so an evaluation that was
killed goes on with what is finished and ends with the same document. The hold-out's candles are not even traded until it
is opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trader.core import wall
from trader.core.config import config_hash
from trader.lab import judgement, rivals, stats, verdict
from trader.lab.audit import audit
from trader.lab.history import History
from trader.lab.oracle_share import oracle_share
from trader.lab.sessions import Sessions, Wishes, checked_history, curve_of, enter_trials
from trader.lab.simulation import Simulation
from trader.lab.variants import MAIN, TWINS, cost_kind, path_kind, variants
from trader.lab.windows import Grid, Lengths, Split, Window, grid, split
from trader.session.composition import archetypes_of
from trader.session.path_error import RULES
from trader.store import trials
from trader.store.store import open_store, persistent

if TYPE_CHECKING:
    from trader.core.config import Config
    from trader.store.store import Store


def evaluate(config: Config, wishes: Wishes) -> dict[str, Any]:
    """The evaluation of a config as one document (docs/evaluation.md tells every key).

    Raises:
        UserError: a feed without a history, candles that are missing or too few, a database without a registry.
        Stopped: `wishes.stop` was asked for; what is finished is kept.
    """
    whole, parts = checked_history(config, wishes)
    history = whole.until(parts.development)
    with open_store(wishes.url, create=True) as opened:
        store = persistent(opened)
        plan = variants(config)
        found = Sessions(config, history, wishes).run(plan)
        main = [found[each.name] for each in plan if each.kind == MAIN]
        cut = split(history, parts, main)
        steps = grid(curve_of(main[0], history), cut)
        series = _series(config, history, steps, found)
        ratios = stats.moments(series.population[:, steps.test]).sharpe.tolist()
        names = [each.name for each in plan if each.kind == MAIN]
        enter_trials(store, config, history, plan, dict(zip(names, ratios, strict=True)))
        told = trials.on_same_data(store, history.source, history.symbols, _span(history))
        document = _document(config, history, (parts, cut), series, told)
        document["activity"] = activity(steps, main)
        headline = series.population.mean(axis=0)
        document["oracle"] = oracle_share(config, history, steps, main, headline)
        document["audit"] = audit(config, history, stopped=wishes.stopped).as_dict()
        if wishes.open_holdout:
            document["holdout"] |= _open(config, whole, parts, wishes, store)
        return _judged(document)


def activity(steps: Grid, simulations: Sequence[Simulation]) -> dict[str, float]:
    """Of the population out of sample, mean over its seeds: trades a session, gross exposure, costs a year, of equity."""
    tested = [steps.frames(each.times) for each in simulations]
    years = float(steps.test.sum()) / steps.per_year
    pairs = list(zip(simulations, tested, strict=True))
    return {
        "trades": float(np.mean([np.isin(each.opened, each.times[inside]).sum() for each, inside in pairs])),
        "exposure": float(np.mean([(each.gross.sum(axis=1) / each.equity)[inside].mean() for each, inside in pairs])),
        "costs": float(np.mean([(each.costs / each.equity)[inside].sum() / years for each, inside in pairs])),
    }


def _series(config: Config, history: History, steps: Grid, found: dict[str, Simulation]) -> judgement.Series:
    """Step returns of all sessions and rivals."""
    seeds = [config.session.seed + k for k in range(config.evaluation.seeds)]

    def returns(kind: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        made = [found[f"{kind}-{seed}"] for seed in seeds if f"{kind}-{seed}" in found]
        return np.array([steps.returns(curve_of(each, history)) for each in made])

    main = [found[f"{MAIN}-{seed}"] for seed in seeds]
    archetypes = np.array([rivals.archetype_returns(each, steps) for each in main])
    holders = rivals.holders(rivals.board(config, history, steps))
    own = config.exchange.path
    return judgement.Series(
        steps=steps,
        population=returns(MAIN),
        archetypes=archetypes,
        names=_sorted_archetypes(config),
        twins={twin: returns(twin) for twin in TWINS if f"{twin}-{seeds[0]}" in found},
        costs={multiple: returns(cost_kind(multiple)) for multiple in config.evaluation.costs},
        paths={rule: returns(MAIN if rule == own else path_kind(rule))[:1] for rule in dict.fromkeys((own, *RULES))},
        rivals={**holders, "last_best": rivals.last_best(archetypes.mean(axis=0), steps)},
        random=rivals.random_agents(config, history, steps, main, draws=config.evaluation.draws, seed=judgement.SEED),
        block=config.evaluation.block,
    )


def _sorted_archetypes(config: Config) -> tuple[str, ...]:
    """Names in the order of their numbers, as the columns of a simulation."""
    from agents.plugins import known

    wanted = set(archetypes_of(config))
    return tuple(name for name in known(config.population.plugins) if name in wanted)


def _span(history: History) -> tuple[int, int]:
    return int(history.times[0]), int(history.times[-1])


def _document(
    config: Config, history: History, cut: tuple[Lengths, Split], series: judgement.Series, told: trials.Trials
) -> dict[str, Any]:
    """All figures; the verdict comes last and stands first."""
    parts, windows = cut
    headline, spa = series.headline, judgement.tests(series)
    variance = float(np.var(told.sharpes, ddof=1)) if len(told.sharpes) > 1 else None
    costs, pbo = judgement.costs(series), judgement.overfitting(series)
    return {
        "verdict": "",
        "significant": False,
        "trials": told.count,
        "dsr": float(stats.deflated_sharpe(headline, told.count, variance)),
        "pbo": pbo["probability"],
        "pbo_band": pbo["band"],
        "spa_p": max(test["p_value"] for test in spa.values()),
        "break_even_cost": costs["break_even"],
        "criteria": [],
        "out_of_sample": judgement.out_of_sample(series),
        "in_sample": judgement.in_sample(series),
        "baselines": judgement.baselines(series),
        "twins": judgement.twins(series),
        "tests": spa,
        "overfitting": pbo,
        "costs": costs,
        "paths": judgement.paths(series),
        "data": {
            "kind": history.kind, "source": history.source, "symbols": list(history.symbols),
            "content": history.content, "begin_ms": int(history.times[0]), "end_ms": windows.tests[-1].end_ms,
            "frames": parts.development,
        },
        "split": {
            "train_frames": parts.train, "test_frames": parts.test, "embargo_frames": parts.embargo,
            "purge_frames": windows.purge_ms // history.base_ms, "purge_capped": windows.capped,
            "step_ms": series.steps.step_ms,
        },
        "holdout": {"frames": parts.holdout, "openings": told.holdouts, "opened": False},
        "config_hash": config_hash(config),
        "seeds": [config.session.seed + k for k in range(config.evaluation.seeds)],
        "sessions": len(variants(config)),
    }  # fmt: skip


def _judged(document: dict[str, Any]) -> dict[str, Any]:
    document["criteria"] = verdict.criteria(document)
    document["significant"] = all(item["held"] for item in document["criteria"])
    document["verdict"] = verdict.sentence(document)
    return document


def _open(config: Config, whole: History, parts: Lengths, wishes: Wishes, store: Store) -> dict[str, Any]:
    """Judge the hold-out, and have it counted: the population's sessions over the whole history, its last part alone."""
    plan = [each for each in variants(config) if each.kind == MAIN]
    data = whole.trial_data(config.feed.timeframes)
    trials.register(
        store, data, config_hash=config_hash(config), purpose=trials.HOLDOUT, seed=config.session.seed,
        started_utc=wall.utc_text(),
    )  # fmt: skip
    found = Sessions(config, whole, wishes).run(plan)
    begin = int(whole.times[parts.development - 1]) + (1 + parts.embargo) * whole.base_ms
    held = Window(begin, int(whole.times[-1]) + whole.base_ms)
    cut = Split(held, (held,), 0, capped=False)
    steps = grid(curve_of(found[plan[0].name], whole), cut)
    population = np.mean([steps.returns(curve_of(found[each.name], whole)) for each in plan], axis=0)[steps.test]
    openings = trials.on_same_data(store, whole.source, whole.symbols, _span(whole)).holdouts
    told = judgement.figures(population, steps, config.evaluation.block)
    return {"opened": True, "openings": openings, "steps": int(steps.test.sum()), **told}
