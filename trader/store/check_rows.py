"""Columns of a run's base tables as arrays, read from SQL for the checks; nothing of the session is used.

Integer columns are int64, float columns float64 with NaN for NULL; only the columns asked for are read.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trader.core import rows
from trader.core.types import Instrument
from trader.store.records import RunRow
from trader.store.store import Store

Columns = dict[str, NDArray[Any]]

_BATCH: Final = 50_000

_FILL: Final = "seq time_ms market agent trade order_id fill qty price fee funded"


def load(store: Store, run: int, table: str, words: str) -> Columns:
    """Columns `words` of a base table in `seq` order."""
    spec = rows.TABLES[table]
    names = words.split()
    listed = ", ".join(f'"{name}"' for name in names)
    statement = f'SELECT {listed} FROM "{table}" WHERE run = {int(run)} ORDER BY seq'  # noqa: S608 - our names
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
    types = {name: np.float64 if spec.columns[spec.position(name)].kind == rows.FLOAT else np.int64 for name in names}
    with store.database.reading() as connection:
        result = connection.execution_options(stream_results=True).exec_driver_sql(statement)
        for batch in result.partitions(_BATCH):
            for name, values in zip(names, zip(*batch, strict=True), strict=True):
                parts[name].append(np.array(values, types[name]))
    return {name: np.concatenate(found) if found else np.zeros(0, types[name]) for name, found in parts.items()}


@dataclass
class Evidence:
    """What the checks look at; each table is read once, when first needed."""

    store: Store
    run: RunRow

    def _load(self, table: str, words: str) -> Columns:
        return load(self.store, self.run.run, table, words)

    @cached_property
    def instruments(self) -> tuple[Instrument, ...]:
        """The run's instruments."""
        return self.store.instruments(self.run.run)

    @cached_property
    def entry(self) -> Columns:
        """Entries."""
        return self._load("entry", f"{_FILL} side requested_qty margin decided_ms")

    @cached_property
    def exit(self) -> Columns:
        """Exits with the totals of their trades."""
        totals = "trade_qty trade_value trade_gross trade_fees trade_funding trade_pnl margin"
        return self._load("exit", f"{_FILL} kind gross insurance liquidation_fee decided_ms lowest highest {totals}")

    @cached_property
    def partial(self) -> Columns:
        """Exit fills before the last."""
        return self._load("partial", f"{_FILL} kind gross decided_ms")

    @cached_property
    def reject(self) -> Columns:
        """Entries that bought nothing."""
        return self._load("reject", "seq time_ms agent order_id")

    @cached_property
    def funding(self) -> Columns:
        """Funding of positions."""
        return self._load("funding", "seq time_ms market agent trade amount funded")

    @cached_property
    def allocation(self) -> Columns:
        """Grants and recalls."""
        return self._load("allocation", "seq time_ms agent before amount")

    @cached_property
    def transfer(self) -> Columns:
        """Plain transfers."""
        return self._load("transfer", "seq time_ms debit credit amount code")

    @cached_property
    def candle(self) -> Columns:
        """The journal."""
        return self._load("candle", "seq frame market ts open high low close volume")

    @cached_property
    def equity(self) -> Columns:
        """The pool after every frame."""
        return self._load("equity", "seq frame time_ms cash reserved unrealised equity peak")

    @cached_property
    def birth(self) -> Columns:
        """Agents."""
        return self._load("birth", "seq time_ms agent parent_a parent_b")

    @cached_property
    def death(self) -> Columns:
        """Agents that died."""
        return self._load("death", "seq time_ms agent")

    @cached_property
    def position(self) -> Columns:
        """Snapshot of the open positions."""
        names = ("agent", "trade", "market", "qty", "margin", "funded")
        statement = f"SELECT {', '.join(names)} FROM position WHERE run = {self.run.run}"  # noqa: S608 - our names
        with self.store.database.reading() as connection:
            found = [tuple(row) for row in connection.exec_driver_sql(statement)]
        return dict(zip(names, np.array(found, np.int64).reshape(-1, len(names)).T, strict=True))
