"""Kernel events of a block become the rows of the trade tables, in one order that no cutting can change.

Order: candle, market, phase inside the candle, agent. `seq` is given in that order, so that a block and the loop of its
candles number their rows alike, and the order of rows in the population's arrays does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from agents import layout as at
from trader.core import rows
from trader.core.rows import float_bits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trader.core.types import Block
    from trader.session.books import Books
    from trader.session.market_run import MarketResult

_TABLES: Final = {
    at.EVENT_ENTRY: "entry",
    at.EVENT_EXIT: "exit",
    at.EVENT_PARTIAL: "partial",
    at.EVENT_REJECT: "reject",
    at.EVENT_FUNDING: "funding",
}
_ORDERS: Final = (at.EVENT_ENTRY, at.EVENT_EXIT, at.EVENT_REJECT)
_PREFIX: Final = 3
"""Columns seq, time_ms, market come before the event's own."""


@dataclass(frozen=True, slots=True)
class Written:
    """Closed trades of all agents, how many of them were shadows', and orders sent or refused (a shadow sends none)."""

    trades: int = 0
    shadow_trades: int = 0
    orders: int = 0


def write_events(books: Books, block: Block, results: list[MarketResult]) -> Written:
    """Write every event of a block; returns what they were."""
    counts = [len(result.events) for result in results]
    if sum(counts) == 0:
        return Written()
    events = np.concatenate([result.events for result in results])
    market = np.repeat(np.arange(len(results)), counts)
    order = np.lexsort((events[:, at.EVENT_BODY], events[:, at.EVENT_PHASE], market, events[:, at.EVENT_CANDLE]))
    events, market = events[order], market[order]
    books.funnel.add_events(events, market, books.population)
    sequence = books.sequence("entry", len(events))
    trades = shadow_trades = orders = 0
    for kind, table in _TABLES.items():
        chosen = np.flatnonzero(events[:, at.EVENT_KIND] == kind)
        if len(chosen):
            column = at.EVENT_BODY + rows.TABLES[table].position("funded") - _PREFIX
            funded = int(events[chosen, column].sum())
            if kind in _ORDERS:
                orders += funded
            if kind == at.EVENT_EXIT:
                trades, shadow_trades = len(chosen), len(chosen) - funded
            books.emit_numbered(table, _rows(table, events[chosen], market[chosen], sequence[chosen], block))
    return Written(trades, shadow_trades, orders)


def _rows(
    table: str, events: NDArray[np.int64], market: NDArray[np.int64], sequence: NDArray[np.int64], block: Block
) -> NDArray[np.int64]:
    """Rows [n, columns] of one table."""
    spec = rows.TABLES[table]
    width = len(spec.columns)
    out = np.zeros((len(events), width), np.int64)
    out[:, 0] = sequence
    out[:, 1] = block.times[events[:, at.EVENT_CANDLE]]
    out[:, 2] = market
    body = min(width - _PREFIX, events.shape[1] - at.EVENT_BODY)
    out[:, _PREFIX : _PREFIX + body] = events[:, at.EVENT_BODY : at.EVENT_BODY + body]
    if table == "entry":
        out[:, spec.position("phase")] = block.phase[events[:, at.EVENT_CANDLE]]
    if table == "funding":
        column = spec.position("rate")
        out[:, column] = float_bits(out[:, column] / at.RATE_SCALE)
    return out


def write_candles(books: Books, block: Block, frames: NDArray[np.int64]) -> int:
    """Journal rows of a block, in (time, market) order, its funding stamps, visits and signals; returns how many candles."""
    t, m = np.nonzero(block.present)
    candles = block.candles[t, m]
    books.emit(
        "candle",
        (
            frames[t],
            m,
            block.times[t],
            *(float_bits(candles[:, c]) for c in range(5)),
            block.received[t, m],
            0,
            block.phase[t],
        ),
        len(t),
    )
    t_stamp, m_stamp = np.nonzero(np.isfinite(block.stamp_rate))
    books.emit(
        "stamp",
        (
            m_stamp, block.times[t_stamp], float_bits(block.stamp_rate[t_stamp, m_stamp]),
            float_bits(block.stamp_mark[t_stamp, m_stamp]),
        ),
        len(t_stamp),
    )  # fmt: skip
    if block.signals is not None:
        t_said, m_said = np.nonzero(np.isfinite(block.signals) & block.present)
        said = float_bits(block.signals[t_said, m_said])
        books.emit("opinion", (m_said, block.times[t_said], said), len(said))
    if block.visits is not None:
        place, price = block.visits.place, block.visits.price
        books.emit("visit", (*place.T, float_bits(price)), len(price))
    return len(t)
