"""Broken configs through the command line: exit 2, one line, no traceback, nothing written, wherever the fault is."""

from __future__ import annotations

import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.shell_layer.broken_configs import BROKEN, EVERY_KEY, SETS, START, placed
from tests.shell_layer.shell_support import ROOT
from trader.__main__ import main
from trader.core.config import load
from trader.core.errors import UserError
from trader.session import api

LINE_LIMIT = 1500


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    """Commands run in an empty folder, without a database from the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRADER_DB", raising=False)
    monkeypatch.setattr(api._Session, "drive", _began)


def _began(*_):
    """A config that is taken for good must fail its test, not run an endless market."""
    raise AssertionError("the session began")


def everything(folder):
    """Every file below, with its content."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def refused(capsys, folder, *words):
    """stderr of a command that must end with 2, say one line, and write nothing."""
    before = everything(folder)
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    assert code == 2, (code, err)
    assert out == ""
    assert err.startswith("trader: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert "Traceback" not in err
    assert len(err) < LINE_LIMIT, len(err)
    assert everything(folder) == before
    return err


def test_there_are_two_hundred():
    assert len({content for _, content, _ in BROKEN}) > 170
    assert len(BROKEN) + len(EVERY_KEY) + len(SETS) > 600


@pytest.mark.parametrize(("name", "content", "line"), BROKEN, ids=[one[0] for one in BROKEN])
def test_a_broken_config_is_refused(tmp_path, capsys, name, content, line):
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    err = refused(capsys, tmp_path, "run", path)
    assert line in err
    assert "broken.toml" in err or name.startswith(("population.archetypes", "store.url"))


@pytest.mark.parametrize("command", ["check", "show"])
@pytest.mark.parametrize("content", [one[1] for one in BROKEN[::17]], ids=[one[0] for one in BROKEN[::17]])
def test_the_other_commands_refuse_it_too(tmp_path, capsys, command, content):
    (tmp_path / "broken.toml").write_bytes(content)
    refused(capsys, tmp_path, "config", command, "broken.toml")


@pytest.mark.parametrize(("dotted", "value"), EVERY_KEY, ids=[f"{dotted} {value}" for dotted, value in EVERY_KEY])
def test_every_key_refuses_what_it_is_not(tmp_path, dotted, value):
    """Straight to the reader: the command line before it is the same for all."""
    path = tmp_path / "broken.toml"
    path.write_bytes(placed(dotted, value))
    with pytest.raises(UserError) as refusal:
        load(path)
    assert str(refusal.value).startswith(f"{path}: {dotted}")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(("text", "line"), SETS, ids=[repr(one[0]) for one in SETS])
def test_a_broken_set_is_refused(tmp_path, capsys, text, line):
    (tmp_path / "good.toml").write_text(START)
    further = {
        "pool.currency=EUR": ["--set", "feed.symbols=['BTC/USDT']"],
        "feed.start=2021-01-01": ["--set", "feed.end=5"],
    }
    assert line in refused(capsys, tmp_path, "run", "good.toml", "--set", text, *further.get(text, []))


def test_what_is_no_file(tmp_path, capsys):
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "loop.toml").symlink_to("loop.toml")
    (tmp_path / "dangling.toml").symlink_to("nowhere")
    for name, line in (
        ("missing.toml", "no such file"), ("folder.toml", "cannot be read"), ("loop.toml", "cannot be read"),
        ("dangling.toml", "no such file"), ("", ""), ("x" * 300, ""), ("a\0b", ""), ("missing/x.toml", "no such file"),
        ("/dev/zero", "larger than"), ("/dev/null", "feed.kind: required"),
    ):  # fmt: skip
        assert line in refused(capsys, tmp_path, "run", name)


@pytest.mark.parametrize(
    "words",
    [
        ("run",), ("run", "a.toml", "b.toml"), ("run", "--nonsense", "good.toml"), ("run", "good.toml", "--db"),
        ("run", "good.toml", "--set"), ("rum", "good.toml"), ("replay", "good.toml"), ("replay", "good.toml", "--data"),
        ("replay", "good.toml", "--data", "nowhere"), ("replay", "good.toml", "--data", "good.toml"),
        ("replay", "good.toml", "--data", ".", "--start", "tomorrow"), ("config", "check"), ("config",),
        ("replay", "good.toml", "--data", ".", "--start", "5", "--end", "5"), ("config", "cheque", "good.toml"),
        ("run", "good.toml", "--db", "mysql://x/y"), ("run", "good.toml", "--json=5"), ("replay", "good.toml", "--data", "."),
        ("run", "good.toml", "--db", "sqlite://"), ("run", "good.toml", "--set", "store.url=nonsense://x"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_broken_words_are_refused(tmp_path, capsys, words):
    (tmp_path / "good.toml").write_text(START)
    refused(capsys, tmp_path, *words)


KEY = st.text(string.ascii_letters + "_-0123456789", min_size=1, max_size=12)
VALUE = st.one_of(
    st.integers(), st.floats(), st.booleans(), st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
)


def toml_of(value):
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return repr(value)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=KEY, name=KEY, value=VALUE)
def test_any_unknown_key_is_refused(tmp_path, capsys, table, name, value):
    text = f"{START}[{table}_]\n{name} = {toml_of(value)}\n"
    (tmp_path / "any.toml").write_text(text, encoding="utf-8")
    refused(capsys, tmp_path, "run", "any.toml")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_configs_are_refused_or_good(tmp_path, capsys, data):
    """Bytes changed, cut or doubled in a shipped config: one line and exit 2, or a config that holds."""
    shipped = ["quickstart.toml", "replay.toml", "perp-replay.toml"]
    content = bytearray((ROOT / "configs" / data.draw(st.sampled_from(shipped))).read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=5)):
        content[place] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    if data.draw(st.booleans()):
        content = content + content
    (tmp_path / "damaged.toml").write_bytes(bytes(content))
    code = main(["config", "check", "damaged.toml"])
    out, err = capsys.readouterr()
    if code == 2:
        assert err.startswith("trader: damaged.toml: ")
        assert err.count("\n") == 1
        assert out == ""
    else:
        assert code == 0, err


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300))
def test_any_bytes_are_refused(tmp_path, capsys, content):
    """Random bytes never name a feed."""
    (tmp_path / "noise.toml").write_bytes(content)
    refused(capsys, tmp_path, "run", "noise.toml")
