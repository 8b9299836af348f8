"""Broken data files: exit 2, one line on stderr, no traceback, nothing written, two seconds at most.

Over a hundred files by hand, each with what its line must say; 300 by hypothesis, which breaks one good file at a
random place in a way that no reading can mend. Most run in this process; a few as the real command.
"""

from __future__ import annotations

import gzip
import re
import resource
import struct
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.importer.broken_files import (
    BROKEN,
    GOOD,
    GOOD_ZIP,
    HEAD,
    ROWS,
    as_feather,
    as_parquet,
    changed,
    js,
    table,
    text,
)
from tests.importer.importer_support import stored
from tests.shell_layer.shell_support import ROOT, trader
from trader.__main__ import main

LONGEST_SECONDS = 2.0
"""Of processor time: these commands neither wait nor use several cores, so this is their time on a machine that has a
core for them; time on the wall would judge what else is running beside the tests."""


def refused(words, store):
    """stderr of a command in this process that must refuse and write nothing."""
    started = time.process_time()
    code = main([str(word) for word in words])
    assert time.process_time() - started <= LONGEST_SECONDS
    assert code == 2, f"exit {code}"
    assert stored(store) == []


def is_one_line(err):
    assert "Traceback" not in err
    assert err.count("\n") == 1
    assert err.startswith("trader: ")
    assert len(err) < 1000


def test_there_are_over_a_hundred():
    assert len({name for name, *_ in BROKEN}) == len(BROKEN) > 100


@pytest.mark.parametrize(("name", "content", "words", "line"), BROKEN, ids=[one[0] for one in BROKEN])
def test_broken_file_is_refused(tmp_path, capsys, name, content, words, line):
    path = tmp_path / name
    path.write_bytes(content)
    given_symbol = () if "--symbol" in words or name == "AAA_BBB-5m.csv" else ("--symbol", "AAA/USDT")
    refused(["data", "import", path, *given_symbol, *words, "--out", tmp_path / "store"], tmp_path / "store")
    out, err = capsys.readouterr()
    assert out == ""
    is_one_line(err)
    assert line in err
    assert str(path) in err or words, "without an option to blame, the line names the file"


@pytest.mark.parametrize("name", ["short_row.csv", "rounded.csv", "broken.json", "cut.zip", "cut.feather"])
def test_broken_file_through_the_real_command(tmp_path, name):
    content, words, line = next(one[1:] for one in BROKEN if one[0] == name)
    (tmp_path / name).write_bytes(content)
    before = _processor_seconds_of_children()
    done = trader("data", "import", name, "--symbol", "AAA/USDT", *words, "--out", "store", cwd=tmp_path)
    assert _processor_seconds_of_children() - before <= LONGEST_SECONDS
    assert (done.returncode, done.stdout) == (2, "")
    is_one_line(done.stderr)
    assert line in done.stderr
    assert stored(tmp_path) == [name]


def test_broken_data_of_a_replay_through_the_real_command(tmp_path):
    place = tmp_path / "source" / "binance" / "AAA-USDT"
    place.mkdir(parents=True)
    (place / "1h.json").write_bytes(js(changed(5, 2, 1)))
    before = _processor_seconds_of_children()
    done = trader("replay", str(ROOT / "configs/replay.toml"), "--data", "source", "--db", "db/x.db", cwd=tmp_path)
    assert _processor_seconds_of_children() - before <= LONGEST_SECONDS
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "trader: source/binance/AAA-USDT/1h.json: row 5: high must be >= low\n"
    assert stored(tmp_path) == ["source/binance/AAA-USDT/1h.json"]


def _processor_seconds_of_children():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize(("path", "line"), [("nothing.csv", "no such file"), (".", "is a folder: name its files")])
def test_what_is_no_file(tmp_path, capsys, path, line):
    refused(["data", "import", tmp_path / path, "--out", tmp_path / "store"], tmp_path / "store")
    err = capsys.readouterr().err
    is_one_line(err)
    assert line in err


def test_one_bad_file_among_good_ones_writes_nothing(tmp_path, capsys):
    (tmp_path / "AAA_USDT-1h.csv").write_bytes(GOOD)
    (tmp_path / "BBB_USDT-1h.csv").write_bytes(text(changed(5, 2, 1)))
    files = sorted(tmp_path.glob("*.csv"))
    refused(["data", "import", *files, "--out", tmp_path / "store"], tmp_path / "store")
    assert "BBB_USDT-1h.csv: row 5: high must be >= low" in capsys.readouterr().err


