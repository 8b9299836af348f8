"""What is each level worth, and what does it cost? The work of `trader ablate`.

The session lives through the same candles with every level on, without each of them in turn, and without any, all with the
same seeds; beside them its twins. A level's worth is the annual return out of sample with all levels on minus that without it,
in pairs: the same steps, the same seeds. Its cost is processor time a frame, in pairs too. p-values (two-sided, SPA of one
strategy against one benchmark) are adjusted over the levels by Holm: of many levels the best looks good by chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from trader.core.config import config_hash
from trader.core.errors import UserError
from trader.lab import judgement, stats
from trader.lab.history import History
from trader.lab.sessions import Sessions, Wishes, checked_history, curve_of, enter_trials
from trader.lab.variants import MAIN, Variant, changed, twins
from trader.lab.verdict import percent, span
from trader.lab.windows import Grid, grid, split
from trader.report import metrics
from trader.store import trials
from trader.store.store import open_store, persistent

if TYPE_CHECKING:
    from trader.core.config import Config
    from trader.lab.simulation import Simulation

Floats = NDArray[np.float64]

LEVEL: Final = 0.05


def levels_on(config: Config) -> tuple[str, ...]:
    """Names of the levels that are on, in the order of the config."""
    sections = ((name, getattr(config.levels, name)) for name in type(config.levels).model_fields)
    return tuple(name for name, section in sections if section.enabled)


def without(level: str) -> str:
    """Kind of the sessions in which a level is off."""
    return f"without-{level}"


POLICIES: Final = ("dqn", "a3c", "ppo")
DISCOUNT: Final = "discount"
"""Row of what the policies' looking ahead is worth: against births as a contextual bandit (discount 0)."""


def taken_away(config: Config) -> dict[str, dict[str, Any]]:
    """What is changed in each arm by the name of its row: each level off, and the policies' discount 0."""
    found: dict[str, dict[str, Any]] = {level: {f"levels.{level}.enabled": False} for level in levels_on(config)}
    looking = [name for name in POLICIES if name in found and getattr(config.levels, name).discount > 0.0]
    if looking:
        found[DISCOUNT] = {f"levels.{name}.discount": 0.0 for name in looking}
    return found


def arms(config: Config) -> list[Variant]:
    """All sessions, seed by seed: every level on, each off in turn, births as a bandit, all off, and the twins.

    Raises:
        UserError: no level is on.
    """
    levels = levels_on(config)
    if not levels:
        raise UserError("levels: none is on, so there is nothing to take away")
    found = []
    for k in range(config.evaluation.seeds):
        own = changed(config, {"session.seed": config.session.seed + k})
        seed = own.session.seed
        found.append(Variant(MAIN, seed, own, purpose=trials.EVALUATE))
        found += [Variant(without(name), seed, changed(own, changes)) for name, changes in taken_away(config).items()]
        if len(levels) > 1:
            found.append(Variant("all-off", seed, changed(own, {f"levels.{level}.enabled": False for level in levels})))
        found += twins(own)
    return found


def ablate(config: Config, wishes: Wishes) -> dict[str, Any]:
    """The table as one document (docs/evaluation.md).

    Raises:
        UserError: as `evaluate`, or no level is on.
        Stopped: `wishes.stop` was asked for; what is finished is kept.
    """
    plan = arms(config)
    whole, parts = checked_history(config, wishes)
    history = whole.until(parts.development)
    with open_store(wishes.url, create=True) as opened:
        store = persistent(opened)
        found = Sessions(config, history, wishes).run(plan)
        main = [found[each.name] for each in plan if each.kind == MAIN]
        cut = split(history, parts, main)
        steps = grid(curve_of(main[0], history), cut)
        made = _returns(plan, found, history, steps)
        ratios = stats.moments(made[MAIN]).sharpe.tolist()
        names = [each.name for each in plan if each.kind == MAIN]
        enter_trials(store, config, history, plan, dict(zip(names, ratios, strict=True)))
        span_ms = int(history.times[0]), int(history.times[-1])
        told = trials.on_same_data(store, history.source, history.symbols, span_ms)
    rows = _rows(config, made, _seconds(plan, found, history), steps)
    return {
        "verdict": _verdict(rows, history, told.count),
        "levels": rows,
        "all_on": judgement.figures(made[MAIN].mean(axis=0), steps, config.evaluation.block),
        "twins": {
            name: judgement.figures(made[name].mean(axis=0), steps, config.evaluation.block)
            for name in ("frozen", "random")
            if name in made
        },
        "seconds_per_frame": float(np.mean(_seconds(plan, found, history)[MAIN])),
        "trials": told.count,
        "seeds": sorted({each.seed for each in plan}),
        "sessions": len(plan),
        "steps": int(steps.test.sum()),
        "data": {
            "kind": history.kind,
            "symbols": list(history.symbols),
            "content": history.content,
            "frames": len(history),
        },
        "config_hash": config_hash(config),
    }


