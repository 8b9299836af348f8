"""The error bar over the rules for the way inside a candle: re-runs of the journal, equal to runs under each rule."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from trader.core.config import load
from trader.core.errors import UserError
from trader.session.api import run_session
from trader.session.path_error import path_error_bar
from trader.session.reporting import report_run

HOUR, START = 3_600_000, 1_704_067_200_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A perpetual with hours and quarters of an hour; in every 15th hour the price is far up and far down, in either order."""
    folder = tmp_path_factory.mktemp("bar")
    rng = np.random.default_rng(11)
    count = 1_000 * 4
    close = np.round(100 * np.exp(np.cumsum(rng.standard_t(3, count) * 0.005)), 2)
    opened = np.concatenate(([100.0], close[:-1]))
    high, low = np.maximum(opened, close) * 1.002, np.minimum(opened, close) * 0.998
    wild = np.arange(0, count - 4, 60)
    up = wild + rng.integers(2, size=len(wild))
    high[up] *= 1.12
    low[2 * wild + 1 - up] *= 0.88
    table = pd.DataFrame({
        "ts": START + np.arange(count) * HOUR // 4, "open": opened,
        "high": np.round(high, 2), "low": np.round(low, 2),
        "close": close, "volume": rng.uniform(1e3, 1e5, count),
    })  # fmt: skip
    hours = table.groupby(table.ts // HOUR * HOUR).agg(
        open=("open", "first"), high=("high", "max"), low=("low", "min"), close=("close", "last"), volume=("volume", "sum")
    )  # fmt: skip
    place = folder / "binanceusdm" / "AAA-USDT"
    place.mkdir(parents=True)
    hours.reset_index().to_parquet(place / "1h.parquet", index=False)
    table.to_parquet(place / "15m.parquet", index=False)
    return folder


SETS = (
    'feed.kind="replay"', 'feed.timeframes=["1h"]', 'exchange.market_type="swap"', "population.size=300",
    "levels.evolution.every=200", "engine.threads=1", "levels.hope.enabled=false", "levels.memory.enabled=false",
)  # fmt: skip


def run_under(folder, rule, url):
    return run_session(load(None, [*SETS, f'feed.data=["{folder}"]', f'exchange.path="{rule}"']), url=url).values


def test_every_rule_is_the_run_under_that_rule(folder, tmp_path):
    """Rules re-run from the journal of a run by colour are the runs themselves, to the last trade."""
    told = {}
    for rule in ("colour", "pessimistic", "random", "detail"):
        done = run_under(folder, rule, f"sqlite:///{tmp_path}/{rule}.db")
        told[rule] = (float(done["equity_end"]), done["trades"], done["max_drawdown"])
    for own in ("colour", "detail"):
        bar = path_error_bar("latest", url=f"sqlite:///{tmp_path}/{own}.db")
        assert list(bar) == ["colour", "pessimistic", "random", "detail"]
        found = {rule: (one["equity_end"], one["trades"], one["max_drawdown"]) for rule, one in bar.items()}
        assert found == {rule: pytest.approx(figures) for rule, figures in told.items()}
    assert len({figures[0] for figures in told.values()}) == 4
    assert bar["colour"]["profit"] == pytest.approx(told["colour"][0] - 1e6)
    assert bar["pessimistic"]["profit"] < bar["detail"]["profit"], (
        "what always hurts cannot be better than what happened"
    )


def test_the_report_prints_it(folder, tmp_path):
    url = f"sqlite:///{tmp_path}/reported.db"
    run_under(folder, "colour", url)
    report = report_run("latest", url=url, paths=True)
    assert report["paths"] == path_error_bar(1, url=url)
    lines = str(report).splitlines()
    first = next(place for place, line in enumerate(lines) if line.startswith("Inside the candle"))
    assert [line.split()[0] for line in lines[first + 1 : first + 5]] == ["colour", "pessimistic", "random", "detail"]
    assert "the run's rule is colour" in str(report)
    assert report_run("latest", url=url, paths=False)["paths"] is None


def test_without_finer_candles_there_is_no_detail(tmp_path):
    url = f"sqlite:///{tmp_path}/synthetic.db"
    run_session(load(None, [*SETS, 'feed.kind="synthetic"', "session.candles=600"]), url=url)
    assert list(path_error_bar(1, url=url)) == ["colour", "pessimistic", "random"]


def test_a_run_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        path_error_bar("latest", url=f"sqlite:///{tmp_path}/nothing.db")
