"""The registry counts every look at data, once for each config, and outlives its runs."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import sqlalchemy

from tests.store_layer import sample_run
from trader.store import schema, trials
from trader.store.database import Database, create_file, locate
from trader.store.digest import combine
from trader.store.queries import sql
from trader.store.store import open_store
from trader.store.tables import RUN, TRIAL

HOUR = 3_600_000


def rows_of(store):
    columns, rows = sql(store, "SELECT * FROM v_trial ORDER BY fingerprint, config_hash, purpose")
    return [dict(zip(columns, row, strict=True)) for row in rows]


def data(first=0, last=99, markets=("A/USDT", "B/USDT"), source=trials.HISTORY, content="x"):
    return trials.Data("replay", source, markets, ("1h",), HOUR, (first * HOUR, last * HOUR), content)


def enter(store, config_hash, purpose=trials.EVALUATE, sharpe=None, **about):
    trials.register(
        store, data(**about), config_hash=config_hash, purpose=purpose, seed=0, started_utc="2026-01-01", sharpe=sharpe
    )


def test_a_run_is_a_trial_from_its_first_moment_and_gets_its_fingerprint_at_its_end(url):
    with open_store(url, create=True) as store:
        run = store.create_run(sample_run.header())
        (begun,) = rows_of(store)
        assert (begun["run"], begun["fingerprint"], begun["first_ms"]) == (run, f"run {run}", None)
        assert trials.on_same_data(store, begun["source"], json.loads(begun["markets"]), (0, 1)).count == 1


def test_identical_runs_are_one_trial_and_the_registry_is_in_no_digest(url):
    with open_store(url, create=True) as store:
        made = sample_run.make(60, 8, 5)
        for _ in range(2):
            run = sample_run.write(store, made)
            digests = store.recompute_digest(run)
            assert "trial" not in digests
            store.update_run(run, status="finished", digests=digests)
            assert store.resolve(run).digest == combine(digests)
        (only,) = rows_of(store)
        assert only["repeats"] == 2
        assert only["run"] == 1
        assert only["first_ms"] < only["last_ms"]
        assert len(only["fingerprint"]) == 64
        assert only["content"] == digests["candle"]
        with store.database.transaction() as connection:
            connection.execute(RUN.delete())
        assert len(rows_of(store)) == 1


def test_a_run_that_goes_on_after_a_stop_stays_one_trial(url):
    with open_store(url, create=True) as store:
        made = sample_run.make(60, 8, 5)
        run = sample_run.write(store, made)
        store.update_run(run, status="stopped", digests={"candle": "short"})
        short = rows_of(store)[0]["fingerprint"]
        store.update_run(run, status="finished", digests={"candle": "long"})
        (only,) = rows_of(store)
        assert (only["fingerprint"] != short, only["content"], only["repeats"]) == (True, "long", 1)


def test_what_counts_as_the_same_data(url):
    with open_store(url, create=True) as store:
        enter(store, "a", sharpe=0.1)
        enter(store, "a", sharpe=0.1)
        enter(store, "b", sharpe=0.3)
        enter(store, "c", trials.CONTROL, sharpe=-9.0)
        enter(store, "other market", markets=("C/USDT",))
        enter(store, "later", first=100, last=200)
        enter(store, "made up", source="made up from seed 1: null")
        enter(store, "a", trials.HOLDOUT)
        found = trials.on_same_data(store, trials.HISTORY, ["B/USDT"], (50 * HOUR, 99 * HOUR))
        assert found == trials.Trials(3, (0.1, 0.3), 1)
        assert trials.on_same_data(store, trials.HISTORY, ["A/USDT"], (99 * HOUR, 100 * HOUR)).count == 4
        assert trials.on_same_data(store, trials.HISTORY, ["A/USDT"], (300 * HOUR, 400 * HOUR)).count == 0
        assert max(row["repeats"] for row in rows_of(store)) == 2


def test_a_fingerprint_is_of_markets_timeframes_span_and_content():
    base = data()
    others = [
        replace(base, markets=("A/USDT",)), replace(base, timeframes=("4h",)), replace(base, span=(0, HOUR)),
        replace(base, content="y"), replace(base, source="made up"), replace(base, base_ms=1),
    ]  # fmt: skip
    assert len({base.fingerprint, *(other.fingerprint for other in others)}) == 7
    assert replace(base, markets=base.markets[::-1]).fingerprint == base.fingerprint


def test_purposes_are_known(url):
    with open_store(url, create=True) as store, pytest.raises(AssertionError, match="unknown purpose"):
        enter(store, "a", "something")


def test_an_older_database_is_brought_up_and_its_runs_count(tmp_path):
    """A database of schema 0001 with a run in it, made by the migrations, then migrated by opening it."""
    from alembic import command
    from alembic.config import Config

    location = locate(str(tmp_path / "old.db"))
    create_file(location.path)
    database = Database(location, read_only=False)
    config = Config()
    config.set_main_option("script_location", f"{schema.__file__.rpartition('/')[0]}/migrations")
    with database.transaction() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        values = {
            "name": "old", "status": "finished", "feed": "synthetic", "seed": 4, "config_hash": "h", "code_version": "0",
            "config": json.dumps({"feed": {"timeframes": ["1h", "4h"], "synthetic": {"mode": "null"}}}), "platform": "{}",
            "started_utc": "2026-01-01", "base_ms": HOUR, "commits": 1, "candles": 5, "equity_start": 1, "equity_end": 1,
        }  # fmt: skip
        connection.execute(RUN.insert().values(values))
        connection.execute(
            sqlalchemy.text(
                "INSERT INTO equity VALUES (1, 1, 0, 7200000, 0, 0, 0, 0, 0), (1, 2, 1, 10800000, 0, 0, 0, 0, 0)"
            )
        )
    database.close()
    with open_store(location.url, create=True) as store:
        (only,) = rows_of(store)
        assert (only["run"], only["first_ms"], only["last_ms"]) == (1, 7_200_000, 10_800_000)
        assert only["source"] == trials.source_of("synthetic", 4, {"synthetic": {"mode": "null"}})
        with store.database.reading() as connection:
            assert connection.execute(sqlalchemy.select(sqlalchemy.func.count()).select_from(TRIAL)).scalar() == 1
