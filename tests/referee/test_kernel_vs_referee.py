"""The kernel against the referee on random scenarios: every event and every balance equal, to the unit.

2,000 seeds in the normal run, 20,000 others at night, and a search by hypothesis that shrinks what it finds. What proves
that the comparison can fail: referees with one rule broken are found out, and every kind of event is seen to occur.
"""

from __future__ import annotations

import ast
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.referee import arithmetic, driver, engine
from tests.referee.driver import DifferenceError, RefereeSide, play
from tests.referee.scenarios import build, make
from trader.core.rows import OrderKind, Reject

HERE = Path(__file__).parent


def check(first, count):
    events = sum(play(make(seed)) for seed in range(first, first + count))
    assert events > 10 * count


@pytest.mark.parametrize("first", range(0, 2_000, 250))
def test_two_thousand_scenarios(first):
    check(first, 250)


@pytest.mark.nightly
@pytest.mark.parametrize("first", range(1_000_000, 1_020_000, 1_000))
def test_twenty_thousand_scenarios(first):
    check(first, 1_000)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_scenarios_that_hypothesis_looks_for(random):
    play(build(random, 0))


def test_every_kind_of_event_occurs(monkeypatch):
    seen = Counter()
    events = RefereeSide.events

    def counted(self):
        found = events(self)
        for event in found:
            seen[event["event"], event["step"]] += 1
            seen["kind", event.get("kind")] += 1
            seen["reason", event.get("reason")] += 1
            seen["insured", event.get("insurance", 0) > 0] += 1
            seen["maker", event.get("maker")] += 1
            seen["funded", event["funded"]] += 1
        return found

    monkeypatch.setattr(RefereeSide, "events", counted)
    check(0, 600)
    steps = driver._STEPS
    expected = [
        ("entry", steps["open"]), ("entry", steps["limit"]), ("reject", steps["decision"]), ("reject", steps["open"]),
        ("reject", steps["limit"]), ("partial", steps["open"]), ("partial", steps["path"]), ("exit", steps["gap"]),
        ("exit", steps["open"]), ("exit", steps["path"]), ("exit", steps["liquidation"]), ("exit", steps["decision"]),
        ("funding", steps["funding"]), ("insured", True), ("maker", 1), ("funded", 0),
    ]  # fmt: skip
    expected += [("kind", kind) for kind in OrderKind if kind is not OrderKind.ENTRY]
    expected += [("reason", reason) for reason in Reject if reason not in (Reject.RISK, Reject.WITHDRAWN)]
    assert [what for what in expected if seen[what] < 5] == []


def _seeds_until_found(limit):
    for seed in range(limit):
        try:
            play(make(seed))
        except DifferenceError:
            return seed
    return None


BROKEN = {
    "taker fee a part too high": (driver, "Referee", lambda rules, agents: engine.Referee(
        replace(rules, taker=rules.taker + 1), agents)),
    "tick in the agent's favour": (engine, "slipped", lambda price, side, fraction, rules: arithmetic.slipped(
        price, side, fraction, rules) - side * rules.tick),
    "impact of all instead of a side": (engine, "slippage", lambda demand, volume, rules: arithmetic.slippage(
        2 * demand, volume, rules)),
    "lots left over are filled": (engine, "pro_rata", lambda quantity, cap, demand, volume, rules: arithmetic.pro_rata(
        quantity, cap, demand, volume, replace(rules, lot=1))),
    "liquidation a unit late": (engine, "liquidation_price", lambda side, *rest: max(
        arithmetic.liquidation_price(side, *rest) - side, 0)),
    "finer candles looked at by their colour only": (driver, "way_of", lambda *all_of: ()),
    "the other extreme first": (engine, "visits", lambda *all_of: arithmetic.visits(*all_of)[::-1]),
    "sold value rounded up": (engine, "value", lambda price, quantity, side, rules: arithmetic.value(
        price, quantity, 1, rules)),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_is_found(name, monkeypatch):
    module, attribute, broken = BROKEN[name]
    monkeypatch.setattr(module, attribute, broken)
    assert _seeds_until_found(100) is not None


def test_the_referee_knows_nothing_of_what_it_judges():
    for name in ("arithmetic", "book", "engine", "habits", "scenarios"):
        for node in ast.walk(ast.parse((HERE / f"{name}.py").read_text())):
            modules = [node.module] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not [
                module for module in modules if module.split(".")[0] in ("agents", "trader", "numpy", "numba")
            ], name
