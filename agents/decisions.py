"""What one woken agent decides at a candle's close, and what it waits for next.

A decision at the close of candle N queues an order that is first eligible at the open of candle N + 1. Exits by time
are checked on every base candle; entries and signal exits when the agent's own timeframe closes.
Scores are in (-1, 1); confidence is |score| in percent.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from agents import layout as at
from agents.orders import next_id, reject
from trader.broker import market as rule
from trader.broker.fills import notional_floor, whole_lots
from trader.broker.margin import LEVERAGE_SCALE
from trader.core.money import FRACTION_SCALE, LIMIT, OVERFLOW, mul_div_ceil, mul_div_floor
from trader.core.rows import OrderKind, Reject

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

_SIGNAL = int(OrderKind.SIGNAL)
_TIME = int(OrderKind.TIME)
_ENTRY = int(OrderKind.ENTRY)
_NO_CASH = int(Reject.NO_CASH)
_BELOW_MINIMUM = int(Reject.BELOW_MINIMUM)
_TOO_LARGE = int(Reject.TOO_LARGE)

_HEADROOM = FRACTION_SCALE // 400
"""A quarter of a percent: how much worse than the close (beyond the half spread) an open may be before the budget held
for an entry makes it smaller."""

_ROOM = 1024
"""A position's value may grow this much before it reaches the largest amount; a larger order is refused."""


@njit(cache=True, nogil=True)
def _leverage(habits: Floats, agent: int, confidence: float, market: Integers) -> int:
    """Leverage in hundredths: between 1 and the cap, following confidence as far as the genes say; 1 on spot."""
    if market[rule.PERPETUAL] == 0:
        return LEVERAGE_SCALE
    follow = habits[agent, at.LEVERAGE_CONFIDENCE]
    share = 1.0 - follow + follow * confidence
    return max(int((1.0 + (habits[agent, at.LEVERAGE_CAP] - 1.0) * share) * LEVERAGE_SCALE), LEVERAGE_SCALE)


@njit(cache=True, nogil=True)
def tier_leverage(leverage: int, notional: int, tiers: Integers) -> int:
    """Leverage in hundredths, bounded by the bracket of the position's notional."""
    row = 0
    while row + 1 < tiers.shape[0] and notional >= tiers[row + 1, rule.TIER_FLOOR]:
        row += 1
    return min(leverage, tiers[row, rule.TIER_LEVERAGE] * LEVERAGE_SCALE)


@njit(cache=True, nogil=True)
def order_quantity(budget: int, leverage: int, price: int, market: Integers) -> int:
    """Whole lots whose initial margin and taker fee fit into `budget` at a price slightly worse than `price`;
    OVERFLOW if beyond counting."""
    price = mul_div_ceil(price, FRACTION_SCALE + market[rule.HALF_SPREAD] + _HEADROOM, FRACTION_SCALE)
    share = FRACTION_SCALE + market[rule.TAKER_FEE] * leverage // LEVERAGE_SCALE
    margin = mul_div_floor(budget, FRACTION_SCALE, share)
    notional = mul_div_floor(margin, leverage, LEVERAGE_SCALE)
    if notional == OVERFLOW or notional > LIMIT // _ROOM:
        return OVERFLOW
    quantity = mul_div_floor(notional, market[rule.NOTIONAL_DIVISOR], price)
    if quantity == OVERFLOW:
        return OVERFLOW
    return whole_lots(quantity, market)


@njit(cache=True, nogil=True)
def told_confidence(habits: Floats, agent: int, confidence: float) -> int:
    """Confidence in 1/100 of a percent: the calibrated probability of a profit after costs, or |score| without one."""
    if habits[agent, at.CALIBRATED] == 0.0:
        return int(confidence * 10_000.0)
    step = min(int(confidence * at.BINS), at.BINS - 1)
    return int(habits[agent, at.FIRST_BIN + step] * 10_000.0)


@njit(cache=True, nogil=True)
def told_confidences(habits: Floats, confidence: Floats) -> Integers:
    """`told_confidence` of every row, [n]."""
    out = np.empty(len(confidence), np.int64)
    for agent in range(len(confidence)):
        out[agent] = told_confidence(habits, agent, confidence[agent])
    return out


