"""The hot loop: one market, a block of candles outside, its agents inside.

On every candle each agent costs five comparisons (score above, score below, low, high, wake time), a mark to market and
two extremes, all vectorised over agents; the few agents that a comparison wakes run the exact scalar code of
`agents.orders` and `agents.decisions`. Order inside a candle: funding stamped at its open, positions gapped through
their liquidation price, fills at the open, the path (stops and takes), liquidation, decisions at the close.

A candle's volume is shared by all: orders of one step are summed first, then each gets the same ratio, so the order
of rows cannot matter. Cutting a stream of candles into blocks anywhere changes nothing: all state is in the arrays.
No fastmath, no BLAS, no transcendental function. Compiled without the GIL: markets run in parallel threads.

Axes: n agents of the market, T candles of the block, K timeframes. Array layouts: `agents.layout`.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from agents import layout as at
from agents.decisions import decide, queue_exit, ratchet, set_equity, set_triggers
from agents.orders import cancel_entry, clamped, enter, fill_fee, leave, liquidate, pay_funding
from trader.broker import market as rule
from trader.broker.fills import (
    NO_OFFER,
    counted,
    order_value,
    participation_quantity,
    quantity_share,
    shared_out,
    slippage_fraction,
    slipped_price,
    sum_limbs,
    summed_value,
)
from trader.broker.margin import liquidation_price
from trader.broker.path import take_first, take_visited_first
from trader.core.money import LIMIT, mul_div_floor
from trader.core.rows import Limit, OrderKind, Reject

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Bytes = NDArray[np.uint8]

_ENTRY = int(OrderKind.ENTRY)
_TAKE = int(OrderKind.TAKE)
_TRAIL = int(OrderKind.TRAIL)
_END = int(OrderKind.END)
_BY_PARTICIPATION = int(Limit.PARTICIPATION)
_NO_LIMIT = int(Limit.NONE)
_STOP = int(OrderKind.STOP)
_UNFILLED = int(Reject.UNFILLED)

_IDLE, _TRADING, _RESTING, _CARRIED = range(4)

_CHUNK = 128
_LIMB = float(1 << 32)
_SHORT = 1 << 29
"""High limbs below this leave a sum below 2^61: one product is enough."""
_LARGEST = float(LIMIT) * (1.0 - 1e-9)
_DAY_MS = 86_400_000


@njit(cache=True, nogil=True, error_model="numpy")
def _flag_chunk(
    triggers: Singles, watch: Integers, scores: Singles, scored: bool, low: np.float32, high: np.float32, now: int,
    start: int, stop: int, flags: Bytes,
) -> int:  # fmt: skip
    """Flags of agents [start, stop): how many of them something wakes."""
    low_trigger = triggers[at.LOW_TRIGGER, start:stop]
    high_trigger = triggers[at.HIGH_TRIGGER, start:stop]
    wake = watch[at.WAKE, start:stop]
    woken = 0
    if scored:
        up = triggers[at.UP, start:stop]
        down = triggers[at.DOWN, start:stop]
        score = scores[start:stop]
        for j in range(stop - start):
            flag = (
                (score[j] >= up[j])
                | (score[j] <= down[j])
                | (low <= low_trigger[j])
                | (high >= high_trigger[j])
                | (now >= wake[j])
            )
            flags[j] = flag
            woken += flag
    else:
        for j in range(stop - start):
            flag = (low <= low_trigger[j]) | (high >= high_trigger[j]) | (now >= wake[j])
            flags[j] = flag
            woken += flag
    return woken


@njit(cache=True, nogil=True)
def _flagged(
    triggers: Singles, watch: Integers, scores: Singles, closed: NDArray[np.bool_], segments: Integers, low: float,
    high: float, now: int, flags: Bytes, woken: Integers,
) -> int:  # fmt: skip
    """Indices of the agents that this candle wakes, ascending, into `woken`; returns how many."""
    low32 = np.float32(low * (1.0 - 1e-7))
    high32 = np.float32(high * (1.0 + 1e-7))
    count = 0
    for k in range(segments.shape[0] - 1):
        for start in range(segments[k], segments[k + 1], _CHUNK):
            stop = min(start + _CHUNK, segments[k + 1])
            if _flag_chunk(triggers, watch, scores, closed[k], low32, high32, now, start, stop, flags):
                for j in range(stop - start):
                    if flags[j]:
                        woken[count] = start + j
                        count += 1
    return count


@njit(cache=True, nogil=True)
def _mark(triggers: Singles, watch: Integers, close: np.float32, low: int, high: int) -> None:
    """Mark every agent to the close, and widen the price extremes since entry by this candle's."""
    n = triggers.shape[1]
    base = triggers[at.EQUITY_BASE]
    quantity = triggers[at.SIGNED_QUANTITY]
    entry = triggers[at.ENTRY_FLOAT]
    peak = triggers[at.PEAK]
    drawdown = triggers[at.DRAWDOWN]
    for j in range(n):
        equity = base[j] + quantity[j] * (close - entry[j])
        top = max(peak[j], equity)
        peak[j] = top
        drawdown[j] = max(drawdown[j], top - equity)
    lowest = watch[at.LOWEST]
    highest = watch[at.HIGHEST]
    for j in range(n):
        lowest[j] = min(lowest[j], low)
        highest[j] = max(highest[j], high)


