"""Over a hundred broken data files, made by hand: name, content, options of the import, and what its line says."""

from __future__ import annotations

import gzip
import io
import json
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq

HOUR = 3_600_000
START = 1_600_002_000_000 // HOUR * HOUR
ROWS = [[START + i * HOUR, 100.0 + i, 101.5 + i, 99.5 + i, 101.0 + i, 10.0 + i] for i in range(12)]
HEAD = "ts,open,high,low,close,volume"


def text(rows=ROWS, head=HEAD, sep=","):
    lines = ([head] if head else []) + [sep.join(str(cell) for cell in row) for row in rows]
    return ("\n".join(lines) + "\n").encode()


def changed(row, column, value, rows=ROWS):
    """The rows with one cell changed; row from 1."""
    copy = [list(one) for one in rows]
    copy[row - 1][column] = value
    return copy


def zipped(**files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("_", "."), content)
    return stream.getvalue()


def table(**columns):
    base = {name: [row[i] for row in ROWS] for i, name in enumerate(HEAD.split(","))}
    return pa.table({**base, **columns})


def as_feather(t):
    stream = io.BytesIO()
    feather.write_feather(t, stream)
    return stream.getvalue()


def as_parquet(t):
    stream = io.BytesIO()
    pq.write_table(t, stream)
    return stream.getvalue()


