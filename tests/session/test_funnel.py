"""The funnel adds up: each stage is the sum of what stands under it, and `held` is what stepping candle by candle finds."""

from __future__ import annotations

import numpy as np
import pytest

from agents import layout as at
from trader.core.rows import TABLES, Phase, Reject
from trader.core.types import Instrument
from trader.session.engine import Engine
from trader.session.funnel import COOLDOWN, DECIDED, HALTED, HELD, SIGNAL, STAGES, card_lines

CODES = {name: code for code, name in STAGES.items()}
SETS = {
    "plain": (),
    "limits and latency": ("exchange.latency_candles=2", "exchange.participation=0.0001", "levels.evolution.cull=0.5"),
    "breaker": ("pool.max_drawdown=0.001", "levels.pool.every=3"),
}


def per_stage(rows):
    counts = {}
    for _, market, archetype, stage, count in rows.rows("funnel").tolist():
        counts.setdefault((market, archetype), {})[STAGES[stage]] = count
    return counts


@pytest.fixture(scope="module", params=SETS)
def session(request, make_block, make_config, run):
    sets = SETS[request.param]
    alone = (
        "levels.self_modifier.enabled=false",
        "levels.bandits.enabled=false",
    )  # one decides again, both shift the counts
    config = make_config(*sets, *alone, "population.controls={frozen=0.1, random=0.2}")
    block = make_block(frames=1500, missing=0.01)
    engine, rows = run(config, block)
    return request.param, config, block, engine, rows


def test_every_stage_is_the_sum_of_those_under_it(session):
    name, _, _, engine, rows = session
    counts = per_stage(rows)
    assert len(counts) > 10
    for stages in counts.values():
        one = {stage: stages.get(stage, 0) for stage in CODES}
        assert min(one.values()) >= 0
        assert one["decided"] == one["held"] + one["halted"] + one["below_threshold"] + one["signal"]
        refused = sum(one[reason.name.lower()] for reason in Reject)
        assert one["signal"] == one["cooldown"] + refused + one["filled"]
        assert one["filled"] == one["closed"]
    total = engine.books.funnel.totals()
    assert total["decided"] == engine.decisions()
    assert total["filled"] == len(rows.rows("entry"))
    assert sum(total.get(reason.name.lower(), 0) for reason in Reject) == len(rows.rows("reject"))
    assert total["held"] and total["below_threshold"] and total["cooldown"]
    if name == "breaker":
        assert total["halted"] > 0 and total["risk"] > 0
    if name == "limits and latency":
        assert total["withdrawn"] > 0


def test_held_is_what_a_look_at_every_agent_after_every_candle_finds(session, capture_class):
    _, config, block, engine, _ = session
    instruments = tuple(
        Instrument(item.symbol, item.perpetual, taker_fee=50_000, tiers=item.tiers) for item in engine.instruments
    )
    slow = Engine(config, instruments, capture_class())
    warm = int((block.phase == int(Phase.WARMUP)).sum())
    slow.advance(block[:warm])
    found = dict.fromkeys((DECIDED, HELD, HALTED), 0)
    original = slow.books.funnel.add_closes

    def look(market, closes, times, events, agents):
        original(market, closes, times, events, agents)
        closing = closes[-1]
        timeframe = np.repeat(np.arange(len(agents.segments) - 1), np.diff(agents.segments))
        now = closing[timeframe]
        state = agents.state
        position, pending = state[:, at.SIDE] != 0, state[:, at.PENDING] != at.NOTHING_PENDING
        # an entry decided at this very close is a signal: the agent was free when it decided
        fresh = ~position & pending & (state[:, at.PENDING_DECIDED] == times[-1])
        held = now & (position | pending) & ~fresh
        found[DECIDED] += int(now.sum())
        found[HELD] += int(held.sum())
        found[HALTED] += int((now & ~held & (state[:, at.ACTIVE] == 0)).sum())

    slow.books.funnel.add_closes = look
    for i in range(warm, len(block)):
        slow.advance(block[i : i + 1])
    slow.close()
    total = engine.books.funnel.totals()
    assert {STAGES[stage]: count for stage, count in found.items() if count} == {
        STAGES[stage]: total[STAGES[stage]] for stage in found if STAGES[stage] in total
    }


def test_cutting_a_session_moves_no_count(session, run):
    name, config, block, _, rows = session
    _, cut = run(config, block, cuts=(401, 402, 555, 800, 1001))
    assert cut.same_as(rows) is None, name


def test_withdrawn_orders_have_rows_with_a_reason(session):
    name, _, _, engine, rows = session
    place = TABLES["reject"].position
    rejects = rows.rows("reject")
    reason = int(Reject.RISK if name == "breaker" else Reject.WITHDRAWN)
    found = rejects[rejects[:, place("reason")] == reason]
    assert len(found) or name == "plain"
    assert (found[:, place("sent")] == 1).all()
    assert (found[:, place("time_ms")] >= found[:, place("decided_ms")]).all()
    filled = set(rows.column("entry", "order_id").tolist())
    assert not filled & set(found[:, place("order_id")].tolist())
    exits = rows.rows("exit")
    sent = len(rows.rows("entry")) + len(rejects) + len(exits)
    if not len(rows.rows("partial")):
        assert sent >= engine.orders() > 0


def test_the_card_tells_the_funnel_in_two_lines():
    totals = {
        "decided": 100,
        "held": 30,
        "below_threshold": 50,
        "signal": 20,
        "cooldown": 5,
        "no_cash": 3,
        "filled": 12,
        "closed": 12,
    }
    assert card_lines(totals) == {
        "funnel": "100 decisions: below threshold 50, held 30, signal 20",
        "signals": "cooldown 5, no cash 3, filled 12",
    }
    assert card_lines({}) == {}
    assert {SIGNAL, COOLDOWN} <= set(STAGES)
