"""Short sessions as processes that can be made to fail, and how two databases of one run are compared."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy

ROOT = Path(__file__).resolve().parents[2]
SHORT = """
[session]
seed = 5
candles = 30
checkpoint_every = 8
[feed]
kind = "synthetic"
timeframes = ["1h", "2h"]
warmup = 400
symbols = ["BTC/USDT"]
speed = 1e15
[population]
size = 80
[engine]
threads = 1
[levels.evolution]
every = 10
[levels.pool]
every = 5
"""
"""Thirty candles, each committed alone as a living session does, a warm-up before them."""
LONG = """
[session]
seed = 5
candles = 2500
checkpoint_every = 700
[feed]
kind = "synthetic"
timeframes = ["1h", "2h"]
warmup = 720
[population]
size = 90
[levels.evolution]
every = 300
[levels.pool]
every = 100
"""
"""Thousands of candles, committed in blocks."""
EVERY_LEVEL = """
[session]
seed = 5
candles = 150
checkpoint_every = 40
[feed]
kind = "synthetic"
timeframes = ["1h", "2h"]
warmup = 740
symbols = ["BTC/USDT"]
speed = 1e15
[population]
size = 120
[engine]
threads = 1
[levels.evolution]
every = 40
policy_births = 0.6
[levels.pool]
every = 20
[levels.hope]
enabled = true
every = 20
[levels.memory]
enabled = true
every = 10
[levels.dqn]
enabled = true
every = 40
[levels.a3c]
enabled = true
every = 40
[levels.ppo]
enabled = true
every = 40
"""
"""The short session with everything that learns switched on."""
OWN = {"started_utc", "commits", "summary", "status"}
"""Columns of the run row that say when and how often, not what."""


def build_failing_io(folder: Path) -> Path | None:
    """The library of `failing_io.c`; None where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "a C compiler is needed (README)"
    library = folder / "failing_io.so"
    source = Path(__file__).with_name("failing_io.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"], check=True)
    return library


@dataclass(frozen=True)
class Ended:
    """How a command ended. code: exit status, or minus the signal; seen: operations it passed."""

    code: int
    out: str
    errors: str
    seen: dict[str, int]

    def json(self):
        assert self.code == 0, (self.code, self.errors)
        return json.loads(self.out)


class Commands:
    """Commands of `trader`, each in a forked child of one loaded process."""

    def __init__(self, folder: Path, *, torch: bool = False) -> None:
        self._folder = folder
        self._count = 0
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "LD_PRELOAD": str(build_failing_io(folder))}
        environment |= {"OMP_NUM_THREADS": "1"} | ({"SURVIVAL_TORCH": "1"} if torch else {})
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.survival.fork_server"], cwd=ROOT, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=(folder / "server.err").open("w"),
        )  # fmt: skip
        assert self._answer() == {"ready": True}

    def _answer(self):
        return json.loads(self._server.stdout.readline())

    def start(self, *words, **request) -> int:
        """Begin a command; its process id. `finish` must follow before the next one."""
        self._count += 1
        self._out = self._folder / f"out-{self._count}"
        request |= {"words": [str(word) for word in words], "out": str(self._out)}
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return self._answer()["pid"]

    def finish(self) -> Ended:
        self._server.stdin.write("\n")
        self._server.stdin.flush()
        code = self._answer()["code"]
        seen = self._out.with_name(f"{self._out.name}.seen")
        return Ended(
            code, self._out.read_text(), self._out.with_name(f"{self._out.name}.err").read_text(),
            json.loads(seen.read_text()) if seen.exists() else {},
        )  # fmt: skip

    def __call__(self, *words, **request) -> Ended:
        self.start(*words, **request)
        return self.finish()

    def close(self) -> None:
        self._server.stdin.close()
        self._server.wait(30)


def resumed(commands: Commands, config: Path, database, **request) -> dict:
    """The summary after recovery; a run that never got its row is started anew."""
    ended = commands("resume", "latest", "--db", database, "--json", "--quiet", **request)
    if ended.code == 2:
        assert one_line(ended), ended.errors
        ended = commands("run", config, "--db", database, "--json", "--quiet", **request)
    return ended.json()


def one_line(ended: Ended) -> bool:
    """No traceback, and one line that says what happened."""
    lines = [
        line for line in ended.errors.splitlines() if "[" not in line[:40]
    ]  # log lines begin with time and [level]
    return len(lines) == 1 and lines[0].startswith("trader: ")


def tables(url) -> dict[str, list[tuple]]:
    """Every row of every table of the newest run, without what says when and how often it was written."""
    url = str(url)
    engine = sqlalchemy.create_engine(url if "://" in url else f"sqlite:///{url}")
    result = {}
    try:
        with engine.connect() as connection:
            run = connection.exec_driver_sql("SELECT MAX(run) FROM run").scalar()
            for name in sorted(sqlalchemy.inspect(connection).get_table_names()):
                found = connection.exec_driver_sql(f'SELECT * FROM "{name}"').mappings().all()
                rows = [
                    tuple(
                        value
                        for key, value in row.items()
                        if key != "run" and not (name in {"run", "trial"} and key in OWN)
                    )
                    for row in found
                    if row.get("run", run) == run
                ]
                result[name] = sorted(rows, key=repr)
    finally:
        engine.dispose()
    return result


def differences(mine, theirs: dict[str, list[tuple]]) -> list[str]:
    """Names of the tables whose rows differ from those of a whole run (`tables`)."""
    a, b = tables(mine), theirs
    return [name for name in sorted(set(a) | set(b)) if a.get(name) != b.get(name)]


def intact(database) -> bool:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def fresh_folder(parent: Path) -> Path:
    """A folder with a short name, so that every database of a test is created under like conditions."""
    return Path(tempfile.mkdtemp(dir=parent))