@njit(cache=True, nogil=True)
def _exit_fill(
    state: Integers, habits: Floats, watch: Integers, totals: Integers, agent: int, candle: int, bar: Integers,
    phase: int, kind: int, reference: int, fraction: int, quantity: int, market: Integers, tiers: Integers,
    events: Integers, count: int,
) -> int:  # fmt: skip
    """Fill part or all of an exit near `reference`; the rest stays queued. A part that the margin cannot bear is a
    liquidation at that price instead."""
    if quantity <= 0:
        return count
    side = state[agent, at.SIDE]
    raw = slipped_price(reference, -side, fraction, market)
    price = clamped(raw, bar[at.IN_LOW], bar[at.IN_HIGH])
    whole = quantity == state[agent, at.QUANTITY]
    if not whole:
        value = counted(order_value(price, quantity, -side, market))
        cost = order_value(state[agent, at.ENTRY_PRICE], quantity, side, market)
        if state[agent, at.MARGIN] + side * (value - cost) < fill_fee(raw, price, quantity, value, market):
            return liquidate(state, habits, watch, totals, agent, candle, bar, price, phase, market, events, count)
    limited = _NO_LIMIT if quantity == state[agent, at.PENDING_REQUESTED] else _BY_PARTICIPATION
    count = leave(
        state, habits, watch, totals, agent, candle, bar[at.IN_MS], phase, kind, reference, raw, price, quantity,
        limited, market, events, count,
    )  # fmt: skip
    if not whole:
        state[agent, at.PENDING_QUANTITY] = state[agent, at.QUANTITY]
        state[agent, at.LIQUIDATION] = liquidation_price(
            side, state[agent, at.QUANTITY], state[agent, at.COST], state[agent, at.MARGIN], market, tiers
        )
    return count


@njit(cache=True, nogil=True)
def _is_due(state: Integers, agent: int, bar: Integers, market: Integers) -> bool:
    """True if a queued order may fill at this open; what is left of a stop or take rests at the exchange."""
    kind = state[agent, at.PENDING]
    if kind == at.NOTHING_PENDING:
        return False
    if kind in (_STOP, _TAKE, _TRAIL):
        return True
    return bar[at.IN_MS] > state[agent, at.PENDING_DECIDED] + market[rule.LATENCY_MS]


