"""How an agent decides at a close: the section "Decisions" of docs/exchange.md, in plain Python.

Habits are floats; what the document computes in float64 is computed in Python floats here, the rest in integers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tests.referee.arithmetic import LARGEST, PARTS, Rules, ceil_div, down, up
from tests.referee.book import Agent, Order
from tests.referee.engine import Referee

ROOM = 1024


@dataclass(frozen=True)
class Habits:
    """What an agent decides by; distances in average true ranges, sizes as shares, times in ms."""

    threshold: float
    exit_threshold: float
    size: float
    size_confidence: float
    leverage_cap: float
    leverage_confidence: float
    stop_atr: float
    take_atr: float
    trail_atr: float
    limit_atr: float
    holding_ms: int
    cooldown_ms: int


def bracket_leverage(leverage: int, notional: int, rules: Rules) -> int:
    reached = [tier for tier in rules.tiers if notional >= tier.floor] or [rules.tiers[0]]
    return min(leverage, reached[-1].leverage * 100)


def sized(budget: int, leverage: int, close: int, rules: Rules) -> int | None:
    """Whole lots for a budget; None if beyond counting."""
    price = ceil_div(close * (PARTS + rules.half_spread + 250_000), PARTS)
    share = PARTS + rules.taker * leverage // 100
    notional = budget * PARTS // share * leverage // 100
    quantity = notional * rules.divisor // price
    if notional > LARGEST // ROOM or quantity >= LARGEST:
        return None
    return down(quantity, rules.lot)


def decide(referee: Referee, agent: Agent, *, closes: bool, score: float, atr: float, regime: int) -> None:
    """One agent at the close of the referee's candle. `score` NaN: nothing is known."""
    habits, now = agent.habits, referee.bar.ms
    if agent.order:
        return
    if agent.position:
        position = agent.position
        if now - position.entry_ms >= habits.holding_ms:
            referee.send_exit(agent, "time", now)
        elif closes and position.side * score <= -habits.exit_threshold:
            referee.send_exit(agent, "signal", now)
        return
    if not closes or not agent.active or now < agent.cool_until:
        return
    if math.isnan(score) or abs(score) < habits.threshold or not atr > 0:
        return
    if score < 0 and not referee.rules.perpetual:
        return
    _entry(referee, agent, score, atr, regime)


def _entry(referee: Referee, agent: Agent, score: float, atr: float, regime: int) -> None:
    habits, rules, bar = agent.habits, referee.rules, referee.bar
    confidence, side = abs(score), 1 if score > 0 else -1
    share = 1.0 - habits.size_confidence + habits.size_confidence * confidence
    budget = max(min(int(float(agent.cash) * habits.size * share), agent.cash), 0)
    leverage = 100
    if rules.perpetual:
        share = 1.0 - habits.leverage_confidence + habits.leverage_confidence * confidence
        leverage = max(int((1.0 + (habits.leverage_cap - 1.0) * share) * 100), 100)
    leverage = bracket_leverage(leverage, budget * leverage // 100, rules)
    quantity = sized(budget, leverage, bar.close, rules)
    number = agent.named("orders")
    reason = ""
    if budget == 0:
        reason = "no_cash"
    elif quantity is None:
        reason = "too_large"
    elif quantity < rules.least or bar.close * quantity // rules.divisor < rules.minimum_notional:
        reason = "below_minimum"
    if reason:
        agent.cool_until = bar.ms + max(habits.cooldown_ms, agent.timeframe_ms)
        referee.reject(agent, number, side, bar.ms, quantity or 0, reason, "decision", sent=0)
        return
    scale = atr * 10.0**rules.price_exponent
    limit = 0
    if habits.limit_atr > 0:
        distance = int(habits.limit_atr * scale)
        limit = down(bar.close - distance, rules.tick) if side > 0 else up(bar.close + distance, rules.tick)
        limit = max(limit, rules.tick)
    order = Order(
        "entry", number, quantity, quantity, bar.ms, side=side, budget=budget, leverage=leverage, limit=limit,
        stop=max(int(habits.stop_atr * scale), rules.tick), take=max(int(habits.take_atr * scale), rules.tick),
        trail=int(habits.trail_atr * scale), confidence=int(confidence * 10_000), regime=regime,
    )  # fmt: skip
    referee.send_entry(agent, order)
