"""What happens to one agent's position: entry, exit, funding, liquidation. Scalar code for the agents that were woken.

Every function changes one row of `state` and the market's `totals` by balanced amounts, and writes the event row.
Balances move between: agent cash, agent margin, fees, funding, insurance, and the market (the counterparty of results).
Shadow agents (FUNDED 0) trade a virtual account: their rows change, the totals do not.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from agents import layout as at
from trader.broker import market as rule
from trader.broker.fills import (
    counted,
    maker_fee,
    notional_ceil,
    notional_floor,
    order_value,
    sum_limbs,
    taker_fee,
    whole_lots,
)
from trader.broker.margin import initial_margin, liquidation_price
from trader.core.money import FRACTION_SCALE, OVERFLOW, mul_div_ceil, mul_div_floor
from trader.core.rows import IDS_PER_AGENT, Limit, OrderKind, Reject

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

_LIQUIDATION = int(OrderKind.LIQUIDATION)
_STOP = int(OrderKind.STOP)
_BY_MARGIN = int(Limit.MARGIN)
_BY_VOLUME = int(Limit.NO_VOLUME)
_BY_PARTICIPATION = int(Limit.PARTICIPATION)
_NO_LIMIT = int(Limit.NONE)
_REJECT_VOLUME = int(Reject.NO_VOLUME)
_REJECT_PARTICIPATION = int(Reject.PARTICIPATION)
_REJECT_MARGIN = int(Reject.MARGIN)


@njit(cache=True, nogil=True)
def next_id(state: Integers, agent: int, counter: int) -> int:
    """The agent's next trade, order or fill number."""
    state[agent, counter] += 1
    return state[agent, at.AGENT] * IDS_PER_AGENT + state[agent, counter]


@njit(cache=True, nogil=True)
def _add_net(totals: Integers, quantity: int, cost: int) -> None:
    """Add a signed quantity and a signed entry value to the market's sums, both in two limbs."""
    high, low = sum_limbs(totals[at.NET_QUANTITY], totals[at.NET_QUANTITY_LOW], quantity)
    totals[at.NET_QUANTITY] = high
    totals[at.NET_QUANTITY_LOW] = low
    high, low = sum_limbs(totals[at.NET_COST], totals[at.NET_COST_LOW], cost)
    totals[at.NET_COST] = high
    totals[at.NET_COST_LOW] = low


@njit(cache=True, nogil=True)
def clamped(price: int, low: int, high: int) -> int:
    """A price moved into the candle."""
    return min(max(price, low), high)


@njit(cache=True, nogil=True)
def fill_fee(raw: int, price: int, quantity: int, notional: int, market: Integers) -> int:
    """Taker fee, plus what the candle's extreme cut off the slipped price: nobody trades better than the rules say."""
    cut = abs(raw - price)
    fee = taker_fee(notional, market)
    if cut > 0:
        fee += notional_ceil(cut, quantity, market)
    return fee


@njit(cache=True, nogil=True)
def reject(
    events: Integers, count: int, candle: int, phase: int, state: Integers, agent: int, order: int, side: int,
    decided: int, requested: int, reason: int, sent: int,
) -> int:  # fmt: skip
    """Write a rejected entry; returns the new number of events."""
    event = events[count]
    event[at.EVENT_KIND] = at.EVENT_REJECT
    event[at.EVENT_CANDLE] = candle
    event[at.EVENT_PHASE] = phase
    body = event[at.EVENT_BODY :]
    body[0] = state[agent, at.AGENT]
    body[1] = order
    body[2] = side
    body[3] = decided
    body[4] = requested
    body[5] = reason
    body[6] = sent
    body[7] = state[agent, at.FUNDED]
    return count + 1


@njit(cache=True, nogil=True)
def entry_fee(raw: int, price: int, quantity: int, notional: int, maker: int, market: Integers) -> int:
    """Fee of an entry fill: maker for a limit order that rested, else taker."""
    if maker:
        return maker_fee(notional, market)
    return fill_fee(raw, price, quantity, notional, market)


