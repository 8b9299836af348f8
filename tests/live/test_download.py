"""`trader data download` against the fake exchange: paging, resuming, perpetuals, faults, bad words."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.live.fake_exchange import FakeExchange
from tests.live.fake_market import HOUR_MS, FakeMarket
from tests.live.fault_scripts import Fault
from trader.__main__ import main

SINCE = 1_767_225_600_000 - 40 * HOUR_MS


def words(exchange, out, *more, market_type="spot"):
    urls = [
        word for path, address in exchange.urls.items() if "ws" not in path for word in ("--url", f"{path}={address}")
    ]
    return [
        "data", "download", "--exchange", "binance", "--market-type", market_type, "--symbol", "BTC/USDT",
        "--timeframe", "1m", "--since", str(SINCE), "--out", str(out), *urls, *more,
    ]  # fmt: skip


def stored(path):
    table = pq.read_table(path)
    return table["ts"].to_numpy(), np.column_stack([table[name].to_numpy() for name in table.column_names[1:]])


@pytest.fixture
def market():
    return FakeMarket(seed=31, start_ms=1_767_225_600_000, history=3000, future=50)


def test_pages_are_the_truth_and_the_rest_is_fetched_later(market, tmp_path, capsys):
    with FakeExchange([market], [Fault(0, "rest_500", 2)], live=0) as exchange:
        until = SINCE + 1500 * market.base_ms
        assert main(words(exchange, tmp_path, "--until", str(until), "--json", "--quiet")) == 0
        (first,) = json.loads(capsys.readouterr().out)["files"]
        assert first["new_rows"] == 1500
        asked = len(exchange.requests)
        assert main(words(exchange, tmp_path, "--json", "--quiet")) == 0
        (second,) = json.loads(capsys.readouterr().out)["files"]
        assert second["new_rows"] == 40 * 60 - 1500  # up to the candle in progress, which is not taken
        starts = [int(r.query["startTime"]) for r in exchange.requests[asked:] if "startTime" in r.query]
        assert min(starts) == until
        assert main(words(exchange, tmp_path, "--json", "--quiet")) == 0
        assert json.loads(capsys.readouterr().out)["files"][0]["new_rows"] == 0
    times, values = stored(tmp_path / "binance" / "BTC-USDT" / "1m.parquet")
    assert times.tolist() == list(range(SINCE, market.start_ms, market.base_ms))
    assert [tuple(row) for row in values] == [market.truth(ts) for ts in times.tolist()]


def test_perpetuals_bring_mark_and_funding(market, tmp_path, capsys):
    with FakeExchange([market], live=0, swap=True) as exchange:
        assert main(words(exchange, tmp_path, "--json", "--quiet", market_type="swap")) == 0
    files = {one["kind"]: one for one in json.loads(capsys.readouterr().out)["files"]}
    assert set(files) == {"candles", "mark", "funding"}
    folder = tmp_path / "binanceusdm" / "BTC-USDT"
    times, rates = stored(folder / "funding.parquet")
    assert list(zip(times.tolist(), rates[:, 0].tolist(), strict=True)) == market.stamps(SINCE, market.start_ms)
    times, marks = stored(folder / "1m-mark.parquet")
    assert marks[0][0] == market.mark_open(int(times[0]))
    assert main(["data", "check", str(tmp_path)]) == 0


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--symbol", "BTX/USDT"], "BTX/USDT"),
        (["--symbol", "../../etc/passwd"], "no symbol"),
        (["--timeframe", "7m"], "7m"),
        (["--until", "1"], "--until"),
        (["--since", "yesterday"], "--since"),
        (["--exchange", "binanec"], "did you mean binance"),
        (["--url", "public"], "--url"),
        (["--url", "public=file:///etc/passwd"], "--url"),
        (["--market-type", "option"], "--market-type"),
    ],
)
def test_wrong_words_are_told_and_nothing_is_written(market, tmp_path, capsys, more, told):
    with FakeExchange([market], live=0) as exchange:
        assert main(words(exchange, tmp_path / "out", *more, "--quiet")) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert told in error[0]
    assert not list(tmp_path.rglob("*.parquet")) or more[0] == "--symbol"
