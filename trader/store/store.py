"""The store: runs made, found, updated, read back. The one door through which the session and the shell reach SQL.

    store = open_store("data/runs/trader.db", create=True)
    run = store.create_run(header)
    with store.locked(run):
        writer = store.writer(run)
        writer.write("candle", rows); writer.commit(cursor)
    store.update_run(run, status="finished", digests=writer.digests(), summary={...})

`open_store("memory")` gives a store with the same methods that keeps arrays and persists nothing.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
from sqlalchemy import Connection

from trader.core import rows
from trader.core.types import Block, Instrument, LeverageTier, UserError
from trader.store import codec, journal, schema, trials
from trader.store.database import MEMORY, SQLITE, Database, create_file, locate
from trader.store.digest import TableDigest, combine
from trader.store.locks import RunLock
from trader.store.memory import MemoryStore
from trader.store.records import STATUSES, RunHeader, RunRow
from trader.store.tables import INSTRUMENT, NAME, RUN
from trader.store.writer import Writer

FETCH = 20_000
"""Rows read at once where a whole table is gone through."""

_ENUMERATIONS = {
    "side": rows.Side,
    "kind": rows.OrderKind,
    "limited_by": rows.Limit,
    "reject": rows.Reject,
    "regime": rows.Regime,
    "phase": rows.Phase,
    "received": rows.Received,
    "operator": rows.Operator,
    "cause": rows.Cause,
    "fate": rows.Fate,
    "allocation_limit": rows.AllocationLimit,
    "account": rows.Account,
    "transfer": rows.TransferCode,
}


def canonical_json(value: Any) -> str:
    """JSON text with sorted keys and no spaces; the same value gives the same text.

    Raises:
        ValueError: a float that is not finite.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def open_store(url: str, *, create: bool, read_only: bool = False, lock_seconds: float = 60.0) -> AnyStore:
    """Open a database: `memory`, a path, `sqlite:///path` or `postgresql://...`.

    create: make the file and the schema if they are not there, migrate an older schema. read_only: no statement of
    this store can write. lock_seconds: how long to wait for another process's write lock (SQLite).

    Raises:
        UserError: unknown URL, no such database, not a trader database, newer or (without `create`) older schema.
        SurroundingsError: unreachable, locked or damaged.
    """
    location = locate(url)
    if location.dialect == MEMORY:
        return MemoryStore()
    assert not (create and read_only), "what is opened read-only cannot be created"
    if location.path is not None and not location.path.exists():
        if not create:
            raise UserError(f"database {location.path}: no such file; a run makes it, or name another with --db")
        create_file(location.path)
    database = Database(location, read_only=read_only, lock_seconds=lock_seconds)
    try:
        schema.require(database, create=create)
    except BaseException:
        database.close()
        raise
    return Store(database)


