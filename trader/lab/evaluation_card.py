"""The evaluation as text: the verdict first, then what it rests on. No Sharpe ratio without trials and interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from trader.lab.verdict import NAMES, percent, span


def card(document: Mapping[str, Any]) -> str:
    """The whole card."""
    parts = (
        [document["verdict"]], _head(document), _result(document), _criteria(document), _rivals(document), _tests(document),
        _costs(document), _in_sample(document), _holdout(document),
    )  # fmt: skip
    return "\n\n".join("\n".join(lines) for lines in parts if lines) + "\n"


def _head(document: Mapping[str, Any]) -> list[str]:
    data, cut, out = document["data"], document["split"], document["out_of_sample"]
    step = {86_400_000: "days", 3_600_000: "hours"}.get(cut["step_ms"], f"steps of {cut['step_ms'] // 60_000} minutes")
    seeds = ", ".join(map(str, document["seeds"]))
    capped = ", cut off: some were still open" if cut["purge_capped"] else ""
    return [
        f"{', '.join(data['symbols'])}, {_utc(data['begin_ms'])} to {_utc(data['end_ms'])} UTC, {data['frames']:,} candles",
        (
            f"  train {cut['train_frames']:,} candles, purge {cut['purge_frames']:,} (until its positions were closed{capped}),"
            f" embargo {cut['embargo_frames']:,}; out of sample {out['steps']:,} {step} in {len(out['windows'])} windows"
        ),
        f"  {document['sessions']} sessions, seeds {seeds}; trials on this data: {document['trials']}",
    ]


def _result(document: Mapping[str, Any]) -> list[str]:
    out = document["out_of_sample"]
    activity = document["activity"]
    needed, steps = out["minimum_track_record_steps"], out["steps"]
    record = f"{needed:,.0f} steps" if needed < 1e9 else "no length"
    return [
        "Out of sample, after costs",
        f"  annual return      {percent(out['annual_return'])}{span(out['annual_return_interval'])}",
        f"  of each seed       {', '.join(percent(value) for value in out['seeds_annual_return'])}",
        (
            f"  Sharpe ratio       {_number(out['sharpe'])}{_interval(out['sharpe_interval'])}, {document['trials']} trials;"
            f" deflated {_number(document['dsr'])}"
        ),
        f"  max drawdown       {percent(-out['max_drawdown'])}",
        (
            f"  activity           {activity['trades']:,.0f} trades a seed, gross exposure {activity['exposure']:.2%} of equity,"
            f" costs {activity['costs']:.2%} of equity a year"
        ),
        f"  track record       {record} would be enough to call it positive, were it the only trial; it has {steps:,}",
        f"  windows            {', '.join(percent(window['total_return']) for window in out['windows'])}",
    ]


def _criteria(document: Mapping[str, Any]) -> list[str]:
    lines = ["Conditions of a significant result"]
    for item in document["criteria"]:
        held = "holds" if item["held"] else "does not hold"
        lines.append(f"  {item['name']:<44}{_number(item['value'], 4):>10}  {item['bound']:<7} {held}")
    return lines


def _rivals(document: Mapping[str, Any]) -> list[str]:
    table = [("Against", "annual return", "population minus this", "95 % interval")]
    for name, found in {**document["baselines"], **document["twins"]}.items():
        gap = found["population_minus_this"]
        table.append(
            (
                f"  {NAMES[name]}", percent(found["annual_return"]), percent(gap["annual_return"]),
                span(gap["annual_return_interval"]).strip(),
            )
        )  # fmt: skip
    return _columns(table)


def _tests(document: Mapping[str, Any]) -> list[str]:
    lines = ["Tests"]
    for name, found in document["tests"].items():
        better = ", ".join(found["superior_archetypes"]) or "none"
        lines.append(
            f"  SPA against {NAMES[name]}: p {found['p_value']:.3f}; of the archetypes p {found['archetypes_p_value']:.3f},"
            f" superior (StepM): {better}"
        )
    random, pbo = document["baselines"]["random_agents"], document["overfitting"]
    chance = f"{_number(pbo['probability'])}{_interval(pbo['band'])}"
    lines += [
        f"  random agents: {random['draws']} draws, p {random['p_value']:.3f}",
        f"  probability of overfitting, picking the best of {pbo['strategies']}: {chance}",
        (
            f"  look-ahead audit: {document['audit']['moments']} moments, {len(document['audit']['differences'])} findings; no"
            f" feature's rank correlation with the next return is beyond {document['audit']['foresight']:.2f}"
        ),
    ]
    return lines


def _costs(document: Mapping[str, Any]) -> list[str]:
    costs = document["costs"]
    sweep = ", ".join(f"x{item['multiple']:g} {percent(item['annual_return'])}" for item in costs["sweep"])
    paths = ", ".join(f"{rule} {percent(value)}" for rule, value in document["paths"].items())
    lines = [f"Costs: {sweep}; {costs['told']}", f"Inside the candle (first seed): {paths}"]
    oracle = document["oracle"]
    if oracle is not None:
        lines.append(
            f"Of the oracle's profit at equal gross exposure: {oracle['share']:.0%} (a year and unit of exposure"
            f" {percent(oracle['population'])} of {percent(oracle['oracle'])}; mean exposure {oracle['mean_exposure']:.1%})"
        )
    return lines


def _in_sample(document: Mapping[str, Any]) -> list[str]:
    lines = ["In sample, for comparison only: never a result"]
    for name in ("population", "best"):
        found = document["in_sample"][name]
        fate = "" if found["survives"] else "  does not survive"
        lines.append(
            f"  {found['told']}: {percent(found['in_sample_annual_return'])} in sample,"
            f" {percent(found['out_of_sample_annual_return'])} out of sample{fate}"
        )
    return lines


def _holdout(document: Mapping[str, Any]) -> list[str]:
    held = document["holdout"]
    if not held["opened"]:
        return [
            f"Hold-out: {held['frames']:,} candles, not looked at (--open-holdout does; opened {held['openings']} times so far)"
        ]
    made = f"{percent(held['annual_return'])}{span(held['annual_return_interval'])} a year in {held['steps']:,} steps"
    return [f"Hold-out, opened {held['openings']} times: {made}"]


def _interval(interval: Sequence[float] | None) -> str:
    return f" [{_number(interval[0])}, {_number(interval[1])}]" if interval else ""


def _number(value: float, places: int = 2) -> str:
    return f"{value:.{places}f}" if math.isfinite(value) else "-"


def _columns(table: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[place]) for row in table) for place in range(len(table[0]))]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]
        ).rstrip()
        for row in table
    ]


def _utc(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d")
