"""`trader data check` and `list`, other formats and freqtrade's folders as --data, and what a replay says first."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.importer.broken_files import HEAD, HOUR, ROWS, START, as_feather, as_parquet, js, table, text, zipped
from tests.shell_layer.shell_support import ROOT, write_history
from trader.__main__ import main
from trader.feeds.history import Wanted, download_command
from trader.feeds.replay import ReplayFeed

REPLAY = ["replay", str(ROOT / "configs/replay.toml"), "--set", "population.size=8", "--db", "memory"]


@pytest.fixture
def store(tmp_path):
    for venue, symbol, seed in (("binance", "AAA-USDT", 1), ("binance", "BBB-USDT", 2), ("kraken", "AAA-EUR", 3)):
        write_history(tmp_path / "store" / venue / symbol, seed)
    return tmp_path / "store"


def run(capsys, *words):
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out, err


def test_list_tells_what_is_there(store, capsys):
    code, out, err = run(capsys, "data", "list", store, "--json")
    assert (code, err) == (0, "")
    rows = json.loads(out)
    assert [(r["venue"], r["symbol"], r["timeframe"], r["rows"]) for r in rows] == [
        ("binance", "AAA/USDT", "1h", 2500), ("binance", "BBB/USDT", "1h", 2500), ("kraken", "AAA/EUR", "1h", 2500)
    ]  # fmt: skip
    assert "AAA/EUR" in run(capsys, "data", "list", store)[1]


def test_check_counts_every_fault(store, capsys):
    assert run(capsys, "data", "check", store, "--quiet") == (0, "", "")
    rows = np.array(ROWS * 2)[:12]
    broken = {name: rows[:, i].copy() for i, name in enumerate(HEAD.split(","))}
    broken["ts"] = broken["ts"].astype(np.int64)
    broken["ts"][5] = broken["ts"][4]
    broken["ts"][9:] += 2 * HOUR
    broken["high"][2] = broken["low"][7] = 1.0
    pq.write_table(pa.table(broken), store / "kraken/AAA-EUR/1h.parquet")
    code, out, _ = run(capsys, "data", "check", store, "--json")
    document = json.loads(out)
    (bad,) = [one for one in document["files"] if not one["ok"]]
    assert (code, document["ok"], bad["symbol"]) == (1, False, "AAA/EUR")
    assert (bad["rows"], bad["duplicates"], bad["holes"], bad["missing"]) == (12, 1, 2, 3)
    # row 8 has a low of 1: allowed, a true wick; row 3 contradicts itself
    assert (bad["bad_rows"], bad["first_bad"]) == (1, "row 3: high must be >= low")
    assert "BAD" in run(capsys, "data", "check", store)[1]
    (store / "kraken/AAA-EUR/1h.parquet").write_bytes(b"PAR1 no more")
    assert run(capsys, "data", "check", store, "--quiet")[0] == 1


@pytest.mark.parametrize("command", ["check", "list"])
def test_nothing_to_look_at_is_refused(tmp_path, capsys, command):
    for place, line in ((tmp_path / "no", "no such file or folder"), (tmp_path, "no candles found")):
        code, out, err = run(capsys, "data", command, place)
        assert (code, out) == (2, "")
        assert line in err
        assert err.count("\n") == 1


def frames(path, **how):
    how = {"exchange_id": "binance", "market_type": "spot", "symbols": None, "base_ms": HOUR, "quote": "USDT"} | how
    feed = ReplayFeed([path], **how)
    return feed.symbols, next(iter(feed.blocks(100))).candles


FORMATS = {
    "parquet": as_parquet(table()), "csv": text(), "feather": as_feather(table()), "json": js(ROWS), "zip": zipped(x_csv=text())
}  # fmt: skip


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_is_data_of_a_replay(tmp_path, form):
    for place in (f"store/binance/AAA-USDT/1h.{form}", f"loose/AAA_USDT-1h.{form}"):
        path = tmp_path / place
        path.parent.mkdir(parents=True)
        path.write_bytes(FORMATS[form])
    wanted = np.array([row[1:] for row in ROWS])
    for place in (
        tmp_path / "store",
        tmp_path / f"store/binance/AAA-USDT/1h.{form}",
        tmp_path / "loose",
        tmp_path / f"loose/AAA_USDT-1h.{form}",
    ):
        symbols, candles = frames(place)
        assert symbols == ("AAA/USDT",)
        np.testing.assert_array_equal(candles[:, 0], wanted)


def test_a_zip_of_several_days_is_one_history(tmp_path):
    path = tmp_path / "AAA_USDT-1h.zip"
    path.write_bytes(zipped(b_csv=text(ROWS[6:]), a_csv=text(ROWS[:6], head="")))
    np.testing.assert_array_equal(frames(path)[1][:, 0], np.array([row[1:] for row in ROWS]))


def test_a_freqtrade_folder_with_funding_and_marks(tmp_path):
    folder = tmp_path / "futures"
    folder.mkdir()
    (folder / "AAA_USDT_USDT-1h-futures.feather").write_bytes(as_feather(table()))
    (folder / "AAA_USDT_USDT-1h-mark.feather").write_bytes(as_feather(table()))
    rates = table(open=pa.array([0.001] * 12)).slice(0, 1)
    (folder / "AAA_USDT_USDT-8h-funding_rate.feather").write_bytes(as_feather(rates))
    feed = ReplayFeed([folder], exchange_id="binance", market_type="swap", symbols=None, base_ms=HOUR, quote="USDT")
    block = next(iter(feed.blocks(100)))
    assert block.stamp_rate[0, 0] == 0.001
    assert block.stamp_mark[0, 0] == ROWS[0][1]


def test_a_replay_says_what_it_reads_before_it_starts(store, capsys):
    code, out, err = run(capsys, *REPLAY, "--data", store, "--json")
    lines = [line for line in err.splitlines() if "[info" not in line]
    assert code == 0
    assert len(json.loads(out)) > 10
    first, last = "2020-09-13T12:00Z", "2020-12-26T15:00Z"
    assert lines[2:] == [
        "exchange.instruments: nothing is known of AAA/USDT, BBB/USDT (binance spot): tick and lot 1e-8, no minimum"
    ]
    assert lines[:2] == [
        f"{symbol}: 2500 rows, {first} to {last}, step 1h, zone UTC, 0 holes, minimum 8664 rows (warm-up): "
        "too short, agents of the longest timeframe will not be warm"
        for symbol in ("AAA/USDT", "BBB/USDT")
    ]
    assert run(capsys, *REPLAY, "--data", store, "--quiet") == (0, "", "")


def test_history_that_is_missing_comes_with_the_command_that_gets_it(store, tmp_path, capsys):
    span = ("--start", "2020-10-01", "--end", "2020-11-01", "--set", "feed.warmup=1000")
    command = (
        "trader data download --symbol {} --exchange binance --market-type spot --timeframe 1h "
        "--start 2020-08-20T08:00Z --end {} --out data/candles"
    )
    code, _, err = run(capsys, *REPLAY, "--data", store, *span, "--set", "feed.symbols=['AAA/USDT']")
    assert code == 0
    assert (
        f"history before 2020-09-13T12:00Z is missing; to get it: {command.format('AAA/USDT', '2020-09-13T12:00Z')}"
        in err
    )
    for words in (("--data", tmp_path / "no"), ("--data", store, "--set", "feed.symbols=['CCC/USDT']")):
        code, out, err = run(capsys, *REPLAY, *words, *span)
        assert (code, out) == (2, "")
        symbol = "BASE/QUOTE" if str(words[1]).endswith("no") else "CCC/USDT"
        assert err.endswith(f"; to get it: {command.format(symbol, '2020-11-01T00:00Z')}\n")
        assert err.count("\n") == 1
    code, _, err = run(capsys, *REPLAY, "--data", store, "--start", "2022-01-01")
    assert code == 2
    assert (
        "no candles between feed.start and feed.end; to get it: trader data download --symbol AAA/USDT --symbol BBB/USDT"
        in err
    )


def test_another_quote_currency_is_refused_in_one_line(store, capsys):
    code, out, err = run(capsys, *REPLAY, "--data", store / "kraken")
    assert (code, out) == (2, "")
    assert err == "trader: feed.symbols: AAA/EUR is not quoted in USDT, the currency of the pool\n"


def test_the_download_command_names_what_is_known():
    wanted = Wanted("kraken", "swap", HOUR, 10, START, None)
    assert download_command(wanted, ("A/USD", "B/USD")) == (
        "trader data download --symbol A/USD --symbol B/USD --exchange kraken --market-type swap --timeframe 1h "
        "--start 2020-09-13T03:00Z --out data/candles"
    )
