"""What real feeds have shown once, through the whole command line: replay, db check, verify, and SQL on the views.

One history of perpetuals, each with its own disaster: a wick to 0.0001, a candle of -49 %, 500 candles without volume, a
price of 0.00000123 with a tick of 1e-8. And a notional that 64 bits do not hold; and spot, where nobody is short.
"""

from __future__ import annotations

import json
import sqlite3

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.shell_layer.shell_support import HOUR_MS, ROOT, START_MS, WITHOUT_TORCH, trader

CANDLES = 1_500
PLANTED = 900
CRASHES = range(700, 1_400, 100)


def history(folder, seed, price, decimals, spoil=None, volume=1e6):
    """Hours of a random walk on the tick, spoiled."""
    rng = np.random.default_rng(seed)
    close = price * np.exp(np.cumsum(rng.standard_normal(CANDLES) * 0.01 + 0.003 * np.sin(np.arange(CANDLES) / 60)))
    opened = np.concatenate(([price], close[:-1]))
    high = np.maximum(opened, close) * (1 + np.abs(rng.standard_normal(CANDLES)) * 0.003)
    low = np.minimum(opened, close) * (1 - np.abs(rng.standard_normal(CANDLES)) * 0.003)
    columns = {"open": opened, "high": high, "low": low, "close": close}
    columns = {name: np.maximum(np.round(values, decimals), 10.0**-decimals) for name, values in columns.items()}
    columns["volume"] = np.round(rng.uniform(0.1, 1.0, CANDLES) * volume)
    if spoil is not None:
        spoil(columns)
    folder.mkdir(parents=True)
    times = START_MS + HOUR_MS * np.arange(CANDLES, dtype=np.int64)
    pq.write_table(pa.table({"ts": times, **columns}), folder / "1h.parquet")


def wick(columns):
    columns["low"][PLANTED] = 0.0001


def crash(columns):
    """-49 %, within a candle or as a gap to its open, each time back up over the next candle: who is long at 20x is gone."""
    for t in CRASHES:
        bottom = np.round(columns["open"][t] * 0.51, 4)
        if t % 200 == 0:
            columns["open"][t] = bottom
        columns["low"][t] = columns["close"][t] = columns["open"][t + 1] = columns["low"][t + 1] = bottom
        columns["high"][t + 1] = max(columns["high"][t + 1], bottom, columns["close"][t + 1])


def dry(columns):
    columns["volume"][PLANTED : PLANTED + 500] = 0.0


