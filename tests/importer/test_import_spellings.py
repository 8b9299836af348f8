"""Spellings and wrappings of the same candles: decimal commas, thousands, JSON lines, exchanges' answers, zips with a README."""

from __future__ import annotations

import json

import pytest

from tests.importer.broken_files import GOOD, HEAD, HOUR, ROWS, js, text, zipped
from tests.importer.test_import_rules import OBJECTS, WANTED, assert_is_the_good_one, read
from trader.core.types import UserError
from trader.feeds.importing.spelling import plain_numbers

TIMES = [str(row[0]) for row in ROWS]


def spelled(cell):
    return [[row[0], *(cell(value) for value in row[1:])] for row in ROWS]


def german(value):
    return f"{value:.2f}".replace(".", ",")


def quoted(rows):
    return ("\n".join([HEAD, *(",".join(f'"{cell}"' for cell in row) for row in rows)]) + "\n").encode()


BIG = [[row[0], *(1000.0 * value for value in row[1:])] for row in ROWS]


@pytest.mark.parametrize("sep", [";", "\t", "|"])
def test_decimal_commas(tmp_path, sep):
    assert_is_the_good_one(read(tmp_path, text(spelled(german), sep=sep, head=HEAD.replace(",", sep))))
    assert_is_the_good_one(read(tmp_path, text(spelled(german), sep=sep, head="")))


def test_decimal_commas_in_quotes(tmp_path):
    assert_is_the_good_one(read(tmp_path, quoted(spelled(german))))


def test_german_dates_beside_decimal_commas(tmp_path):
    rows = [
        [f"{13 + (13 + i) // 24:02d}.09.2020 {(13 + i) % 24:02d}:00", *map(german, row[1:])]
        for i, row in enumerate(ROWS)
    ]
    piece = read(tmp_path, text(rows, sep=";", head=HEAD.replace(",", ";")))
    assert piece.content.values[:, 0].tolist() == WANTED["open"]
    assert set((piece.content.times[1:] - piece.content.times[:-1]).tolist()) == {HOUR}


@pytest.mark.parametrize("form", ["{:,.1f}", "{:,.0f}"])
def test_quoted_thousands(tmp_path, form):
    """Without any decimals only a million proves the sign: 101,000 alone could be 101."""
    factor = 1 if form == "{:,.1f}" else 1000
    rows = [[row[0], *(form.format(factor * value) for value in row[1:])] for row in BIG]
    piece = read(tmp_path, quoted(rows))
    assert piece.content.values[:, 3].tolist() == [1000.0 * factor * value for value in WANTED["close"]]


def test_thousands_with_points_beside_decimal_commas(tmp_path):
    rows = [[row[0], *(f"{value:,.1f}".translate(str.maketrans(",.", ".,")) for value in row[1:])] for row in BIG]
    piece = read(tmp_path, text(rows, sep=";", head=HEAD.replace(",", ";")))
    assert piece.content.values[:, 0].tolist() == [1000.0 * value for value in WANTED["open"]]


def test_what_can_be_read_in_two_ways_is_refused():
    rule = r"file.csv: line 2: '101,000' reads as 101\.000 and as 101000"
    with pytest.raises(UserError, match=rule) as caught:
        plain_numbers("file.csv", [["open"], ["101,000", "7"]])
    assert "\n" not in str(caught.value)
    assert plain_numbers("x", [["101,000", "7.5"]]) == [["101000", "7.5"]], (
        "beside decimal points it is a thousands sign"
    )


@pytest.mark.parametrize("rows", [[["1,234.5", "12,5"]], [["12,5", "1234.5"]]])
def test_numbers_written_in_two_ways_are_left_to_be_refused(tmp_path, rows):
    assert plain_numbers("x", rows) == rows
    mixed = [[row[0], german(row[1]), *row[2:]] for row in ROWS]
    with pytest.raises(UserError, match="row 1: open must be a number, not '100,00'"):
        read(tmp_path, text(mixed, sep=";", head=HEAD.replace(",", ";")))


def test_unclear_prices_are_refused_by_the_command_too(tmp_path):
    rows = [[row[0], *(f"{value:.3f}".replace(".", ",") for value in row[1:])] for row in ROWS]
    with pytest.raises(UserError, match=r"'100,000' reads as 100\.000 and as 100000"):
        read(tmp_path, text(rows, sep=";", head=HEAD.replace(",", ";")))


def test_a_comma_in_a_word_is_left_alone():
    rows = [["Jan 5, 2020", "1.5", "a,b"]]
    assert plain_numbers("x", rows) == rows


# ---- json ------------------------------------------------------------------------------------------------------------


def lines(documents):
    return ("\n".join(json.dumps(one) for one in documents) + "\n").encode()


