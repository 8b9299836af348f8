"""What the importer concludes and what it asks for: times, zones, names, columns, volumes, joining with the store."""

from __future__ import annotations

import ast
import json
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.importer.broken_files import GOOD, HEAD, HOUR, ROWS, START, as_feather, as_parquet, js, table, text
from tests.importer.importer_support import columns, imported, stored
from tests.shell_layer.shell_support import ROOT
from trader.core.types import UserError
from trader.feeds.importers import Options, read_pieces
from trader.feeds.importing.extract import decimals
from trader.feeds.importing.names import from_name, split_symbol
from trader.feeds.importing.times import FORMS, parse_times, zone_of
from trader.feeds.importing.volumes import base_volume

WANTED = {name: [row[i] for row in ROWS] for i, name in enumerate(HEAD.split(","))}


def read(tmp_path, content, name="file.csv", **options):
    path = tmp_path / name
    path.write_bytes(content)
    options.setdefault("symbols", ("AAA/USDT",))
    (piece,) = read_pieces(path, Options(**options))
    return piece


def assert_is_the_good_one(piece):
    assert piece.content.times.tolist() == WANTED["ts"]
    for i, name in enumerate(("open", "high", "low", "close", "volume")):
        assert piece.content.values[:, i].tolist() == WANTED[name]


# ---- forms of a file -------------------------------------------------------------------------------------------------


def at(form, shift=0):
    return [[datetime.fromtimestamp(r[0] / 1000 + shift, UTC).strftime(form), *r[1:]] for r in ROWS]


SPLIT = [[*moment.split("_"), *row[1:]] for (moment, *_), row in zip(at("%Y.%m.%d_%H:%M"), ROWS, strict=True)]

