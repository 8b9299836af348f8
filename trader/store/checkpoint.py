"""Checkpoints of a session: arrays and JSON in a folder, written so that a kill at any moment leaves a good one.

A checkpoint is three files in `frame-<number>/`: `arrays.npz` (plain arrays, no pickle), `meta.json`, and
`manifest.json` with the SHA-256 of both. It is written under a temporary name, synced, and renamed: a reader sees all of
it or nothing. Loading takes the newest whose hashes fit and reports the damaged ones it passed over.
The last two are kept, and one for each `keep_every` frames. Saving is a pure read of what it is given.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from trader.core.types import SurroundingsError
from trader.store import failpoints

ARRAYS, META, MANIFEST = "arrays.npz", "meta.json", "manifest.json"
FORMAT: Final = 1
LAST_KEPT: Final = 2
"""Two, so that one damaged file never costs the run."""

_NAME = re.compile(r"frame-(\d+)")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What was saved at a frame. damaged: names of newer checkpoints that were passed over, and why."""

    frame: int
    arrays: dict[str, NDArray[Any]]
    meta: dict[str, Any]
    damaged: tuple[str, ...] = ()


def save(
    folder: Path,
    frame: int,
    arrays: Mapping[str, NDArray[Any]],
    meta: Mapping[str, Any],
    *,
    keep_every: int | None = None,
) -> None:
    """Write the checkpoint of a frame (>= 0), then remove those that need not be kept.

    Raises:
        SurroundingsError: the disk failed; older checkpoints are as they were.
        ValueError: an array of objects, or a meta value that is not JSON.
    """
    assert frame >= 0, "checkpoints are taken after the warm-up"
    contents = {ARRAYS: _pack(arrays), META: json.dumps(dict(meta), sort_keys=True, allow_nan=False).encode()}
    manifest = {
        "format": FORMAT,
        "frame": frame,
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
    }
    contents[MANIFEST] = json.dumps(manifest, sort_keys=True).encode()
    try:
        _write(folder, f"frame-{frame}", contents)
        _prune(folder, keep_every)
    except OSError as error:
        raise SurroundingsError(f"checkpoint {folder}: {error.strerror or error}") from error


def _pack(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    for name, array in arrays.items():
        if np.asarray(array).dtype.hasobject:
            raise ValueError(f"checkpoint array {name}: holds Python objects")
    packed = io.BytesIO()
    np.savez(packed, allow_pickle=False, **dict(arrays))
    return packed.getvalue()


def _write(folder: Path, name: str, contents: Mapping[str, bytes]) -> None:
    temporary = folder / f".{name}.{os.getpid()}.tmp"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(mode=0o700)
    failpoints.passing("checkpoint.before_write")
    for part, content in contents.items():
        _write_file(temporary / part, content)
    _sync_folder(temporary)
    failpoints.passing("checkpoint.after_write")
    target = folder / name
    if target.exists():  # a resumed run comes by here again: the old one makes room, two others are still there
        _remove(target)
    failpoints.passing("checkpoint.before_rename")
    temporary.replace(target)
    _sync_folder(folder)
    failpoints.passing("checkpoint.after_rename")


def _write_file(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def frames(folder: Path) -> list[int]:
    """Frames of the checkpoints in a folder, oldest first."""
    if not folder.is_dir():
        return []
    matches = [_NAME.fullmatch(entry.name) for entry in folder.iterdir()]
    return sorted(int(match[1]) for match in matches if match)


def _prune(folder: Path, keep_every: int | None) -> None:
    """Keep the last two, and of each stretch of `keep_every` frames the first; remove leavings of killed writers."""
    found = frames(folder)
    stretches: set[int] = set()
    for frame in found:
        first = keep_every is not None and frame // keep_every not in stretches
        if keep_every is not None:
            stretches.add(frame // keep_every)
        if frame not in found[-LAST_KEPT:] and not first:
            _remove(folder / f"frame-{frame}")
    for entry in folder.glob(".frame-*.tmp"):
        _remove(entry)


def _remove(path: Path) -> None:
    """Remove a checkpoint, also one that is no folder any more."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def load_newest(folder: Path, *, until: int | None = None) -> Checkpoint | None:
    """The newest good checkpoint (not after frame `until`), None if there is none."""
    damaged = []
    for frame in reversed(frames(folder)):
        if until is not None and frame > until:
            continue
        try:
            arrays, meta = _read(folder / f"frame-{frame}", frame)
        except (OSError, ValueError, KeyError, TypeError, EOFError, RecursionError, BadZipFile) as error:
            damaged.append(f"frame-{frame}: {error}")
            continue
        return Checkpoint(frame, arrays, meta, tuple(damaged))
    return None


def _read(path: Path, frame: int) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    manifest = json.loads((path / MANIFEST).read_bytes())
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT or manifest.get("frame") != frame:
        raise ValueError("manifest does not fit")
    contents = {}
    for name in (ARRAYS, META):
        contents[name] = (path / name).read_bytes()
        if hashlib.sha256(contents[name]).hexdigest() != manifest["sha256"][name]:
            raise ValueError(f"{name} does not have the hash of the manifest")
    with np.load(io.BytesIO(contents[ARRAYS]), allow_pickle=False) as packed:
        arrays = {name: packed[name] for name in packed.files}
    return arrays, json.loads(contents[META])
