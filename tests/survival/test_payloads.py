"""Over two hundred injections and a hundred paths, in every place that takes text: refused or taken as text, never done.

Everything runs in this process through the command line's own function. What a payload would do, were it executed, is
to make a file whose name holds MARK or to start a program; neither may happen. Only the candle store may get files.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import sqlite3
import subprocess
import zipfile
from pathlib import Path

import pytest

from tests.store_layer.conftest import new_postgres
from tests.survival.survival_support import ROOT
from trader.__main__ import main
from trader.core.config import load
from trader.core.errors import UserError
from trader.session import api

MARK = "executed"
COLUMNS = "ts,open,high,low,close,volume"
ROWS = "".join(f"{1_600_002_000_000 + i * 3_600_000},1,1.2,0.9,1.1,5\n" for i in range(24))

INJECTIONS = [
    "'; DROP TABLE candle; --", '"; DELETE FROM run; --', "1 OR 1=1", "' OR '1'='1", "' UNION SELECT config FROM run --",
    "1; ATTACH DATABASE 'executed.db' AS x; CREATE TABLE x.t(a)", "$(touch executed)", "`touch executed`", "; touch executed",
    "| touch executed", "&& touch executed", "\n touch executed", "__import__('os').system('touch executed')",
    "{{7*7}}", "${jndi:ldap://127.0.0.1/a}", "%s%s%s%n", "{0.__class__.__init__.__globals__}", "<script>alert(1)</script>",
    "=cmd|'/c calc'!A1", "../../../../etc/passwd", "\u202eexecuted", "\ud7ff", "A" * 5000, "-1", "latest'--",
    "\x1b[2J\x1b]0;executed\x07",
]  # fmt: skip
STATEMENTS = [
    "DROP TABLE candle", "DELETE FROM run", "UPDATE run SET equity_end = 0", "INSERT INTO name VALUES (1, 'a', 1, 'b')",
    "SELECT 1; DROP TABLE candle", "WITH x AS (SELECT 1) DELETE FROM run", "ATTACH DATABASE 'executed.db' AS x",
    "SELECT load_extension('executed')", "SELECT writefile('executed', 'x')", "SELECT readfile('/etc/passwd')",
    "PRAGMA writable_schema=ON", "PRAGMA journal_mode=DELETE", "VACUUM INTO 'executed.db'", "VACUUM", "REINDEX",
    "CREATE TEMP TABLE executed (a)", "CREATE TABLE executed (a)", "BEGIN; DELETE FROM run; COMMIT", "COMMIT; DROP TABLE run",
    "COPY (SELECT 1) TO '/tmp/executed'", "COPY run TO PROGRAM 'touch executed'", "SELECT pg_read_file('/etc/passwd')",
    "SELECT lo_export(1, '/tmp/executed')", "SELECT pg_terminate_backend(pg_backend_pid())",
    "DO $$ BEGIN DELETE FROM run; END $$",
    "SELECT set_config('transaction_read_only', 'off', false)", "SET TRANSACTION READ WRITE", "EXPLAIN ANALYZE DELETE FROM run",
    "SELECT * FROM run FOR UPDATE", "SELECT pg_sleep(0)", "/* SELECT */ DELETE FROM run", "-- SELECT\nDELETE FROM run",
    "SELECT nextval('run_run_seq')", "REPLACE INTO run VALUES (1)", "VALUES (1); DROP TABLE run", "select 1 into executed",
    "WITH RECURSIVE t(a) AS (SELECT 1 UNION ALL SELECT a FROM t) SELECT COUNT(*) FROM t LIMIT 0", "",
]  # fmt: skip
DB = ("--db", "a.db")
UNNAMED = ("data", "import", "rows.csv", "--out", "store", "--symbol")
IMPORT = (*UNNAMED, "A/B")
PLACES = {
    "run name": lambda text: ("run", "c.toml", "--set", f"session.name={json.dumps(text)}", *DB),
    "set": lambda text: ("run", "c.toml", "--set", text, *DB),
    "set value": lambda text: ("run", "c.toml", "--set", f"exchange.id={text}", "--set", "exchange.market_type=x", *DB),
    "set symbol": lambda text: ("run", "c.toml", "--set", f"feed.symbols=[{json.dumps(text)}]", *DB),
    "resume": lambda text: ("resume", text, *DB),
    "verify": lambda text: ("verify", text, *DB),
    "report": lambda text: ("report", text, *DB),
    "trades of": lambda text: ("db", "trades", text, *DB),
    "symbol": lambda text: ("db", "trades", "latest", "--symbol", text, *DB),
    "side": lambda text: ("db", "orders", "latest", "--side", text, *DB),
    "agent": lambda text: ("db", "agents", "latest", "--agent", text, *DB),
    "since": lambda text: ("db", "candles", "latest", "--since", text, *DB),
    "sort": lambda text: ("db", "ledger", "latest", "--sort", text, *DB),
    "database": lambda text: ("db", "runs", "--db", f"sqlite:///nowhere{text}"),
    "import symbol": lambda text: (*UNNAMED, text),
    "import venue": lambda text: (*IMPORT, "--venue", text),
    "import columns": lambda text: (*IMPORT, "--columns", text),
    "import zone": lambda text: (*IMPORT, "--tz", text),
    "import dates": lambda text: (*IMPORT, "--date-format", text),
    "export format": lambda text: ("db", "export", "latest", "--out", "out", "--format", text, *DB),
}


@pytest.fixture(scope="module")
def one_run(tmp_path_factory):
    """A database with a run, made once."""
    folder = tmp_path_factory.mktemp("one-run")
    config = ROOT / "configs" / "quickstart.toml"
    words = [
        "run",
        config,
        "--db",
        folder / "a.db",
        "--quiet",
        "--set",
        "session.candles=200",
        "--set",
        "feed.symbols=['BTC/USDT']",
    ]
    assert main([str(word) for word in words]) == 0
    return (folder / "a.db").read_bytes()


@pytest.fixture
def sandbox(tmp_path, one_run, monkeypatch):
    """A working folder inside another one, in which nothing but the store may change."""
    inner = tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    (inner / "a.db").write_bytes(one_run)
    (inner / "c.toml").write_text('feed = { kind = "synthetic" }\n')
    (inner / "rows.csv").write_text(COLUMNS + "\n" + ROWS)
    (tmp_path / "outer" / "secret.txt").write_text("canary-7391")
    monkeypatch.chdir(inner)
    monkeypatch.delenv("TRADER_DB", raising=False)

    def refuse(*words, **_):
        raise AssertionError(f"a program was started: {words}")

    def no_session(*_, **__):
        raise api.UserError("the session would begin")

    for owner, name in ((os, "system"), (os, "popen"), (subprocess, "Popen"), (subprocess, "run")):
        monkeypatch.setattr(owner, name, refuse)
    monkeypatch.setattr(api, "run_session", no_session)
    return inner


def content(root):
    """Files below, with their content; databases by their rows: reading one may leave a log beside it."""
    found = {}
    for path in root.rglob("*"):
        if path.is_file() and not path.name.endswith((".db-wal", ".db-shm", ".lock")):
            found[str(path.relative_to(root))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def wrong(capsys, sandbox, words, codes=(0, 2)) -> str | None:
    """What is wrong with how a command took its payload, if anything."""
    root = sandbox.parent.parent
    before = content(root)
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    changed = {path for path, value in content(root).items() if before.get(path) != value}
    stray = {path for path in changed if not path.startswith("outer/inner/store/")} | {
        path for path in changed if ".." in path or MARK in Path(path).name
    }
    if code not in codes or "Traceback" in err or "defect" in err:
        return f"exit {code}: {err[-400:]}"
    if code == 2 and (err.count("\n") != 1 or not err.startswith("trader: ")):
        return f"not one line: {err!r}"[:400]
    if any(ord(letter) < 32 and letter != "\n" for letter in err):
        return f"control characters reach the terminal: {err!r}"[:400]
    if "canary" in out + err or "root:" in out + err:
        return "a file's content was told"
    return f"files changed: {stray}" if stray else None


def test_how_many():
    assert len(INJECTIONS) * len(PLACES) + len(STATEMENTS) > 400


@pytest.mark.parametrize("place", PLACES)
def test_injections(sandbox, capsys, place):
    found = {}
    for text in INJECTIONS:
        if problem := wrong(capsys, sandbox, PLACES[place](text)):
            found[text[:60]] = problem
    assert found == {}


def test_statements(sandbox, capsys):
    found = {}
    for text in STATEMENTS:
        if problem := wrong(capsys, sandbox, ("db", "sql", text, *DB)):
            found[text] = problem
    assert found == {}
    with sqlite3.connect("a.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT COUNT(*) FROM run").fetchone() == (1,)


@pytest.mark.postgres
def test_statements_on_postgresql(sandbox, capsys, monkeypatch):
    monkeypatch.undo()
    monkeypatch.chdir(sandbox)
    with new_postgres() as url:
        words = [
            "run",
            "c.toml",
            "--db",
            url,
            "--quiet",
            "--set",
            "session.candles=50",
            "--set",
            "feed.symbols=['BTC/USDT']",
        ]
        assert main(words) == 0
        assert main(["db", "sql", "SELECT COUNT(*) AS n FROM candle", "--db", url, "--json"]) == 0
        before = capsys.readouterr().out
        found = {}
        for text in STATEMENTS:
            if problem := wrong(capsys, sandbox, ("db", "sql", text, "--db", url), (0, 2, 3)):
                found[text] = problem
        assert found == {}
        assert main(["db", "sql", "SELECT COUNT(*) AS n FROM candle", "--db", url, "--json"]) == 0
        assert capsys.readouterr().out == before
        assert main(["verify", "latest", "--db", url]) == 0


PATHS = [
    "../escaped", "../../escaped", "/tmp/../escaped", "..\\..\\escaped", "C:\\escaped", "C:/escaped", "a/../../escaped",
    "./../escaped", "....//escaped", "%2e%2e/escaped", "..%c0%af..%c0%afescaped", "~/escaped", "$HOME/escaped", "a\0b",
    "file:///etc/passwd", "/etc/passwd", "/dev/full", "/dev/zero", "pipe",
    "/proc/self/environ", "\\\\host\\share", "con", "nul", "a" * 300,
    "/dev/stdin/x", "link/escaped", " ", ".", "..",
]  # fmt: skip
NAMED = {
    "symbol": lambda path: (*UNNAMED, f"{path}/USDT"),
    "venue": lambda path: (*IMPORT, "--venue", path),
    "run name": lambda path: ("run", "c.toml", "--set", f"session.name={json.dumps(path)}", *DB),
    "config": lambda path: ("run", path, *DB),
    "data": lambda path: ("replay", "c.toml", "--data", path, *DB),
    "export of": lambda path: ("db", "export", path, "--out", "out", *DB),
    "instruments": lambda path: ("run", "c.toml", "--set", f"exchange.instruments={json.dumps(path)}", *DB),
    "signals": lambda path: ("run", "c.toml", "--set", f"feed.signals={json.dumps(path)}", *DB),
    "plugin": lambda path: ("run", "c.toml", "--set", f"population.plugins=[{json.dumps(path)}]", *DB),
}


@pytest.mark.parametrize("place", NAMED)
def test_paths(sandbox, capsys, place):
    (sandbox / "link").symlink_to("..")
    os.mkfifo(sandbox / "pipe")
    found = {}
    for path in PATHS:
        if place == "config" and path == "pipe":  # `trader run <(...)` is one: waits for who writes
            continue
        if problem := wrong(capsys, sandbox, NAMED[place](path)):
            found[path[:60]] = problem
    assert found == {}


def zipped(name):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, COLUMNS + "\n" + ROWS)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["zip member", "column"])
def test_paths_inside_files(sandbox, capsys, kind):
    found = {}
    for path in PATHS:
        if kind == "zip member":
            if "\0" in path:
                continue
            (sandbox / "BTC-USDT-1h.zip").write_bytes(zipped(f"{path}.csv"))
            words = ("data", "import", "BTC-USDT-1h.zip", "--out", "store", "--replace")
        else:
            lines = [f"{line},{json.dumps(path + '/USDT')}" for line in ROWS.splitlines()]
            (sandbox / "many.csv").write_text(COLUMNS + ",symbol\n" + "\n".join(lines) + "\n")
            words = ("data", "import", "many.csv", "--out", "store", "--replace")
        if problem := wrong(capsys, sandbox, words):
            found[path[:60]] = problem
    assert found == {}


def mutated(rng, text):
    """A shipped config with a few lines changed, doubled, moved, emptied or with other values."""
    lines = text.splitlines()
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(lines))
        kind = rng.randrange(7)
        name = lines[place].partition("=")[0]
        if kind == 0:
            lines.insert(place, lines[rng.randrange(len(lines))])
        elif kind == 1:
            del lines[place]
            lines = lines or [""]
        elif kind == 2:
            lines[place] = f"{name} = {rng.choice(VALUES)}"
        elif kind == 3:
            letter = rng.randrange(len(lines[place]) + 1)
            lines[place] = lines[place][:letter] + rng.choice("\"'[]{}=#\\\n\x00.,9e-") + lines[place][letter:]
        elif kind == 4:
            lines[place] = lines[place].replace("1", rng.choice(["-1", "1e308", "0", "nan", "true"]), 1)
        elif kind == 5:
            rng.shuffle(lines)
        else:
            lines[place] = f"[{rng.choice(['feed', 'levels.pool', 'x', 'pool.caps', 'levels', ''])}]"
    return "\n".join(lines) + "\n"


VALUES = (
    "0", "-1", "1e400", "nan", "inf", "true", '""', '"x"', "[]", "[[]]", "{}", "{ a = 1 }", "9" * 30, "1979-05-27", "'\\'",
    '"' + "x" * 10_000 + '"', "[" * 200 + "]" * 200, "0x_", "1__0", '"""', "07:32:00", '["a", 1]', "-0.0", '"\\u0000"',
)  # fmt: skip


def checked(capsys):
    """Exit code and stderr of the command."""
    return main(["config", "check", "m.toml"]), capsys.readouterr().err


def loaded():
    """The same by the function behind it: the command line before it is the same for all."""
    try:
        load(Path("m.toml"))
    except UserError as error:
        return 2, f"trader: {error}\n"
    return 0, ""


@pytest.mark.parametrize("count", [500, pytest.param(20_000, marks=pytest.mark.nightly)])
def test_mutated_configs(tmp_path, capsys, monkeypatch, count):
    """Every one is a config that holds, or exit 2 with the file, the key and the rule on one line."""
    monkeypatch.chdir(tmp_path)
    rng, texts = random.Random(count), [path.read_text() for path in sorted((ROOT / "configs").glob("*.toml"))]
    found, refused = {}, 0
    for number in range(count):
        Path("m.toml").write_text(mutated(rng, rng.choice(texts)))
        code, err = checked(capsys) if number % 20 == 0 else loaded()
        refused += code == 2
        if code not in {0, 2} or (code == 2 and not (err.startswith("trader: ") and err.count("\n") == 1)):
            found[number] = f"{code} {err[-300:]}"
    print(f"{refused} of {count} refused")
    assert found == {}
    assert refused > count // 2