@njit(cache=True, nogil=True)
def _rests(state: Integers, agent: int, bar: Integers) -> bool:
    """True for a limit entry that the open does not reach."""
    limit = state[agent, at.PENDING_LIMIT]
    if state[agent, at.PENDING] != _ENTRY or limit == 0:
        return False
    return state[agent, at.PENDING_SIDE] * (bar[at.IN_OPEN] - limit) > 0


@njit(cache=True, nogil=True)
def _at_open(
    state: Integers, habits: Floats, watch: Integers, totals: Integers, candle: int, bar: Integers,
    woken: Integers, flagged: int, steps: Integers, market: Integers, tiers: Integers, events: Integers, count: int,
) -> tuple[int, int]:  # fmt: skip
    """Liquidations by gap, then the queued orders that are due, sharing the candle's volume.

    Marks in `steps` [flagged] what each agent does at the open. Returns (events, quantity left of the cap).
    """
    volume = bar[at.IN_VOLUME]
    buys = 0, 0
    sells = 0, 0
    both = 0, 0
    for i in range(flagged):
        a = woken[i]
        steps[i] = _IDLE
        side = state[a, at.SIDE]
        liquidation = state[a, at.LIQUIDATION]
        if side != 0 and liquidation > 0 and side * (bar[at.IN_OPEN] - liquidation) <= 0:
            count = liquidate(
                state, habits, watch, totals, a, candle, bar, bar[at.IN_OPEN], at.PHASE_OPEN_LIQUIDATION, market,
                events, count,
            )  # fmt: skip
        elif _is_due(state, a, bar, market):
            steps[i] = _RESTING if _rests(state, a, bar) else _TRADING
            if steps[i] == _TRADING and state[a, at.FUNDED]:
                direction = state[a, at.PENDING_SIDE] if state[a, at.PENDING] == _ENTRY else -side
                both = sum_limbs(both[0], both[1], state[a, at.PENDING_QUANTITY])
                if direction > 0:
                    buys = sum_limbs(buys[0], buys[1], state[a, at.PENDING_QUANTITY])
                else:
                    sells = sum_limbs(sells[0], sells[1], state[a, at.PENDING_QUANTITY])
    available = participation_quantity(volume, market)
    offer, demand = shared_out(available, both[0], both[1])
    buy_fraction = slippage_fraction(buys[0], buys[1], volume, market)
    sell_fraction = slippage_fraction(sells[0], sells[1], volume, market)
    filled = 0
    for i in range(flagged):
        if steps[i] != _TRADING:
            continue
        a = woken[i]
        kind = state[a, at.PENDING]
        before = state[a, at.FILLS]
        share = quantity_share(state[a, at.PENDING_QUANTITY], offer, demand, market[rule.LOT])
        if kind == _ENTRY:
            side = state[a, at.PENDING_SIDE]
            raw = slipped_price(bar[at.IN_OPEN], side, buy_fraction if side > 0 else sell_fraction, market)
            limit = state[a, at.PENDING_LIMIT]
            if limit > 0 and side * (raw - limit) > 0:
                raw = limit
            count = enter(
                state, habits, watch, totals, a, candle, bar, at.PHASE_OPEN, bar[at.IN_OPEN], raw, share, 0, market,
                tiers, events, count,
            )  # fmt: skip
            share = state[a, at.QUANTITY]
        else:
            fraction = buy_fraction if state[a, at.SIDE] < 0 else sell_fraction
            held = state[a, at.QUANTITY]
            count = _exit_fill(
                state, habits, watch, totals, a, candle, bar, at.PHASE_OPEN, kind, bar[at.IN_OPEN], fraction, share,
                market, tiers, events, count,
            )  # fmt: skip
            steps[i] = _CARRIED
            if state[a, at.SIDE] == 0 and share < held:
                share = 0  # a liquidation in place of the part: outside the cap
        if state[a, at.FUNDED] and state[a, at.FILLS] > before:
            filled += share
    return count, available if available == NO_OFFER else max(available - filled, 0)


