"""A disk that fills up, a file that may not grow, memory that ends: exit 3 and how to go on, intact, resumed equal."""

from __future__ import annotations

import random
import shutil
import subprocess
from contextlib import contextmanager

import pytest

from tests.survival.survival_support import differences, fresh_folder, intact, one_line, resumed

PAGE = 4096


def wrong(commands, short, database, ended) -> str | None:
    """What is wrong after a session that ran out of space, and after it went on with space."""
    if ended.code not in {0, 3} or (ended.code == 3 and not one_line(ended)):
        return f"exit {ended.code}: {ended.errors[-800:]}"
    if database.exists() and not intact(database):
        return "a damaged database"
    if resumed(commands, short.config, database)["digest"] != short.summary["digest"]:
        return "another digest"
    return ", ".join(differences(database, short.tables)) or None


def sizes(short_bytes, count, seed):
    """From far too little to almost enough."""
    rng = random.Random(seed)
    return sorted(int(rng.uniform(0.05, 0.99) * short_bytes) for _ in range(count))


def needed(commands, short, tmp_path) -> int:
    """Bytes of the short session's database, its log and checkpoints not counted."""
    database = fresh_folder(tmp_path) / "a.db"
    assert commands("run", short.config, "--db", database, "--quiet").code == 0
    return database.stat().st_size


def limited(kind, folder, size):
    if kind == "pages":
        return {"pages": max(size // PAGE, 1)}
    if kind == "file":
        return {"size": size}
    return {"io": [str(folder), 0, 0, 3 * size]}  # database, log and checkpoints share it


@pytest.mark.parametrize("kind", ["pages", "file", "disk"])
@pytest.mark.parametrize("count", [4, pytest.param(50, marks=pytest.mark.nightly)])
def test_no_space(commands, short, tmp_path, kind, count):
    ended_early, found = 0, {}
    for size in sizes(needed(commands, short, tmp_path), count, seed=count):
        folder = fresh_folder(tmp_path)
        database = folder / "a.db"
        ended = commands("run", short.config, "--db", database, "--json", "--quiet", **limited(kind, folder, size))
        ended_early += ended.code == 3
        if problem := wrong(commands, short, database, ended):
            found[size] = problem
    assert found == {}
    assert ended_early >= count * 0.7


@contextmanager
def small_disk(folder, size):
    """A real disk of so many bytes at the folder where mounting is allowed, else one that counts. Gives the request."""
    mount = shutil.which("mount")
    words = [mount, "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", folder]
    made = mount is not None and subprocess.run(words, capture_output=True, check=False).returncode == 0
    print("a tmpfs" if made else "mounting is not allowed: a counted disk")
    try:
        yield {} if made else {"io": [str(folder), 0, 0, size]}
    finally:
        if made:
            subprocess.run(["umount", folder], check=True)


def test_a_small_disk(commands, short, tmp_path):
    """The real thing: a file system that is full, that stays full for a second attempt, and then has space."""
    folder = fresh_folder(tmp_path)
    with small_disk(folder, 1 << 20) as request:
        database = folder / "a.db"
        ended = commands("run", short.config, "--db", database, "--json", "--quiet", **request)
        assert (ended.code, one_line(ended)) == (3, True), ended.errors
        assert "trader resume 1" in ended.errors
        assert commands("resume", "latest", "--db", database, "--json", "--quiet", **request).code == 3
        assert intact(database)
        if not request:
            subprocess.run(["mount", "-o", "remount,size=64m", folder], check=True)
        assert wrong(commands, short, database, ended) is None


def test_memory_that_ends(commands, short, tmp_path):
    """Whatever asks for memory in vain: exit 3, or the process dies of it; resumed, the run is equal."""
    codes = []
    for kilobytes in (0, 6, 12, 1 << 10, 4 << 10, 16 << 10, 48 << 10):
        database = fresh_folder(tmp_path) / "a.db"
        ended = commands("run", short.config, "--db", database, "--quiet", memory=kilobytes << 10)
        codes.append(ended.code)
        assert ended.code in {0, 3} or ended.code < 0, ended.errors
        assert ended.code != 3 or one_line(ended), ended.errors
        assert resumed(commands, short.config, database)["digest"] == short.summary["digest"]
        assert differences(database, short.tables) == []
    print("exit codes", codes)
    assert any(codes)
