"""References and results recomputed from the rows: ids, trades and their fills, fills and their candles, agents.

Each function returns what is wrong in words, "" if nothing is.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trader.core.rows import IDS_PER_AGENT, OrderKind
from trader.core.types import Instrument
from trader.store.check_ledger import order_value, price_range
from trader.store.check_rows import Columns, Evidence

Integers = NDArray[np.int64]

_UNCAPPED: Final = (int(OrderKind.LIQUIDATION), int(OrderKind.END))
FRACTION: Final = 10**8  # shares are parts per 1e8


def duplicate_ids(evidence: Evidence) -> str:
    """Trades, orders, fills, agents and the places of events are unique; ids carry their agent."""
    e, x, p, j = evidence.entry, evidence.exit, evidence.partial, evidence.reject
    parts = np.unique(np.stack([p["order_id"], p["trade"]]), axis=1)  # an exit order may have several fills
    unfinished = parts[0][~np.isin(parts[0], x["order_id"])]
    events = [table["seq"] for table in (e, x, p, j, evidence.funding, evidence.allocation, evidence.transfer)]
    for what, ids in (
        ("trade", e["trade"]),
        ("closed trade", x["trade"]),
        ("order", np.concatenate([e["order_id"], x["order_id"], unfinished, j["order_id"]])),
        ("fill", np.concatenate([e["fill"], x["fill"], p["fill"]])),
        ("agent", evidence.birth["agent"]),
        ("event seq", np.concatenate(events)),
    ):
        values, counts = np.unique(ids, return_counts=True)
        if (counts > 1).any():
            return f"{what} {int(values[counts > 1][0])} stands {int(counts.max())} times"
    for table in (e, x, p):
        for name in ("trade", "order_id", "fill"):
            wrong = np.flatnonzero(table[name] // IDS_PER_AGENT != table["agent"])
            if len(wrong):
                return f"{name} {int(table[name][wrong[0]])} is not one of agent {int(table['agent'][wrong[0]])}"
    return ""


def entries_of(evidence: Evidence, table: Columns) -> Integers:
    """Row of `entry` for each row of a table with `trade`, -1 where there is none."""
    trades = evidence.entry["trade"]
    order = np.argsort(trades, kind="stable")
    place = np.searchsorted(trades[order], table["trade"])
    found = place < len(trades)
    found[found] = trades[order][place[found]] == table["trade"][found]
    result = np.full(len(place), -1, np.int64)
    result[found] = order[place[found]]
    return result


def broken_references(evidence: Evidence) -> str:
    """Every exit, partial exit and funding has its entry, before it, of the same agent and market."""
    entry = evidence.entry
    for name in ("exit", "partial", "funding"):
        table: Columns = getattr(evidence, name)
        row = entries_of(evidence, table)
        if (row < 0).any():
            return f"{name} of trade {int(table['trade'][row < 0][0])} has no entry"
        for column in ("agent", "market", "funded"):
            differ = entry[column][row] != table[column]
            if differ.any():
                return f"{name} of trade {int(table['trade'][differ][0])} has another {column} than its entry"
        early = table["seq"] <= entry["seq"][row]
        if early.any():
            return f"{name} of trade {int(table['trade'][early][0])} comes before its entry"
    return ""


def _sums(evidence: Evidence, table: Columns, values: Integers, count: int) -> Integers:
    """Sum of `values` of a table's rows for each row of `entry`."""
    result = np.zeros(count, np.int64)
    row = entries_of(evidence, table)
    np.add.at(result, row[row >= 0], values[row >= 0])
    return result


