"""Candle and funding files: what is read, and what is refused with one line naming file, row and rule."""

import numpy as np
import pandas as pd
import pytest

from trader.core.types import UserError
from trader.feeds.files import read_candles, read_stamps

HOUR = 3_600_000
START = 1_704_067_200_000


def frame(rows=10):
    opens = START + np.arange(rows, dtype=np.int64) * HOUR
    close = 100.0 + np.arange(rows)
    return pd.DataFrame(
        {"ts": opens, "open": close - 0.5, "high": close + 1.0, "low": close - 1.0, "close": close, "volume": 5.0}
    )


def write(table, path):
    if path.suffix == ".csv":
        table.to_csv(path, index=False)
    else:
        table.to_parquet(path, index=False)
    return path


@pytest.fixture(params=["parquet", "csv"])
def path(request, tmp_path):
    return tmp_path / f"1h.{request.param}"


def test_good_files_are_read_exactly(path):
    table = frame()
    table.loc[3, ["open", "close", "low"]] = [0.1 + 0.2, 1e-7, 1e-8]
    candles = read_candles(write(table.assign(comment="x"), path), HOUR)
    np.testing.assert_array_equal(candles.times, table["ts"])
    np.testing.assert_array_equal(candles.values, table[["open", "high", "low", "close", "volume"]].to_numpy())


def test_columns_in_any_order_and_narrow_types(path):
    table = frame()[["volume", "close", "ts", "low", "high", "open"]].astype({"volume": "int32", "open": "float32"})
    np.testing.assert_array_equal(read_candles(write(table, path), HOUR).values[:, 4], 5.0)


def test_parquet_timestamps_are_read_as_utc(tmp_path):
    table = frame()
    table["ts"] = pd.to_datetime(table["ts"], unit="ms", utc=True)
    np.testing.assert_array_equal(read_candles(write(table, tmp_path / "1h.parquet"), HOUR).times, frame()["ts"])


BAD = {
    "nan": ("close", 4, np.nan, r"row 5: close must (be finite|not be empty)"),
    "infinite": ("high", 4, np.inf, r"row 5: high must be finite"),
    "zero": ("low", 2, 0.0, r"row 3: low must be > 0"),
    "negative": ("open", 0, -1.0, r"row 1: open must be > 0"),
    "negative volume": ("volume", 9, -0.1, r"row 10: volume must be >= 0"),
    "high below low": ("high", 3, 90.0, r"row 4: high must be >= low"),
    "high below close": ("high", 3, 102.9, r"row 4: high must be >= open and close"),
    "low above open": ("low", 3, 102.6, r"row 4: low must be <= open and close"),
    "off the grid": ("ts", 3, START + 3 * HOUR + 1, r"row 4: ts is off the grid: a 1h candle"),
    "duplicate": ("ts", 3, START + 2 * HOUR, r"row 4: ts is there twice"),
    "unsorted": ("ts", 3, START, r"row 4: ts must be in ascending order"),
    "seconds": ("ts", 0, START // 1000, r"row 1: ts must be in milliseconds"),
    "nanoseconds": ("ts", 9, START * 10**6, r"row 10: ts must be in milliseconds"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_rows_are_refused(name, path):
    column, row, value, message = BAD[name]
    table = frame()
    table.loc[row, column] = value
    with pytest.raises(UserError, match=message) as error:
        read_candles(write(table, path), HOUR)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_more_bad_rows_are_counted(path):
    table = frame()
    table.loc[[2, 5, 7], "high"] = 1.0
    with pytest.raises(UserError, match=r"row 3: high must be >= low \(and 2 more rows\)"):
        read_candles(write(table, path), HOUR)


@pytest.mark.parametrize("column", ["ts", "close", "volume"])
def test_missing_columns_are_refused(column, path):
    with pytest.raises(UserError, match=f"must have one column '{column}'; it has "):
        read_candles(write(frame().drop(columns=column), path), HOUR)


def test_empty_files_are_refused(path):
    with pytest.raises(UserError, match="holds no rows"):
        read_candles(write(frame(0), path), HOUR)
    path.write_bytes(b"")
    with pytest.raises(UserError, match="cannot be read"):
        read_candles(path, HOUR)


@pytest.mark.parametrize("content", [b"PAR1 nonsense", b"\x00\xff" * 100, b"ts,open\n1,2,3\n", b"\xff\xfe\n\xff,\n"])
def test_rubbish_is_refused_in_one_line(path, content):
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_candles(path, HOUR)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("abc", "row 2: close must be a number, not 'abc'"),
        ("", "row 2: close must not be empty"),
        ("1,5", "cannot be read"),
    ],
)
def test_cells_that_are_no_numbers(tmp_path, cell, message):
    path = tmp_path / "1h.csv"
    rows = [f"{START + i * HOUR},1,2,0.5,{cell if i == 1 else 1.5},3" for i in range(3)]
    path.write_text("\n".join(["ts,open,high,low,close,volume", *rows]))
    with pytest.raises(UserError, match=message):
        read_candles(path, HOUR)


def test_times_destroyed_by_a_spreadsheet(tmp_path):
    path = tmp_path / "1h.csv"
    path.write_text("ts,open,high,low,close,volume\n1.70027E+12,1,2,0.5,1.5,3\n1.70028E+12,1,2,0.5,1.5,3\n")
    with pytest.raises(
        UserError, match=r"row 1: ts must be a whole number of milliseconds \(UTC\), not '1.70027E\+12'"
    ):
        read_candles(path, HOUR)


def test_a_list_column_is_refused(tmp_path):
    table = frame(2)
    table["close"] = [[1.0], [2.0]]
    with pytest.raises(UserError, match="row 1: close must be a number"):
        read_candles(write(table, tmp_path / "1h.parquet"), HOUR)


def test_funding_files(path):
    stamps = pd.DataFrame({"ts": [START + 1, START + 8 * HOUR - 2], "rate": [0.0001, -0.003]})
    read = read_stamps(write(stamps, path))
    np.testing.assert_array_equal(read.times, stamps["ts"])
    np.testing.assert_array_equal(read.rates, stamps["rate"])
    for bad in (1.5, np.inf):
        stamps.loc[1, "rate"] = bad
        with pytest.raises(UserError, match="row 2: rate must be a fraction between -1 and 1"):
            read_stamps(write(stamps, path))


@pytest.mark.realdata
def test_all_real_candles_are_accepted(real_data):
    from trader.core.timeframes import milliseconds

    files = sorted((real_data / "candles").rglob("*.parquet"))
    rows = 0
    for path in files:
        if path.stem == "funding":
            rows += len(read_stamps(path).times)
        else:
            rows += len(read_candles(path, milliseconds(path.stem.partition("-")[0])).times)
    assert len(files) > 30
    assert rows > 880_000
