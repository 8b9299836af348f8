"""A store that persists nothing: the same methods, rows kept as arrays. For sweeps and benchmarks (`store.url = "memory"`).

No resume, no comparison, no SQL; digests are the same as those of a database.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from trader.core import rows
from trader.core.types import Block, Incident, Instrument, UserError
from trader.store.digest import combine
from trader.store.records import STATUSES, Cursor, RunHeader, RunRow
from trader.store.tables import POSITION_COLUMNS
from trader.store.writer import RowSink


@dataclass(slots=True)
class _Run:
    """What a run leaves in memory."""

    row: RunRow
    header: RunHeader
    tables: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in rows.TABLES})
    positions: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, len(POSITION_COLUMNS)), np.int64))
    incidents: list[Incident] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)


class MemoryWriter(RowSink):
    """Writer of a run in memory; methods as those of `Writer`."""

    def __init__(self, run: _Run) -> None:
        super().__init__()
        self._run = run

    def incidents(self, incidents: Iterable[Incident]) -> None:
        """Take in what the feed noticed."""
        self._run.incidents.extend(incidents)

    def positions(self, values: NDArray[np.int64]) -> None:
        """Replace the snapshot of open positions."""
        self._run.positions = np.array(values, np.int64)

    def commit(self, cursor: Cursor) -> None:
        """Hand the buffered rows to the store and move the cursor."""
        for name, buffer in self._buffers.items():
            self._run.tables[name].extend(buffer)
            buffer.clear()
        self._run.row = replace(
            self._run.row,
            commits=self._run.row.commits + 1,
            cursor_frame=cursor.frame,
            cursor_ms=cursor.time_ms,
            candles=cursor.candles,
            equity_end=cursor.equity,
        )

    def finish_comparison(self) -> None:
        """Nothing was compared."""

    def close(self) -> None:
        """Nothing is open."""


class MemoryStore:
    """Runs of this process only; methods as those of `Store`."""

    url = "memory"

    def __init__(self) -> None:
        self._runs: list[_Run] = []

    def create_run(self, header: RunHeader) -> int:
        """Keep a run with status `running`; return its number."""
        names = [name for name in RunHeader.__dataclass_fields__ if name not in {"instruments", "names"}]
        row = RunRow(
            run=len(self._runs) + 1,
            status="running",
            commits=0,
            cursor_frame=None,
            cursor_ms=None,
            candles=0,
            equity_end=header.equity_start,
            digest=None,
            digests=None,
            summary=None,
            **{name: getattr(header, name) for name in names},
        )
        self._runs.append(_Run(row, header))
        return row.run

    def resolve(self, run: str | int) -> RunRow:
        """The run with this number or name, or the newest for `latest`.

        Raises:
            UserError: there is none.
        """
        for kept in reversed(self._runs):
            if str(run) in {"latest", str(kept.row.run), kept.row.name}:
                return kept.row
        raise UserError(f"run {run}: not in memory")

    def runs(self) -> list[RunRow]:
        """Every run, oldest first."""
        return [kept.row for kept in self._runs]

    def update_run(
        self,
        run: int,
        *,
        status: str | None = None,
        equity_end: int | None = None,
        digests: Mapping[str, str] | None = None,
        summary: Mapping[str, Any] | None = None,
    ) -> None:
        """Set what is given."""
        kept = self._kept(run)
        changes: dict[str, Any] = {}
        if status is not None:
            assert status in STATUSES, f"unknown status {status}"
            changes["status"] = status
        if equity_end is not None:
            changes["equity_end"] = int(equity_end)
        if digests is not None:
            changes["digest"] = combine(digests)
        if summary is not None:
            kept.summary = dict(summary)
        kept.row = replace(kept.row, **changes)

    @contextmanager
    def locked(self, run: int) -> Iterator[None]:
        """Nobody else can write a run in this process's memory."""
        self._kept(run)
        yield

    def writer(self, run: int, *, compare_until: Mapping[str, int] | None = None, verify: bool = False) -> MemoryWriter:
        """The run's writer.

        Raises:
            UserError: resume or verify of a run that was never persisted.
        """
        if verify or compare_until is not None:
            raise UserError(f"run {run}: was kept in memory only, there is nothing to resume or verify")
        return MemoryWriter(self._kept(run))

    def committed(self, run: int) -> dict[str, int]:
        """Last committed `seq` of every base table."""
        tables = self._kept(run).tables
        return {name: int(parts[-1][-1][0]) if parts else 0 for name, parts in tables.items()}

    def journal(self, run: int, after_ms: int | None = None, size: int = 512) -> Iterator[Block]:  # noqa: ARG002
        """There is none.

        Raises:
            UserError: always.
        """
        raise UserError(f"run {run}: was kept in memory only, it has no journal")

    def instruments(self, run: int) -> tuple[Instrument, ...]:
        """The run's instruments."""
        return self._kept(run).header.instruments

    def table(self, run: int, table: str, *, after: int = 0) -> Iterator[Any]:
        """Committed rows of a base table in `seq` order, in pieces."""
        for part in self._kept(run).tables[table]:
            if int(part[-1][0]) > after:
                yield part[sum(int(row[0]) <= after for row in part) :] if int(part[0][0]) <= after else part

    def close(self) -> None:
        """Forget everything."""
        self._runs.clear()

    def revision(self) -> str:
        """There is no schema."""
        return "memory"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _kept(self, run: int) -> _Run:
        return self._runs[run - 1]
