"""Listings filter, sort and limit by bound parameters; `sql` reads and does nothing else; exports are the views."""

from __future__ import annotations

import csv
import json

import pytest
from pyarrow import parquet

from tests.store_layer import sample_run
from trader.core.types import SurroundingsError, UserError
from trader.store import queries
from trader.store.listings import LISTINGS, RUN_COLUMNS
from trader.store.memory import MemoryStore
from trader.store.store import open_store
from trader.store.views import all_views

FRAMES = sample_run.make(60, 8, 5)


@pytest.fixture(scope="module")
def store(module_url):
    with open_store(module_url, create=True) as writing:
        sample_run.write(writing, sample_run.make(5, 4, 9), name="other")
        sample_run.write(writing, FRAMES)
    with open_store(module_url, create=False, read_only=True) as opened:
        yield opened


def listed(store, name, **filters):
    found = queries.listing(store, name, store.resolve("sample").run, **filters)
    return [dict(zip(found.columns, row, strict=True)) for row in found.rows]


@pytest.mark.parametrize("name", LISTINGS)
def test_a_listing_is_its_view(store, name):
    everything = listed(store, name, limit=0)
    view = all_views(store.database.dialect)[LISTINGS[name].view]
    assert all(list(row) == list(view.names) for row in everything)
    number = store.resolve("sample").run
    with store.database.reading() as connection:
        count = connection.exec_driver_sql(f"SELECT COUNT(*) FROM {view.name} WHERE run = {number}").scalar()
    assert len(everything) == count
    assert all(row["run"] == number for row in everything)
    assert listed(store, name, limit=3) == everything[:3]
    assert len(listed(store, name)) == min(count, 100)


def test_newest_rows_come_first(store):
    for name, column in (("trades", "exit_ms"), ("ledger", "seq"), ("candles", "ts"), ("levels", "seq")):
        values = [row[column] for row in listed(store, name, limit=0)]
        assert values == sorted(values, reverse=True)
    assert [row["agent"] for row in listed(store, "agents")] == list(range(8))


def test_filters(store):
    trades = listed(store, "trades", limit=0)
    for filters, keeps in (
        ({"symbol": "AAA/USDT"}, lambda row: row["symbol"] == "AAA/USDT"),
        ({"symbol": "AAA/USDT:USDT"}, lambda row: row["symbol"] == "AAA/USDT"),
        ({"agent": 3}, lambda row: row["agent"] == 3),
        ({"side": "short"}, lambda row: row["side"] == "short"),
        ({"since": 30 * sample_run.HOUR}, lambda row: row["exit_ms"] >= 30 * sample_run.HOUR),
        ({"until": 30 * sample_run.HOUR}, lambda row: row["exit_ms"] < 30 * sample_run.HOUR),
        (
            {"symbol": "BBB/USDT", "side": "long", "agent": 1},
            lambda r: (r["symbol"], r["side"], r["agent"]) == ("BBB/USDT", "long", 1),
        ),
    ):
        expected = [row for row in trades if keeps(row)]
        assert 0 < len(expected) < len(trades), filters
        assert listed(store, "trades", limit=0, **filters) == expected
        assert listed(store, "trades", limit=2, **filters) == expected[:2]
    assert listed(store, "trades", symbol="CCC/USDT") == []
    orders = listed(store, "orders", limit=0)
    assert listed(store, "orders", limit=0, side="buy") == [row for row in orders if row["side"] == "buy"]
    ledger = listed(store, "ledger", limit=0)
    assert listed(store, "ledger", limit=5, agent=2) == [row for row in ledger if row["agent"] == 2][:5]
    fitness = listed(store, "fitness", limit=0, since=40 * sample_run.HOUR)
    assert 0 < len(fitness) < len(listed(store, "fitness", limit=0))


@pytest.mark.parametrize("name", ["trades", "orders", "ledger", "agents"])
def test_every_column_sorts_both_ways(store, name):
    columns = all_views(store.database.dialect)[LISTINGS[name].view].columns
    everything = listed(store, name, limit=0)
    for column in columns:
        values = [row[column.name] for row in everything if row[column.name] is not None]
        empty = len(everything) - len(values)
        for sign in ("", "-"):
            for limit in (0, 7):
                found = [row[column.name] for row in listed(store, name, limit=limit, sort=sign + column.name)]
                if column.kind != "text":  # the order of text is the database's collation
                    expected = [*sorted(values, reverse=bool(sign)), *[None] * empty]
                    assert found == expected[: limit or None], (column.name, sign, limit)
                assert len(found) == min(limit or len(everything), len(everything))