@njit(cache=True, nogil=True)
def _affordable(
    held: int, price: int, raw: int, quantity: int, side: int, leverage: int, maker: int, market: Integers
) -> int:
    """The largest whole-lot quantity up to `quantity` whose initial margin and fee fit into `held`."""
    for _ in range(64):
        if quantity <= 0:
            return 0
        notional = order_value(price, quantity, side, market)
        if notional == OVERFLOW:
            quantity = whole_lots(quantity // 2, market)
            continue
        need = initial_margin(notional, leverage) + entry_fee(raw, price, quantity, notional, maker, market)
        if need <= held:
            return quantity
        shrunk = whole_lots(int(float(quantity) * (float(held) / float(need))), market)
        quantity = min(shrunk, quantity - market[rule.LOT])
    return 0


@njit(cache=True, nogil=True)
def _place_exits(
    state: Integers, agent: int, price: int, market: Integers, tiers: Integers, low: int, high: int, watch: Integers
) -> None:
    """Stop, take, trail and liquidation price of a new position, from the distances fixed at its decision."""
    side = state[agent, at.SIDE]
    tick = market[rule.TICK]
    distance = state[agent, at.PENDING_STOP]
    # towards the entry: rounding makes a stop nearer and a take farther, against the agent
    if distance == at.NEVER:
        state[agent, at.STOP] = 0 if side > 0 else at.NEVER
        state[agent, at.TAKE] = at.NEVER if side > 0 else 0
    elif side > 0:
        state[agent, at.STOP] = max(-(-(price - distance) // tick) * tick, 0)
        state[agent, at.TAKE] = -(-(price + state[agent, at.PENDING_TAKE]) // tick) * tick
    else:
        state[agent, at.STOP] = (price + distance) // tick * tick
        state[agent, at.TAKE] = max((price - state[agent, at.PENDING_TAKE]) // tick * tick, 0)
    state[agent, at.STOP_KIND] = _STOP
    state[agent, at.TRAIL] = state[agent, at.PENDING_TRAIL]
    state[agent, at.BEST] = price
    state[agent, at.LIQUIDATION] = liquidation_price(
        side, state[agent, at.QUANTITY], state[agent, at.COST], state[agent, at.MARGIN], market, tiers
    )
    watch[at.LOWEST, agent] = low
    watch[at.HIGHEST, agent] = high


@njit(cache=True, nogil=True)
def cancel_entry(
    state: Integers, habits: Floats, agent: int, candle: int, bar: Integers, phase: int, reason: int,
    events: Integers, count: int,
) -> int:  # fmt: skip
    """Drop a queued entry that bought nothing: free its budget, start the cooldown, write why."""
    state[agent, at.HELD] = 0
    state[agent, at.PENDING] = at.NOTHING_PENDING
    state[agent, at.COOL_UNTIL] = bar[at.IN_MS] + np.int64(habits[agent, at.COOLDOWN_MS])
    return reject(
        events, count, candle, phase, state, agent, state[agent, at.PENDING_ORDER], state[agent, at.PENDING_SIDE],
        state[agent, at.PENDING_DECIDED], state[agent, at.PENDING_REQUESTED], reason, 1,
    )  # fmt: skip


@njit(cache=True, nogil=True)
def enter(
    state: Integers, habits: Floats, watch: Integers, totals: Integers, agent: int, candle: int, bar: Integers,
    phase: int, reference: int, raw: int, offered: int, maker: int, market: Integers, tiers: Integers,
    events: Integers, count: int,
) -> int:  # fmt: skip
    """Fill a queued entry at `raw`, moved into the candle, with at most `offered`; what is not filled is cancelled.

    `reference` is the price without slippage; `maker` is 1 for a limit order that rested.
    """
    side = state[agent, at.PENDING_SIDE]
    requested = state[agent, at.PENDING_REQUESTED]
    leverage = state[agent, at.PENDING_LEVERAGE]
    price = clamped(raw, bar[at.IN_LOW], bar[at.IN_HIGH])
    held = state[agent, at.HELD]
    quantity = _affordable(held, price, raw, offered, side, leverage, maker, market)
    notional = order_value(price, quantity, side, market)
    if quantity < market[rule.MINIMUM_QUANTITY] or notional < market[rule.MINIMUM_NOTIONAL]:
        reason = _REJECT_MARGIN
        if offered < market[rule.MINIMUM_QUANTITY] or offered < requested:
            reason = _REJECT_VOLUME if bar[at.IN_VOLUME] == 0 else _REJECT_PARTICIPATION
        return cancel_entry(state, habits, agent, candle, bar, phase, reason, events, count)
    fee = entry_fee(raw, price, quantity, notional, maker, market)
    initial = initial_margin(notional, leverage)
    assert initial + fee <= held
    state[agent, at.HELD] = 0
    state[agent, at.PENDING] = at.NOTHING_PENDING
    order = state[agent, at.PENDING_ORDER]
    decided = state[agent, at.PENDING_DECIDED]
    trade = next_id(state, agent, at.TRADES)
    state[agent, at.CASH] -= initial + fee
    state[agent, at.MARGIN] = initial
    state[agent, at.SIDE] = side
    state[agent, at.QUANTITY] = quantity
    state[agent, at.COST] = notional
    state[agent, at.ENTRY_PRICE] = price
    state[agent, at.ENTRY_MS] = bar[at.IN_MS]
    state[agent, at.LEVERAGE] = leverage
    state[agent, at.TRADE_ID] = trade
    state[agent, at.TRADE_MARGIN] = initial + fee
    state[agent, at.TRADE_FEES] = fee
    state[agent, at.TRADE_FUNDING] = 0
    state[agent, at.TRADE_GROSS] = 0
    state[agent, at.TRADE_VALUE] = 0
    state[agent, at.TRADE_QUANTITY] = quantity
    slippage = notional_floor(abs(price - reference), quantity, market)
    state[agent, at.TRADE_SLIPPAGE] = slippage
    _place_exits(state, agent, price, market, tiers, bar[at.IN_LOW], bar[at.IN_HIGH], watch)
    if state[agent, at.FUNDED]:
        totals[at.TOTAL_CASH] -= initial + fee
        totals[at.TOTAL_MARGIN] += initial
        totals[at.TOTAL_FEES] += fee
        _add_net(totals, side * quantity, side * notional)
    limited = _NO_LIMIT
    if quantity < requested:
        limited = _BY_MARGIN if quantity < offered else _BY_PARTICIPATION
    event = events[count]
    event[at.EVENT_KIND] = at.EVENT_ENTRY
    event[at.EVENT_CANDLE] = candle
    event[at.EVENT_PHASE] = phase
    body = event[at.EVENT_BODY :]
    body[0] = state[agent, at.AGENT]
    body[1] = trade
    body[2] = order
    body[3] = next_id(state, agent, at.FILLS)
    body[4] = side
    body[5] = state[agent, at.ARCHETYPE]
    body[6] = state[agent, at.TIMEFRAME_MS]
    body[7] = leverage
    body[8] = requested
    body[9] = quantity
    body[10] = price
    body[11] = fee
    body[12] = initial + fee
    body[13] = decided
    body[14] = state[agent, at.PENDING_CONFIDENCE]
    body[15] = state[agent, at.PENDING_REGIME]
    body[16] = state[agent, at.STOP] % at.NEVER
    body[17] = state[agent, at.TAKE] % at.NEVER
    body[18] = limited
    body[19] = slippage
    body[20] = maker
    body[21] = state[agent, at.FUNDED]
    body[23] = state[agent, at.PENDING_SCORE]  # 22: the phase, which the session knows
    return count + 1


@njit(cache=True, nogil=True)
def _write_exit(
    events: Integers, count: int, candle: int, phase: int, state: Integers, watch: Integers, agent: int, kind: int,
    quantity: int, price: int, fee: int, gross: int, limited: int, insurance: int, liquidation_fee: int,
) -> int:  # fmt: skip
    """The event of the exit fill just booked: PARTIAL while something is left, else EXIT with the trade's totals."""
    closing = state[agent, at.QUANTITY] == 0
    event = events[count]
    event[at.EVENT_KIND] = at.EVENT_EXIT if closing else at.EVENT_PARTIAL
    event[at.EVENT_CANDLE] = candle
    event[at.EVENT_PHASE] = phase
    body = event[at.EVENT_BODY :]
    body[0] = state[agent, at.AGENT]
    body[1] = state[agent, at.TRADE_ID]
    body[2] = state[agent, at.PENDING_ORDER]
    body[3] = next_id(state, agent, at.FILLS)
    body[4] = kind
    body[5] = state[agent, at.PENDING_DECIDED]
    body[6] = state[agent, at.PENDING_REQUESTED]
    body[7] = quantity
    body[8] = price
    body[9] = fee
    body[10] = gross
    body[11] = limited
    if not closing:
        body[12] = state[agent, at.FUNDED]
        return count + 1
    body[12] = insurance
    body[13] = liquidation_fee
    body[14] = state[agent, at.TRADE_QUANTITY]
    body[15] = state[agent, at.TRADE_VALUE]
    body[16] = state[agent, at.TRADE_GROSS]
    body[17] = state[agent, at.TRADE_FEES]
    body[18] = state[agent, at.TRADE_FUNDING]
    body[19] = state[agent, at.TRADE_GROSS] - state[agent, at.TRADE_FEES] + state[agent, at.TRADE_FUNDING]
    body[20] = state[agent, at.TRADE_MARGIN]
    body[21] = state[agent, at.TRADE_SLIPPAGE]
    body[22] = watch[at.LOWEST, agent]
    body[23] = watch[at.HIGHEST, agent]
    body[24] = state[agent, at.FUNDED]
    return count + 1


@njit(cache=True, nogil=True)
def _release(state: Integers, habits: Floats, totals: Integers, agent: int, now: int) -> None:
    """Return what is left of a closed trade's margin to the agent's cash and start its cooldown."""
    left = state[agent, at.MARGIN]
    pnl = state[agent, at.TRADE_GROSS] - state[agent, at.TRADE_FEES] + state[agent, at.TRADE_FUNDING]
    assert left >= 0
    assert left == state[agent, at.TRADE_MARGIN] + pnl
    state[agent, at.CASH] += left
    state[agent, at.MARGIN] = 0
    if state[agent, at.FUNDED]:
        totals[at.TOTAL_CASH] += left
        totals[at.TOTAL_MARGIN] -= left
    state[agent, at.CLOSED] += 1
    state[agent, at.WINS] += pnl > 0
    state[agent, at.PNL] += pnl
    state[agent, at.SIDE] = 0
    state[agent, at.COST] = 0
    state[agent, at.PENDING] = at.NOTHING_PENDING
    state[agent, at.COOL_UNTIL] = now + np.int64(habits[agent, at.COOLDOWN_MS])


@njit(cache=True, nogil=True)
def leave(
    state: Integers, habits: Floats, watch: Integers, totals: Integers, agent: int, candle: int, now: int, phase: int,
    kind: int, reference: int, raw: int, price: int, quantity: int, limited: int, market: Integers,
    events: Integers, count: int,
) -> int:  # fmt: skip
    """Close `quantity` of a position at `price`.

    `reference` is the price without slippage, `raw` the slipped price before it was moved into the candle; both only
    enter what is told (slippage) and the fee. `kind` LIQUIDATION charges the liquidation fee out of what is left and
    lets the insurance account pay a shortfall, so that no agent ever owes.
    """
    side = state[agent, at.SIDE]
    whole = quantity == state[agent, at.QUANTITY]
    value = counted(order_value(price, quantity, -side, market))
    if whole:
        cost = state[agent, at.COST]
    else:
        cost = min(order_value(state[agent, at.ENTRY_PRICE], quantity, side, market), state[agent, at.COST])
    gross = side * (value - cost)
    left = state[agent, at.MARGIN] + gross
    fee = 0
    liquidation_fee = 0
    if kind == _LIQUIDATION:
        liquidation_fee = max(min(left, mul_div_ceil(value, market[rule.LIQUIDATION_FEE], FRACTION_SCALE)), 0)
    else:
        fee = fill_fee(raw, price, quantity, value, market)
        if whole:
            # slippage and fee can cost more than the margin that is left: the fee gives way first
            fee = max(min(fee, left), 0)
    insurance = 0
    if whole:
        insurance = max(-(left - fee - liquidation_fee), 0)
    state[agent, at.MARGIN] = left - fee - liquidation_fee + insurance
    state[agent, at.QUANTITY] -= quantity
    state[agent, at.COST] -= cost
    state[agent, at.TRADE_GROSS] += gross + insurance
    state[agent, at.TRADE_FEES] += fee + liquidation_fee
    state[agent, at.TRADE_VALUE] += value
    state[agent, at.TRADE_SLIPPAGE] += notional_floor(abs(price - reference), quantity, market)
    if state[agent, at.FUNDED]:
        totals[at.TOTAL_MARGIN] += gross - fee - liquidation_fee + insurance
        totals[at.TOTAL_MARKET] -= gross
        totals[at.TOTAL_FEES] += fee
        totals[at.TOTAL_INSURANCE] += liquidation_fee - insurance
        _add_net(totals, -side * quantity, -side * cost)
    watch[at.LOWEST, agent] = min(watch[at.LOWEST, agent], price)
    watch[at.HIGHEST, agent] = max(watch[at.HIGHEST, agent], price)
    count = _write_exit(
        events, count, candle, phase, state, watch, agent, kind, quantity, price, fee, gross + insurance, limited,
        insurance, liquidation_fee,
    )  # fmt: skip
    if whole:
        _release(state, habits, totals, agent, now)
    return count


@njit(cache=True, nogil=True)
def liquidate(
    state: Integers, habits: Floats, watch: Integers, totals: Integers, agent: int, candle: int, bar: Integers,
    price: int, phase: int, market: Integers, events: Integers, count: int,
) -> int:  # fmt: skip
    """The insurance account takes the whole position over at `price`; outside the participation cap."""
    if state[agent, at.PENDING] != at.NOTHING_PENDING and state[agent, at.FUNDED]:
        # an exit that has filled in part stays an order of its own beside the liquidation
        totals[at.SUPERSEDED] += state[agent, at.PENDING_REQUESTED] > state[agent, at.QUANTITY]
    state[agent, at.PENDING_ORDER] = next_id(state, agent, at.ORDERS)
    state[agent, at.PENDING_DECIDED] = bar[at.IN_MS]
    state[agent, at.PENDING_REQUESTED] = state[agent, at.QUANTITY]
    return leave(
        state, habits, watch, totals, agent, candle, bar[at.IN_MS], phase, _LIQUIDATION, price, price, price,
        state[agent, at.QUANTITY], _NO_LIMIT, market, events, count,
    )  # fmt: skip


@njit(cache=True, nogil=True)
def pay_funding(
    state: Integers, totals: Integers, agent: int, candle: int, bar: Integers, market: Integers, tiers: Integers,
    events: Integers, count: int,
) -> int:  # fmt: skip
    """Funding on the position held at this candle's open: longs pay shorts when the rate is positive.

    What an agent pays is rounded up and what it receives down; it pays out of the position's margin, never more.
    """
    side = state[agent, at.SIDE]
    rate = bar[at.IN_RATE]
    value = counted(notional_floor(bar[at.IN_MARK], state[agent, at.QUANTITY], market))
    if side * rate > 0:
        amount = -min(mul_div_ceil(value, abs(rate), at.RATE_SCALE), state[agent, at.MARGIN])
    else:
        amount = mul_div_floor(value, abs(rate), at.RATE_SCALE)
    if amount == 0:
        return count
    state[agent, at.MARGIN] += amount
    state[agent, at.TRADE_FUNDING] += amount
    if state[agent, at.FUNDED]:
        totals[at.TOTAL_MARGIN] += amount
        totals[at.TOTAL_FUNDING] -= amount
    state[agent, at.LIQUIDATION] = liquidation_price(
        side, state[agent, at.QUANTITY], state[agent, at.COST], state[agent, at.MARGIN], market, tiers
    )
    event = events[count]
    event[at.EVENT_KIND] = at.EVENT_FUNDING
    event[at.EVENT_CANDLE] = candle
    event[at.EVENT_PHASE] = at.PHASE_FUNDING
    body = event[at.EVENT_BODY :]
    body[0] = state[agent, at.AGENT]
    body[1] = state[agent, at.TRADE_ID]
    body[2] = amount
    body[3] = state[agent, at.QUANTITY]
    body[4] = bar[at.IN_MARK]
    body[5] = rate
    body[6] = state[agent, at.FUNDED]
    return count + 1