@pytest.mark.parametrize("documents", [OBJECTS, ROWS], ids=["objects", "arrays"])
def test_json_lines(tmp_path, documents):
    assert_is_the_good_one(read(tmp_path, lines(documents), "file.jsonl"))
    assert_is_the_good_one(read(tmp_path, lines(documents).replace(b"\n", b"\n\n"), "file.json"))


def test_a_broken_json_line_names_its_row(tmp_path):
    content = lines(OBJECTS).splitlines()
    content[4] = content[4][:-3]
    with pytest.raises(UserError, match="row 5: cannot be read as JSON"):
        read(tmp_path, b"\n".join(content), "file.json")
    with pytest.raises(UserError, match="row 3: must be an object with the keys"):
        read(tmp_path, lines([*OBJECTS[:2], {"ts": 1}, *OBJECTS[2:]]), "file.json")


SECONDS = [row[0] // 1000 for row in ROWS]
BARE = {name: WANTED[name] for name in ("open", "high", "low", "close", "volume")}
COMPARE = ("time", "high", "low", "open", "volumefrom", "volumeto", "close")
ANSWERS = {
    "bybit": {"retCode": 0, "result": {"symbol": "AAAUSDT", "list": [[*map(str, row), "1"] for row in ROWS[::-1]]}},
    "okx": {"code": "0", "msg": "", "data": [[*map(str, row), "1", "2", "1"] for row in ROWS[::-1]]},
    "kucoin": {"code": "200000", "data": [[str(r[0] // 1000), *(str(r[i]) for i in (1, 4, 2, 3, 5)), "1"] for r in ROWS]},
    "cryptocompare": {
        "Response": "Success", "RateLimit": {}, "HasWarning": False,
        "Data": {"Aggregated": False, "TimeTo": 9, "Data": [
            dict(zip(COMPARE, (r[0] // 1000, r[2], r[3], r[1], r[5], r[5] * r[1], r[4]), strict=True))
            for r in ROWS
        ]},
    },
    "udf chart": {"s": "ok", "nextTime": 7, "t": SECONDS, **{name[0]: cells for name, cells in BARE.items()}},
    "nested chart": {"chart": {"error": None, "result": [
        {"meta": {"symbol": "AAA", "validRanges": ["1d", "5d"]}, "timestamp": SECONDS, "indicators": {"quote": [BARE]}},
    ]}},
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_of_exchanges_and_charts(tmp_path, name):
    assert_is_the_good_one(read(tmp_path, js(ANSWERS[name]), "file.json"))


KRAKEN = [[r[0] // 1000, *map(str, r[1:5]), str((r[1] + r[4]) / 2), str(r[5]), 3] for r in ROWS]
REFUSED = {
    "average price": (
        {"error": [], "result": {"AAAUSD": KRAKEN, "last": 5}},
        "row 1: column 6 should be the volume and lies between low and high: an average price",
    ),
    "two tables": ({"a": ROWS, "b": {"c": ROWS}}, r"holds 2 tables \(a, b\.c\)"),
    "two of a name": ({"t": SECONDS, "one": BARE, "two": BARE}, "several columns of one name"),
    "an error": ({"code": -1121, "msg": "Invalid symbol."}, "must hold a list of rows"),
    "a hole in a column": (
        {"s": "ok", "t": SECONDS, **{k[0]: v for k, v in BARE.items()}, "c": [None, *BARE["close"][1:]]},
        "row 1: close must not be empty",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_answers_without_one_certain_table_are_refused(tmp_path, name):
    document, rule = REFUSED[name]
    with pytest.raises(UserError, match=rule) as caught:
        read(tmp_path, js(document), "file.json")
    assert "\n" not in str(caught.value)


def test_kraken_with_its_columns_named(tmp_path):
    order = ("ts", "open", "high", "low", "close", "-", "volume")
    document = {"error": [], "result": {"AAAUSD": KRAKEN, "last": 5}}
    assert_is_the_good_one(read(tmp_path, js(document), "file.json", columns=order))


# ---- zip -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["README_md", "README_txt", "license_txt", "a_csv_CHECKSUM", "picture_png", "Readme"])
def test_what_lies_beside_the_data_is_passed_over(tmp_path, name):
    words = {name: b"# Prices\n\nFrom an exchange, with commas, and; other, signs.\n"}
    assert_is_the_good_one(read(tmp_path, zipped(**words, a_csv=GOOD), "file.zip"))


def test_a_zip_of_words_alone_and_an_unknown_member_are_refused(tmp_path):
    for files in ({"README_md": b"nothing here\n"}, {"a_csv": GOOD, "notes_txt": b"by hand\n"}):
        with pytest.raises(UserError, match="row 1"):
            read(tmp_path, zipped(**files), "file.zip")
