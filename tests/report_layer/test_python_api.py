"""The platform from Python: the page's examples run, frames are the views, and importing stays light."""

from __future__ import annotations

import datetime as dt
import re
import shutil
import subprocess
import sys

import pandas as pd
import pytest

from tests.shell_layer.shell_support import ROOT, START_MS, write_history
from trader import Run, open_run, replay, run
from trader.core.config import load
from trader.core.errors import UserError
from trader.store import queries
from trader.store.listings import LISTINGS
from trader.store.store import open_store

EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the examples run: the shipped configs, and a candle store with two perpetuals."""
    place = tmp_path_factory.mktemp("python")
    shutil.copytree(ROOT / "configs", place / "configs")
    for seed, symbol in enumerate(("AAA-USDT", "BBB-USDT")):
        write_history(place / "data" / "candles" / "binanceusdm" / symbol, seed)
    return place


@pytest.fixture(scope="module")
def history_run(folder) -> Run:
    sets = {"population.size": 60, "feed.timeframes": ["1h"], "levels.evolution.every": 500, "session.name": "mine"}
    config = str(folder / "configs" / "perp-replay.toml")
    return replay(config, data=folder / "data" / "candles", set=sets, db=str(folder / "api.db"))


def test_the_examples_of_the_page_run(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.delenv("TRADER_DB", raising=False)
    names: dict[str, object] = {}
    for example in EXAMPLES:
        exec(compile(example, "docs/python.md", "exec"), names)
    told = capsys.readouterr().out
    assert "finished" in told
    assert "Report of run 1" in told
    assert "Agent " in told


@pytest.mark.parametrize("name", list(LISTINGS))
def test_frames_are_the_views_with_a_utc_index(history_run, folder, name):
    frame = history_run.frame(name)
    assert isinstance(frame.index, pd.DatetimeIndex)
    assert str(frame.index.tz) == "UTC"
    with open_store(str(folder / "api.db"), create=False, read_only=True) as store:
        columns, rows = queries.listing(store, name, history_run.id, limit=0)
    assert list(frame.columns) == list(columns)
    assert len(frame) == len(rows)


def test_values_are_those_of_the_view(history_run, folder):
    trades = history_run.trades
    with open_store(str(folder / "api.db"), create=False, read_only=True) as store:
        columns, rows = queries.listing(store, "trades", history_run.id, limit=0)
    told = dict(zip(columns, rows[-1], strict=True))  # newest first
    mine = trades.iloc[0]
    assert {name: mine[name] for name in columns if not name.endswith("_utc")} == {
        name: value for name, value in told.items() if not name.endswith("_utc")
    }
    assert mine.entry_utc == pd.Timestamp(told["entry_utc"])
    assert trades.index[0] == pd.Timestamp(told["exit_ms"], unit="ms", tz="UTC")
    assert trades.index.is_monotonic_increasing
    assert history_run.orders.trade.dtype == "Int64"
    assert history_run.agents.died_utc.dtype == "datetime64[ms, UTC]"


def test_the_summary_has_the_contracts_keys(history_run):
    words = """run status feed seed config_hash candles decisions orders trades agents generations equity_start
    equity_end max_drawdown wall_s agent_candles_per_s digest db"""
    assert list(history_run.summary) == words.split()
    assert history_run.summary["status"] == "finished"
    assert history_run.summary["trades"] == len(history_run.trades)


def test_a_run_is_opened_by_number_name_and_latest(history_run, folder):
    url = str(folder / "api.db")
    assert open_run(db=url).id == open_run("mine", db=url).id == open_run(history_run.id, db=url).id
    assert open_run(db=url).config.population.size == 60
    assert "finished" in repr(open_run(db=url))
    with pytest.raises(UserError, match="run 99"):
        open_run(99, db=url)
    with pytest.raises(UserError, match="no such file"):
        open_run(db=str(folder / "nothing.db"))


def test_a_config_text_settings_and_mapping_settings_are_one_thing(folder):
    base = ["feed.kind=synthetic", "session.candles=300", "population.size=20", "feed.timeframes=['1h']"]
    first = run(load(None, base), set=["session.seed=3"], db=str(folder / "one.db"))
    second = run(load(None, [*base, "session.seed=1"]), set={"session.seed": 3}, db=str(folder / "one.db"))
    assert first.summary["digest"] == second.summary["digest"]
    assert first.summary["config_hash"] == second.summary["config_hash"]


@pytest.mark.parametrize("kind", [str, int, dt.datetime, pd.Timestamp])
def test_times_may_be_given_in_many_forms(folder, kind):
    ms = START_MS + 1_200 * 3_600_000
    moment = dt.datetime.fromtimestamp(ms / 1000, dt.UTC)
    start = {str: moment.isoformat(), int: ms, dt.datetime: moment, pd.Timestamp: pd.Timestamp(moment)}[kind]
    config = load(folder / "configs" / "perp-replay.toml", ["population.size=5", "feed.timeframes=['1h']"])
    found = replay(config, data=[folder / "data" / "candles"], start=start, db=str(folder / f"{kind.__name__}.db"))
    assert found.equity.time_ms.iloc[0] == ms


def test_bad_input_is_told_as_the_command_line_tells_it(folder):
    config = folder / "configs" / "perp-replay.toml"
    with pytest.raises(UserError, match=r"population\.sise.*size"):
        replay(config, data=folder / "data", set={"population.sise": 3}, db=str(folder / "bad.db"))
    with pytest.raises(UserError, match="not one text"):
        replay(config, data=folder / "data", set="population.size=3", db=str(folder / "bad.db"))
    with pytest.raises(UserError, match="memory"):
        run(folder / "configs" / "quickstart.toml", db="memory")
    assert not (folder / "bad.db").exists()


def test_why_tells_of_the_position_held_at_that_time(history_run):
    trade = history_run.trades.iloc[len(history_run.trades) // 2]
    text = history_run.why(trade.agent, at=int(trade.entry_ms) + 1)
    assert f"Agent {trade.agent} of run" in text
    assert f"holds   {trade.side} {trade.qty:.8g} at {trade.entry_price:.8g}" in text
    assert f"by {trade.exit_reason}" in text
    flat = history_run.why(trade.agent, at=int(history_run.equity.time_ms.iloc[0]))
    assert "orders before: none" in flat
    assert "trades closed before: none" in flat


def test_why_of_nobody_is_refused(history_run):
    with pytest.raises(UserError, match="agent 12345"):
        history_run.why(12345)
    with pytest.raises(UserError, match="at:"):
        history_run.why(1, at="yesterday")


def test_frames_are_kept_until_refreshed(history_run):
    first = history_run.trades
    assert history_run.trades is first
    assert history_run.refresh().trades is not first
    with pytest.raises(UserError, match="frame 'nothing'"):
        history_run.frame("nothing")


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import trader, sys; print([name for name in ('pandas','numpy','numba','sqlalchemy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_unknown_names_of_the_package_are_told():
    with pytest.raises(ImportError, match="nothing"):
        from trader import nothing  # noqa: F401
