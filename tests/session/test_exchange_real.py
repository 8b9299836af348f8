"""A whole replay of real perpetuals, judged by SQL on the views alone; funding recomputed from stamps and positions.

What the exchange promises about every fill and trade is asked of the database as anybody could ask it. The normal run takes
four months with the crash of March 2020; all four years and a bit are the nightly one. Exact integer products come from
functions given to SQLite, since 64 bits do not hold them.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trader.core.config import load
from trader.session.api import run_session, verify_run
from trader.store.check import check
from trader.store.store import open_store

pytestmark = pytest.mark.realdata

ROOT = Path(__file__).resolve().parents[2]
SOURCE = "candles/roshan7869-algotrading/binanceusdm"
INDEXED = {
    "v_fill": "trade, time_ms", "v_order": "order_id", "v_candle": "symbol, ts", "v_trade": "symbol, entry_ms",
}  # fmt: skip
UNCAPPED = "('liquidation', 'end')"


def _units(value: float | None, exponent: int) -> int | None:
    """A view's number back in units, to the nearest."""
    return None if value is None else round(Decimal(repr(value)).scaleb(exponent))


def _floor(value: float, exponent: int) -> int:
    scaled = value * 10.0**exponent
    return int(np.floor(min(scaled, 4e18)))


def _share(volume: int, share: float) -> int:
    return volume * round(share * 1e8) // 10**8


def _payment(side: int, mark: int, quantity: int, rate: float, digits: int) -> int:
    """Funding of a position in 1e-8: what it pays is rounded up (negative), what it receives down."""
    value = mark * quantity // 10 ** (digits - 8)
    part = round(rate * 1e12)
    product = value * abs(part)
    return -product // 10**12 if side * part > 0 else product // 10**12


