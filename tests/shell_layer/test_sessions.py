"""run, replay, resume and verify as commands: what they print, their exit codes, and signals."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from tests.shell_layer.shell_support import CANDLES, ROOT, trader
from trader.cli import card, progress, signals
from trader.core import config as configs
from trader.core.types import UserError
from trader.session.api import Progress, StopFlag, resume_session

SUMMARY = [
    "run", "status", "feed", "seed", "config_hash", "candles", "decisions", "orders", "trades", "agents", "generations",
    "equity_start", "equity_end", "max_drawdown", "wall_s", "agent_candles_per_s", "digest", "db",
]  # fmt: skip


def test_the_summary_is_one_json_document_with_the_contracts_keys(finished):
    _, done = finished
    summary = json.loads(done.stdout)
    assert set(SUMMARY) <= set(summary)
    assert (summary["status"], summary["feed"], summary["seed"], summary["candles"]) == (
        "finished",
        "replay",
        7,
        2 * CANDLES,
    )
    assert re.fullmatch(r"\d+\.\d{8}", summary["equity_start"])
    assert re.fullmatch(r"\d+\.\d{8}", summary["equity_end"])
    assert all(
        isinstance(summary[key], (int, float)) for key in ("decisions", "orders", "trades", "wall_s", "max_drawdown")
    )
    assert summary["trades"] > 0
    assert re.fullmatch(r"[0-9a-f]{64}", summary["digest"])


def test_the_same_again_has_the_same_digest_whatever_the_threads(finished, session_words, tmp_path):
    _, done = finished
    again = trader(*session_words, "--db", str(tmp_path / "b.db"), "--json", "--set", "engine.threads=1", cwd=tmp_path)
    first, second = json.loads(done.stdout), json.loads(again.stdout)
    assert first["digest"] == second["digest"]
    assert first["config_hash"] == second["config_hash"]


def test_verify_finds_the_run_identical(finished):
    path, _ = finished
    done = trader("verify", "latest", "--db", str(path), "--json", cwd=path.parent)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"identical": True, "first_difference": None}
    told = trader("verify", "1", "--db", str(path), "--quiet", cwd=path.parent)
    assert told.stdout.startswith("identical")


def test_verify_ends_with_1_and_names_the_first_difference(finished, tmp_path):
    path, _ = finished
    other = tmp_path / "changed.db"
    with sqlite3.connect(path) as source, sqlite3.connect(other) as target:
        source.backup(target)
        target.execute('UPDATE "exit" SET price = price + 1 WHERE seq = (SELECT min(seq) FROM "exit")')
    target.close()
    done = trader("verify", "latest", "--db", str(other), "--json", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    assert found["identical"] is False
    assert (found["first_difference"]["table"], found["first_difference"]["column"]) == ("exit", "price")
    told = trader("verify", "latest", "--db", str(other), cwd=tmp_path)
    assert told.returncode == 1
    assert told.stdout.startswith("different: table exit")


def test_the_end_card_tells_result_assumptions_and_what_to_type_next(session_words, tmp_path):
    done = trader(*session_words, "--db", str(tmp_path / "c.db"), "--set", "session.candles=400", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert any(line.startswith("Run 1 finished: history from files") for line in lines)
    assert [line[2] for line in lines if re.match(r"  \d (Market|Fills|Costs|Money) ", line)] == list("1234")
    assert any("trader verify 1" in line for line in lines)
    quiet = trader(
        *session_words, "--db", str(tmp_path / "c.db"), "--set", "session.candles=400", "--quiet", cwd=tmp_path
    )
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")


def test_a_replay_without_data_is_refused_and_nothing_is_written(tmp_path):
    done = trader("replay", str(ROOT / "configs" / "replay.toml"), "--db", str(tmp_path / "d.db"), cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "feed.data" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_memory_keeps_nothing(session_words, tmp_path):
    done = trader(*session_words, "--db", "memory", "--set", "session.candles=400", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["db"] == "memory"
    assert list(tmp_path.iterdir()) == []
    assert trader("db", "runs", "--db", "memory", cwd=tmp_path).returncode == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_a_session_and_resume_ends_it_as_if_nothing_had_been(number, finished, session_words, tmp_path):
    """The signal comes when the run has its row; its first block is committed then, and the rest comes with resume."""
    path = tmp_path / "e.db"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "trader", *session_words, "--db", str(path), "--json"]
    running = subprocess.Popen(
        command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 240
    while running.poll() is None and time.monotonic() < deadline:
        if begun(path):
            running.send_signal(number)
            break
        time.sleep(0.002)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 0, err
    summary = json.loads(out)
    assert summary["status"] == "stopped"
    assert 0 < summary["candles"] < 2 * CANDLES
    assert "finishing the candle" in err
    resumed = trader("resume", "latest", "--db", str(path), "--json", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    ended = json.loads(resumed.stdout)
    assert ended["status"] == "finished"
    assert ended["digest"] == json.loads(finished[1].stdout)["digest"]


def begun(path) -> bool:
    if not path.exists():
        return False
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return connection.execute("SELECT count(*) FROM run").fetchone()[0] > 0
    except sqlite3.OperationalError:
        return False
    finally:
        connection.close()


def test_the_first_signal_asks_and_the_second_leaves():
    flag, left = StopFlag(), []
    with signals.stopping(flag, left.append):
        os.kill(os.getpid(), signal.SIGINT)
        wait_for(lambda: flag.requested)
        assert left == []
        os.kill(os.getpid(), signal.SIGTERM)
        wait_for(lambda: left)
    assert left == [128 + signal.SIGTERM]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def wait_for(condition):
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_second_signal_ends_the_process_though_the_main_thread_is_busy():
    """The main thread sits in one call that never returns to the interpreter, as compiled code does."""
    code = (
        "import sys, threading\n"
        "from trader.cli.signals import stopping\n"
        "from trader.session.summary import StopFlag\n"
        "with stopping(StopFlag()):\n"
        "    print('ready', flush=True)\n"
        "    sum(1 for _ in iter(int, 1))\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    running = subprocess.Popen(
        [sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert running.stdout.readline() == "ready\n"
    running.send_signal(signal.SIGINT)
    time.sleep(0.5)
    running.send_signal(signal.SIGINT)
    start = time.monotonic()
    _, err = running.communicate(timeout=20)
    assert running.returncode == 128 + signal.SIGINT
    assert "stopped at once" in err
    assert time.monotonic() - start < 5


def test_progress_is_a_line_now_and_then(monkeypatch, capsys):
    from trader.cli.logs import configure_logs

    configure_logs(quiet=False)
    clock = iter([0.0, 1.0, 11.0, 12.0])
    monkeypatch.setattr(progress, "seconds", lambda: next(clock))
    with progress.progress_report(quiet=False) as report:
        for done in (10, 20, 30):
            report(Progress(done, 100, done, 5 * 10**8, 0))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert "frames" in shown.err
    with progress.progress_report(quiet=True) as report:
        assert report is None


def test_progress_on_a_terminal_is_a_bar_on_stderr(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress.progress_report(quiet=False) as report:
        report(Progress(10, 100, 3, 5 * 10**8, 0))
        report(Progress(100, 100, 3, 5 * 10**8, 0))
    assert capsys.readouterr().out == ""


def test_quiet_logs_keep_warnings(capsys):
    import structlog

    from trader.cli.logs import configure_logs

    configure_logs(quiet=True)
    structlog.get_logger().info("nobody")
    structlog.get_logger().warning("somebody", run=3)
    shown = capsys.readouterr().err
    assert "nobody" not in shown
    assert "somebody" in shown


def test_the_card_says_how_to_resume_and_what_memory_means(monkeypatch):
    monkeypatch.setattr(card.shutil, "which", lambda _: "/bin/trader")
    summary = dict.fromkeys(SUMMARY, 0) | {
        "run": 4, "status": "stopped", "feed": "synthetic", "equity_start": "100.00000000", "equity_end": "90.00000000",
        "db": "x.db", "digest": "ab" * 32,
    }  # fmt: skip
    config = configs.load(None, ["feed.kind=synthetic", "exchange.market_type=spot"])
    text = card.end_card(summary, {"fees": "1234.50000000", "by side": {"long": 3, "share": 0.25}}, config)
    assert "(-10.00%)" in text
    assert "trader resume 4" in text
    assert "fees        1,234.50" in text
    assert "long 3, share 0.25" in text
    assert "spot: long only" in text
    assert "Nothing was stored" in card.end_card(summary | {"db": "memory"}, {}, None)
    assert "memory" not in card.end_card(summary, {}, None)


def test_the_program_is_named_as_it_can_be_typed(monkeypatch):
    monkeypatch.setattr(card.shutil, "which", lambda _: None)
    monkeypatch.setattr(sys, "argv", [".venv/bin/trader"])
    assert card.program_name() == ".venv/bin/trader"
    monkeypatch.setattr(sys, "argv", ["/x/trader/__main__.py"])
    assert card.program_name() == "python -m trader"


def test_resume_of_a_run_that_is_not_there_is_the_users_error(finished):
    path, _ = finished
    done = trader("resume", "99", "--db", str(path), cwd=path.parent)
    assert done.returncode == 2
    assert done.stderr.startswith("trader: run 99")
    with pytest.raises(UserError, match="run nobody"):
        resume_session("nobody", url=str(path))