SAME = {
    "comma": (text(), {}),
    "semicolon": (text(sep=";"), {}),
    "tab": (text(sep="\t"), {}),
    "bar": (text(sep="|"), {}),
    "bom": (b"\xef\xbb\xbf" + GOOD, {}),
    "utf-16": (GOOD.decode().encode("utf-16"), {}),
    "windows lines": (GOOD.replace(b"\n", b"\r\n"), {}),
    "empty lines": (GOOD.replace(b"\n", b"\n\n"), {}),
    "quoted": (b"\n".join(b",".join(b'"%s"' % c for c in line.split(b",")) for line in GOOD.split()), {}),
    "spaces": (GOOD.replace(b",", b" , "), {}),
    "banner": (b"Created on 10-17-2019,https://example.org\nmore words\n" + GOOD, {}),
    "no header": (text(head=""), {}),
    "newest first": (text(ROWS[::-1]), {}),
    "shuffled": (text([ROWS[i] for i in (3, 0, 11, 5, 1, 2, 10, 4, 9, 6, 8, 7)]), {}),
    "seconds": (text([[r[0] // 1000, *r[1:]] for r in ROWS]), {}),
    "float seconds": (text([[r[0] / 1000, *r[1:]] for r in ROWS]), {}),
    "microseconds": (text([[r[0] * 1000, *r[1:]] for r in ROWS]), {}),
    "nanoseconds": (text([[r[0] * 1_000_000, *r[1:]] for r in ROWS]), {}),
    "whole scientific": (text([[f"{r[0]:.12E}", *r[1:]] for r in ROWS]), {}),
    "iso": (text(at("%Y-%m-%dT%H:%M:%SZ")), {}),
    "iso offset": (text(at("%Y-%m-%d %H:%M:%S+02:00", 7200)), {}),
    "am pm": (text(at("%Y-%m-%d %I-%p")), {}),
    "german": (text(at("%d.%m.%Y %H:%M")), {}),
    "american": (text(at("%m/%d/%Y %I:%M:%S %p")), {}),
    "new york": (text(at("%Y-%m-%d %H:%M", -4 * 3600)), {"tz": "America/New_York"}),
    "histdata": (text(at("%Y%m%d %H%M%S", -5 * 3600), "", ";"), {}),
    "est": (text(at("%Y-%m-%d %H:%M", -5 * 3600)), {"tz": "EST"}),
    "form": (text(at("%y|%j|%H"), sep=";"), {"date_format": "%y|%j|%H"}),
    "metatrader": (text(SPLIT, "<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>"), {}),
    "metatrader bare": (text(SPLIT, ""), {}),
    "alphavantage": (text(head="timestamp,1. open,2. high,3. low,4. close,5. volume"), {}),
    "permuted": (text([[r[0], r[5], r[4], r[3], r[2], r[1]] for r in ROWS], "unix,Volume,Close,Low,High,Open"), {}),
    "columns": (
        text([[r[5], r[0], r[4], r[3], 7, r[2], r[1]] for r in ROWS], ""),
        {"columns": ("volume", "ts", "close", "low", "-", "high", "open")},
    ),
    "bitfinex": (text([[r[0], r[1], r[4], r[2], r[3], r[5]] for r in ROWS], ""), {}),
    "coinbase": (text([[r[0], r[3], r[2], r[1], r[4], r[5]] for r in ROWS], ""), {}),
    "gocryptotrader": (text([[r[0], r[5], *r[1:5]] for r in ROWS], ""), {}),
    "kline": (text([[*r, r[0] + HOUR - 1, r[5] * r[1], 9, 1.0, 100.0, 0] for r in ROWS], ""), {}),
    "two volumes": (text([[*r, r[5] * r[1]] for r in ROWS], HEAD + ",volume_usdt"), {}),
    "two volumes turned": (text([[*r[:5], r[5] * r[1], r[5]] for r in ROWS], HEAD + ",volume_aaa"), {}),
    "quote volume": (text([[*r, 1.0] for r in ROWS], HEAD + ",VolumeTo"), {}),
    "volume column": (text([[*r, 3.0] for r in ROWS], "ts,open,high,low,close,size,volume"), {"volume_column": "size"}),
}  # fmt: skip


@pytest.mark.parametrize("form", SAME)
def test_all_spellings_of_one_table_are_the_same_candles(tmp_path, form):
    content, options = SAME[form]
    assert_is_the_good_one(read(tmp_path, content, **options))


OBJECTS = [dict(zip(HEAD.split(","), row, strict=True)) for row in ROWS]
DOCUMENTS = {
    "rows": ROWS,
    "text rows": [[str(cell) for cell in row] for row in ROWS],
    "objects": OBJECTS,
    "columns": WANTED,
    "pandas": {name: {str(i): value for i, value in enumerate(values)} for name, values in WANTED.items()},
    "split": {"columns": HEAD.split(","), "index": list(range(12)), "data": ROWS},
}


@pytest.mark.parametrize("form", DOCUMENTS)
def test_all_forms_of_json_are_the_same_candles(tmp_path, form):
    assert_is_the_good_one(read(tmp_path, js(DOCUMENTS[form]), "file.json"))


def test_feather_and_parquet_with_their_own_times(tmp_path):
    import pyarrow as pa

    times = pa.array([row[0] for row in ROWS], pa.int64())
    utc = times.cast(pa.timestamp("ms", "UTC"))
    naive = times.cast(pa.timestamp("ms"))
    for column in (times, utc, utc.cast(pa.timestamp("ns", "UTC")), naive, naive.cast(pa.timestamp("s"))):
        t = table(ts=column)
        assert_is_the_good_one(read(tmp_path, as_feather(t), "file.feather"))
        assert_is_the_good_one(read(tmp_path, as_parquet(t), "file.parquet"))


# ---- times -----------------------------------------------------------------------------------------------------------


@settings(max_examples=200)
@given(st.integers(200_000_000, 4_000_000_000), st.sampled_from([f for f in FORMS if "%z" not in f and "%f" not in f]))
def test_every_form_reads_what_it_writes(second, form):
    moment = datetime.fromtimestamp(second, UTC)
    written = moment.strftime(form)
    wanted = datetime.strptime(written, form).replace(tzinfo=UTC)
    try:
        got, _ = parse_times("f", "ts", [written], UTC)
    except UserError as error:
        assert "reads as" in str(error)  # day and month are not certain: asked for, not guessed
        got, _ = parse_times("f", "ts", [written], UTC, form)
    assert got.tolist() == [round(wanted.timestamp() * 1000)]


@settings(max_examples=200)
@given(
    st.integers(300_000_000, 4_000_000_000),
    st.sampled_from(["America/New_York", "Europe/Berlin", "Australia/Sydney", "Asia/Kolkata"]),
)
def test_local_times_come_back_or_are_refused(second, place):
    zone = ZoneInfo(place)
    moment = datetime.fromtimestamp(second, UTC)
    local = moment.astimezone(zone)
    twice = local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()
    written = [local.strftime("%Y-%m-%d %H:%M:%S")]
    if twice:
        with pytest.raises(UserError, match="skipped or there twice"):
            parse_times("f", "ts", written, zone)
    else:
        assert parse_times("f", "ts", written, zone)[0].tolist() == [second * 1000]


@pytest.mark.parametrize(
    ("name", "hours"),
    [("UTC", 0), ("utc", 0), ("EST", -5), ("+02:00", 2), ("-0330", -3.5), ("UTC-5", -5), ("GMT+1", 1)],
)
def test_zones_by_name(name, hours):
    for month in (1, 7):
        assert zone_of(name).utcoffset(datetime(2020, month, 1, tzinfo=UTC).replace(tzinfo=None)) == timedelta(
            hours=hours
        )


def test_est_keeps_no_daylight_saving_and_new_york_does():
    summer = ["2017-07-01 00:00"]
    assert (
        parse_times("f", "ts", summer, zone_of("EST"))[0][0]
        - parse_times("f", "ts", summer, zone_of("America/New_York"))[0][0]
        == HOUR
    )


# ---- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("UNITTEST_BTC-1m.feather", ("UNITTEST/BTC", "1m", None, "candles")),
        ("XRP_USDT_USDT-1h-mark.feather", ("XRP/USDT", "1h", None, "mark")),
        ("XRP_USDT_USDT-8h-funding_rate.feather", ("XRP/USDT", "8h", None, "funding")),
        ("BTCUSDT-1h-2024-10-28.zip", ("BTC/USDT", "1h", None, "candles")),
        ("DAT_ASCII_EURUSD_M1_201705.csv", ("EUR/USD", "1m", None, "candles")),
        ("coinbase-1d-btc-usd.csv", ("BTC/USD", "1d", "coinbase", "candles")),
        ("Coinbase_BTCUSD_1h.csv.gz", ("BTC/USD", "1h", "coinbase", "candles")),
        ("2020_15minutes.csv.gz", (None, None, None, "candles")),
        ("GOOG.csv", (None, None, None, "candles")),
        ("binance_or_kraken.csv", (None, None, None, "candles")),
        ("BTCUSD_ETHUSD.csv", (None, None, None, "candles")),
    ],
)
def test_what_names_tell(name, told):
    got = from_name(name)
    assert (got.symbol, got.timeframe, got.venue, got.kind) == told


@pytest.mark.parametrize(
    ("word", "symbol"),
    [
        ("BTCUSDT", "BTC/USDT"),
        ("btc-usd", "BTC/USD"),
        ("ETH/USDT:USDT", "ETH/USDT"),
        ("USDT", None),
        ("GOOG", None),
        ("", None),
        ("A/B/C", None),
    ],
)
def test_symbols_in_one_word(word, symbol):
    assert split_symbol(word) == symbol


# ---- values ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.decimals(min_value="0.00000001", max_value="99999999", places=8), min_size=1, max_size=30))
def test_the_last_binary_digit_is_noise(numbers):
    clean = np.array([float(f"{float(number):.15g}") for number in numbers])
    for noisy in (clean, np.nextafter(clean, np.inf), np.nextafter(clean, 0.0)):
        assert decimals(noisy).tolist() == clean.tolist()


@given(st.lists(st.floats(1e-12, 1e12), min_size=2, max_size=30))
def test_cleaning_keeps_the_order_and_moves_by_one_digit_at_most(numbers):
    values = np.sort(np.array(numbers))
    cleaned = decimals(values)
    assert (np.diff(cleaned) >= 0).all()
    assert (np.abs(cleaned - values) <= np.spacing(values)).all()


@settings(max_examples=100)
@given(st.integers(0, 2**32 - 1), st.floats(0.0, 1.0), st.sampled_from([0.001, 50.0, 30_000.0]))
def test_the_base_volume_is_found_wherever_it_stands(seed, share, price):
    rng = np.random.default_rng(seed)
    middle = price * np.exp(rng.normal(0.0, 0.05, 400))
    base = rng.gamma(1.0, 100.0, 400) * (rng.random(400) > 0.1)
    quote = base * middle
    turned = rng.random() < share
    change = int(rng.integers(100, 300)) if rng.random() < 0.5 else 400
    swap = (np.arange(400) >= change) ^ turned
    pair = (np.where(swap, quote, base), np.where(swap, base, quote))
    got, _ = base_volume("f", ("a", "b"), pair, middle * 0.99, middle * 1.01)
    assert got.tolist() == base.tolist()


def test_a_note_says_what_is_remarkable(tmp_path):
    again = [list(row) for row in ROWS]
    again[7][1:] = again[2][1:]
    assert (
        "1 rows have the values of another row under another time (first: row 3)" in read(tmp_path, text(again)).notes
    )
    flat = [[row[0], *row[1:5], 0] for row in ROWS]
    assert read(tmp_path, text(flat)).notes == ("volume is 0 in every row",)
    assert (
        read(tmp_path, text([row[:5] for row in ROWS], "ts,open,high,low,close"), volume_column="none").notes[0]
        == "no volume: zeros"
    )


# ---- the store -------------------------------------------------------------------------------------------------------


def test_files_join_in_any_order_and_twice_is_once(tmp_path, capsys):
    first, second = tmp_path / "one.csv", tmp_path / "two.csv"
    first.write_bytes(text(ROWS[:7]))
    second.write_bytes(text(ROWS[5:]))
    words = ("--symbol", "AAA/USDT", "--quiet", "--out")
    for store, order in (("a", (first, second)), ("b", (second, first)), ("c", (first, second, first))):
        for path in order:
            assert imported(capsys, path, *words, tmp_path / store)[0] == 0
    assert imported(capsys, first, second, *words, tmp_path / "d")[0] == 0
    found = {(tmp_path / store / "imported/AAA-USDT/1h.parquet").read_bytes() for store in "abcd"}
    assert len(found) == 1
    assert columns(tmp_path / "a/imported/AAA-USDT/1h.parquet") == WANTED


def test_rows_that_disagree_are_refused_and_replaced_on_request(tmp_path, capsys):
    path, other = tmp_path / "one.csv", tmp_path / "two.csv"
    path.write_bytes(text())
    other.write_bytes(text([[*row[:5], row[5] + 1] for row in ROWS[3:]]))
    words = ("--symbol", "AAA/USDT", "--out", tmp_path / "store")
    file = tmp_path / "store/imported/AAA-USDT/1h.parquet"
    assert imported(capsys, path, *words)[0] == 0
    before = file.read_bytes()
    code, out, err = imported(capsys, other, *words)
    assert (code, out) == (2, "")
    assert "2020-09-13T16:00:00.000 UTC) must equal that of" in err
    assert file.read_bytes() == before
    assert imported(capsys, path, other, *words)[0] == 2
    assert imported(capsys, other, *words, "--replace")[0] == 0
    assert columns(file)["volume"] == [row[5] + 1 for row in ROWS[3:]]
    assert stored(tmp_path / "store") == ["imported/AAA-USDT/1h.parquet"]


def test_a_write_that_fails_leaves_nothing_half_done(tmp_path, capsys, monkeypatch):
    import pyarrow.parquet as pq

    real = pq.write_table
    calls = []

    def failing(*arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return real(*arguments, **options)

    monkeypatch.setattr(pq, "write_table", failing)
    for base in "AB":
        (tmp_path / f"{base}_USDT-1h.csv").write_bytes(GOOD)
    code, _, err = imported(capsys, *sorted(tmp_path.glob("*.csv")), "--out", tmp_path / "store")
    assert code == 3
    assert "No space left on device" in err
    assert stored(tmp_path / "store") == []


def test_mark_and_funding_go_to_their_places(tmp_path, capsys):
    (tmp_path / "A_USDT_USDT-1h-mark.csv").write_bytes(text([row[:5] for row in ROWS], "ts,open,high,low,close"))
    (tmp_path / "rates.csv").write_bytes(
        b"ts,rate,a,b\n" + b"".join(b"%d,0.0001,1,2\n" % (START + i * 8 * HOUR + i) for i in range(5))
    )
    out = ("--venue", "binanceusdm", "--out", tmp_path / "store", "--quiet")
    assert imported(capsys, tmp_path / "A_USDT_USDT-1h-mark.csv", *out) == (0, "", "")
    assert imported(capsys, tmp_path / "rates.csv", "--symbol", "A/USDT", *out) == (0, "", "")
    assert stored(tmp_path / "store") == ["binanceusdm/A-USDT/1h-mark.parquet", "binanceusdm/A-USDT/funding.parquet"]
    assert columns(tmp_path / "store/binanceusdm/A-USDT/funding.parquet")["ts"] == [
        START + i * 8 * HOUR + i for i in range(5)
    ]


def test_json_of_the_import_is_one_document(tmp_path, capsys):
    (tmp_path / "AAA_USDT-1h.csv").write_bytes(GOOD)
    _, out, err = imported(capsys, tmp_path / "AAA_USDT-1h.csv", "--out", tmp_path / "store", "--json")
    (one,) = json.loads(out)["files"]
    assert err == ""
    assert (one["symbol"], one["timeframe"], one["rows"], one["first_ms"], one["holes"]) == (
        "AAA/USDT",
        "1h",
        12,
        START,
        0,
    )


def test_arrow_gets_no_python_files():
    """A Python file in the hands of Arrow's threads can bring the process down when the interpreter ends."""
    using = [path for path in (ROOT / "trader").rglob("*.py") if "pyarrow" in path.read_text(encoding="utf-8")]
    calls = 0
    for path in using:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        opened = {
            ast.unparse(item.optional_vars)
            for node in ast.walk(tree) if isinstance(node, ast.With)
            for item in node.items if item.optional_vars and ast.unparse(item.context_expr).partition("(")[0].endswith("open")
        }  # fmt: skip
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            if ast.unparse(call.func).rpartition(".")[2] in ARROW_READS_AND_WRITES:
                calls += 1
                assert not opened & {ast.unparse(argument) for argument in call.args}, (path, ast.unparse(call))
        assert "BytesIO" not in path.read_text(encoding="utf-8"), path
    assert calls >= 5


ARROW_READS_AND_WRITES = {"write_table", "read_table", "ParquetFile", "ParquetWriter", "read_csv", "open_csv"}
