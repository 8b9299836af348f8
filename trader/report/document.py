"""The report of a run as one JSON-able document (docs/report.md explains every key).

What goes in is `Recorded`: columns of the run's views and a few facts of its config. Nothing here reads a database, and
the same rows give the same document, to the last digit of every interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trader.report import baselines, breakdown, intervals, metrics, skill, twins
from trader.report.calibration import calibration
from trader.report.levels import levels
from trader.report.metrics import Columns, Floats
from trader.report.series import DAY_MS, EquityCurve, on_grid, step_of, step_returns, steps_per_year

SEED: Final = 2_026
"""Of the bootstrap: the same rows give the same intervals."""

Curves = Mapping[str, EquityCurve]


@dataclass(frozen=True, slots=True)
class Recorded:
    """A run as its rows tell it.

    summary: the run summary; curve: the pool's equity; reserved: margins at each frame, as equity; trades: v_trade with
    shadows (funded 0); fills, agents, funnel, level,
    modification: columns of the views; markets: candles and stamps by symbol; groups: agents
    by group (`evolving`, and control groups if there are any); trials: runs on the same data, this one among them.
    """

    summary: Mapping[str, Any]
    currency: str
    curve: EquityCurve
    reserved: Floats
    trades: Columns
    fills: Columns
    agents: Columns
    funnel: Columns
    level: Columns
    modification: Columns
    markets: Mapping[str, baselines.Market]
    groups: Mapping[str, NDArray[np.int64]]
    trials: int
    trials_told: str
    taker_fee: float
    half_spread: float
    agents_at_once: int
    insurance_paid: float
    liquidation_fees: float
    paths: Mapping[str, Mapping[str, float | int]] | None = None
    paths_told: str = ""
    notes: Sequence[str] = field(default=())


def build(run: Recorded) -> dict[str, Any]:
    """The document; floats may be NaN, which JSON shows as null."""
    step = step_of(run.curve)
    returns = step_returns(run.curve, step)
    per_year = steps_per_year(step)
    funded = _funded(run.trades)
    figures = metrics.performance(run.curve, returns, per_year)
    found = intervals.intervals(returns, lambda drawn: metrics.statistics(drawn, per_year), seed=SEED)
    activity = metrics.activity(run.curve, run.reserved, run.fills, funded)
    return {
        "run": dict(run.summary),
        "currency": run.currency,
        "period": _period(run.curve, step, len(returns)),
        "performance": figures,
        "intervals": _intervals(found, returns),
        "trials": {
            "count": run.trials,
            "told": run.trials_told,
            **skill.deflated(returns, per_year, run.trials),
        },
        "baselines": _baselines(run, returns, step, activity["exposure"]),
        "twins": _twins(run),
        "trading": {
            **metrics.trading(funded),
            **activity,
            "shadow_trades": len(run.trades["pnl"]) - len(funded["pnl"]),
        },
        "calibration": calibration(run.trades),
        "levels": levels(run.level, run.modification),
        "costs": _costs(funded, run.insurance_paid, run.liquidation_fees),
        "paths": {rule: dict(figures) for rule, figures in run.paths.items()} if run.paths else None,
        "paths_told": run.paths_told,
        "placebos": None,
        "breakdown": {name: breakdown.breakdown(funded, column) for name, column in breakdown.GROUPS.items()},
        "trades": breakdown.extremes(funded),
        "funnel": _funnel(run.funnel),
        "notes": [*run.notes, *_warnings(returns, run.curve)],
    }


def _funded(trades: Columns) -> dict[str, NDArray[Any]]:
    """Trades with the pool's money; shadows trade a virtual account."""
    chosen = np.asarray(trades["funded"]) == 1
    return {name: np.asarray(values)[chosen] for name, values in trades.items()}


def _period(curve: EquityCurve, step: int, count: int) -> dict[str, Any]:
    return {
        "start_ms": curve.begin_ms,
        "end_ms": curve.end_ms,
        "days": curve.span_ms / DAY_MS,
        "frames": len(curve.open_ms),
        "step_ms": step,
        "returns": count,
    }


