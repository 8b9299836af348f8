"""Running sessions against the fake exchange, in this process and as a program of their own."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from trader.core.config import load

ROOT = Path(__file__).resolve().parents[2]
SMALL = {
    "feed.base_timeframe": "1m", "feed.timeframes": ["1m", "5m"], "feed.warmup": 300, "population.size": 60,
    "levels.evolution.every": 60, "levels.pool.every": 20, "session.seed": 5, "engine.threads": 1,
    "session.checkpoint_every": 100,
}  # fmt: skip


def live_config(exchange, symbols=("BTC/USDT",), **given):
    """A small live session against a fake exchange; keys with `__` for the dot."""
    overrides = {
        **SMALL, "feed.kind": "live", "feed.symbols": list(symbols), "exchange.urls": exchange.urls,
        "exchange.market_type": "swap" if exchange.swap else "spot", "exchange.stall_seconds": 0.4,
    } | {name.replace("__", "."): value for name, value in given.items()}  # fmt: skip
    return load(None, [], overrides)


def write_toml(path, exchange, symbols=("BTC/USDT",), **given):
    """The same as a file, for the program."""
    from trader.cli.config_text import toml_text
    from trader.core.config import as_dict

    path.write_text(toml_text(as_dict(live_config(exchange, symbols, **given))))
    return path


def journal(database):
    """Rows (symbol, ts, open, high, low, close, volume) in the order they were written."""
    with sqlite3.connect(database) as connection:
        return connection.execute(
            "SELECT symbol, ts, open, high, low, close, volume FROM v_candle ORDER BY (SELECT 1)"
        ).fetchall()


def query(database, statement):
    with sqlite3.connect(database) as connection:
        return connection.execute(statement).fetchall()


def write_store(folder, database, *, swap):
    """The journal and the funding of a run as a candle store; the time of the first candle that was not warm-up."""
    venue = folder / ("binanceusdm" if swap else "binance")
    rows = journal(database)
    for symbol in sorted({row[0] for row in rows}):
        place = venue / symbol.replace("/", "-")
        place.mkdir(parents=True, exist_ok=True)
        mine = sorted(row[1:] for row in rows if row[0] == symbol)
        columns = list(zip(*mine, strict=True))
        names = ("ts", "open", "high", "low", "close", "volume")
        pq.write_table(pa.table({n: list(c) for n, c in zip(names, columns, strict=True)}), place / "1m.parquet")
        stamps = query(database, f"SELECT ts, rate, mark FROM v_funding WHERE symbol = '{symbol}' ORDER BY ts")
        if stamps:
            pq.write_table(
                pa.table({"ts": [s[0] for s in stamps], "rate": [s[1] for s in stamps]}), place / "funding.parquet"
            )
            mark = [s[2] for s in stamps]
            table = {"ts": [s[0] for s in stamps], "open": mark, "high": mark, "low": mark, "close": mark}
            pq.write_table(pa.table(table | {"volume": [0.0] * len(mark)}), place / "1m-mark.parquet")
    return query(database, "SELECT MIN(ts) FROM candle WHERE phase > 0")[0][0]


def replay_config(config, folder, start):
    """The replay of what a live session took in."""
    feed = config.feed.model_copy(update={"kind": "replay", "data": (str(folder),), "start": start})
    return config.model_copy(update={"feed": feed})


def trader(*arguments, env=None, cwd=ROOT, timeout=240):
    return subprocess.run(
        [sys.executable, "-m", "trader", *map(str, arguments)], cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}, capture_output=True, text=True, timeout=timeout,
        check=False,
    )  # fmt: skip


def start_trader(*arguments, env=None, cwd=ROOT):
    return subprocess.Popen(
        [sys.executable, "-m", "trader", *map(str, arguments)], cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
