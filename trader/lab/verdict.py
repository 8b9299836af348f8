"""The sentence a reader can quote, and the conditions behind it. Words first; `shown` only if every condition holds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

P_VALUE: Final = 0.05
DEFLATED: Final = 0.95

NAMES: Final = {
    "cash": "cash",
    "buy_and_hold": "buy and hold",
    "equal_weight": "equal weight",
    "volatility_target": "volatility-targeted holding",
    "random_agents": "random agents with the same positions",
    "last_best": "following the last best archetype",
    "frozen": "its frozen twin",
    "random": "its random twin",
}


def criteria(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every condition of a significant result: name, value, bound, held."""
    interval = document["out_of_sample"]["annual_return_interval"]
    low = interval[0] if interval else float("nan")
    found = [
        _criterion("superior predictive ability (p)", document["spa_p"], "< 0.05", document["spa_p"] < P_VALUE),
        _criterion("deflated Sharpe ratio", document["dsr"], "> 0.95", document["dsr"] > DEFLATED),
        _criterion("lower end of the annual return", low, "> 0", low > 0),
    ]
    for name, twin in document["twins"].items():
        gap = twin["population_minus_this"]["annual_return"]
        found.append(_criterion(f"annual return above {NAMES[name]}", gap, "> 0", gap > 0))
    audit = document["audit"]
    found.append(_criterion("signs that something looked ahead", len(audit["differences"]), "0", audit["ok"]))
    return found


def _criterion(name: str, value: float, bound: str, held: Any) -> dict[str, Any]:
    return {"name": name, "value": value, "bound": bound, "held": bool(held)}


def sentence(document: Mapping[str, Any]) -> str:
    """The verdict."""
    if not document["audit"]["ok"]:
        return f"Invalid: something looked ahead ({document['audit']['differences'][0]}); none of its figures means anything."
    out = document["out_of_sample"]
    where = " on a made-up market" if document["data"]["kind"] == "synthetic" else ""
    made = (
        f"out of sample the population made {percent(out['annual_return'])}{span(out['annual_return_interval'])} a year"
    )
    count = f"{document['trials']} trial{'s' if document['trials'] != 1 else ''} on this data"
    if not document["activity"]["trades"]:
        return f"Not shown{where}: the population did not trade out of sample; {count}."
    if document["significant"]:
        return (
            f"Shown{where}: {made} after costs, above its twins; chance is an unlikely reason (SPA p {document['spa_p']:.3f},"
            f" deflated Sharpe ratio {document['dsr']:.2f}; {count})."
        )
    parts = [f"Not shown{where}: {made} after costs", _better(document), _flag(document), count]
    return "; ".join(part for part in parts if part) + "."


def _better(document: Mapping[str, Any]) -> str:
    """Who did better, in words."""
    mine = document["out_of_sample"]["annual_return"]
    others = {**document["baselines"], **document["twins"]}
    ahead = [NAMES[name] for name, figures in others.items() if figures["annual_return"] > mine]
    if not ahead:
        missing = [item["name"] for item in document["criteria"] if not item["held"]]
        return "no rival did better, but not enough to rule out chance (" + ", ".join(missing) + ")"
    if len(ahead) == len(others):
        return "every rival and every twin did better, cash too"
    return _listed(ahead) + " did better"


def _flag(document: Mapping[str, Any]) -> str:
    found = document["in_sample"]
    if not found["population"]["survives"]:
        return f"what it made in sample ({percent(found['population']['in_sample_annual_return'])}) does not survive"
    return ""


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def percent(value: float) -> str:
    """A fraction as signed per cent, with two places below one per cent."""
    if not math.isfinite(value):
        return "-"
    return f"{100 * value:+.{_places(value)}f} %"


def span(interval: Any) -> str:
    """` [low, high]` in per cent; nothing where there is no interval."""
    if not interval:
        return ""
    places = _places(max(map(abs, interval)))
    return " [" + ", ".join(f"{100 * value:+.{places}f}" for value in interval) + "]"


def _places(value: float) -> int:
    return 1 if abs(value) >= 0.01 else 2