DISASTERS = {
    "CHEAP-USDT": (4, 0.00000123, 8, None, 1e12),
    "CRASH-USDT": (2, 100.0, 4, crash, 1e6),
    "DRY-USDT": (3, 50.0, 4, dry, 1e6),
    "WICK-USDT": (1, 14.27, 4, wick, 1e6),
}
STEPS = {
    "format": "instruments 1", "exchange": "mine", "date": "2026-11-24",
    "swap": {
        "CHEAP/USDT": {"tick": "0.00000001", "lot": "1"},
        **{f"{name}/USDT": {"tick": "0.0001", "lot": "0.001"} for name in ("CRASH", "DRY", "WICK")},
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("disasters")
    for symbol, (seed, price, decimals, spoil, volume) in DISASTERS.items():
        history(folder / "binanceusdm" / symbol, seed, price, decimals, spoil, volume)
        history(folder / "binance" / symbol, seed, price, decimals, spoil, volume)
    (folder / "steps.json").write_text(json.dumps(STEPS))
    return folder


def session(folder, config, *words):
    return trader(
        "replay", str(ROOT / "configs" / config), "--data", str(folder), "--set", "feed.timeframes=['1h']",
        *WITHOUT_TORCH, "--set", "population.size=4000", *words, "--db", str(folder / f"{config}.db"), "--json", cwd=folder,
    )  # fmt: skip


@pytest.fixture(scope="module")
def perpetuals(folder):
    """The database of the disasters."""
    done = session(folder, "perp-replay.toml", "--set", f"exchange.instruments={folder / 'steps.json'}")
    assert done.returncode == 0, done.stderr
    return folder / "perp-replay.toml.db"


def ask(path, statement, *values):
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        return database.execute(statement, values).fetchall()


def at(t):
    return START_MS + t * HOUR_MS


def test_checks_and_journal_agree(perpetuals):
    for words in (("db", "check", "latest"), ("verify", "latest")):
        done = trader(*words, "--db", str(perpetuals), "--json", cwd=perpetuals.parent)
        assert done.returncode == 0, done.stdout
    assert ask(perpetuals, "SELECT COUNT(*) FROM v_trade WHERE pnl < -margin OR entry_ms <= decided_ms") == [(0,)]
    assert ask(perpetuals, "SELECT COUNT(*) FROM v_equity WHERE equity <= 0") == [(0,)]


def test_wick_to_a_hundredth_of_a_cent(perpetuals):
    """Longs are stopped or taken over in that candle, none at the wick's own price but who sold a liquidation there; the
    equity after it has lost no more than their margins."""
    exits = ask(
        perpetuals, "SELECT exit_reason, exit_price, pnl, margin, entry_price * (1 - 1.0 / leverage) FROM v_trade"
        " WHERE symbol = 'WICK/USDT' AND exit_ms = ? AND side = 'long'", at(PLANTED),
    )  # fmt: skip
    assert len(exits) > 3
    assert {row[0] for row in exits} <= {"stop", "trail", "liquidation", "signal", "time", "take"}
    ((opened,),) = ask(perpetuals, "SELECT open FROM v_candle WHERE symbol = 'WICK/USDT' AND ts = ?", at(PLANTED))
    assert all(price > (lost if why == "liquidation" else opened / 3) for why, price, _, _, lost in exits)
    assert all(pnl >= -margin for _, _, pnl, margin, _ in exits)


def test_crash_of_49_percent(perpetuals):
    """Some longs are liquidated; what they lose is at most their margin, and shortfalls are the insurance account's."""
    gone = ask(
        perpetuals, "SELECT pnl, margin, leverage FROM v_trade WHERE symbol = 'CRASH/USDT' AND exit_reason = 'liquidation'"
        " AND side = 'long'",
    )  # fmt: skip
    assert len(gone) > 3
    assert max(leverage for _, _, leverage in gone) > 5
    assert all(pnl >= -margin for pnl, margin, _ in gone)
    accounts = ask(perpetuals, "SELECT DISTINCT debit, credit FROM v_transfer WHERE code = 'insurance'")
    assert all(debit == "insurance" and credit.endswith(":margin") for debit, credit in accounts)


def test_500_candles_without_volume(perpetuals):
    """Nothing but liquidations fills in them, and what was wanted there fills in the first that trades, or later."""
    inside = ask(
        perpetuals, "SELECT DISTINCT o.kind FROM v_fill f JOIN v_order o USING (run, order_id)"
        " WHERE f.symbol = 'DRY/USDT' AND f.time_ms BETWEEN ? AND ?", at(PLANTED), at(PLANTED + 499),
    )  # fmt: skip
    assert {row[0] for row in inside} <= {"liquidation"}
    ((waited,),) = ask(
        perpetuals, "SELECT COUNT(*) FROM v_order o JOIN v_fill f USING (run, order_id) WHERE f.symbol = 'DRY/USDT'"
        " AND f.time_ms >= ? AND o.decided_ms BETWEEN ? AND ?", at(PLANTED + 500), at(PLANTED), at(PLANTED + 498),
    )  # fmt: skip
    assert waited > 3
    ((refused,),) = ask(perpetuals, "SELECT COUNT(*) FROM v_order WHERE symbol = 'DRY/USDT' AND reason = 'no_volume'")
    assert refused > 3


def test_price_of_0_00000123(perpetuals):
    """Whole coins at whole ticks of 1e-8, or at the candle's extreme, which is one, too; quantities beyond 2^32."""
    ((fills, whole, ticks, most),) = ask(
        perpetuals, "SELECT COUNT(*), SUM(qty = CAST(qty AS INTEGER)), SUM(ABS(price * 1e8 - ROUND(price * 1e8)) < 1e-6),"
        " MAX(qty) FROM v_fill WHERE symbol = 'CHEAP/USDT'",
    )  # fmt: skip
    assert fills > 100
    assert whole == ticks == fills
    assert most > 2**26


def test_unknown_instruments_are_told_in_one_line(folder):
    done = trader(
        "replay", str(ROOT / "configs" / "perp-replay.toml"), "--data", str(folder), "--set", "feed.timeframes=['1h']",
        *WITHOUT_TORCH, "--set", "population.size=8", "--db", str(folder / "unknown.db"), "--end", "2020-10-01", cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stderr.splitlines() if line.startswith("exchange.instruments")]
    (line,) = told
    assert line == (
        "exchange.instruments: nothing is known of CHEAP/USDT, CRASH/USDT, DRY/USDT, WICK/USDT (binance swap): "
        "tick and lot 1e-8, no minimum"
    )


def test_notional_beyond_64_bits(folder):
    """A capital beyond 1e10 is refused with the key; at 1e10 for 30 agents on a coin of 0.00000123 and a lot of 1e-8, orders
    that cannot be counted are refused as `too_large`, and the books still balance to the unit."""
    done = session(folder, "perp-replay.toml", "--set", "pool.capital=1e11")
    assert done.returncode == 2
    assert "pool.capital" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    url = str(folder / "large.db")
    done = trader(
        "replay", str(ROOT / "configs" / "perp-replay.toml"), "--data", str(folder / "binanceusdm" / "CHEAP-USDT"),
        *WITHOUT_TORCH, "--set", "feed.timeframes=['1h']", "--set", "population.size=30",
        "--set", "pool.capital=1e10", "--db", url, "--json", cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ((refused,),) = ask(url, "SELECT COUNT(*) FROM v_order WHERE reason = 'too_large' AND status = 'rejected'")
    assert refused > 0
    assert trader("db", "check", "latest", "--db", url, cwd=folder).returncode == 0


def test_spot_has_no_shorts_and_no_leverage(folder):
    """Every archetype that trades is long and pays in full; no funding, no liquidation."""
    done = session(folder, "replay.toml", "--set", "levels.evolution.every=100")
    assert done.returncode == 0, done.stderr
    path = folder / "replay.toml.db"
    traded = dict(ask(path, "SELECT archetype, COUNT(*) FROM v_trade GROUP BY 1"))
    there = {row[0] for row in ask(path, "SELECT DISTINCT archetype FROM v_agent")}
    assert there - traded.keys() <= {"carry"}, "carry lives on funding"
    assert ask(path, "SELECT DISTINCT side, leverage FROM v_trade") == [("long", 1.0)]
    assert {row[0] for row in ask(path, "SELECT DISTINCT side FROM v_order WHERE kind = 'entry'")} == {"buy"}
    assert ask(path, "SELECT COUNT(*) FROM v_transfer WHERE code IN ('funding', 'liquidation', 'insurance')") == [(0,)]
    assert ask(path, "SELECT COUNT(*) FROM v_trade WHERE exit_reason = 'liquidation'") == [(0,)]
    # what is bought is paid whole: margin is value and fee
    ((off,),) = ask(path, "SELECT MAX(ABS(margin / (qty * entry_price) - 1)) FROM v_trade")
    assert off < 0.02
    assert trader("db", "check", "latest", "--db", str(path), cwd=folder).returncode == 0
