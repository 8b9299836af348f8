"""A tree of numbers and arrays in one file, without pickle: a NumPy archive whose member `tree` is JSON.

Loading such a file cannot run code: `np.load(allow_pickle=False)` and `json.loads` read everything. Tensors come
back as tensors, arrays as arrays, tuples as tuples, dictionary keys that are integers as integers (optimizer states
have them).

File: a zip of `.npy` members, `tree` (UTF-8 bytes as uint8) and one member per array, named by its number.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

FORMAT = 1


def save_tree(path: str | os.PathLike[str], tree: Any) -> None:
    """Write `tree` to exactly `path`, atomically: a reader sees the old file or the new one.

    Raises TypeError for values that are not None, bool, int, float, str, list, tuple, dict, array or CPU tensor.
    """
    content = to_bytes(tree)
    target = Path(path)
    temporary = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        temporary.write_bytes(content)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def load_tree(path: str | os.PathLike[str]) -> Any:
    """The inverse of `save_tree`. Raises ValueError for a file that is not one of ours, OSError if it cannot be read."""
    return from_bytes(Path(path).read_bytes(), os.fspath(path))


def to_bytes(tree: Any) -> bytes:
    """The content of such a file. Raises as `save_tree`."""
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    encoded = _encode(tree, arrays)
    text = json.dumps({"format": FORMAT, "tree": encoded}, allow_nan=True)
    arrays["tree"] = np.frombuffer(text.encode(), dtype=np.uint8)
    memory = io.BytesIO()
    np.savez(memory, allow_pickle=False, **arrays)
    return memory.getvalue()


def from_bytes(content: bytes, name: str = "the content") -> Any:
    """The inverse of `to_bytes`; `name` stands in errors. Raises ValueError for content that is not one of ours."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            members = {member: archive[member] for member in archive.files}
        document = json.loads(members.pop("tree").tobytes())
    except (ValueError, KeyError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{name} is not a saved policy: {error}") from error
    if document.get("format") != FORMAT:
        raise ValueError(f"{name} has format {document.get('format')}, this version reads {FORMAT}")
    return _decode(document["tree"], members)


def _encode(value: Any, arrays: dict[str, np.ndarray[Any, Any]]) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, torch.Tensor):
        return {"tensor": _store(value.detach().cpu().numpy(), arrays)}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            raise TypeError("an array of objects cannot be saved")
        return {"array": _store(value, arrays)}
    if isinstance(value, (list, tuple)):
        return {type(value).__name__: [_encode(item, arrays) for item in value]}
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, (str, int)) or isinstance(key, bool):
                raise TypeError(f"keys are str or int, got {key!r}")
        return {"dict": [[key, _encode(item, arrays)] for key, item in value.items()]}
    raise TypeError(f"cannot save a {type(value).__name__}")


def _store(array: np.ndarray[Any, Any], arrays: dict[str, np.ndarray[Any, Any]]) -> str:
    name = f"a{len(arrays)}"
    arrays[name] = array
    return name


def _decode(value: Any, members: dict[str, np.ndarray[Any, Any]]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return torch.from_numpy(members[content].copy())
    if kind == "array":
        return members[content]
    if kind == "dict":
        return {key: _decode(item, members) for key, item in content}
    items = [_decode(item, members) for item in content]
    return tuple(items) if kind == "tuple" else items
