"""Insert rate and listing time of the store on many trades.

    python benchmarks/store_trades.py --trades 1000000 --db /tmp/trades.db

Prints microseconds per row for inserting entries and exits (block commits of 5,000 trades, indexes in place, digest
included) and seconds for the listings of `trader db` on the result, best of three in one process.
"""

from __future__ import annotations

import argparse
import sqlite3
import tempfile
import time
from pathlib import Path

import numpy as np

from trader.core import rows
from trader.core.types import Instrument
from trader.store import queries
from trader.store.records import Cursor, RunHeader
from trader.store.store import open_store

AGENTS = 1_000
CANDLE_MS = 3_600_000


def table(spec: rows.TableSpec, count: int, **columns: np.ndarray) -> np.ndarray:
    result = np.ones((count, len(spec.columns)), np.int64)
    for name, values in columns.items():
        result[:, spec.position(name)] = values
    return result


def batch(generator: np.random.Generator, first: int, count: int, opened: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Entries and exits of `count` trades; events are numbered entry, exit, entry, exit, ..."""
    agent = generator.integers(0, AGENTS, count)
    order = np.argsort(agent, kind="stable")
    rank = np.empty(count, np.int64)
    starts = np.searchsorted(agent[order], np.arange(AGENTS))
    rank[order] = np.arange(count) - starts[agent[order]]
    number = opened[agent] + rank + 1
    np.add.at(opened, agent, 1)
    trade = agent * rows.IDS_PER_AGENT + number
    at = first + np.arange(count)
    price = generator.integers(10**10, 10**13, count)
    shared = {"agent": agent, "trade": trade, "market": agent % 5, "qty": 10**6, "margin": 10**10, "funded": 1}
    entry = table(
        rows.ENTRY, count, seq=at * 2 + 1, time_ms=at // 50 * CANDLE_MS, price=price, side=np.where(at % 2, 1, -1),
        archetype=agent % 3, order_id=trade * 2, fill=trade * 2, timeframe=CANDLE_MS, leverage=300,
        confidence=generator.integers(0, 10_000, count), **shared,
    )  # fmt: skip
    exits = table(
        rows.EXIT, count, seq=at * 2 + 2, time_ms=(at // 50 + 3) * CANDLE_MS, price=price + 100, kind=at % 8 + 1,
        order_id=trade * 2 + 1, fill=trade * 2 + 1, trade_qty=10**6, trade_pnl=generator.integers(-(10**9), 10**9, count),
        lowest=price - 1000, highest=price + 1000, **shared,
    )  # fmt: skip
    return entry, exits


def floor(path: Path, pieces: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Seconds of sqlite3 alone for the same rows: ready tuples, same tables and pragmas, no digest, no conversion."""
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    for spec in (rows.ENTRY, rows.EXIT):
        columns = ", ".join(f'"{name}" BIGINT NOT NULL' for name in spec.names)
        connection.execute(
            f'CREATE TABLE "{spec.name}" (run BIGINT NOT NULL, {columns}, PRIMARY KEY (run, seq)) WITHOUT ROWID'
        )
    spent = 0.0
    for entry, exits in pieces:
        parameters = [
            (spec, [*map(tuple, table.tolist())]) for spec, table in ((rows.ENTRY, entry), (rows.EXIT, exits))
        ]
        started = time.perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        for spec, found in parameters:
            connection.executemany(f'INSERT INTO "{spec.name}" VALUES (1, {", ".join("?" * len(spec.columns))})', found)
        connection.execute("COMMIT")
        spent += time.perf_counter() - started
    connection.close()
    path.unlink()
    return spent


def fill(url: str, trades: int) -> int:
    instruments = tuple(Instrument(f"M{market}/USDT", perpetual=True) for market in range(5))
    store = open_store(url, create=True)
    names = {"archetype": {0: "trend", 1: "reversion", 2: "breakout"}}
    header = RunHeader("bench", "synthetic", 0, "{}", "h", "v", "{}", "", CANDLE_MS, 10**14, instruments, names)
    run = store.create_run(header)
    generator, opened, size = np.random.default_rng(0), np.zeros(AGENTS, np.int64), 5_000
    pieces = [batch(generator, first, size, opened) for first in range(0, trades, size)]
    births = [(i + 1, 0, i, -1, -1, 0, i % 3, i % 5, CANDLE_MS, 0, 0, '{"aggression":1.0}') for i in range(AGENTS)]
    started = time.perf_counter()
    writer = store.writer(run)
    writer.write_text("birth", births)
    for number, (entry, exits) in enumerate(pieces):
        writer.write("entry", entry)
        writer.write("exit", exits)
        writer.commit(Cursor(number, number * CANDLE_MS, number, 10**14))
    store.update_run(run, status="finished", digests=writer.digests())
    spent = time.perf_counter() - started
    print(f"insert: {spent / trades / 2 * 1e6:.2f} us a row ({2 * trades} rows, {spent:.1f} s, digest included)")
    writer.close()
    store.close()
    sample = pieces[: max(1, len(pieces) // 5)]
    with tempfile.TemporaryDirectory() as folder:
        lowest = floor(Path(folder) / "floor.db", sample)
    print(f"floor: {lowest / len(sample) / size / 2 * 1e6:.2f} us a row (sqlite3 alone, ready tuples, no digest)")
    return run


LISTINGS: tuple[tuple[str, dict[str, object]], ...] = (
    ("trades", {}),
    ("trades", {"agent": 17}),
    ("trades", {"symbol": "M3/USDT"}),
    ("trades", {"sort": "-pnl"}),
    ("trades", {"since": 15_000 * CANDLE_MS, "until": 15_100 * CANDLE_MS}),
    ("orders", {}),
    ("fills", {}),
    ("ledger", {}),
    ("ledger", {"agent": 17}),
    ("agents", {}),
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trades", type=int, default=1_000_000)
    parser.add_argument("--db", default="/tmp/trades.db")
    arguments = parser.parse_args()
    path = Path(arguments.db)
    if "://" not in arguments.db and not path.exists():
        fill(arguments.db, arguments.trades)
        print(f"size: {path.stat().st_size / 1e6:.0f} MB")
    elif "://" in arguments.db:
        fill(arguments.db, arguments.trades)
    for name, filters in LISTINGS:
        times = []
        for _ in range(3):
            started = time.perf_counter()
            with open_store(arguments.db, create=False, read_only=True) as store:
                found = queries.listing(store, name, store.resolve("latest").run, **filters)  # type: ignore[arg-type]
            times.append(time.perf_counter() - started)
        print(f"{name} {filters or ''}: {min(times):.3f} s, {len(found.rows)} rows")


if __name__ == "__main__":
    main()