def wrong_results(evidence: Evidence) -> str:
    """The totals in every exit are the sums of the trade's rows; pnl = gross - fees + funding; nobody owes."""
    e, x, p, f = evidence.entry, evidence.exit, evidence.partial, evidence.funding
    row = entries_of(evidence, x)
    count = len(e["seq"])
    totals = {
        "trade_qty": e["qty"][row],
        "qty": e["qty"][row] - _sums(evidence, p, p["qty"], count)[row],
        "trade_gross": x["gross"] + _sums(evidence, p, p["gross"], count)[row],
        "trade_fees": e["fee"][row] + x["fee"] + x["liquidation_fee"] + _sums(evidence, p, p["fee"], count)[row],
        "trade_funding": _sums(evidence, f, f["amount"], count)[row],
        "trade_pnl": x["trade_gross"] - x["trade_fees"] + x["trade_funding"],
        "margin": e["margin"][row],
        "trade_value": _values(evidence, x) + _sums(evidence, p, _values(evidence, p), count)[row],
    }
    for name, expected in totals.items():
        differ = np.flatnonzero(x[name] != expected)
        if len(differ):
            at = differ[0]
            return f"trade {int(x['trade'][at])}: {name} is {int(x[name][at])}, its rows say {int(expected[at])}"
    owing = np.flatnonzero(x["margin"] + x["trade_pnl"] < 0)
    return f"trade {int(x['trade'][owing[0]])} lost more than its margin" if len(owing) else ""


def _values(evidence: Evidence, table: Columns) -> Integers:
    """Value of every exit fill in 1e-8."""
    sides = evidence.entry["side"][entries_of(evidence, table)].tolist()
    divisors = [10 ** (i.price_exponent + i.quantity_exponent - 8) for i in evidence.instruments]
    columns = (table["price"].tolist(), table["qty"].tolist(), table["market"].tolist())
    rows = zip(*columns, sides, strict=True)
    return np.array([order_value(price, qty, -side, divisors[market]) for price, qty, market, side in rows], np.int64)


def early_fills(evidence: Evidence) -> str:
    """An entry fills in a later candle than decided it; an exit not before its own order, nor before its entry."""
    entry = evidence.entry
    early = np.flatnonzero(entry["time_ms"] <= entry["decided_ms"])
    if len(early):
        return f"trade {int(entry['trade'][early[0]])} was entered in the candle that decided it"
    for name in ("exit", "partial"):
        table: Columns = getattr(evidence, name)
        entered = entry["time_ms"][entries_of(evidence, table)]
        wrong = np.flatnonzero((table["time_ms"] < table["decided_ms"]) | (table["time_ms"] < entered))
        if len(wrong):
            return f"{name} of trade {int(table['trade'][wrong[0]])} comes before its order or its entry"
    return ""


def wrong_positions(evidence: Evidence) -> str:
    """The snapshot of open positions is the entries without an exit, less what partial exits sold."""
    e, p, held = evidence.entry, evidence.partial, evidence.position
    count = len(e["seq"])
    closed = np.zeros(count, np.bool_)
    closed[entries_of(evidence, evidence.exit)] = True
    left = e["qty"] - _sums(evidence, p, p["qty"], count)
    spent = _sums(evidence, p, p["gross"] - p["fee"], count)
    spent += _sums(evidence, evidence.funding, evidence.funding["amount"], count)
    margin = e["margin"] - e["fee"] + spent
    rows_open = np.flatnonzero(~closed)
    expected = {int(e["trade"][r]): (int(left[r]), int(margin[r])) for r in rows_open}
    stored = {
        int(trade): (int(qty), int(kept))
        for trade, qty, kept in zip(held["trade"], held["qty"], held["margin"], strict=True)
    }
    for trade in sorted(expected.keys() | stored.keys()):
        if expected.get(trade) != stored.get(trade):
            return f"trade {trade}: (qty, margin) is {stored.get(trade)}, its rows say {expected.get(trade)}"
    return ""


def _fills(evidence: Evidence) -> Columns:
    """All fills in one table; entries have kind ENTRY."""
    tables = [dict(evidence.entry), evidence.exit, evidence.partial]
    tables[0]["kind"] = np.full(len(tables[0]["seq"]), int(OrderKind.ENTRY))
    names = ("time_ms", "market", "trade", "qty", "price", "fill", "funded", "kind")
    return {name: np.concatenate([table[name] for table in tables]) for name in names}


