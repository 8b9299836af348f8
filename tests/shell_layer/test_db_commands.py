"""`trader db`: every listing in both forms, filters, SQL, check, export, migrate."""

from __future__ import annotations

import csv
import json
import sqlite3
import time
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from trader.__main__ import main
from trader.cli import output
from trader.cli.db import LISTINGS


@pytest.fixture
def db(finished, capsys):
    """Run a `db` command on the finished run; gives exit code and what was printed."""
    path, _ = finished

    def call(*words):
        code = main(["db", *words, "--db", str(path)])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return call


def rows(path, text):
    connection = sqlite3.connect(path)
    try:
        return connection.execute(text).fetchall()
    finally:
        connection.close()


@pytest.mark.parametrize("name", ["runs", *LISTINGS])
def test_a_listing_is_one_json_array_whose_keys_are_the_views_columns(name, db):
    words = [] if name == "runs" else ["latest"]
    code, out, err = db(name, *words, "--json", "--limit", "3")
    assert (code, err) == (0, "")
    listed = json.loads(out)
    assert len(listed) <= 3
    assert all(row["run"] == 1 for row in listed)
    code, out, err = db(name, *words, "--limit", "3")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split()[0] == "run"
    assert len(lines) == 1 + len(listed)
    if listed:
        assert lines[0].split() == list(listed[0])


def test_the_run_is_listed_with_its_summary(db, finished):
    summary = json.loads(finished[1].stdout)
    (listed,) = json.loads(db("runs", "--json")[1])
    for key in (
        "run",
        "status",
        "feed",
        "seed",
        "config_hash",
        "candles",
        "trades",
        "equity_end",
        "digest",
        "decisions",
    ):
        assert listed[key] == summary[key], key