@njit(cache=True, nogil=True)
def _path_exit(
    state: Integers, agent: int, bar: Integers, visits: Integers, market: Integers
) -> tuple[int, int]:  # fmt: skip
    """What this candle's path does to a position first: (order kind, reference price), or (-1, 0) for nothing.

    A level already passed at the open acts at the open. Between two levels on different sides of the open the path
    rule decides; on the same side the nearer one is met first.
    """
    side = state[agent, at.SIDE]
    opened = bar[at.IN_OPEN]
    adverse = bar[at.IN_LOW] if side > 0 else bar[at.IN_HIGH]
    kind_price = bar[at.IN_HIGH] if side > 0 else bar[at.IN_LOW]
    liquidation = state[agent, at.LIQUIDATION]
    stop = state[agent, at.STOP]
    stop_first = liquidation <= 0 or side * (stop - liquidation) > 0
    stopped = stop_first and side * (adverse - stop) <= 0
    taken = side * (kind_price - state[agent, at.TAKE]) >= 0
    if stopped and side * (opened - stop) <= 0:
        return state[agent, at.STOP_KIND], opened
    if not stop_first and side * (opened - liquidation) <= 0:
        return at.NOTHING_PENDING, 0
    if taken and side * (opened - state[agent, at.TAKE]) >= 0:
        return _TAKE, opened
    liquidated = not stop_first and side * (adverse - liquidation) <= 0
    if taken and (stopped or liquidated):
        if bar[at.IN_VISITS]:
            way = visits[bar[at.IN_VISIT] : bar[at.IN_VISIT] + bar[at.IN_VISITS]]
            taken = take_visited_first(side, state[agent, at.TAKE], stop if stop_first else liquidation, way)
        else:
            taken = take_first(side, opened, bar[at.IN_HIGH], bar[at.IN_LOW], bar[at.IN_CLOSE], bar[at.IN_MS], market)
        stopped = stopped and not taken
    if taken:
        return _TAKE, state[agent, at.TAKE]
    if stopped:
        return state[agent, at.STOP_KIND], stop
    return at.NOTHING_PENDING, 0