def _returns(plan: list[Variant], found: Mapping[str, Simulation], history: History, steps: Grid) -> dict[str, Floats]:
    """Step returns out of sample by kind, [S, n]."""
    made: dict[str, list[Floats]] = {}
    for each in plan:
        made.setdefault(each.kind, []).append(steps.returns(curve_of(found[each.name], history))[steps.test])
    return {kind: np.array(rows) for kind, rows in made.items()}


def _seconds(plan: list[Variant], found: Mapping[str, Simulation], history: History) -> dict[str, Floats]:
    """Processor seconds a frame by kind, [S]."""
    made: dict[str, list[float]] = {}
    for each in plan:
        made.setdefault(each.kind, []).append(found[each.name].seconds / len(history.block))
    return {kind: np.array(values) for kind, values in made.items()}


def _rows(
    config: Config, made: Mapping[str, Floats], seconds: Mapping[str, Floats], steps: Grid
) -> list[dict[str, Any]]:
    """One row a level, and one for all of them together."""
    kinds = {name: without(name) for name in taken_away(config)}
    rows = [_row(level, made[MAIN], made[kind], seconds[MAIN] - seconds[kind], steps) for level, kind in kinds.items()]
    for row, adjusted in zip(rows, stats.holm(np.array([row["p_value"] for row in rows])).tolist(), strict=True):
        row["p_holm"] = adjusted
    if "all-off" in made:
        rows.append(
            {
                **_row("all levels", made[MAIN], made["all-off"], seconds[MAIN] - seconds["all-off"], steps),
                "p_holm": None,
            }
        )
    return rows


def _row(name: str, own: Floats, other: Floats, slower: Floats, steps: Grid) -> dict[str, Any]:
    """A level's worth and cost: [S, n] with and without it, [S] processor seconds a frame more with it."""
    with_it, without_it = (metrics.annual_return(each, steps.per_year)[:, None] for each in (own, other))
    first, second = own.mean(axis=0), other.mean(axis=0)
    worth = judgement.against(first, second, steps)
    seeds = stats.paired_bootstrap(with_it, without_it, seed=judgement.SEED)
    cost = stats.stratified_bootstrap(1e6 * slower[:, None], seed=judgement.SEED)
    return {
        "level": name,
        "worth": worth["annual_return"],
        "interval": worth["annual_return_interval"],
        "seeds_worth": (with_it - without_it)[:, 0].tolist(),
        "seeds_interval": [seeds.low, seeds.high],
        "probability_of_improvement": stats.probability_of_improvement(with_it, without_it),
        "p_value": _two_sided(first, second),
        "microseconds_per_frame": cost.value,
        "microseconds_interval": [cost.low, cost.high],
    }


def _two_sided(first: Floats, second: Floats) -> float:
    """Twice the smaller p of SPA with each as the other's benchmark, at most 1: a level may do harm as well."""
    sides = [
        stats.superior_ability(one[:, None], other, seed=judgement.SEED).p_value
        for one, other in ((first, second), (second, first))
    ]
    return min(1.0, 2.0 * min(sides))


def _verdict(rows: list[dict[str, Any]], history: History, count: int) -> str:
    where = " on a made-up market" if history.kind == "synthetic" else ""
    single = [row for row in rows if row["p_holm"] is not None]
    shown = [row for row in single if row["p_holm"] < LEVEL]
    parts = [f"{row['level']} is worth {percent(row['worth'])}{span(row['interval'])} a year" for row in shown]
    rest = [row["level"] for row in single if row not in shown]
    if rest:
        parts.append(f"not shown to be worth or to cost anything: {', '.join(rest)}")
    return f"Out of sample{where}: " + "; ".join(parts) + f"; {count} trials on this data."


def table(document: Mapping[str, Any]) -> str:
    """The document as text."""
    data, seeds = document["data"], ", ".join(map(str, document["seeds"]))
    lines = [
        document["verdict"],
        "",
        (
            f"{', '.join(data['symbols'])}, {data['frames']:,} candles, {document['steps']:,} steps out of sample;"
            f" {document['sessions']} sessions, seeds {seeds}"
        ),
        "",
        f"{'level':<14}{'worth a year':>14}{'95 % interval':>20}{'p (Holm)':>10}{'us a frame':>12}{'95 % interval':>20}",
    ]
    for row in document["levels"]:
        low, high = row["microseconds_interval"]
        adjusted = "-" if row["p_holm"] is None else f"{row['p_holm']:.3f}"
        lines.append(
            f"{row['level']:<14}{percent(row['worth']):>14}{span(row['interval']).strip():>20}{adjusted:>10}"
            f"{row['microseconds_per_frame']:>12.0f}{f'[{low:.0f}, {high:.0f}]':>20}"
        )
    lines.append("")
    for name, found in {"all levels on": document["all_on"], **document["twins"]}.items():
        told = name if name == "all levels on" else f"{name} twin"
        lines.append(
            f"{told:<14}{percent(found['annual_return']):>14}{span(found['annual_return_interval']).strip():>20}"
        )
    return "\n".join(lines) + "\n"
