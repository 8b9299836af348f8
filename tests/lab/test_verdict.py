"""The sentence and its conditions: every one of them can spoil it."""

from __future__ import annotations

import copy

import pytest

from trader.lab import verdict


def entry(annual, gap):
    return {"annual_return": annual, "population_minus_this": {"annual_return": gap, "annual_return_interval": None}}


GOOD = {
    "significant": False,
    "trials": 20,
    "spa_p": 0.003,
    "dsr": 0.98,
    "out_of_sample": {"annual_return": 0.123, "annual_return_interval": [0.04, 0.2]},
    "in_sample": {"population": {"survives": True, "in_sample_annual_return": 0.3}},
    "baselines": {"cash": entry(0.0, 0.123), "buy_and_hold": entry(0.5, -0.377)},
    "twins": {"frozen": entry(0.01, 0.113), "random": entry(0.02, 0.103)},
    "audit": {"ok": True, "differences": []},
    "activity": {"trades": 100.0},
    "data": {"kind": "replay"},
}


def judged(**changes):
    document = copy.deepcopy(GOOD)
    for key, value in changes.items():
        place = document
        *above, last = key.split("__")
        for name in above:
            place = place[name]
        place[last] = value
    document["criteria"] = verdict.criteria(document)
    document["significant"] = all(item["held"] for item in document["criteria"])
    return document["significant"], verdict.sentence(document)


def test_shown():
    significant, told = judged()
    assert significant
    assert told == (
        "Shown: out of sample the population made +12.3 % [+4.0, +20.0] a year after costs, above its twins; chance is an"
        " unlikely reason (SPA p 0.003, deflated Sharpe ratio 0.98; 20 trials on this data)."
    )
    assert judged(data__kind="synthetic")[1].startswith("Shown on a made-up market: ")


@pytest.mark.parametrize(
    "changes",
    [
        {"spa_p": 0.05}, {"dsr": 0.95}, {"dsr": float("nan")},
        {"out_of_sample__annual_return_interval": [-0.001, 0.2]}, {"out_of_sample__annual_return_interval": None},
        {"twins__frozen": entry(0.2, -0.077)}, {"twins__random": entry(0.123, 0.0)},
    ],
)  # fmt: skip
def test_every_condition_can_spoil_it(changes):
    significant, told = judged(**changes)
    assert not significant
    assert told.startswith("Not shown: out of sample the population made +12.3 %")
    assert told.endswith("20 trials on this data.")


def test_who_did_better_is_named():
    assert "; buy and hold did better; " in judged(dsr=0.5)[1]
    told = judged(dsr=0.5, baselines__buy_and_hold=entry(0.0, 0.123))[1]
    assert "no rival did better, but not enough to rule out chance (deflated Sharpe ratio)" in told
    told = judged(dsr=0.5, out_of_sample__annual_return=-0.9, trials=1)[1]
    assert "every rival and every twin did better, cash too" in told
    assert told.endswith("1 trial on this data.")


def test_what_does_not_survive_is_told_and_is_not_the_headline():
    told = judged(dsr=0.1, in_sample__population={"survives": False, "in_sample_annual_return": 0.4})[1]
    assert "what it made in sample (+40.0 %) does not survive" in told
    assert told.index("+12.3 %") < told.index("+40.0 %")


def test_a_look_ahead_outweighs_everything():
    significant, told = judged(audit={"ok": False, "differences": ["rows of entry up to 5 ms depend on later candles"]})
    assert not significant
    assert told.startswith("Invalid: something looked ahead (rows of entry up to 5 ms")
    assert "%" not in told


def test_percent_and_span():
    assert [verdict.percent(value) for value in (0.1234, -0.004, 0.0, float("nan"))] == [
        "+12.3 %",
        "-0.40 %",
        "+0.00 %",
        "-",
    ]
    assert verdict.span([-0.004, 0.02]) == " [-0.4, +2.0]"
    assert verdict.span([-0.004, 0.002]) == " [-0.40, +0.20]"
    assert verdict.span(None) == ""