def test_lineage_of_an_agent_is_its_ancestors(store):
    assert [row["agent"] for row in listed(store, "lineage", agent=5)] == [0, 1, 2, 3, 4, 5]
    assert [row["agent"] for row in listed(store, "lineage", agent=0)] == [0]
    assert len(listed(store, "lineage")) == 8
    with pytest.raises(UserError, match="no agent 77"):
        listed(store, "lineage", agent=77)


def test_runs_show_their_summaries(store):
    found = queries.listing(store, "runs")
    assert found.columns == RUN_COLUMNS
    first, second = [dict(zip(found.columns, row, strict=True)) for row in found.rows]
    assert (first["name"], second["name"]) == ("sample", "other")
    assert first["equity_start"] == "1000000.00000000"
    assert first["digest"] == store.resolve("sample").digest
    assert (first["decisions"], first["max_drawdown"], first["status"]) == (5, None, "stopped")
    assert first["db"] == store.url
    assert [row[1] for row in queries.listing(store, "runs", sort="run").rows] == ["other", "sample"]
    assert [row[1] for row in queries.listing(store, "runs", sort="-equity_end", limit=1).rows] == ["other"]
    with pytest.raises(UserError, match="no such column"):
        queries.listing(store, "runs", sort="config")


PAYLOADS = (
    "x' OR '1'='1", "'; DROP TABLE run; --", 'a" UNION SELECT * FROM run --', "pnl); DELETE FROM exit; --", "1; ATTACH 'x' AS y",
    "CASE WHEN 1 THEN pnl END", "pnl DESC, (SELECT 1)", "\\", "%s%s%s", "?", ":a", "é", "\x00",
)  # fmt: skip


@pytest.mark.parametrize("payload", PAYLOADS)
def test_what_a_person_types_is_data(store, payload):
    before = store.recompute_digest(store.resolve("sample").run)
    for name in LISTINGS:
        with pytest.raises(UserError, match="no such column"):
            listed(store, name, sort=payload)
    if "\x00" not in payload:
        assert listed(store, "trades", symbol=payload) == []
    for name in ("trades", "orders"):
        with pytest.raises(UserError, match="--side"):
            listed(store, name, side=payload)
    with pytest.raises(UserError, match="unknown"):
        queries.listing(store, payload, 1)
    assert store.recompute_digest(store.resolve("sample").run) == before


def test_filters_that_a_listing_does_not_have_are_refused(store):
    for name, filters in (("levels", {"symbol": "AAA/USDT"}), ("candles", {"agent": 1}), ("fills", {"side": "buy"}),
                          ("funnel", {"since": 1}), ("positions", {"until": 1})):  # fmt: skip
        with pytest.raises(UserError, match="has no such filter"):
            listed(store, name, **filters)
    with pytest.raises(UserError, match="--limit"):
        listed(store, "trades", limit=-1)


def test_sql_reads_the_views(store):
    columns, rows = queries.sql(store, "SELECT symbol, COUNT(*) AS n FROM v_trade GROUP BY symbol ORDER BY symbol")
    assert columns == ("symbol", "n")
    assert [row[0] for row in rows] == ["AAA/USDT", "BBB/USDT"]
    assert len(queries.sql(store, "SELECT * FROM v_candle", limit=7)[1]) == 7
    text = "/* a */ -- b\n (WITH x AS (SELECT 1 AS y) SELECT y FROM x WHERE 'a%b' LIKE 'a%')"
    assert queries.sql(store, text.replace("(WITH", "WITH").removesuffix(")")) == (("y",), [(1,)])