def _intervals(found: Mapping[str, intervals.Interval], returns: Floats) -> dict[str, Any]:
    told: dict[str, Any] = {"level": intervals.LEVEL, "method": "stationary bootstrap"}
    if found:
        told |= {"block_steps": intervals.rule(returns), "replications": intervals.REPLICATIONS}
    return told | {name: list(interval) for name, interval in found.items() if name != "step_drawdown"}


def _baselines(run: Recorded, returns: Floats, step: int, exposure: float) -> dict[str, Any]:
    """Each baseline's figures, and this run minus it with intervals."""
    per_year = steps_per_year(step)
    markets, fee, spread = list(run.markets.values()), run.taker_fee, run.half_spread
    invested = min(max(exposure, 0.0), 1.0) if np.isfinite(exposure) else 0.0
    curves: Curves = {
        "cash": baselines.cash(run.curve),
        "buy_and_hold": baselines.buy_and_hold(run.curve, markets, fee, spread),
        "buy_and_hold_same_exposure": baselines.buy_and_hold(run.curve, markets, fee, spread, invested),
    }
    document = {}
    for name, curve in curves.items():
        theirs = step_returns(curve, step)
        entry: dict[str, Any] = dict(metrics.performance(curve, theirs, per_year))
        if len(theirs) == len(returns) and len(returns):
            of = _difference_statistics(per_year)
            gap = intervals.paired(returns, theirs, of, seed=SEED)
            entry["run_minus_this"] = {
                key: {"value": float(of(returns)[key] - of(theirs)[key]), "interval": list(gap[key]) if gap else None}
                for key in of(returns)
            }
        document[name] = entry
    return document


def _difference_statistics(per_year: float) -> intervals.Statistics:
    def of(drawn: Floats) -> dict[str, Floats]:
        return {"annual_return": metrics.annual_return(drawn, per_year), "sharpe": metrics.sharpe(drawn, per_year)}

    return of


def _twins(run: Recorded) -> dict[str, Any] | None:
    """Evolving agents against frozen and random ones; None where the run has no controls."""
    if len(run.groups) < 2 or twins.EVOLVING not in run.groups:
        return None
    share = run.curve.start / max(run.agents_at_once, 1)
    span = (run.curve.begin_ms, run.curve.end_ms)
    return twins.compare(run.groups, run.agents, run.trades, span, share, SEED)


def _costs(trades: Columns, insurance_paid: float, liquidation_fees: float) -> dict[str, float]:
    """What trading cost, and what each costs of the result before costs (gross profit and slippage)."""
    figures = metrics.trading(trades)
    fees, slippage, funding = figures["fees"], figures["slippage"], figures["funding"]
    before = figures["gross_pnl"] + slippage
    total = fees + slippage - funding
    return {
        "fees": fees,
        "slippage": slippage,
        "funding": funding,
        "insurance_paid": insurance_paid,
        "liquidation_fees": liquidation_fees,
        "total": total,
        "result_before_costs": before,
        "share_of_result_before_costs": total / before if before > 0 else float("nan"),
    }


def _funnel(funnel: Columns) -> list[dict[str, Any]]:
    """Counts by stage over markets and archetypes, in the order in which the stages stand in the view."""
    totals: dict[str, int] = {}
    for stage, count in zip(funnel["stage"].tolist(), funnel["count"].tolist(), strict=True):
        totals[str(stage)] = totals.get(str(stage), 0) + int(count)
    return [{"stage": stage, "count": count} for stage, count in totals.items()]


def _warnings(returns: Floats, curve: EquityCurve) -> list[str]:
    """What a reader must know before believing a ratio."""
    found = []
    if len(returns) < intervals.FEWEST_RETURNS:
        fewest = intervals.FEWEST_RETURNS
        found.append(f"{len(returns)} returns over equal steps: too few for intervals (from {fewest} on)")
    if curve.span_ms < 365 * DAY_MS:
        found.append("shorter than a year: annual figures are extrapolated")
    _, values = on_grid(curve, step_of(curve))
    if len(values) and not (values > 0).all():
        found.append("equity was not positive at some step: there are no returns and no ratios")
    return found