def opened(path) -> sqlite3.Connection:
    """The database read-only, with exact arithmetic; the joined views once computed and indexed, under their names."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    connection.create_function("units", 2, _units, deterministic=True)
    connection.create_function("whole", 2, _floor, deterministic=True)
    connection.create_function("share", 2, _share, deterministic=True)
    connection.create_function("payment", 5, _payment, deterministic=True)
    for view, keys in INDEXED.items():
        connection.execute(f"CREATE TEMP TABLE {view} AS SELECT * FROM main.{view}")
        connection.execute(f"CREATE INDEX temp.{view}_by ON {view} ({keys})")
    return connection


def replayed(data, folder, *sets):
    path = folder / "run.db"
    config = load(ROOT / "configs" / "perp-replay.toml", [f'feed.data=["{data}"]', "engine.threads=1", *sets])
    run_session(config, url=f"sqlite:///{path}")
    return path


@pytest.fixture(scope="module")
def months(real_data, tmp_path_factory):
    """February to May 2020, 400 agents on both perpetuals."""
    return replayed(
        real_data / SOURCE, tmp_path_factory.mktemp("months"), "population.size=400", 'feed.start="2020-02-01"',
        'feed.end="2020-06-01"',
    )  # fmt: skip


@pytest.fixture(scope="module")
def judged(months):
    with closing(opened(months)) as database:
        yield database


@pytest.fixture(scope="module")
def everything(real_data, tmp_path_factory):
    return replayed(real_data / SOURCE, tmp_path_factory.mktemp("whole"), "population.size=1000")


# Each statement finds rows that break a promise; none may come back.
BROKEN = {
    "a fill but a liquidation outside [low, high]": """
        SELECT f.fill, f.price, c.low, c.high FROM v_fill f
        JOIN v_order o USING (run, order_id)
        JOIN v_candle c ON c.run = f.run AND c.symbol = f.symbol AND c.ts = f.time_ms
        WHERE o.kind <> 'liquidation' AND (f.price < c.low * (1 - 1e-12) OR f.price > c.high * (1 + 1e-12))""",
    "a fill at no candle": """
        SELECT f.fill FROM v_fill f JOIN v_order o USING (run, order_id)
        LEFT JOIN v_candle c ON c.run = f.run AND c.symbol = f.symbol AND c.ts = f.time_ms
        WHERE c.ts IS NULL AND o.kind <> 'end'""",
    "more than the cap of a candle": f"""
        SELECT f.symbol, f.time_ms, SUM(units(f.qty, q)) AS traded, share(whole(c.volume, q), p) AS cap
        FROM v_fill f JOIN v_order o USING (run, order_id)
        JOIN v_candle c ON c.run = f.run AND c.symbol = f.symbol AND c.ts = f.time_ms
        JOIN (SELECT symbol AS s, quantity_exponent AS q FROM instrument) ON s = f.symbol
        JOIN (SELECT json_extract(config, '$.exchange.participation') AS p FROM run)
        WHERE o.kind NOT IN {UNCAPPED} GROUP BY f.symbol, f.time_ms, c.volume, q, p HAVING traded > cap""",
    "a trade that lost more than its margin": """
        SELECT trade, pnl, margin FROM v_trade WHERE units(pnl, 8) < -units(margin, 8) OR return_on_margin < -1""",
    "an entry in the candle that decided it": "SELECT trade FROM v_trade WHERE entry_ms <= decided_ms",
    "an exit before its entry": "SELECT trade FROM v_trade WHERE exit_ms < entry_ms",
    "a pnl that is not gross - fees + funding": """
        SELECT trade FROM v_trade
        WHERE units(pnl, 8) <> units(gross_pnl, 8) - units(fees, 8) + units(funding, 8)""",
    "fees that are not those of its fills": """
        SELECT t.trade FROM v_trade t JOIN v_fill f USING (run, trade) WHERE t.funded = 1
        GROUP BY t.trade, t.fees HAVING SUM(units(f.fee, 8)) <> units(t.fees, 8)""",
    "an account that is below nothing": """
        SELECT account, SUM(moved) AS balance FROM (
            SELECT debit AS account, -units(amount, 8) AS moved FROM v_transfer
            UNION ALL SELECT credit, units(amount, 8) FROM v_transfer)
        WHERE account LIKE 'agent:%' OR account = 'pool:cash' GROUP BY account HAVING balance < 0""",
    "a maker's fill of another order than an entry": """
        SELECT f.fill FROM v_fill f JOIN v_order o USING (run, order_id)
        WHERE f.liquidity = 'maker' AND o.kind <> 'entry'""",
}  # fmt: skip


@pytest.mark.parametrize("promise", BROKEN)
def test_promises_hold_in_four_months(judged, promise):
    assert judged.execute(BROKEN[promise]).fetchmany(3) == []


def test_the_months_is_worth_judging(months):
    """Hundreds of trades, several ways out, both sides, makers and takers; checks and the journal agree."""
    with opened(months) as database:
        (trades,) = database.execute("SELECT COUNT(*) FROM v_trade").fetchone()
        reasons = dict(database.execute("SELECT exit_reason, COUNT(*) FROM v_trade GROUP BY 1").fetchall())
        sides = dict(database.execute("SELECT side, COUNT(*) FROM v_trade GROUP BY 1").fetchall())
        makers = dict(database.execute("SELECT liquidity, COUNT(*) FROM v_fill GROUP BY 1").fetchall())
        steps = database.execute("SELECT symbol, detail LIKE '%bundled binance%' FROM instrument").fetchall()
    assert trades > 500
    assert {"signal", "stop", "take", "time"} <= reasons.keys()
    assert min(sides["long"], sides["short"]) > 50
    assert makers["maker"] > 5
    assert steps == [("BTC/USDT", 1), ("ETH/USDT", 1)]
    with open_store(f"sqlite:///{months}", create=False, read_only=True) as store:
        assert [result for result in check(store, 1) if not result.ok] == []
    assert verify_run(1, url=f"sqlite:///{months}").identical


@pytest.mark.parametrize("promise", BROKEN)
def test_a_broken_promise_is_found(months, tmp_path, promise):
    """The statements can fail: each finds the one row that is changed to break it."""
    changes = {
        "a fill but a liquidation outside [low, high]": "UPDATE entry SET price = price * 2 WHERE seq = {0}",
        "a fill at no candle": "UPDATE entry SET time_ms = time_ms + 1 WHERE seq = {0}",
        "more than the cap of a candle": "UPDATE entry SET qty = 4000000000000 WHERE seq = {0}",
        "a trade that lost more than its margin": "UPDATE exit SET trade_pnl = -margin - 1 WHERE seq = {1}",
        "an entry in the candle that decided it": "UPDATE entry SET decided_ms = time_ms WHERE seq = {0}",
        "an exit before its entry": "UPDATE exit SET time_ms = 0 WHERE seq = {1}",
        "a pnl that is not gross - fees + funding": "UPDATE exit SET trade_pnl = trade_pnl + 1 WHERE seq = {1}",
        "fees that are not those of its fills": "UPDATE exit SET trade_fees = trade_fees + 1 WHERE seq = {1}",
        "an account that is below nothing": "UPDATE entry SET margin = margin * 1000000 WHERE seq = {0}",
        "a maker's fill of another order than an entry": "UPDATE exit SET order_id = {2} WHERE seq = {1}",
    }
    path = tmp_path / "broken.db"
    with sqlite3.connect(months) as source, sqlite3.connect(path) as target:
        source.backup(target)
        exit_seq, entry_seq = target.execute(
            "SELECT seq, entry_seq FROM exit WHERE kind = 1 AND funded = 1 ORDER BY seq LIMIT 1 OFFSET 3"
        ).fetchone()
        (maker,) = target.execute("SELECT order_id FROM entry WHERE maker = 1 AND funded = 1 LIMIT 1").fetchone()
        target.execute(changes[promise].format(entry_seq, exit_seq, maker))
        target.commit()
    with closing(opened(path)) as database:
        assert database.execute(BROKEN[promise]).fetchmany(3) != []


# Every position held at a stamp: entered before the candle of the stamp, not closed before it. What had been sold of it
# by then is the sum of its exit fills before.
OWED = """
    WITH held AS (
        SELECT t.trade, t.symbol, u.ts, u.rate, CASE t.side WHEN 'long' THEN 1 ELSE -1 END AS side,
            units(COALESCE(u.mark, c.open), i.price_exponent) AS mark, i.price_exponent + i.quantity_exponent AS digits,
            units(t.qty, i.quantity_exponent) - COALESCE((
                SELECT SUM(units(f.qty, i.quantity_exponent)) FROM v_fill f JOIN v_order o USING (run, order_id)
                WHERE f.trade = t.trade AND f.time_ms < u.ts AND o.kind <> 'entry' AND {partial}), 0) AS qty
        FROM v_funding u
        JOIN v_trade t ON t.symbol = u.symbol AND t.entry_ms < u.ts AND t.exit_ms >= u.ts AND t.funded = 1
        JOIN v_candle c ON c.symbol = u.symbol AND c.ts = u.ts
        JOIN instrument i ON i.symbol = u.symbol
        WHERE u.ts >= (SELECT MIN(time_ms) FROM v_equity))
    SELECT trade, SUM(payment(side, mark, qty, rate, digits)) FROM held GROUP BY trade"""


def funding_of(path):
    """(what each trade's row says, what stamps and positions say, the funding account) in 1e-8."""
    with opened(path) as database:
        split = {row[0] for row in database.execute("SELECT DISTINCT trade FROM partial")}
        database.create_function("in_parts", 1, lambda trade: trade in split)
        told = dict(database.execute("SELECT trade, units(funding, 8) FROM v_trade WHERE funded = 1").fetchall())
        owed = dict(database.execute(OWED.format(partial="in_parts(t.trade)")).fetchall())
        (account,) = database.execute(
            "SELECT SUM(CASE credit WHEN 'funding' THEN 1 ELSE -1 END * units(amount, 8)) FROM v_transfer"
            " WHERE code = 'funding'"
        ).fetchone()
        exhausted = {
            row[0]
            for row in database.execute(
                "SELECT trade FROM v_trade WHERE exit_reason = 'liquidation' AND units(pnl, 8) = -units(margin, 8)"
            )
        }
    return told, owed, account, exhausted


def assert_funding(path, least):
    told, owed, account, exhausted = funding_of(path)
    differ = {trade for trade in told if told[trade] != owed.get(trade, 0)}
    # a payment is at most the margin: only who lost all of it can have paid less than was owed
    assert differ <= exhausted
    assert all(told[trade] > owed[trade] for trade in differ)
    assert account == -sum(told.values())
    assert len([trade for trade, amount in told.items() if amount]) > least


def test_funding_of_four_months_to_the_unit(months):
    assert_funding(months, 50)


def test_stamps_are_those_of_the_files(months, real_data):
    """Every stamp of the funding file that lies on a traded candle, with its rate and the mark candle's open."""
    with opened(months) as database:
        for symbol in ("BTC", "ETH"):
            rows = database.execute(
                "SELECT ts, rate, mark FROM v_funding WHERE symbol = ? ORDER BY ts", (f"{symbol}/USDT",)
            ).fetchall()
            stored = pd.DataFrame(rows, columns=["ts", "rate", "mark"])
            raw = pd.read_parquet(real_data / SOURCE / f"{symbol}-USDT" / "funding.parquet")
            raw = raw[(raw.ts >= stored.ts.min()) & (raw.ts <= stored.ts.max())]
            assert stored.ts.tolist() == raw.ts.tolist()
            assert stored.rate.tolist() == raw.rate.tolist()
            marks = pd.read_parquet(real_data / SOURCE / f"{symbol}-USDT" / "1h-mark.parquet").set_index("ts").open
            expected = marks.reindex(stored.ts)
            assert np.array_equal(stored.mark.astype(float), expected.to_numpy(), equal_nan=True)
            assert expected.notna().sum() > 400


def test_four_hours_and_jitter(real_data, tmp_path):
    """The same candles with a stamp every four hours, each up to 4,999 ms beside the hour, and every tenth without a mark
    candle: the same sums, and as many stamps as were written."""
    rng = np.random.default_rng(0)
    start, end = (int(pd.Timestamp(text, tz="UTC").timestamp() * 1000) for text in ("2020-03-01", "2020-04-01"))
    written = {}
    for symbol in ("BTC-USDT", "ETH-USDT"):
        source, target = real_data / SOURCE / symbol, tmp_path / "binanceusdm" / symbol
        target.mkdir(parents=True)
        candles = pd.read_parquet(source / "1h.parquet")
        candles[(candles.ts >= start - 60 * 86_400_000) & (candles.ts < end)].to_parquet(target / "1h.parquet")
        hours = np.arange(start, end, 4 * 3_600_000)
        times = hours + rng.integers(-4_999, 5_000, len(hours))
        rates = np.round(rng.normal(0.0001, 0.0003, len(hours)), 8)
        pd.DataFrame({"ts": times, "rate": rates}).to_parquet(target / "funding.parquet", index=False)
        marks = pd.read_parquet(source / "1h-mark.parquet")
        marks[~marks.ts.isin(hours[::10])].to_parquet(target / "1h-mark.parquet", index=False)
        written[symbol.replace("-", "/")] = dict(zip(hours.tolist(), rates.tolist(), strict=True))
    path = replayed(tmp_path, tmp_path, "population.size=300", 'feed.start="2020-03-01"', "feed.timeframes=['1h']")
    assert_funding(path, 30)
    with opened(path) as database:
        for symbol, stamps in written.items():
            rows = database.execute("SELECT ts, rate FROM v_funding WHERE symbol = ?", (symbol,)).fetchall()
            assert dict(rows) == stamps
        (without,) = database.execute("SELECT COUNT(*) FROM v_funding WHERE mark IS NULL").fetchone()
    assert without >= 2 * 186 // 10


@pytest.mark.nightly
def test_promises_hold_over_the_whole_replay(everything):
    with closing(opened(everything)) as database:
        broken = [promise for promise, query in BROKEN.items() if database.execute(query).fetchmany(3)]
    assert broken == []


@pytest.mark.nightly
def test_funding_of_the_whole_replay_to_the_unit(everything):
    assert_funding(everything, 1_000)