def _candle_of(evidence: Evidence, fills: Columns, own: Any, market: int) -> tuple[Integers, NDArray[np.bool_]]:
    """Row of `candle` for each own fill (the market's last one at or before it), and whether it is at that very time."""
    rows = np.flatnonzero(evidence.candle["market"] == market)
    times = evidence.candle["ts"][rows]
    place = np.searchsorted(times, fills["time_ms"][own], side="right") - 1
    found = place >= 0
    place = np.maximum(place, 0)
    exact = found & (times[place] == fills["time_ms"][own]) if len(rows) else np.zeros(len(place), np.bool_)
    return (rows[place] if len(rows) else place), exact


def fills_outside_candles(evidence: Evidence) -> str:
    """Every fill is at a candle of its market and within its low and high, in units of the instrument."""
    fills = _fills(evidence)
    for market, instrument in enumerate(evidence.instruments):
        own = np.flatnonzero(fills["market"] == market)
        if not len(own):
            continue
        row, exact = _candle_of(evidence, fills, own, market)
        exact |= fills["kind"][own] == int(OrderKind.END)  # a market may be silent in the session's last frame
        if not exact.all():
            return f"fill {int(fills['fill'][own][~exact][0])} is at no candle of {instrument.symbol}"
        low, high = price_range(evidence.candle["low"][row], evidence.candle["high"][row], instrument.price_exponent)
        price = fills["price"][own]
        wrong = np.flatnonzero((price < low) | (price > high))
        if len(wrong):
            at = wrong[0]
            return f"fill {int(fills['fill'][own][at])} at {int(price[at])} is outside [{low[at]:.0f}, {high[at]:.0f}]"
    return ""


def over_participation(evidence: Evidence, participation: float) -> str:
    """All fills under the cap in a market's candle together are at most participation * volume."""
    fills = _fills(evidence)
    share = round(participation * FRACTION)
    counted = (fills["funded"] == 1) & ~np.isin(fills["kind"], _UNCAPPED)
    for market, instrument in enumerate(evidence.instruments):
        own = np.flatnonzero(counted & (fills["market"] == market))
        row, _ = _candle_of(evidence, fills, own, market)
        if not len(own):
            continue
        candles, place = np.unique(row, return_inverse=True)
        traded = np.zeros(len(candles), np.int64)
        np.add.at(traded, place, fills["qty"][own])
        volumes = evidence.candle["volume"][candles]
        for at, quantity, volume in zip(candles.tolist(), traded.tolist(), volumes.tolist(), strict=True):
            if quantity > _capped(volume, instrument, share):
                when = int(evidence.candle["ts"][at])
                return f"{instrument.symbol} at {when}: {quantity} traded, {_capped(volume, instrument, share)} allowed"
    return ""


def _capped(volume: float, instrument: Instrument, share: int) -> int:
    return int(np.floor(min(volume * float(10**instrument.quantity_exponent), 4.0e18))) * share // FRACTION


def unknown_agents(evidence: Evidence) -> str:
    """Whoever acts was born, before acting; parents before children; nobody dies who was not born, or twice."""
    birth = evidence.birth
    born = dict(zip(birth["agent"].tolist(), birth["time_ms"].tolist(), strict=True))
    seen: set[int] = set()
    for agent, *parents in zip(*(birth[n].tolist() for n in ("agent", "parent_a", "parent_b")), strict=True):
        strange = [parent for parent in parents if parent != -1 and parent not in seen]
        if strange:
            return f"agent {agent} was born before its parent {strange[0]}"
        seen.add(agent)
    for name in ("entry", "reject", "allocation", "death"):
        table: Columns = getattr(evidence, name)
        first: dict[int, int] = {}
        for agent, time_ms in zip(table["agent"].tolist(), table["time_ms"].tolist(), strict=True):
            first.setdefault(agent, time_ms)
        for agent, time_ms in first.items():
            if agent not in born or time_ms < born[agent]:
                return (
                    f"{name} of agent {agent} at {time_ms}, which was {'born later' if agent in born else 'never born'}"
                )
    agents, counts = np.unique(evidence.death["agent"], return_counts=True)
    return f"agent {int(agents[counts > 1][0])} died twice" if (counts > 1).any() else ""
