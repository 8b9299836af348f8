"""Money recomputed from the rows alone: every movement, every balance after every movement, equity after every frame.

The wide rows are unpacked into movements (account, amount) in the order of v_transfer. All in exact integers: int64
where amounts are added, Python integers where prices meet quantities.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trader.core.rows import AGENT_ACCOUNTS, Account, OrderKind, account_name
from trader.store.check_rows import Columns, Evidence

PLACES: Final = 16  # room for the movements of one row, as in v_transfer

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Movements:
    """n movements in order: time, place in the order of events, account that pays, account that gets, amount > 0.

    end: belongs to the closing of a finished session, after the last frame.
    """

    time_ms: Integers
    place: Integers
    debit: Integers
    credit: Integers
    amount: Integers
    end: NDArray[np.bool_]


class Books(Evidence):
    """Evidence with its movements, unpacked once."""

    @cached_property
    def moves(self) -> Movements:
        """Every movement of money in order."""
        return movements(self)


def movements(evidence: Evidence) -> Movements:
    """Unpack every row that moves money; unfunded rows move none."""
    pieces = [
        *_of_pool(evidence),
        *_of_entries(evidence.entry),
        *_of_funding(evidence.funding),
        *_of_exits(evidence.partial, closing=False),
        *_of_exits(evidence.exit, closing=True),
    ]
    columns = [np.concatenate([piece[column] for piece in pieces]) for column in range(6)]
    order = np.argsort(columns[1], kind="stable")
    order = order[columns[4][order] != 0]
    time_ms, place, debit, credit, amount, end = (column[order] for column in columns)
    backwards = amount < 0
    return Movements(
        time_ms, place, np.where(backwards, credit, debit), np.where(backwards, debit, credit), np.abs(amount), end
    )


def _piece(table: Columns, place: int, debit: Any, credit: Any, amount: Integers, end: Any = False) -> tuple[Any, ...]:
    count = len(table["seq"])
    return (
        table["time_ms"],
        table["seq"] * PLACES + place,
        np.broadcast_to(np.asarray(debit, np.int64), count),
        np.broadcast_to(np.asarray(credit, np.int64), count),
        amount,
        np.broadcast_to(np.asarray(end, np.bool_), count),
    )


def _of_pool(evidence: Evidence) -> list[tuple[Any, ...]]:
    plain, granted = evidence.transfer, evidence.allocation
    return [
        _piece(plain, 0, plain["debit"], plain["credit"], plain["amount"]),
        _piece(granted, 0, int(Account.POOL_CASH), _cash(granted), granted["amount"]),
    ]


def _cash(table: Columns) -> Integers:
    return AGENT_ACCOUNTS + 2 * table["agent"]


def _of_entries(table: Columns) -> list[tuple[Any, ...]]:
    funded, cash = table["funded"], _cash(table)
    return [
        _piece(table, 0, cash, cash + 1, table["margin"] * funded),
        _piece(table, 1, cash + 1, int(Account.FEES), table["fee"] * funded),
    ]


def _of_funding(table: Columns) -> list[tuple[Any, ...]]:
    return [_piece(table, 0, int(Account.FUNDING), _cash(table) + 1, table["amount"] * table["funded"])]


def _of_exits(table: Columns, *, closing: bool) -> list[tuple[Any, ...]]:
    funded, cash = table["funded"], _cash(table)
    margin, end = cash + 1, table["kind"] == int(OrderKind.END)
    insured = table["insurance"] if closing else np.zeros(len(cash), np.int64)
    pieces = [
        _piece(table, 0, int(Account.MARKET), margin, (table["gross"] - insured) * funded, end),
        _piece(table, 2, margin, int(Account.FEES), table["fee"] * funded, end),
    ]
    if closing:
        left = table["margin"] - table["trade_fees"] + table["trade_gross"] + table["trade_funding"]
        pieces += [
            _piece(table, 1, int(Account.INSURANCE), margin, insured * funded, end),
            _piece(table, 3, margin, int(Account.INSURANCE), table["liquidation_fee"] * funded, end),
            _piece(table, 4, margin, cash, left * funded, end),
        ]
    return pieces


@dataclass(frozen=True, slots=True)
class Balances:
    """Sides of all movements sorted by (account, order): account, signed amount, and the balance after each."""

    account: Integers
    place: Integers
    balance: Integers

    def final(self) -> dict[int, int]:
        """Balance of every account at the end."""
        last = np.append(np.diff(self.account) != 0, True)[: len(self.account)]
        return dict(zip(self.account[last].tolist(), self.balance[last].tolist(), strict=True))


def balances(moves: Movements) -> Balances:
    """Follow every account through its movements."""
    account = np.concatenate([moves.debit, moves.credit])
    amount = np.concatenate([-moves.amount, moves.amount])
    place = np.concatenate([moves.place, moves.place])
    order = np.lexsort((place, account))
    account, amount, place = account[order], amount[order], place[order]
    running = np.cumsum(amount)
    starts = np.flatnonzero(np.append(True, np.diff(account) != 0)) if len(account) else np.zeros(0, np.int64)
    before = running[starts] - amount[starts]
    lengths = np.diff(np.append(starts, len(account)))
    return Balances(account, place, running - np.repeat(before, lengths))


def overdrawn(found: Balances) -> str:
    """The first agent's account that falls below zero, "" if none does (several sides of one row count together)."""
    row_of = found.place // PLACES
    last_of_row = np.append((np.diff(found.account) != 0) | (np.diff(row_of) != 0), True)[: len(row_of)]
    wrong = np.flatnonzero((found.balance < 0) & (found.account >= AGENT_ACCOUNTS) & last_of_row)
    if not len(wrong):
        return ""
    row = int(wrong[np.argmin(found.place[wrong])])
    return (
        f"{account_name(int(found.account[row]))} falls to {int(found.balance[row])} at seq"
        f" {int(found.place[row]) // PLACES}"
    )