@njit(cache=True, nogil=True)
def _queue_entry(
    state: Integers, habits: Floats, agent: int, candle: int, bar: Integers, score: float,
    atr: float, regime: int, market: Integers, tiers: Integers, events: Integers, count: int,
) -> int:  # fmt: skip
    """Size an entry, hold its budget and queue it, or write why not."""
    confidence = abs(score)
    side = 1 if score > 0 else -1
    follow = habits[agent, at.SIZE_CONFIDENCE]
    cash = state[agent, at.CASH]
    budget = int(float(cash) * habits[agent, at.SIZE] * (1.0 - follow + follow * confidence))
    budget = max(min(budget, cash), 0)
    leverage = _leverage(habits, agent, confidence, market)
    price = bar[at.IN_CLOSE]
    leverage = tier_leverage(leverage, mul_div_floor(budget, leverage, LEVERAGE_SCALE), tiers)
    quantity = order_quantity(budget, leverage, price, market)
    order = next_id(state, agent, at.ORDERS)
    reason = 0
    if budget <= 0:
        reason = _NO_CASH
    elif quantity == OVERFLOW:
        reason = _TOO_LARGE
    elif (
        quantity < market[rule.MINIMUM_QUANTITY]
        or notional_floor(price, quantity, market) < market[rule.MINIMUM_NOTIONAL]
    ):
        reason = _BELOW_MINIMUM
    if reason:
        wait = max(np.int64(habits[agent, at.COOLDOWN_MS]), state[agent, at.TIMEFRAME_MS])
        state[agent, at.COOL_UNTIL] = bar[at.IN_MS] + wait
        return reject(
            events, count, candle, at.PHASE_DECISION, state, agent, order, side, bar[at.IN_MS],
            max(quantity, 0), reason, 0,
        )  # fmt: skip
    scale = atr * float(market[rule.PRICE_SCALE])
    state[agent, at.HELD] = budget
    state[agent, at.PENDING] = _ENTRY
    state[agent, at.PENDING_SIDE] = side
    state[agent, at.PENDING_QUANTITY] = quantity
    state[agent, at.PENDING_REQUESTED] = quantity
    state[agent, at.PENDING_ORDER] = order
    state[agent, at.PENDING_DECIDED] = bar[at.IN_MS]
    state[agent, at.PENDING_SCORE] = int(confidence * 10_000.0)
    state[agent, at.PENDING_CONFIDENCE] = told_confidence(habits, agent, confidence)
    state[agent, at.PENDING_REGIME] = regime
    state[agent, at.PENDING_LEVERAGE] = leverage
    state[agent, at.PENDING_STOP] = state[agent, at.PENDING_TAKE] = at.NEVER
    state[agent, at.PENDING_TRAIL] = state[agent, at.PENDING_LIMIT] = 0
    if habits[agent, at.STOP_ATR] == 0.0:
        return count
    state[agent, at.PENDING_STOP] = max(int(habits[agent, at.STOP_ATR] * scale), market[rule.TICK])
    state[agent, at.PENDING_TAKE] = max(int(habits[agent, at.TAKE_ATR] * scale), market[rule.TICK])
    state[agent, at.PENDING_TRAIL] = int(habits[agent, at.TRAIL_ATR] * scale)
    if habits[agent, at.LIMIT_ATR] > 0.0:
        # away from the market, to the tick: a buyer's limit is rounded down
        tick = market[rule.TICK]
        distance = int(habits[agent, at.LIMIT_ATR] * scale)
        limit = (price - distance) // tick * tick if side > 0 else -(-(price + distance) // tick) * tick
        state[agent, at.PENDING_LIMIT] = max(limit, tick)
    return count


@njit(cache=True, nogil=True)
def queue_exit(state: Integers, agent: int, kind: int, now: int) -> None:
    """Queue the whole position for the next open."""
    state[agent, at.PENDING] = kind
    state[agent, at.PENDING_ORDER] = next_id(state, agent, at.ORDERS)
    state[agent, at.PENDING_QUANTITY] = state[agent, at.QUANTITY]
    state[agent, at.PENDING_REQUESTED] = state[agent, at.QUANTITY]
    state[agent, at.PENDING_DECIDED] = now


@njit(cache=True, nogil=True)
def decide(
    state: Integers, habits: Floats, agent: int, candle: int, bar: Integers, closes: bool,
    score: float, atr: float, regime: int, market: Integers, tiers: Integers, events: Integers, count: int,
) -> int:  # fmt: skip
    """One agent at one close: queue an exit, queue an entry, or do nothing. `score` NaN means no valid features."""
    if state[agent, at.PENDING] != at.NOTHING_PENDING:
        return count
    side = state[agent, at.SIDE]
    now = bar[at.IN_MS]
    if side != 0:
        if now - state[agent, at.ENTRY_MS] >= np.int64(habits[agent, at.HOLDING_MS]):
            queue_exit(state, agent, _TIME, now)
        elif closes and side * score <= -habits[agent, at.EXIT_THRESHOLD]:
            queue_exit(state, agent, _SIGNAL, now)
        return count
    if not closes or state[agent, at.ACTIVE] == 0:
        return count
    if not abs(score) >= habits[agent, at.THRESHOLD] or not (atr > 0.0 or habits[agent, at.STOP_ATR] == 0.0):
        return count
    if score < 0 and market[rule.PERPETUAL] == 0:
        return count
    state[agent, at.SIGNALS] += 1
    if now < state[agent, at.COOL_UNTIL]:
        state[agent, at.COOLED] += 1
        return count
    return _queue_entry(state, habits, agent, candle, bar, score, atr, regime, market, tiers, events, count)


