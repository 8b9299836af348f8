"""The pool's level in a session: every rule runs, caps hold, the breaker stops entries, each allocation has its reason."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest

from agents import layout as at
from trader.core.rows import AllocationLimit
from trader.session import breaker
from trader.session.grants import RULES, exposure


@pytest.mark.parametrize("rule", sorted(RULES.values()))
def test_every_rule_moves_money_and_nothing_is_lost(rule, make_block, make_config, run):
    engine, rows = run(make_config(f"pool.rule={rule}", size=60), make_block(frames=1100))
    assert engine.books.equity_at_cost() == engine.books.deposited + int(
        (rows.column("exit", "trade_pnl") * rows.column("exit", "funded")).sum()
    )
    codes = set(rows.column("allocation", "rule").tolist())
    assert next(code for code, name in RULES.items() if name == rule) in codes
    details = [json.loads(row[7]) for row in rows.rows("level") if row[2] == "pool"]
    assert all(detail["rule"] == rule for detail in details)
    assert max(detail["gross_exposure"] for detail in details) > 0
    assert all(detail["gross_exposure"] >= detail["net_exposure"] for detail in details)
    if rule == "mixture":
        assert sum(details[-1]["mixture"].values()) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(("rule", "rearm"), [("equal", "never"), ("mixture", "recovery"), ("equal", "wait")])
def test_cut_or_restored_anywhere_it_is_the_same_session(rule, rearm, make_block, make_config, run, go_on):

    sets = (f"pool.rule={rule}", "pool.max_drawdown=0.002", f"pool.rearm={rearm}", "pool.rearm_after=90")
    config, block = make_config(*sets, size=60), make_block(frames=1000)
    whole = run(config, block)[1]
    assert whole.same_as(run(config, block, cuts=range(401, 1000, 37))[1]) is None
    first, rows = run(config, block[0:815], finish=False)
    go_on(first, rows, block, 815)
    assert whole.same_as(rows) is None


def test_caps_bound_what_is_granted_and_say_so(make_block, make_config, run):
    config = make_config("pool.caps={agent=0.004, archetype=0.05, market=0.3}", size=60)
    engine, rows = run(config, make_block(frames=500), finish=False)
    books = engine.books
    assert (rows.column("allocation", "limited_by") == int(AllocationLimit.CAP)).any()
    granted = books.capital()[books.population.column(at.CLOSED) == 0]
    assert granted.max() <= books.deposited * 0.004
    # positions cannot be recalled and profits come in between epochs: a little above the cap is possible
    for kind in np.unique(books.population.roster.archetype):
        assert books.capital()[books.population.roster.archetype == kind].sum() <= books.deposited * 0.055


def test_the_breaker_stops_entries_at_the_next_boundary(make_block, make_config, run):
    sets = ("pool.max_drawdown=0.003", "levels.evolution.every=1000000")
    rows = run(make_config(*sets, size=60), make_block(frames=1500))[1]
    frame, time = rows.column("equity", "frame"), rows.column("equity", "time_ms")
    equity, peak = rows.column("equity", "equity"), rows.column("equity", "peak")
    stopped = (frame > 0) & (frame % 30 == 0) & (peak - equity >= peak * 0.003)
    assert stopped.any(), "the made-up market must lose money for this test"
    decided = rows.column("entry", "decided_ms")
    boundaries = frame[(frame > 0) & (frame % 30 == 0)]
    state = dict(zip(frame.tolist(), stopped.tolist(), strict=True))
    moment = dict(zip(frame.tolist(), time.tolist(), strict=True))
    inside = [
        ((decided >= moment[b]) & (decided < moment.get(b + 30, 1 << 62))).sum()
        for b in boundaries.tolist()
        if state[b]
    ]
    assert sum(inside) == 0
    assert len(decided) > 20
    assert any(json.loads(row[7])["halted"] for row in rows.rows("level") if row[2] == "pool") or stopped.sum() == 1


def test_a_latched_breaker_never_lets_go(make_block, make_config, run):
    sets = ("pool.max_drawdown=0.003", "pool.rearm=never")
    engine, rows = run(make_config(*sets, size=60), make_block(frames=1500), finish=False)
    assert engine.books.halted
    frames, times = rows.column("equity", "frame"), rows.column("equity", "time_ms")
    trip = times[frames == engine.books.tripped][0]
    decided = rows.column("entry", "decided_ms")
    assert 0 < (decided < trip).sum() == len(decided)
    stops = [json.loads(row[7])["halted"] for row in rows.rows("level") if row[2] == "pool"]
    assert stops == sorted(stops)
    free = run(make_config(size=60), make_block(frames=1500))[1]
    assert len(free.rows("entry")) > len(decided)


@pytest.mark.parametrize(
    ("rearm", "stopped"),
    [
        ("recovery", [False, True, True, False, True]),
        ("never", [False, True, True, True, True]),
        ("wait", [False, True, True, True, False]),
    ],
)
def test_when_it_lets_go(rearm, stopped, make_block, make_config, run):
    config = make_config("pool.max_drawdown=0.1", f"pool.rearm={rearm}", "pool.rearm_after=30", size=60)
    books = run(config, make_block(frames=410), finish=False)[0].books
    books.high = 1_000
    seen = []
    for boundary, equity in enumerate((950, 900, 880, 920, 870)):
        books.equity = equity
        seen.append(breaker.act(books, config.pool, 10 * boundary, 10 * boundary))
    assert seen == stopped
    assert books.high == (870 if rearm == "wait" else 1_000)


def test_after_the_wait_falls_are_measured_from_the_equity_then(make_block, make_config, run):
    sets = ("pool.max_drawdown=0.003", "pool.rearm=wait", "pool.rearm_after=90", "levels.evolution.every=1000000")
    quiet = tuple(f"levels.{name}.enabled=false" for name in ("bandits", "calibration", "self_modifier"))
    rows = run(make_config(*sets, *quiet, size=60), make_block(frames=1500))[1]
    frames, equity = rows.column("equity", "frame").tolist(), rows.column("equity", "equity").tolist()
    high, tripped, spans = 0, None, []
    for frame, value in zip(frames, equity, strict=True):  # the rule again, in plain words
        high = max(high, value)
        if frame == 0 or frame % 30:
            continue
        if tripped is None and high - value >= high * 0.003:
            tripped = frame
        elif tripped is not None and frame - tripped >= 90:
            spans.append((tripped, frame))
            tripped, high = None, value
    assert len(spans) >= 2, "it must trip, let go and trip again"
    moment = dict(zip(frames, rows.column("equity", "time_ms").tolist(), strict=True))
    decided = rows.column("entry", "decided_ms")
    for first, last in spans:
        assert not ((decided >= moment[first]) & (decided < moment[last])).any()
    assert any(((decided >= moment[a]) & (decided < moment[b])).any() for (_, a), (b, _) in pairwise(spans))


def test_the_breaker_acts_where_the_level_is_off(make_block, make_config, run):
    off = ("levels.pool.enabled=false", "levels.evolution.enabled=false")
    free = run(make_config(*off, size=60), make_block(frames=1500))[1]
    held = run(make_config(*off, "pool.max_drawdown=0.003", size=60), make_block(frames=1500))[1]
    assert 0 < len(held.rows("entry")) < len(free.rows("entry"))


def test_opposing_positions_are_reported(make_block, make_config, run):
    engine, rows = run(make_config(size=120), make_block(frames=700), finish=False)
    details = [json.loads(row[7]) for row in rows.rows("level") if row[2] == "pool"]
    assert any(detail["gross_exposure"] > detail["net_exposure"] > 0 for detail in details)
    for seen in (*details, exposure(engine.books)):
        saved = 2 * 0.0005 * (seen["gross_exposure"] - seen["net_exposure"])
        assert seen["netting_would_save"] == pytest.approx(saved, rel=1e-6, abs=1e-7)