def pool_after(moves: Movements, times: Integers, *, end: bool) -> tuple[Integers, Integers]:
    """(cash, margin) of the pool and all agents after each time, with or without the closing of the session."""
    counted = np.ones(len(moves.amount), np.bool_) if end else ~moves.end
    order = np.argsort(moves.time_ms, kind="stable")
    order = order[counted[order]]
    until = np.searchsorted(moves.time_ms[order], times, side="right")
    result = []
    for margin in (False, True):
        change = moves.amount[order] * (
            _is_kind(moves.credit[order], margin=margin).astype(np.int64) - _is_kind(moves.debit[order], margin=margin)
        )
        result.append(np.append(0, np.cumsum(change))[until])
    return result[0], result[1]


def _is_kind(account: Integers, *, margin: bool) -> NDArray[np.bool_]:
    agents: NDArray[np.bool_] = (account >= AGENT_ACCOUNTS) & ((account - AGENT_ACCOUNTS) % 2 == int(margin))
    return agents if margin else agents | (account == int(Account.POOL_CASH))


def unrealised_after(evidence: Evidence, times: Integers, *, end: bool) -> list[int]:
    """Unrealised result of all funded positions at each time's last closes: per market floor(close * quantity) - cost.

    A position's cost is what its entry paid (rounded up for a buyer, down for a seller); a partial exit takes with it
    what its value and gross result say: value - side * gross.
    """
    total = [0] * len(times)
    for market, instrument in enumerate(evidence.instruments):
        digits = instrument.price_exponent + instrument.quantity_exponent - 8
        closes = _closes(evidence, market, instrument.price_exponent, times)
        quantities, costs = _net(evidence, market, 10**digits, times, end=end)
        for row, (close, quantity, cost) in enumerate(zip(closes, quantities, costs, strict=True)):
            if quantity or cost:
                total[row] += close * quantity // 10**digits - cost
    return total


def _closes(evidence: Evidence, market: int, exponent: int, times: Integers) -> list[int]:
    """Last close of a market at each time in price units (0 before its first candle)."""
    candle = evidence.candle
    own = candle["market"] == market
    low, high = price_range(candle["low"][own], candle["high"][own], exponent)
    units = np.clip(np.rint(candle["close"][own] * float(10**exponent)), low, high).astype(np.int64)
    before = np.searchsorted(candle["ts"][own], times, side="right")
    return [int(value) for value in np.append(0, units)[before]]


def price_range(low: Any, high: Any, exponent: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Candle extremes in price units as the exchange rounds them: low up, high down, to the precision of floats."""
    scale = float(10**exponent)
    top, bottom = high * scale, low * scale
    highest = np.floor(top + np.maximum(np.abs(top) * 1e-15, 1e-6))
    lowest = np.minimum(np.ceil(bottom - np.maximum(np.abs(bottom) * 1e-15, 1e-6)), highest)
    return lowest, highest


def _net(evidence: Evidence, market: int, divisor: int, times: Integers, *, end: bool) -> tuple[list[int], list[int]]:
    """Summed signed quantity and cost of a market's funded positions at each time."""
    entry = evidence.entry
    sides = dict(zip(entry["trade"].tolist(), entry["side"].tolist(), strict=True))
    changes: list[tuple[int, int, int]] = []
    for name in ("entry", "partial", "exit"):
        table: Columns = getattr(evidence, name)
        own = (table["market"] == market) & (table["funded"] == 1)
        if name != "entry" and not end:
            own &= table["kind"] != int(OrderKind.END)
        trades, at = table["trade"][own].tolist(), table["time_ms"][own].tolist()
        quantity, price = table["qty"][own].tolist(), table["price"][own].tolist()
        gross = [0] * len(trades) if name == "entry" else _own_gross(table)[own].tolist()
        for row, trade in enumerate(trades):
            side = sides.get(trade, 1)
            direction = side if name == "entry" else -side
            value = order_value(price[row], quantity[row], direction, divisor)
            cost = direction * (value - side * gross[row]) if name != "entry" else side * value
            changes.append((at[row], direction * quantity[row], cost))
    changes.sort(key=lambda change: change[0])
    quantities, costs, place, net, cost = [], [], 0, 0, 0
    for time_ms in times.tolist():
        while place < len(changes) and changes[place][0] <= time_ms:
            net, cost, place = net + changes[place][1], cost + changes[place][2], place + 1
        quantities.append(net)
        costs.append(cost)
    return quantities, costs


def _own_gross(table: Columns) -> Integers:
    """The trading result of a fill without what the insurance account added."""
    gross: Integers = table["gross"] - table["insurance"] if "insurance" in table else table["gross"]
    return gross


def order_value(price: int, quantity: int, direction: int, divisor: int) -> int:
    """Value of a fill in 1e-8: rounded up for a buyer, down for a seller."""
    product = price * quantity
    return -(-product // divisor) if direction > 0 else product // divisor
