"""`trader report` on runs as they come: finished, stopped, idle, killed before the first frame, several on one history."""

from __future__ import annotations

import dataclasses
import json
import sqlite3

import numpy as np
import pytest

from tests.shell_layer.shell_support import trader
from trader.core.config import load
from trader.report.card import card
from trader.session.api import StopFlag, run_session
from trader.session.reporting import report_run
from trader.store.store import open_store

SMALL = ["session.candles=900", "population.size=40", "levels.evolution.every=300", "feed.timeframes=['1h']"]


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """A finished run, the same with another exchange fee, one on another made-up market, and a stopped one."""
    url = str(tmp_path_factory.mktemp("report") / "trader.db")
    for sets in ([], ["exchange.slippage=0.001"], ["session.seed=5"]):
        run_session(load(None, ["feed.kind=synthetic", *SMALL, *sets]), url=url)
    run_session(load(None, ["feed.kind=synthetic", *SMALL, "session.seed=9"]), url=url, stop=StopFlag(requested=True))
    return url


def test_one_document_on_stdout(database, tmp_path):
    done = trader("report", "1", "--db", database, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert {"colour", "pessimistic", "random"} <= set(document["paths"])
    assert {"run", "performance", "intervals", "baselines", "trials", "trading", "breakdown", "funnel"} <= set(document)
    assert document["run"]["digest"]


def test_the_card_has_the_figures_and_no_ratio_without_its_trials(database):
    text = str(report_run(1, url=database))
    for word in (
        "Sharpe",
        "95 % interval",
        "buy and hold",
        "cash",
        "trials: 2",
        "By archetype",
        "Best trades",
        "costs",
    ):
        assert word in text, word
    assert "no controls in this run" in text
    assert "a made-up market" in text


def test_figures_agree_with_the_rows(database):
    report = report_run(1, url=database)
    with open_store(database, create=False, read_only=True) as store:
        fees, pnl, count = store_sums(store)
    assert report["trading"]["trades"] == count
    assert report["trading"]["fees"] == pytest.approx(fees)
    assert report["trading"]["pnl"] == pytest.approx(pnl)
    assert float(report["run"]["equity_end"]) == pytest.approx(1_000_000 + pnl, rel=1e-12)
    for rows in report["breakdown"].values():
        assert sum(row["trades"] for row in rows) == count
        assert sum(row["pnl"] for row in rows) == pytest.approx(pnl)
    assert report["performance"]["max_drawdown"] == pytest.approx(report["run"]["max_drawdown"])


def store_sums(store):
    from trader.store import queries

    _, rows = queries.sql(store, "SELECT SUM(fees), SUM(pnl), COUNT(*) FROM v_trade WHERE run = 1 AND funded = 1")
    return rows[0]


def test_the_same_rows_give_the_same_report(database):
    assert repr(report_run(1, url=database).document) == repr(report_run(1, url=database).document)


def test_trials_come_from_the_registry(tmp_path):
    """The same again is no new trial; a session that left no run is."""
    url = str(tmp_path / "trader.db")
    for sets in ([], [], ["exchange.slippage=0.001"]):
        run_session(load(None, ["feed.kind=synthetic", *SMALL, *sets]), url=url)
    assert report_run(1, url=url)["trials"]["count"] == 2
    with sqlite3.connect(url) as connection:
        connection.execute(
            "INSERT INTO trial SELECT fingerprint, 'y', 'evaluate', NULL, feed, source, markets, timeframes, base_ms, first_ms,"
            " last_ms, content, seed, NULL, 1, started_utc FROM trial WHERE run = 1"
        )
    assert report_run(1, url=url)["trials"]["count"] == 3


def test_trials_are_configs_on_the_same_stretch_of_the_same_market(database):
    assert report_run(1, url=database)["trials"]["count"] == 2
    assert report_run(2, url=database)["trials"]["count"] == 2
    assert report_run(3, url=database)["trials"]["count"] == 1


def test_a_stopped_run_is_told_as_far_as_it_got(database):
    report = report_run("latest", url=database)
    assert report["run"]["status"] == "stopped"
    assert any("stopped" in note for note in report["notes"])
    assert "stopped" in str(report)


def test_a_run_without_trades_has_a_report(tmp_path):
    config = load(None, ["feed.kind=synthetic", *SMALL, "pool.capital=0.001"])
    run_session(config, url=str(tmp_path / "x.db"))
    report = report_run("latest", url=str(tmp_path / "x.db"))
    assert report["trading"]["trades"] == 0
    assert report["performance"]["total_return"] == 0.0
    assert "no closed trades" in card(report.document)


def test_a_run_that_never_committed_is_refused_in_one_line(database, tmp_path):
    with open_store(database, create=False) as store:
        row = store.resolve(1)
        names = {"instruments", "names"}
        from trader.store.records import RunHeader

        kept = {f.name: getattr(row, f.name) for f in dataclasses.fields(RunHeader) if f.name not in names}
        run = store.create_run(RunHeader(**kept, instruments=store.instruments(1)))
    done = trader("report", str(run), "--db", database, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "nothing to report" in done.stderr


@pytest.mark.parametrize("words", [("report", "77"), ("report", "nobody"), ("report", "1", "--db", "memory")])
def test_what_is_not_there_is_refused(database, tmp_path, words):
    done = trader(*words, *(() if "--db" in words else ("--db", database)), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1


def test_every_rule_for_the_way_inside_a_candle_is_put_beside_the_others(database):
    report = report_run(1, url=database, paths=True)
    own = report["paths"]["colour"]
    assert own["trades"] == report["run"]["trades"]
    assert own["equity_end"] == pytest.approx(float(report["run"]["equity_end"]), abs=1e-6)
    assert own["total_return"] == pytest.approx(report["performance"]["total_return"])
    assert report["paths"]["pessimistic"]["total_return"] <= own["total_return"]
    assert "the run's rule is colour" in report["paths_told"]
    assert "another result" not in report["paths_told"]
    assert "Inside the candle" in str(report)
    assert report_run(1, url=database)["paths"] is None


def test_a_result_that_does_not_come_out_again_is_told(database, monkeypatch):
    from trader.session import reporting

    figures = {"profit": 1.0, "equity_end": 1.0, "total_return": -1.0, "max_drawdown": 1.0, "trades": 3}
    monkeypatch.setattr(reporting, "path_error_bar", lambda run, url: {"colour": figures})
    assert "another result than the stored one" in report_run(1, url=database, paths=True)["paths_told"]


def test_long_re_runs_are_announced(database, monkeypatch):
    from trader.session import reporting

    monkeypatch.setattr(reporting, "NOTICE_SECONDS", 0.0)
    told = []
    report_run(1, url=database, paths=True, tell=told.append)
    assert len(told) == 1
    assert "--no-paths" in told[0]


def test_json_shows_what_cannot_be_computed_as_null(database, tmp_path):
    document = json.loads(trader("report", "4", "--no-paths", "--db", database, "--json", cwd=tmp_path).stdout)
    assert document["baselines"]["cash"]["sharpe"] is None
    assert np.isfinite(document["performance"]["total_return"])