def test_filters_sorting_and_limits(db, finished):
    path, _ = finished
    everything = json.loads(db("trades", "latest", "--limit", "0", "--json")[1])
    assert len(everything) == rows(path, 'SELECT count(*) FROM "exit"')[0][0] > 20
    assert len(json.loads(db("trades", "--json")[1])) == min(100, len(everything))
    longs = json.loads(db("trades", "--side", "long", "--symbol", "AAA/USDT", "--limit", "0", "--json")[1])
    assert longs == [row for row in everything if row["side"] == "long" and row["symbol"] == "AAA/USDT"]
    by_profit = json.loads(db("trades", "--sort", "-pnl", "--limit", "5", "--json")[1])
    assert [row["pnl"] for row in by_profit] == sorted((row["pnl"] for row in everything), reverse=True)[:5]
    middle = sorted(row["exit_ms"] for row in everything)[len(everything) // 2]
    late = json.loads(db("trades", "--since", str(middle), "--limit", "0", "--json")[1])
    assert {row["trade"] for row in late} == {row["trade"] for row in everything if row["exit_ms"] >= middle}
    agent = everything[0]["agent"]
    assert {row["agent"] for row in json.loads(db("trades", "--agent", str(agent), "--json")[1])} == {agent}


@pytest.mark.parametrize(
    "words",
    [
        ["trades", "latest", "--sort", "colour"],
        ["trades", "nobody"],
        ["levels", "--symbol", "AAA/USDT"],
        ["orders", "--side", "long"],
        ["sql", "DROP TABLE run"],
        ["sql", "SELECT nothing FROM v_trade"],
        ["sql", "SELECT 1; SELECT 2"],
    ],
)
def test_wrong_questions_are_answered_in_one_line(words, db):
    code, out, err = db(*words)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1


def test_sql_reads_the_views(db, finished):
    path, _ = finished
    code, out, _ = db("sql", "SELECT count(*) AS n, sum(pnl) AS total FROM v_trade", "--json")
    assert code == 0
    (row,) = json.loads(out)
    assert row["n"] == rows(path, 'SELECT count(*) FROM "exit"')[0][0]
    assert row["total"] == pytest.approx(rows(path, 'SELECT sum(trade_pnl) FROM "exit"')[0][0] / 1e8)
    code, out, _ = db("sql", "SELECT seq FROM entry ORDER BY seq", "--limit", "2", "--json")
    assert len(json.loads(out)) == 2


def test_check_holds_for_a_run_and_fails_for_a_changed_one(finished, tmp_path, capsys):
    path, _ = finished
    assert main(["db", "check", "latest", "--db", str(path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is True
    assert len(report["checks"]) >= 5
    assert all(set(check) == {"name", "ok", "detail"} for check in report["checks"])
    other = tmp_path / "changed.db"
    with sqlite3.connect(path) as source, sqlite3.connect(other) as target:
        source.backup(target)
        target.execute('UPDATE "exit" SET trade_pnl = trade_pnl + 1 WHERE seq = (SELECT min(seq) FROM "exit")')
    target.close()
    assert main(["db", "check", "latest", "--db", str(other)]) == 1
    shown = capsys.readouterr()
    assert "FAIL" in shown.out
    assert shown.err == ""


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_export_writes_the_views_as_files(form, finished, tmp_path, capsys):
    path, _ = finished
    words = ["db", "export", "latest", "--out", str(tmp_path / "out"), "--format", form, "--db", str(path), "--json"]
    assert main(words) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    trades = next(file for file in files if file.endswith(f"v_trade.{form}"))
    expected = rows(path, 'SELECT count(*) FROM "exit"')[0][0]
    if form == "csv":
        with Path(trades).open(newline="", encoding="utf-8") as stream:
            assert sum(1 for _ in csv.DictReader(stream)) == expected
    else:
        import pyarrow.parquet as pq

        assert pq.read_table(trades).num_rows == expected
    assert main([*words[:-1], "--quiet"]) == 0


def test_migrate_makes_a_database_and_leaves_one_alone(tmp_path, capsys):
    path = tmp_path / "sub" / "new.db"
    for _ in range(2):
        assert main(["db", "migrate", "--db", str(path), "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["revision"]
        assert path.exists()
    assert main(["db", "runs", "--db", str(path)]) == 0
    assert capsys.readouterr().out.split()[:2] == ["run", "name"]


def test_the_environment_names_the_database_and_the_option_wins(finished, tmp_path, monkeypatch, capsys):
    path, _ = finished
    monkeypatch.setenv("TRADER_DB", str(path))
    assert main(["db", "runs", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 1
    assert main(["db", "runs", "--db", str(tmp_path / "none.db")]) == 2


def test_tables_are_aligned_and_nothing_is_cut(capsys):
    output.write_rows(("name", "price"), [("a" * 90, 1.5), ("b c\nd", None), ("", 123456789.5)], as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("a" * 90)
    assert lines[2].startswith("b c d")
    assert [line.split()[-1] for line in lines] == ["price", "1.5", "-", "123456789.50"]
    assert len({len(line) for line in lines}) == 1


def test_json_is_strict(capsys):
    output.write_rows(("a", "b"), [(float("nan"), Decimal("1.25")), (float("inf"), "é")], as_json=True)
    assert json.loads(capsys.readouterr().out) == [{"a": None, "b": 1.25}, {"a": None, "b": "é"}]
    output.write_rows(("a",), [], as_json=True)
    assert json.loads(capsys.readouterr().out) == []


def test_many_rows_are_written_quickly(capsys):
    """20,000 rows of 30 columns; a loose bound, the promise is measured in the benchmarks."""
    columns = tuple(f"c{place}" for place in range(30))
    table = [tuple(row) for row in np.random.default_rng(0).integers(0, 10**9, (20_000, 30)).tolist()]
    start = time.perf_counter()
    output.write_rows(columns, table, as_json=True)
    assert len(json.loads(capsys.readouterr().out)) == 20_000
    assert time.perf_counter() - start < 10