class Store:
    """A database with its schema in place. Connections are made as needed; safe to use from several processes."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.url = database.location.shown

    def create_run(self, header: RunHeader) -> int:
        """Write the run row with status `running`, its instruments, names and trial; return the run's number."""
        values: dict[str, Any] = {
            field.name: getattr(header, field.name)
            for field in dataclasses.fields(header)
            if field.name not in {"instruments", "names"}
        }
        values |= {"status": "running", "commits": 0, "candles": 0, "equity_end": header.equity_start}
        with self.database.transaction() as connection:
            run = int(connection.execute(RUN.insert().values(values).returning(RUN.c.run)).scalar_one())
            instruments = [_instrument_row(run, market, item) for market, item in enumerate(header.instruments)]
            if instruments:
                connection.execute(INSTRUMENT.insert(), instruments)
            connection.execute(NAME.insert(), _name_rows(run, header.names))
            trials.begin(connection, run, header)
        return run

    def resolve(self, run: str | int) -> RunRow:
        """The run with this number or name (the newest of that name), or the newest run for `latest`.

        Raises:
            UserError: there is none.
        """
        text = str(run)
        query = RUN.select().order_by(RUN.c.run.desc()).limit(1)
        if text.isascii() and text.isdecimal() and len(text) < 19:
            query = query.where(RUN.c.run == int(text))
        elif text != "latest":
            query = query.where(RUN.c.name == text)
        with self.database.reading() as connection:
            found = connection.execute(query).mappings().first()
        if found is None:
            raise UserError(f"run {text}: not in {self.url}; `trader db runs` lists them")
        return RunRow(**found)

    def runs(self) -> list[RunRow]:
        """Every run, oldest first."""
        with self.database.reading() as connection:
            return [RunRow(**row) for row in connection.execute(RUN.select().order_by(RUN.c.run)).mappings()]

    def update_run(
        self,
        run: int,
        *,
        status: str | None = None,
        equity_end: int | None = None,
        digests: Mapping[str, str] | None = None,
        summary: Mapping[str, Any] | None = None,
    ) -> None:
        """Set what is given: status (`records.STATUSES`), equity in 1e-8, the tables' digests, the run summary."""
        values: dict[str, Any] = {}
        if status is not None:
            assert status in STATUSES, f"unknown status {status}"
            values["status"] = status
        if equity_end is not None:
            values["equity_end"] = int(equity_end)
        if digests is not None:
            values |= {"digests": canonical_json(dict(digests)), "digest": combine(digests)}
        if summary is not None:
            values["summary"] = canonical_json(dict(summary))

        def write(connection: Connection) -> None:
            connection.execute(RUN.update().where(RUN.c.run == run).values(values))
            if digests is not None:
                trials.settle(connection, run, digests.get("candle", ""))

        self.database.repeated(write)

    @contextmanager
    def locked(self, run: int) -> Iterator[None]:
        """Hold the run's lock inside the block.

        Raises:
            UserError: another process writes this run.
        """
        lock = RunLock(self.database, run)
        try:
            yield
        finally:
            lock.release()

    def writer(self, run: int, *, compare_until: Mapping[str, int] | None = None, verify: bool = False) -> Writer:
        """The run's writer; see `Writer`. Hold the lock while it writes."""
        return Writer(self.database, run, compare_until=compare_until, verify=verify)

    def committed(self, run: int) -> dict[str, int]:
        """Last committed `seq` of every base table, 0 where there is none: `compare_until` of a resume."""
        parts = [
            f"SELECT '{name}', COALESCE(MAX(seq), 0) FROM \"{name}\" WHERE run = {int(run)}"  # noqa: S608 - our names
            for name in rows.TABLES
        ]
        with self.database.reading() as connection:
            return {str(name): int(seq) for name, seq in connection.exec_driver_sql(" UNION ALL ".join(parts))}

    def journal(self, run: int, after_ms: int | None = None, size: int = 512) -> Iterator[Block]:
        """The run's accepted candles and stamps as blocks of `size` frames with time > after_ms."""
        return journal.blocks(self.database, run, len(self.instruments(run)), after_ms=after_ms, size=size)

    def instruments(self, run: int) -> tuple[Instrument, ...]:
        """The run's instruments in its order of markets."""
        query = INSTRUMENT.select().where(INSTRUMENT.c.run == run).order_by(INSTRUMENT.c.market)
        with self.database.reading() as connection:
            details = [json.loads(row.detail) for row in connection.execute(query)]
        return tuple(
            Instrument(**{**detail, "tiers": tuple(LeverageTier(**tier) for tier in detail["tiers"])})
            for detail in details
        )

    def names(self, run: int, kind: str) -> dict[int, str]:
        """What the codes of one kind mean in this run."""
        query = NAME.select().where(NAME.c.run == run, NAME.c.kind == kind)
        with self.database.reading() as connection:
            return {int(row.code): str(row.text) for row in connection.execute(query)}

    def table(self, run: int, table: str, *, after: int = 0) -> Iterator[Any]:
        """Rows of a base table in `seq` order, in pieces: int64 arrays, or lists of tuples for a text table."""
        spec = rows.TABLES[table]
        mark = self.database.mark
        names = ", ".join(f'"{name}"' for name in spec.names)
        statement = f'SELECT {names} FROM "{table}" WHERE run = {mark} AND seq > {mark} ORDER BY seq LIMIT {FETCH}'  # noqa: S608
        with self.database.reading() as connection:
            while True:
                fetched = [tuple(row) for row in connection.exec_driver_sql(statement, (run, after))]
                if not fetched:
                    return
                after = int(fetched[-1][0])
                yield codec.from_sql(spec, fetched) if spec.numeric else fetched

    def recompute_digest(self, run: int) -> dict[str, str]:
        """Digests of the tables as they stand in SQL; `digest.combine` makes the run's digest of them."""
        result = {}
        for name, spec in rows.TABLES.items():
            if not spec.in_digest:
                continue
            chain = TableDigest(spec)
            for part in self.table(run, name):
                if spec.numeric:
                    chain.update(np.asarray(part))
                else:
                    chain.update_text(part)
            result[name] = chain.hexdigest()
        return result

    def revision(self) -> str:
        """Version of the schema."""
        return schema.HEAD

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_sqlite(self) -> bool:
        """True for an SQLite file."""
        return self.database.dialect == SQLITE


AnyStore = Store | MemoryStore
"""What `open_store` gives."""


def persistent(store: AnyStore) -> Store:
    """The store, if it is a database.

    Raises:
        UserError: it is the one in memory.
    """
    if isinstance(store, MemoryStore):
        raise UserError('database "memory": keeps nothing that could be looked at; give --db a file or a server')
    return store


def _instrument_row(run: int, market: int, instrument: Instrument) -> dict[str, Any]:
    return {
        "run": run,
        "market": market,
        "symbol": instrument.symbol,
        "price_exponent": instrument.price_exponent,
        "quantity_exponent": instrument.quantity_exponent,
        "price_scale": 10**instrument.price_exponent,
        "quantity_scale": 10**instrument.quantity_exponent,
        "detail": canonical_json(dataclasses.asdict(instrument)),
    }


def _name_rows(run: int, names: Mapping[str, Mapping[int, str]]) -> list[dict[str, Any]]:
    codes: dict[str, Mapping[int, str]] = {
        kind: {int(code): code.name.lower() for code in enumeration} for kind, enumeration in _ENUMERATIONS.items()
    }
    return [
        {"run": run, "kind": kind, "code": int(code), "text": text}
        for kind, texts in {**codes, **names}.items()
        for code, text in texts.items()
    ]
