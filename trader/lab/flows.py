"""What a session's fills did to its positions and its cash, by archetype: from the rows of its trades alone.

Only funded agents count: a shadow moves none of the pool's money. The archetypes' cash and positions at their marks add
up to what the pool gained (tests/lab/test_simulation.py).

Axes: F fills and funding stamps, T traded frames, M markets, A archetypes in use, N trades.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from trader.core.money import AMOUNT_SCALE
from trader.core.rows import TABLES
from trader.session.composition import archetype_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trader.core.config import Config
    from trader.lab.history import History

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

KEPT: Final = ("equity", "entry", "partial", "exit", "funding")
"""Tables from which a simulation is made."""

STILL_OPEN: Final = int(np.iinfo(np.int64).max)
"""The end of a trade that has none yet."""


class Rows:
    """A sink that keeps the rows of some tables."""

    def __init__(self, tables: Sequence[str] = KEPT) -> None:
        self._parts: dict[str, list[Integers]] = {name: [] for name in tables}

    def write(self, table: str, values: Integers) -> None:
        """Keep rows of a numeric table that somebody wants."""
        if table in self._parts:
            self._parts[table].append(values.copy())

    def write_text(self, table: str, values: Sequence[Sequence[Any]]) -> None:
        """Let rows of a text table go."""

    def table(self, name: str) -> Integers:
        """All rows of a table, int64 [n, columns]."""
        parts = self._parts[name]
        return np.concatenate(parts) if parts else np.zeros((0, len(TABLES[name].columns)), np.int64)

    def columns(self, name: str, wanted: str, *, funded: bool = True) -> list[Integers]:
        """Columns of a table by their names; only rows of funded agents, unless told otherwise."""
        rows, spec = self.table(name), TABLES[name]
        chosen = rows[rows[:, spec.position("funded")] == 1] if funded else rows
        return [chosen[:, spec.position(column)] for column in wanted.split()]


@dataclass(frozen=True, slots=True)
class _Fills:
    """One table's fills [F]: ms, market, trade; quantity opened (closed: < 0); cash that a long gets (a short pays);
    cash that does not depend on the side; fees and slippage."""

    time: Integers
    market: Integers
    trade: Integers
    quantity: Floats
    value: Floats
    flat: Floats
    cost: Floats


def _fills(history: History, rows: Rows, table: str) -> _Fills:
    """Entries, partial exits and exits; `sign` is +1 where a position is opened."""
    sign = 1.0 if table == "entry" else -1.0
    time, market, trade, qty, price, fee = rows.columns(table, "time_ms market trade qty price fee")
    lots = np.array([10.0**-item.quantity_exponent for item in history.instruments])[market]
    ticks = np.array([10.0**-item.price_exponent for item in history.instruments])[market]
    quantity = qty * lots
    fees, extra, slippage = fee.astype(np.int64), np.zeros_like(fee), np.zeros_like(fee)
    if table == "exit":
        insurance, liquidation, slippage = rows.columns(table, "insurance liquidation_fee slippage")
        fees, extra = fees + liquidation, insurance
    return _Fills(
        time, market, trade, sign * quantity, -sign * quantity * (price * ticks), (extra - fees) / AMOUNT_SCALE,
        (fees + slippage) / AMOUNT_SCALE,
    )  # fmt: skip


def _stamps(rows: Rows) -> _Fills:
    """Funding, as fills without quantity."""
    time, market, trade, amount = rows.columns("funding", "time_ms market trade amount")
    nothing = np.zeros(len(time))
    return _Fills(time, market, trade, nothing, nothing, amount / AMOUNT_SCALE, nothing)


@dataclass(frozen=True, slots=True)
class Flows:
    """Fills of funded agents: frame, market, archetype (its place), side, quantity opened, cash got and costs, all [F];
    opened, closed: int64 [N], ms, `STILL_OPEN` where a trade has no end yet; shape: (T, A, M)."""

    shape: tuple[int, int, int]
    frame: Integers
    market: Integers
    archetype: Integers
    side: Integers
    quantity: Floats
    cash: Floats
    cost: Floats
    opened: Integers
    closed: Integers

    def held(self) -> Floats:
        """Signed quantity after every frame, [T, A, M]."""
        return self._running(self.shape, (self.frame, self.archetype, self.market), self.quantity * self.side)

    def held_gross(self) -> Floats:
        """Quantity after every frame, longs and shorts together, [T, A, M]."""
        return self._running(self.shape, (self.frame, self.archetype, self.market), self.quantity)

    def earned(self) -> Floats:
        """Cash that every archetype has got until the end of every frame, [T, A]."""
        return self._running(self.shape[:2], (self.frame, self.archetype), self.cash)

    def costs(self) -> Floats:
        """Fees and slippage in every frame, [T]."""
        return self._running((self.shape[0],), (self.frame,), self.cost, total=False)

    @staticmethod
    def _running(shape: tuple[int, ...], place: tuple[Integers, ...], values: Floats, *, total: bool = True) -> Floats:
        out = np.zeros(shape)
        np.add.at(out, place, values)
        return np.cumsum(out, axis=0) if total else out


def flows_of(config: Config, history: History, rows: Rows) -> Flows:
    """The flows of a session over the history."""
    numbers = np.sort(archetype_numbers(config))
    trade, kind, side, opened = rows.columns("entry", "trade archetype side time_ms")
    order = np.argsort(trade, kind="stable")

    def entry_of(numbers_of_trades: Integers) -> Integers:
        return order[np.searchsorted(trade[order], numbers_of_trades)]

    parts = [*(_fills(history, rows, table) for table in ("entry", "partial", "exit")), _stamps(rows)]

    def joined(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(part, name) for part in parts])

    entry = entry_of(joined("trade"))
    closed = np.full(len(trade), STILL_OPEN)
    ended, ended_ms = rows.columns("exit", "trade time_ms")
    closed[entry_of(ended)] = ended_ms
    return Flows(
        shape=(len(history), len(numbers), len(history.instruments)),
        frame=np.searchsorted(history.times, joined("time")),
        market=joined("market"),
        archetype=np.searchsorted(numbers, kind[entry]),
        side=side[entry],
        quantity=joined("quantity"),
        cash=joined("value") * side[entry] + joined("flat"),
        cost=joined("cost"),
        opened=opened,
        closed=closed,
    )
