"""Helpers of the importer's tests: the command in this process, and what a store holds."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq

from trader.__main__ import main


def imported(capsys, *words: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `trader data import`."""
    code = main(["data", "import", *map(str, words)])
    out, err = capsys.readouterr()
    return code, out, err


def objects(text: str) -> list[dict]:
    return json.loads(text)["files"]


def stored(root: Path) -> list[str]:
    """All files below a folder, as text relative to it."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()) if root.exists() else []


def columns(path: Path) -> dict[str, list]:
    return pq.read_table(path).to_pydict()
