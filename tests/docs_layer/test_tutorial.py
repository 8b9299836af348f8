"""docs/tutorial.md is typed in, word by word, in a folder that has what a fresh copy of the project has."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.shell_layer.shell_support import ROOT

TEXT = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(sh|python)(?: title=(\S+))?\n(.*?)```", TEXT, re.DOTALL)
FIRST_FILE = next(place for place, (_, title, _) in enumerate(BLOCKS) if title)
"""From here on an archetype of one's own trades."""


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with the shipped configs, and a `trader` that the shell finds."""
    folder = tmp_path_factory.mktemp("tutorial")
    shutil.copytree(ROOT / "configs", folder / "configs")
    tools = folder / ".tools"
    tools.mkdir()
    program = tools / "trader"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m trader "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    return folder


def typed(folder, blocks):
    """What the blocks print, typed one after the other in `folder`."""
    environment = {
        **os.environ, "PATH": f"{folder / '.tools'}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    environment.pop("TRADER_DB", None)
    told = []
    for kind, title, text in blocks:
        if title:
            (folder / title).write_text(text, encoding="utf-8")
            continue
        words = ["/bin/sh", "-euc", text] if kind == "sh" else [sys.executable, "-c", text]
        done = subprocess.run(
            words, cwd=folder, env=environment, capture_output=True, text=True, timeout=540, check=False
        )
        assert done.returncode == 0, f"{text}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        assert "Traceback" not in done.stderr
        told.append(done.stdout)
    return "\n".join(told)


def test_every_command_works(desk):
    told = typed(desk, BLOCKS[:FIRST_FILE])
    for word in ("Report of run", "identical: every table", "ok, config hash", " rows, ", "Agent "):
        assert word in told, word


def test_an_idea_of_ones_own_trades(desk):
    told = typed(desk, BLOCKS[FIRST_FILE:])
    assert re.search(r"^quiet_fade +\d+", told, re.MULTILINE)
    assert re.search(r"^mean_reversion +\d+", told, re.MULTILINE)


def test_the_tutorial_types_what_it_promises():
    """Chapters in order, and no block of commands left out of the test by another name."""
    chapters = [int(number) for number in re.findall(r"^## (\d+)\.", TEXT, re.MULTILINE)]
    assert chapters == list(range(1, len(chapters) + 1))
    untested = [block for block in re.findall(r"```\n(make.*?)```", TEXT, re.DOTALL) if "make run" not in block]
    assert untested == []
    assert TEXT.count("```") == 2 * (len(BLOCKS) + 1)