@njit(cache=True, nogil=True)
def ratchet(state: Integers, agent: int, bar: Integers, kind: int) -> None:
    """Move a trailing stop behind the best price of the candles closed so far; it only ever tightens."""
    trail = state[agent, at.TRAIL]
    if trail <= 0:
        return
    if state[agent, at.SIDE] > 0:
        state[agent, at.BEST] = max(state[agent, at.BEST], bar[at.IN_HIGH])
        stop = state[agent, at.BEST] - trail
        if stop > state[agent, at.STOP]:
            state[agent, at.STOP] = stop
            state[agent, at.STOP_KIND] = kind
    else:
        state[agent, at.BEST] = min(state[agent, at.BEST], bar[at.IN_LOW])
        stop = state[agent, at.BEST] + trail
        if stop < state[agent, at.STOP]:
            state[agent, at.STOP] = stop
            state[agent, at.STOP_KIND] = kind


@njit(cache=True, nogil=True)
def set_triggers(
    state: Integers, habits: Floats, triggers: Singles, watch: Integers, agent: int, market: Integers
) -> None:
    """What must happen before this agent needs scalar code again. Prices are rounded outward: a trigger only wakes."""
    scale = float(market[rule.PRICE_SCALE])
    up = np.inf
    down = -np.inf
    low = -np.inf
    high = np.inf
    wake = at.NEVER
    side = state[agent, at.SIDE]
    pending = state[agent, at.PENDING] != at.NOTHING_PENDING
    if pending:
        wake = 0
    elif side != 0:
        wake = state[agent, at.ENTRY_MS] + np.int64(habits[agent, at.HOLDING_MS])
        if side > 0:
            down = -habits[agent, at.EXIT_THRESHOLD]
        else:
            up = habits[agent, at.EXIT_THRESHOLD]
    elif state[agent, at.ACTIVE] != 0:
        up = habits[agent, at.THRESHOLD]
        down = -up if market[rule.PERPETUAL] else -np.inf
    if side > 0:
        low = float(max(state[agent, at.STOP], state[agent, at.LIQUIDATION])) / scale
        high = float(state[agent, at.TAKE]) / scale
        if state[agent, at.TRAIL] > 0:
            high = min(high, float(state[agent, at.BEST]) / scale)
    elif side < 0:
        high = float(state[agent, at.STOP]) / scale
        if state[agent, at.LIQUIDATION] > 0:
            high = min(high, float(state[agent, at.LIQUIDATION]) / scale)
        low = float(state[agent, at.TAKE]) / scale
        if state[agent, at.TRAIL] > 0:
            low = max(low, float(state[agent, at.BEST]) / scale)
    triggers[at.UP, agent] = up * (1.0 - 1e-6)
    triggers[at.DOWN, agent] = down * (1.0 - 1e-6)
    triggers[at.LOW_TRIGGER, agent] = low * (1.0 + 1e-6)
    triggers[at.HIGH_TRIGGER, agent] = high * (1.0 - 1e-6)
    watch[at.WAKE, agent] = wake


@njit(cache=True, nogil=True)
def set_equity(state: Integers, triggers: Singles, agent: int, market: Integers) -> None:
    """The pieces of an agent's running equity: base + signed quantity * (close - entry), in quote currency.

    Cost basis is the entry value, not price times quantity, so the base takes up their rounding difference.
    """
    quantity = float(state[agent, at.SIDE] * state[agent, at.QUANTITY]) / float(market[rule.QUANTITY_SCALE])
    entry = 0.0
    if state[agent, at.SIDE] != 0:
        entry = float(state[agent, at.ENTRY_PRICE]) / float(market[rule.PRICE_SCALE])
    triggers[at.EQUITY_BASE, agent] = float(state[agent, at.CASH] + state[agent, at.MARGIN]) * 1e-8
    triggers[at.SIGNED_QUANTITY, agent] = quantity
    triggers[at.ENTRY_FLOAT, agent] = entry


@njit(cache=True, nogil=True)
def refresh_rows(
    state: Integers, habits: Floats, triggers: Singles, watch: Integers, agents: Integers, market: Integers
) -> None:
    """Recompute triggers and running equity of some agents after something outside the kernel changed them."""
    for agent in agents:
        set_triggers(state, habits, triggers, watch, agent, market)
        set_equity(state, triggers, agent, market)
