"""Planted secrets appear nowhere: not on stdout or stderr, not in logs, not in the database, not in files beside it."""

from __future__ import annotations

import json

import pytest
import sqlalchemy

from tests.store_layer.conftest import new_postgres
from tests.survival.survival_support import SHORT, tables

CANARY = "canary-5f1c-{}-93ab"


def with_password(url, number):
    """The server asks for no password, so that any is taken."""
    return sqlalchemy.engine.make_url(url).set(password=CANARY.format(number)).render_as_string(hide_password=False)


def nowhere(port, number):
    return f"postgresql://trader:{CANARY.format(number)}@127.0.0.1:{port}/nowhere"


def written(folder, ended):
    """Everything that a command left behind, as text."""
    files = [
        path.read_bytes().decode("latin-1") for path in folder.rglob("*") if path.is_file() and path.suffix != ".toml"
    ]
    return "\n".join([ended.out, ended.errors, *files])


@pytest.mark.postgres
def test_ten_planted_secrets(commands, tmp_path):
    config = tmp_path / "short.toml"
    found = []
    with new_postgres() as server:
        config.write_text(SHORT + f'[store]\nurl = "{with_password(server, 0)}"\n')
        where = {
            "cwd": str(tmp_path),
            "env": {"TRADER_LOGS": "json", "TRADER_DB": nowhere(1, 9), "PGCONNECT_TIMEOUT": "1"},
        }
        words = [
            ("run", config, "--json"),
            ("run", config, "--db", with_password(server, 1)),
            ("db", "runs", "--db", with_password(server, 2), "--json"),
            ("verify", "latest", "--db", with_password(server, 3), "--json"),
            ("db", "sql", "SELECT nonsense", "--db", with_password(server, 4)),
            ("db", "trades", "nobody", "--db", with_password(server, 5)),
            ("db", "sql", "SELECT 1", "--db", f"mysql://x:{CANARY.format(6)}@127.0.0.1/x"),
            ("resume", "latest", "--db", f"postgresql://x:{CANARY.format(7)}@127.0.0.1:port/x"),
            ("run", config, "--set", f"exchange.urls={{ public = 'http://x:{CANARY.format(8)}@127.0.0.1/' }}"),
            ("run", config, "--set", f"exchange.apiKey='{CANARY.format(9)}'"),
            ("config", "show", config, "--json"),
        ]
        for number, line in enumerate(words):
            ended = commands(*line, **where)
            assert "Traceback" not in ended.errors, (line, ended.errors)
            if CANARY[:11] in written(tmp_path, ended):
                found.append((number, line[:2]))
        rows = repr(tables(server))
        commands.start(*words[1], **where, sql=[150, "error"])
        broken = commands.finish()
    assert CANARY[:11] not in rows
    assert CANARY[:11] not in broken.errors
    assert found == []


def test_logs_as_json(commands, tmp_path):
    config = tmp_path / "short.toml"
    config.write_text(SHORT)
    ended = commands("run", config, "--db", tmp_path / "a.db", env={"TRADER_LOGS": "json"})
    lines = [json.loads(line) for line in ended.errors.splitlines() if line.startswith("{")]
    assert len(lines) >= 2
    assert all({"event", "level", "timestamp"} <= line.keys() for line in lines)
    assert {line["event"] for line in lines} >= {"generation"}
    wrong = commands("run", config, "--db", tmp_path / "b.db", env={"TRADER_LOGS": "xml"})
    assert (wrong.code, wrong.errors) == (2, "trader: TRADER_LOGS: text or json, not 'xml'\n")
    assert not (tmp_path / "b.db").exists()


def test_files_belong_to_their_owner_alone(commands, tmp_path):
    """Database, its log, lock and checkpoints, whatever the umask lets through."""
    config = tmp_path / "short.toml"
    config.write_text(SHORT)
    place = tmp_path / "runs"
    assert commands("run", config, "--db", place / "a.db", "--quiet", sql=[380, "die"], umask=0).code == 137
    files = [path for path in place.rglob("*") if path.is_file()]
    assert len(files) > 8
    assert {oct(path.stat().st_mode & 0o077) for path in files} == {"0o0"}