@pytest.mark.parametrize(
    "text",
    [
        "DELETE FROM exit", "DROP TABLE run", "UPDATE run SET name = 'x'", "INSERT INTO name VALUES (1,'a',1,'b')",
        "CREATE TABLE x (y int)", "SELECT 1; DROP TABLE run", "WITH x AS (SELECT 1) DELETE FROM exit",
        "SELECT * FROM nowhere", "PRAGMA journal_mode=DELETE", "ATTACH '/tmp/x' AS y", "VACUUM", "", ";", "-- nothing",
        "COMMIT", "BEGIN; DELETE FROM run", "COPY run TO '/tmp/x'", "SET ROLE postgres",
        "EXPLAIN DELETE FROM run; DROP TABLE run",
        "SELECT writefile('/tmp/x', 'y')", "SELECT load_extension('x')", "SELECT\x00 1",
        "WITH x AS (DELETE FROM exit RETURNING 1) SELECT * FROM x", "REINDEX", "SELECT 1 INTO new_table FROM run",
    ],
)  # fmt: skip
def test_sql_refuses_everything_else(store, text):
    run = store.resolve("sample").run
    before = store.recompute_digest(run)
    with pytest.raises(UserError) as error:
        queries.sql(store, text)
    assert "\n" not in str(error.value)
    assert store.recompute_digest(run) == before


def test_sql_reads_no_files_of_the_server(store):
    texts = ("SELECT pg_read_file('/etc/passwd')", "SELECT lo_import('/etc/passwd')")
    if store.is_sqlite:
        texts = ("SELECT readfile('/etc/passwd')", "SELECT load_extension('x')")
    for text in texts:
        with pytest.raises(UserError, match=r"permission denied|read-only|no such function|not authorized"):
            queries.sql(store, text)


def test_sql_ends_after_its_time(store, monkeypatch):
    monkeypatch.setattr("trader.store.sql.TIMEOUT_SECONDS", 0.3)
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n"
    with pytest.raises(UserError, match=r"longer than|timeout"):
        queries.sql(store, endless)


def test_sqlite_values_cannot_fill_the_memory(tmp_path):
    with open_store(str(tmp_path / "a.db"), create=True) as store, pytest.raises(UserError, match=r"too big|too large"):
        queries.sql(store, "SELECT zeroblob(1000000000)")
    with open_store(str(tmp_path / "a.db"), create=False) as store:
        assert queries.sql(store, "SELECT x'00ff' AS b")[1] == [("00ff",)]


def test_a_read_only_store_cannot_write(tmp_path):
    path = str(tmp_path / "a.db")
    with open_store(path, create=True) as store:
        sample_run.write(store, FRAMES[:5])
    with open_store(path, create=False, read_only=True) as store:
        with pytest.raises(AssertionError, match="read-only"):
            store.update_run(1, status="failed")
        with pytest.raises(SurroundingsError, match="readonly"), store.database.reading() as connection:
            connection.exec_driver_sql("DELETE FROM run")


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_exports_are_the_views(store, tmp_path, form):
    run = store.resolve("sample").run
    files = queries.export(store, run, tmp_path / "out", form)
    assert {file.name for file in files} == {f"{name}.{form}" for name in all_views("sqlite")}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(file.name for file in files)
    trades = list(reversed(listed(store, "trades", limit=0)))
    if form == "parquet":
        table = parquet.read_table(tmp_path / "out" / "v_trade.parquet")
        assert table.to_pylist() == trades
        assert str(parquet.read_table(tmp_path / "out" / "v_bandit.parquet").schema.field("reward").type) == "double"
        return
    with (tmp_path / "out" / "v_trade.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["trade"] for row in found] == [str(row["trade"]) for row in trades]
    assert [float(row["pnl"]) for row in found] == [row["pnl"] for row in trades]
    with (tmp_path / "out" / "v_level.csv").open(newline="") as file:
        assert all(json.loads(row["detail"]) and row["objective_before"] == "" for row in csv.DictReader(file))


def test_exports_refuse_what_cannot_be(store, tmp_path):
    run = store.resolve("sample").run
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="csv or parquet"):
        queries.export(store, run, tmp_path / "out", "xls")
    with pytest.raises(UserError, match="is a file"):
        queries.export(store, run, tmp_path / "file", "csv")
    with pytest.raises(SurroundingsError, match="export"):
        queries.export(store, run, tmp_path / "file" / "below", "csv")


def test_a_store_in_memory_has_no_listings(tmp_path):
    with MemoryStore() as store:
        for question in (
            lambda: queries.listing(store, "runs"),
            lambda: queries.sql(store, "SELECT 1"),
            lambda: queries.export(store, 1, tmp_path),
        ):
            with pytest.raises(UserError, match="memory"):
                question()