@njit(cache=True, nogil=True)
def _path_orders(
    state: Integers, bar: Integers, visits: Integers, woken: Integers, flagged: int, steps: Integers, prices: Integers,
    market: Integers,
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:  # fmt: skip
    """Queue what the path triggers and mark the limit entries it goes through: reference prices into `prices` [flagged]
    (0 for none). Returns the summed demand of buyers, of sellers and of both, in two limbs each."""
    buys = 0, 0
    sells = 0, 0
    both = 0, 0
    for i in range(flagged):
        a = woken[i]
        prices[i] = 0
        side = state[a, at.SIDE]
        if steps[i] == _RESTING:
            direction = state[a, at.PENDING_SIDE]
            limit = state[a, at.PENDING_LIMIT]
            extreme = bar[at.IN_LOW] if direction > 0 else bar[at.IN_HIGH]
            if direction * (limit - extreme) < market[rule.TICK]:
                continue
            prices[i] = limit
            quantity = state[a, at.PENDING_QUANTITY]
        else:
            if side == 0 or steps[i] == _CARRIED:
                continue
            kind, reference = _path_exit(state, a, bar, visits, market)
            if kind == at.NOTHING_PENDING:
                continue
            prices[i] = reference
            queue_exit(state, a, kind, bar[at.IN_MS])
            direction = -side
            quantity = state[a, at.QUANTITY]
        if state[a, at.FUNDED]:
            both = sum_limbs(both[0], both[1], quantity)
            if direction > 0:
                buys = sum_limbs(buys[0], buys[1], quantity)
            else:
                sells = sum_limbs(sells[0], sells[1], quantity)
    return buys, sells, both


@njit(cache=True, nogil=True)
def _rest_filled(
    state: Integers, habits: Floats, watch: Integers, totals: Integers, agent: int, candle: int, bar: Integers,
    price: int, share: int, market: Integers, tiers: Integers, events: Integers, count: int,
) -> int:  # fmt: skip
    """A resting limit entry: filled at its price as maker, or cancelled. If the candle also reached the new position's
    stop, the stop is sent for the next open: what came after the fill inside the candle is not known."""
    if price == 0:
        return cancel_entry(state, habits, agent, candle, bar, at.PHASE_LIMIT, _UNFILLED, events, count)
    count = enter(
        state, habits, watch, totals, agent, candle, bar, at.PHASE_LIMIT, price, price, share, 1, market, tiers, events,
        count,
    )  # fmt: skip
    side = state[agent, at.SIDE]
    adverse = bar[at.IN_LOW] if side > 0 else bar[at.IN_HIGH]
    if side != 0 and side * (adverse - state[agent, at.STOP]) <= 0:
        queue_exit(state, agent, _STOP, bar[at.IN_MS])
    return count


@njit(cache=True, nogil=True)
def _on_path(
    state: Integers, habits: Floats, watch: Integers, totals: Integers, candle: int, bar: Integers, visits: Integers,
    woken: Integers, flagged: int, steps: Integers, prices: Integers, available: int, market: Integers, tiers: Integers,
    events: Integers, count: int,
) -> int:  # fmt: skip
    """Stops, takes and resting entries inside the candle share what the open left of the cap; what is left of a position
    may then be liquidated. Exits that the open did not fill wait for the next one."""
    buys, sells, both = _path_orders(state, bar, visits, woken, flagged, steps, prices, market)
    offer, demand = shared_out(available, both[0], both[1])
    buy_fraction = slippage_fraction(buys[0], buys[1], bar[at.IN_VOLUME], market)
    sell_fraction = slippage_fraction(sells[0], sells[1], bar[at.IN_VOLUME], market)
    for i in range(flagged):
        a = woken[i]
        if steps[i] == _RESTING:
            share = quantity_share(state[a, at.PENDING_QUANTITY], offer, demand, market[rule.LOT])
            count = _rest_filled(
                state, habits, watch, totals, a, candle, bar, prices[i], share, market, tiers, events, count
            )
        elif prices[i] > 0:
            fraction = buy_fraction if state[a, at.SIDE] < 0 else sell_fraction
            share = quantity_share(state[a, at.QUANTITY], offer, demand, market[rule.LOT])
            count = _exit_fill(
                state, habits, watch, totals, a, candle, bar, at.PHASE_PATH, state[a, at.PENDING], prices[i],
                fraction, share, market, tiers, events, count,
            )  # fmt: skip
        side = state[a, at.SIDE]
        liquidation = state[a, at.LIQUIDATION]
        if side == 0 or liquidation <= 0:
            continue
        adverse = bar[at.IN_LOW] if side > 0 else bar[at.IN_HIGH]
        if side * (adverse - liquidation) <= 0:
            price = min(bar[at.IN_OPEN], liquidation) if side > 0 else max(bar[at.IN_OPEN], liquidation)
            count = liquidate(
                state, habits, watch, totals, a, candle, bar, price, at.PHASE_LIQUIDATION, market, events, count
            )
    return count


@njit(cache=True, nogil=True)
def _settle_funding(
    state: Integers, habits: Floats, triggers: Singles, watch: Integers, totals: Integers, candle: int, bar: Integers,
    market: Integers, tiers: Integers, events: Integers, count: int,
) -> int:  # fmt: skip
    """Funding for every position held at the open; a new liquidation price means new triggers."""
    for a in range(state.shape[0]):
        if state[a, at.SIDE] != 0:
            count = pay_funding(state, totals, a, candle, bar, market, tiers, events, count)
            set_triggers(state, habits, triggers, watch, a, market)
            set_equity(state, triggers, a, market)
    return count


@njit(cache=True, nogil=True)
def _new_day(triggers: Singles, days: Floats, close: float) -> None:
    """Book every agent's result since the last day mark, relative to the capital it had then."""
    for j in range(days.shape[1]):
        equity = float(triggers[at.EQUITY_BASE, j]) + float(triggers[at.SIGNED_QUANTITY, j]) * (
            close - float(triggers[at.ENTRY_FLOAT, j])
        )
        mark = days[at.DAY_MARK, j]
        if mark > 0.0:
            result = (equity - mark) / mark
            days[at.DAY_COUNT, j] += 1.0
            days[at.DAY_SUM, j] += result
            days[at.DAY_SQUARES, j] += result * result
        days[at.DAY_MARK, j] = equity


@njit(cache=True, nogil=True)
def run_market(
    first: int, bars: Integers, visits: Integers, floats: Floats, closed: NDArray[np.bool_], atr: Floats,
    regime: NDArray[np.int8], scores: Singles, segments: Integers, state: Integers, habits: Floats, triggers: Singles,
    watch: Integers,
    days: Floats, totals: Integers, market: Integers, tiers: Integers, events: Integers, out: Integers,
    flags: Bytes, woken: Integers,
) -> tuple[int, int]:  # fmt: skip
    """Run candles [first, T) of one market.

    Shapes: bars int64 [T, IN_FIELDS]; visits int64 [V, 2] (`trader.broker.path`);
    floats float64 [T, 3] (low, high, close); closed, atr, regime [T, K];
    scores float32 [T, n] (read where the agent's timeframe closed); segments int64 [K + 1], the agents of each
    timeframe; events int64 [capacity, EVENT_FIELDS]; out int64 [T, OUT_FIELDS]; flags uint8 [_CHUNK];
    woken int64 [3, n] scratch.

    Returns:
        (next candle, number of events): stops early, at a candle's start, when the event buffer could overflow.
    """
    n = state.shape[0]
    count = 0
    scale = float(market[rule.PRICE_SCALE])
    for t in range(first, bars.shape[0]):
        if events.shape[0] - count < at.EVENTS_PER_CANDLE * n:
            return t, count
        bar = bars[t]
        if bar[at.IN_PRESENT]:
            if bar[at.IN_MS] // _DAY_MS != totals[at.LAST_DAY]:
                if totals[at.LAST_CLOSE] > 0:
                    _new_day(triggers, days, float(totals[at.LAST_CLOSE]) / float(market[rule.PRICE_SCALE]))
                totals[at.LAST_DAY] = bar[at.IN_MS] // _DAY_MS
            if bar[at.IN_RATE] != 0:
                count = _settle_funding(state, habits, triggers, watch, totals, t, bar, market, tiers, events, count)
            flagged = _flagged(
                triggers, watch, scores[t], closed[t], segments, float(bar[at.IN_LOW]) / scale,
                float(bar[at.IN_HIGH]) / scale, bar[at.IN_MS], flags, woken[0],
            )  # fmt: skip
            if flagged:
                count, left = _at_open(
                    state, habits, watch, totals, t, bar, woken[0], flagged, woken[1], market, tiers, events, count
                )
                count = _on_path(
                    state, habits, watch, totals, t, bar, visits, woken[0], flagged, woken[1], woken[2], left, market,
                    tiers, events, count,
                )  # fmt: skip
                count = _at_close(
                    state, habits, triggers, watch, t, bar, closed[t], scores[t], atr[t], regime[t],
                    segments, woken[0], flagged, market, tiers, events, count,
                )  # fmt: skip
            if bar[at.IN_TRADING]:
                for k in range(segments.shape[0] - 1):
                    if closed[t, k]:
                        totals[at.DECISIONS] += segments[k + 1] - segments[k]
            _mark(triggers, watch, np.float32(floats[t, 2]), bar[at.IN_LOW], bar[at.IN_HIGH])
            totals[at.LAST_CLOSE] = bar[at.IN_CLOSE]
        out[t, at.OUT_CASH] = totals[at.TOTAL_CASH]
        out[t, at.OUT_MARGIN] = totals[at.TOTAL_MARGIN]
        out[t, at.OUT_UNREALISED] = unrealised(totals, market)
    return bars.shape[0], count


@njit(cache=True, nogil=True)
def _at_close(
    state: Integers, habits: Floats, triggers: Singles, watch: Integers, candle: int, bar: Integers,
    closed: NDArray[np.bool_], scores: Singles, atr: Floats, regime: NDArray[np.int8], segments: Integers,
    woken: Integers, flagged: int, market: Integers, tiers: Integers, events: Integers, count: int,
) -> int:  # fmt: skip
    """Decisions of the woken agents at the close, then what each of them waits for."""
    k = 0
    for i in range(flagged):
        a = woken[i]
        while a >= segments[k + 1]:
            k += 1
        if bar[at.IN_TRADING]:
            closes = closed[k]
            score = float(scores[a]) if closes else np.nan
            count = decide(
                state, habits, a, candle, bar, closes, score, atr[k], int(regime[k]), market, tiers, events,
                count,
            )  # fmt: skip
        if state[a, at.SIDE] != 0:
            ratchet(state, a, bar, _TRAIL)
        elif state[a, at.PENDING] == at.NOTHING_PENDING and watch[at.WAKE, a] == at.NEVER:
            continue  # flat and waiting for nothing, before and now: its triggers stand
        set_triggers(state, habits, triggers, watch, a, market)
        set_equity(state, triggers, a, market)
    return count


@njit(cache=True, nogil=True)
def unrealised(totals: Integers, market: Integers) -> int:
    """Unrealised result of all funded positions of a market at its last close, in 1e-8, rounded down once.

    Quantity and entry value are sums in two limbs. Their difference in money is what must fit into 64 bits: the terms
    may wrap on the way.

    Raises:
        OverflowError: the result is beyond counting.
    """
    high, low = totals[at.NET_QUANTITY], totals[at.NET_QUANTITY_LOW]
    cost_high, cost_low = totals[at.NET_COST], totals[at.NET_COST_LOW]
    cost = (cost_high << 32) + cost_low
    if high == 0 and low == 0:
        return -cost
    close = totals[at.LAST_CLOSE]
    worth = (float(high) * _LIMB + float(low)) * float(close) / float(market[rule.NOTIONAL_DIVISOR])
    if abs(worth - (float(cost_high) * _LIMB + float(cost_low))) > _LARGEST:
        raise OverflowError("a market's unrealised result reaches 4.6e18 units of 1e-8")
    if -_SHORT <= high < _SHORT and abs(worth) < _LARGEST:
        return mul_div_floor(close, (high << 32) + low, market[rule.NOTIONAL_DIVISOR]) - cost
    return summed_value(close, high, low, market) - cost


@njit(cache=True, nogil=True)
def close_all(
    state: Integers, habits: Floats, triggers: Singles, watch: Integers, totals: Integers, bar: Integers,
    market: Integers, events: Integers,
) -> int:  # fmt: skip
    """End of a finished session: every position is closed at the market's last close, with the fee, outside the cap;
    queued entries are dropped. Returns the number of events."""
    count = 0
    for a in range(state.shape[0]):
        state[a, at.HELD] = 0
        if state[a, at.SIDE] != 0:
            queue_exit(state, a, _END, bar[at.IN_MS])
            price = bar[at.IN_CLOSE]
            count = leave(
                state, habits, watch, totals, a, 0, bar[at.IN_MS], at.PHASE_DECISION, _END, price, price, price,
                state[a, at.QUANTITY], _NO_LIMIT, market, events, count,
            )  # fmt: skip
        state[a, at.PENDING] = at.NOTHING_PENDING
        set_triggers(state, habits, triggers, watch, a, market)
        set_equity(state, triggers, a, market)
    return count