REPLAYED = [
    one for one in BROKEN if not one[2] and one[0].rpartition(".")[2] in ("csv", "json", "zip", "feather", "parquet")
]
GOOD_IN_PLACE = {
    "AAA_BBB-5m.csv",
    "odd_step.csv",
    "one_row.csv",
    "two_volumes.csv",
    "three_volumes.csv",
    "two_symbols.csv",
}
"""Files that the store's own place and names make good: it says symbol and step, and other columns are ignored."""


@pytest.mark.parametrize(
    ("name", "content"),
    [one[:2] for one in REPLAYED if one[0] not in GOOD_IN_PLACE],
    ids=[one[0] for one in REPLAYED if one[0] not in GOOD_IN_PLACE],
)
def test_broken_file_as_data_of_a_replay_is_refused(tmp_path, capsys, name, content):
    place = tmp_path / "source" / "binance" / "AAA-USDT" / f"1h.{name.rpartition('.')[2]}"
    place.parent.mkdir(parents=True)
    place.write_bytes(content)
    words = [
        "replay",
        ROOT / "configs" / "replay.toml",
        "--data",
        tmp_path / "source",
        "--db",
        tmp_path / "db" / "x.db",
    ]
    refused(words, tmp_path / "db")
    out, err = capsys.readouterr()
    assert out == ""
    is_one_line(err)


def test_the_good_file_is_good(tmp_path):
    """Else every refusal above could have another cause."""
    for name, content in (
        ("a.csv", GOOD),
        ("a.zip", GOOD_ZIP),
        ("a.json", js(ROWS)),
        ("a.feather", as_feather(table())),
    ):
        (tmp_path / name).write_bytes(content)
        words = ["data", "import", tmp_path / name, "--symbol", "AAA/USDT", "--out", tmp_path / f"{name}-store"]
        assert main([str(word) for word in words]) == 0
    copies = [
        (tmp_path / f"{name}-store/imported/AAA-USDT/1h.parquet").read_bytes()
        for name in ("a.csv", "a.zip", "a.json", "a.feather")
    ]
    assert len(set(copies)) == 1


CELL = st.sampled_from(["", "x", "nan", "inf", "-inf", "-1", "1.2.3", "1,5", "--", "0x1F", "1e400", "None", "🙂", "'"])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(row=st.integers(1, 12), column=st.integers(0, 5), value=CELL, head=st.booleans(), reverse=st.booleans())
def test_any_broken_cell_is_refused(tmp_path, capsys, row, column, value, head, reverse):
    rows = changed(row, column, f'"{value}"' if "," in value else value)
    path = tmp_path / "any.csv"
    path.write_bytes(text(rows[::-1] if reverse else rows, HEAD if head else ""))
    refused(["data", "import", path, "--symbol", "AAA/USDT", "--out", tmp_path / "store"], tmp_path / "store")
    err = capsys.readouterr().err
    is_one_line(err)
    told = re.search(r"row (\d+)", err)
    assert told, err
    if 1 < row < 12:
        assert int(told[1]) == (13 - row if reverse else row)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), source=st.sampled_from(["csv", "json", "feather", "zip", "gz", "parquet"]))
def test_flipped_or_missing_bytes_never_end_in_a_traceback(tmp_path, capsys, data, source):
    """Any damage: refused in one line, or (where it left a readable file) taken whole; never anything else."""
    good = {
        "csv": GOOD,
        "json": js(ROWS),
        "feather": as_feather(table()),
        "zip": GOOD_ZIP,
        "gz": gzip.compress(GOOD, mtime=0),
        "parquet": as_parquet(table()),
    }[source]
    content = bytearray(good)
    for place in data.draw(st.lists(st.integers(0, len(good) - 1), min_size=1, max_size=6)):
        content[place] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(len(content) // 2, len(content)))]
    path = tmp_path / f"damaged.{source}"
    path.write_bytes(bytes(content))
    store = tmp_path / "store" / str(len(list(tmp_path.glob("store/*"))))
    started = time.process_time()
    code = main(["data", "import", str(path), "--symbol", "AAA/USDT", "--venue", "v", "--out", str(store)])
    assert time.process_time() - started <= LONGEST_SECONDS
    out, err = capsys.readouterr()
    if code == 2:
        is_one_line(err)
        assert out == ""
        assert stored(store) == []
    else:
        assert (code, err) == (0, "")


def test_a_zip_that_lies_about_its_size(tmp_path, capsys):
    lying = bytearray(GOOD_ZIP)
    entry = lying.index(b"PK\x01\x02")
    struct.pack_into("<I", lying, entry + 24, 10)  # uncompressed size in the central directory
    (tmp_path / "lying.zip").write_bytes(bytes(lying))
    refused(
        ["data", "import", tmp_path / "lying.zip", "--symbol", "A/USD", "--out", tmp_path / "store"], tmp_path / "store"
    )
    is_one_line(capsys.readouterr().err)