GOOD = text()
GOOD_ZIP = zipped(a_csv=GOOD)
BOMB = gzip.compress(b"\0" * 50_000_000)
ISO = [[f"2021-01-01 {i:02}:00", *row[1:]] for i, row in enumerate(ROWS)]
LINED = [[START // 1000 + i * 3600, *row[1:]] for i, row in enumerate(ROWS)]
NEW_YORK = [[f"2021-11-07 {i:02}:30", *row[1:]] for i, row in enumerate(ROWS)]
SKIPPED = [[f"2021-03-14 {i:02}:00", *row[1:]] for i, row in enumerate(ROWS)]
DAY_MONTH = [[f"{i + 1:02}/02/2021", *row[1:]] for i, row in enumerate(ROWS)]
TWO_VOLUMES = [[*row, row[5] * 7.0] for row in ROWS]


def js(document):
    return json.dumps(document).encode()


WIDE = "ts," + ",".join(f"{symbol}:{name}" for symbol in "AB" for name in HEAD.split(",")[1:])

BROKEN = [
    # name of the file, content, options, what the line says
    ("empty.csv", b"", (), "is empty"),
    ("blank.csv", b" \n\n \n", (), "is empty"),
    ("header.csv", HEAD.encode(), (), "row 1: must hold numbers"),
    ("prose.csv", b"once upon a time, there was a file, of words, and more\n" * 5, (), "row 1: must hold numbers"),
    ("one.csv", b"hello\n", (), "cells separated by"),
    ("html.csv", b"<html><body>404 Not Found</body></html>", (), "cells separated by"),
    ("binary.csv", bytes(range(256)) * 4, (), "not another binary file"),
    ("elf.csv", b"\x7fELF\x02\x01\x01\x00" + b"\0" * 50, (), "not another binary file"),
    ("png.csv", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", (), "not another binary file"),
    ("latin.csv", GOOD.replace(b"volume", b"volum\xe9"), (), "line 1: must be UTF-8 text"),
    ("latin2.csv", GOOD + b"\xff\xff,1,1,1,1,1\n", (), "line 14: must be UTF-8 text"),
    ("nul.csv", GOOD + b" " * 5000 + b"\n1,2,\0,4,5,6\n", (), "NUL"),
    ("quote.csv", GOOD + b'"1,2,3,4,5,6\n', (), "cannot be read as CSV"),
    ("quote2.csv", GOOD + b'"1"2,3,4,5,6,7\n', (), "cannot be read as CSV"),
    ("long.csv", GOOD + b"9" * 200_000 + b",1,1,1,1,1\n", (), "cannot be read as CSV"),
    ("short_row.csv", GOOD + b"1600000000000,1,2\n", (), "row 13: must have 6 cells like the others, not 3"),
    ("long_row.csv", GOOD + b"1600000000000,1,2,1,2,3,4,5\n", (), "row 13: must have 6 cells like the others, not 8"),
    ("cut.csv", GOOD[:-30], (), "row 12"),
    ("commas.csv", GOOD + b",,,,,\n", (), "row 13: ts must not be empty"),
    ("first_row.csv", text().replace(b"volume\n", b"volume\n1,2,3\n"), (), "row 1: must have 6 cells"),
    ("first_words.csv", text().replace(b"volume\n", b"volume\nx,x,x,x,x,x\n"), (), "row 1: must have 6 cells"),
    ("no_time.csv", text(head="a,open,high,low,close,volume"), (), "header has no time column"),
    ("no_open.csv", text(head="ts,a,high,low,close,volume"), (), "header has no open column"),
    ("no_close.csv", text(head="ts,open,high,low,x,volume"), (), "header has no close column"),
    ("two_opens.csv", text(head="ts,open,Open,low,close,volume"), (), "one open column"),
    ("no_names.csv", text(head="a,b,c,d,e,f"), (), "no time column"),
    ("no_volume.csv", text(head="ts,open,high,low,close,x"), (), "has no volume column"),
    ("only_quote.csv", text(head="ts,open,high,low,close,quote_volume"), (), "has no volume column"),
    ("two_volumes.csv", text(TWO_VOLUMES, HEAD + ",volume_btc"), (), "choose by --volume-column"),
    ("three_volumes.csv", text([[*r, 1.0, 2.0] for r in ROWS], HEAD + ",vol,volume_x"), (), "3 volume columns"),
    ("volume_name.csv", GOOD, ("--volume-column", "amount"), "must have one column 'amount'"),
    ("text_price.csv", text(changed(5, 1, "n/a")), (), "row 5: open must be a number, not 'n/a'"),
    ("comma_price.csv", text(changed(5, 4, '"1,5"')), (), "row 5: close must be a number, not '1,5'"),
    ("empty_price.csv", text(changed(7, 2, "")), (), "row 7: high must not be empty"),
    ("empty_volume.csv", text(changed(7, 5, "")), (), "row 7: volume must not be empty"),
    ("nan.csv", text(changed(3, 4, "nan")), (), "row 3: close must be finite"),
    ("inf.csv", text(changed(3, 2, "inf")), (), "row 3: high must be finite"),
    ("inf_volume.csv", text(changed(3, 5, "-inf")), (), "row 3: volume must be finite"),
    ("huge.csv", text(changed(3, 5, "1e999")), (), "row 3: volume must be finite"),
    ("zero.csv", text(changed(4, 3, 0)), (), "row 4: low must be > 0"),
    ("negative.csv", text(changed(4, 1, -5)), (), "row 4: open must be > 0"),
    ("negative_volume.csv", text(changed(9, 5, -1)), (), "row 9: volume must be >= 0"),
    ("high_low.csv", text(changed(2, 2, 90)), (), "row 2: high must be >= low"),
    ("high_open.csv", text(changed(2, 2, 100.7)), (), "row 2: high must be >= open and close"),
    ("low_close.csv", text(changed(2, 3, 101.5)), (), "row 2: low must be <= open and close"),
    (
        "swapped.csv",
        text([[r[0], r[1], r[3], r[2], r[4], r[5]] for r in ROWS]),
        (),
        "high must be >= low (12 of 12 rows: 1, 2",
    ),
    ("headless_bad.csv", text(changed(6, 2, 50), head=""), (), "row 6: high must be >= low"),
    ("twice.csv", text([*ROWS, ROWS[3]]), (), "row 13: its open time is there twice"),
    ("twice_at_once.csv", text([ROWS[0], *ROWS]), (), "row 2: its open time is there twice"),
    ("all_one_time.csv", text([[START, *r[1:]] for r in ROWS]), (), "there twice (duplicate candle) (11 of 12 rows"),
    ("off_grid.csv", text(changed(5, 0, START + 4 * HOUR + 1)), (), "row 5: ts is off the grid: a 1h candle"),
    ("all_off_grid.csv", text([[r[0] + 60_000, *r[1:]] for r in ROWS]), (), "row 1: ts is off the grid"),
    (
        "odd_step.csv",
        text([[START + i * 7 * 60_000, *r[1:]] for i, r in enumerate(ROWS)]),
        (),
        "mostly 420000 ms apart",
    ),
    ("one_row.csv", text(ROWS[:1]), (), "one row tells no step; name its --timeframe"),
    ("AAA_BBB-5m.csv", GOOD, (), "its name says 5m"),
    ("wrong_step.csv", text([*ROWS[:6], *ROWS[7:]]), ("--timeframe", "5m"), "rows are at least 1h apart, never 5m"),
    ("coarse.csv", GOOD, ("--timeframe", "4h"), "ts is off the grid: a 4h candle"),
    (
        "mixed_units.csv",
        text(changed(5, 0, (START + 4 * HOUR) // 1000)),
        (),
        "row 5: ts must be a time in the unit of row 1",
    ),
    ("mixed_dates.csv", text(changed(5, 0, "2020-09-13 18:00")), (), "row 5: ts must be a number like that of row 1"),
    (
        "mixed_numbers.csv",
        text(changed(5, 0, "1600000000", ISO), "date,open,high,low,close,volume"),
        (),
        "row 5: date must be a date like",
    ),
    ("empty_time.csv", text(changed(5, 0, "")), (), "row 5: ts must not be empty"),
    ("time_nan.csv", text(changed(5, 0, "nan")), (), "row 5: ts must be a number"),
    ("time_negative.csv", text(changed(5, 0, -5)), (), "row 5: ts must be a time in the unit"),
    ("time_zero.csv", text(changed(1, 0, 0)), (), "row 1: 'ts' must be a time, not '0'"),
    ("time_huge.csv", text([[10**25, *r[1:]] for r in ROWS]), (), "row 1: 'ts' must be a time"),
    ("time_words.csv", text([["yesterday", *r[1:]] for r in ROWS]), (), "row 1: 'ts' must be a time, not 'yesterday'"),
    ("excel_days.csv", text([[44197 + i / 24, *r[1:]] for i, r in enumerate(ROWS)]), (), "row 1: 'ts' must be a time"),
    (
        "rounded.csv",
        text([["1.60000E+12", *r[1:]] for r in ROWS]),
        (),
        "row 1: ts '1.60000E+12' was rounded by a spreadsheet",
    ),
    ("rounded_one.csv", text(changed(8, 0, "1.60003E+12")), (), "row 8: ts '1.60003E+12' was rounded by a spreadsheet"),
    ("rounded_s.csv", text([[f"{r[0]:.4E}", *r[1:]] for r in LINED]), (), "was rounded by a spreadsheet"),
    (
        "month13.csv",
        text(changed(5, 0, "2021-13-01 00:00", ISO)),
        (),
        "row 5: ts must be a date like '2021-01-01 00:00'",
    ),
    ("feb30.csv", text(changed(5, 0, "2021-02-30 00:00", ISO)), (), "row 5: ts must be a date like"),
    (
        "zones.csv",
        text(changed(5, 0, "2021-01-01 04:00Z", ISO)),
        (),
        "row 5: ts must name its zone in all rows or in none",
    ),
    ("dates_only.csv", text([["2021-01-01", *r[1:]] for r in ROWS]), (), "there twice"),
    ("day_month.csv", text(DAY_MONTH), (), "reads as %m/%d/%Y and as %d/%m/%Y: name its --date-format"),
    ("form.csv", text(DAY_MONTH), ("--date-format", "%Y"), "row 1: ts must fit --date-format '%Y'"),
    (
        "fold.csv",
        text(NEW_YORK),
        ("--tz", "America/New_York"),
        "row 2: 2021-11-07 01:30:00 is skipped or there twice in America/New_York",
    ),
    ("skip.csv", text(SKIPPED), ("--tz", "America/New_York"), "row 3: 2021-03-14 02:00:00 is skipped or there twice"),
    ("zone.csv", text(ISO), ("--tz", "Mars/Olympus"), "--tz: no zone 'Mars/Olympus'"),
    ("zone2.csv", text(ISO), ("--tz", "../../etc/passwd"), "--tz: no zone"),
    ("half_zone.csv", text(ISO), ("--tz", "+05:30"), "row 1: ts is off the grid"),
    ("name.csv", GOOD, ("--symbol", "BTCUSDT"), "must be spelled BASE/QUOTE"),
    ("name2.csv", GOOD, ("--symbol", "../x/USDT"), "must be spelled BASE/QUOTE"),
    ("venue.csv", GOOD, ("--venue", "../../up"), "--venue: must be a word"),
    ("kind.csv", GOOD, ("--kind", "ticks"), "--kind: must be one of candles mark funding"),
    ("frame.csv", GOOD, ("--timeframe", "7m"), "timeframe '7m': must be one of"),
    ("columns.csv", GOOD, ("--columns", "ts,open,high,low,close,volume,x"), "--columns: must name at most 6 columns"),
    ("columns2.csv", GOOD, ("--columns", "ts,open,high,low"), "--columns: must name close"),
    ("columns3.csv", GOOD, ("--columns", "ts,open,open,low,close"), "--columns: must name open once"),
    ("columns4.csv", GOOD, ("--columns", "volume,ts,high,low,close,open"), "must be a time"),
    (
        "two_symbols.csv",
        text([[*r, "ABC"[i % 2]] for i, r in enumerate(ROWS)], HEAD + ",symbol"),
        (),
        "row 2: symbol must be 'A'",
    ),
    ("trades.csv", text([[r[0], r[1], r[5], "buy"] for r in ROWS], ""), (), "these look like trades"),
    ("late_time.csv", text([[r[1], r[0], *r[2:]] for r in ROWS], ""), (), "row 1: must begin with a time"),
    (
        "wide_gap.csv",
        text([[*r, *r[1:]] for r in changed(4, 2, "")], WIDE),
        ("--quote", "USD", "--symbol", "A/USD", "--symbol", "B/USD"),
        "row 4: high must not be empty",
    ),
    (
        "wide_name.csv",
        text([[*r, *r[1:]] for r in ROWS], WIDE),
        ("--symbol", "C/USD"),
        "no columns of C/USD; it has A, B",
    ),
    ("broken.json", b"[[1, 2", (), "line 1: cannot be read as JSON"),
    ("words.json", b"[oops]", (), "cannot be read as JSON"),
    ("empty.json", b"[]", (), "holds no rows"),
    ("empty_object.json", b"{}", (), "must hold a list of rows"),
    ("empty_rows.json", b"[[], []]", (), "holds no rows"),
    ("numbers.json", b"[1, 2, 3]", (), "row 1: must be a list of cells"),
    ("error.json", js({"code": -1121, "msg": "Invalid symbol."}), (), "must hold a list of rows"),
    ("ragged.json", js([*ROWS, [1, 2]]), (), "row 13: must have 6 cells like the first, not 2"),
    ("null.json", js(changed(4, 2, None)), (), "row 4: high must not be empty"),
    ("text.json", js(changed(4, 2, "high")), (), "row 4: high must be a number, not 'high'"),
    ("nested.json", js(changed(4, 2, [1])), (), "row 4: high must be a number"),
    ("true.json", js(changed(4, 2, True)), (), "row 4: high must be a number"),
    ("nan.json", js(changed(4, 2, float("nan"))), (), "row 4: high must"),
    ("huge.json", b"[[" + b"9" * 5000 + b",1,1,1,1,1]]", (), "cannot be read as JSON"),
    ("deep.json", b"[" * 100_000, (), "cannot be read as JSON"),
    (
        "keys.json",
        js([{"ts": 1, "open": 2}, {"ts": 1, "close": 2}]),
        (),
        "row 2: must be an object with the keys ts, open",
    ),
    ("columns.json", js({"ts": [1, 2, 3], "open": [1, 2]}), (), "row 3: 'open' must have 3 cells"),
    ("twice.json", js([*ROWS, ROWS[0]]), (), "row 13: its open time is there twice"),
    ("cut.gz", gzip.compress(GOOD)[:-12], (), "cannot be read as gzip"),
    ("damaged.gz", b"\x1f\x8b\x08\0" + b"\x55" * 60, (), "cannot be read as gzip"),
    ("more.gz", gzip.compress(GOOD) + b"more", (), "something else follows"),
    ("empty.gz", gzip.compress(b""), (), "is empty"),
    ("bomb.csv.gz", BOMB, (), "not another binary file"),
    ("bad_row.csv.gz", gzip.compress(text(changed(5, 2, 1))), (), "row 5: high must be >= low"),
    ("cut.zip", GOOD_ZIP[:40], (), "cannot be read as zip"),
    ("no_directory.zip", GOOD_ZIP[:-22], (), "cannot be read as zip"),
    ("no_files.zip", zipped(), (), "holds no data file"),
    ("bad_row.zip", zipped(a_csv=text(changed(5, 2, 1))), (), "row 5: high must be >= low"),
    (
        "one_bad.zip",
        zipped(a_csv=GOOD, b_csv=text(changed(5, 2, 1))),
        (),
        "one_bad.zip:b.csv: row 5: high must be >= low",
    ),
    ("nested.zip", zipped(a_zip=GOOD_ZIP), (), "not another binary file"),
    ("bomb.zip", zipped(a_csv=b"\0" * 50_000_000), (), "not another binary file"),
    ("damaged.zip", GOOD_ZIP.replace(GOOD_ZIP[45:60], b"\x55" * 15), (), "cannot be read as zip"),
    ("magic.feather", b"ARROW1\0\0", (), "cannot be read as feather"),
    ("cut.feather", as_feather(table())[:-50], (), "cannot be read as feather"),
    (
        "lists.feather",
        as_feather(table(open=pa.array([[1.0]] * 12))),
        (),
        "column 'open' must hold numbers, text or times",
    ),
    ("nulls.feather", as_feather(table(high=pa.array([None] * 12, pa.float64()))), (), "row 1: high must not be empty"),
    ("null.feather", as_feather(table(close=pa.array([1.0] * 11 + [None]))), (), "row 12: close must not be empty"),
    (
        "null_time.feather",
        as_feather(table(ts=pa.array([None] + [r[0] for r in ROWS[1:]], pa.timestamp("ms")))),
        (),
        "must",
    ),
    (
        "off.feather",
        as_feather(table(ts=pa.array([r[0] * 1000 + 5000 for r in ROWS], pa.timestamp("us")))),
        (),
        "row 1: ts is off the grid",
    ),
    ("no_rows.feather", as_feather(table().slice(0, 0)), (), "holds no rows"),
    ("magic.parquet", b"PAR1" + b"\x11" * 30 + b"PAR1", (), "cannot be read as parquet"),
    ("cut.parquet", as_parquet(table())[:-9], (), "cannot be read as parquet"),
    ("nan.parquet", as_parquet(table(low=pa.array([np.nan] * 12))), (), "row 1: low must not be empty"),
    (
        "funding.csv",
        text([[r[0], 5.0] for r in ROWS], "ts,rate", ",").replace(b"\n", b",0,0\n"),
        ("--columns", "ts,rate"),
        "rate must be a fraction between -1 and 1",
    ),
]
