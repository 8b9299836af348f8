"""Trained weights: where they lie, how they are checked, and what is said about weights that were not trained.

A file `memory/weights/<name>.npz` holds one float32 array `weights`, the integers `dims` and a JSON `card` (bytes): the
command, the seed, what it was trained on, the measured errors, and the SHA-256 of the array. No pickle. The trigger's
and modifier's inputs do not depend on width or inputs, so a shape without trained predictor still gets those two from
the default file; its predictor is random and `trained` is False.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from memory import backbone
from memory.layout import Config

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLDER = Path(__file__).parent / "weights"
TRIGGER_PARTS = ("evidence_mean", "evidence_scale", "trigger_1", "trigger_bias_1", "trigger_2", "trigger_bias_2")
MODIFIER_PARTS = ("modifier", "control_weight", "control_bias")


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where weights come from: `trained` speaks of the predictor; `predictor` and `trigger` name file or seed."""

    trained: bool
    predictor: str
    trigger: str


def file_name(config: Config) -> str:
    """The shipped file for a shape."""
    return f"hope-{config.inputs}-{config.width}-{config.targets}-{config.backbone}-{config.modifier}.npz"


def digest(flat: NDArray[np.float32]) -> str:
    """SHA-256 of the little-endian bytes."""
    return hashlib.sha256(np.ascontiguousarray(flat, "<f4").tobytes()).hexdigest()


def save(path: Path, config: Config, flat: Tensor, card: dict[str, Any]) -> str:
    """Write a weights file with its card; returns the hash."""
    array = flat.detach().cpu().numpy().astype("<f4")
    full = {**card, "sha256": digest(array)}
    path.parent.mkdir(parents=True, exist_ok=True)
    text = np.frombuffer(json.dumps(full, sort_keys=True).encode(), np.uint8)
    with path.open("wb") as file:
        np.savez_compressed(file, weights=array, dims=config.dims(), card=text)
    return str(full["sha256"])


def read(path: Path) -> tuple[NDArray[np.float32], NDArray[np.int64], dict[str, Any]]:
    """(weights, dims, card) of a file; raises ValueError when the weights do not have the hash on the card."""
    with np.load(path, allow_pickle=False) as data:
        flat, dims, card = data["weights"], data["dims"], json.loads(bytes(data["card"]))
    if digest(flat) != card["sha256"]:
        raise ValueError(f"{path.name}: weights do not match the hash on their card")
    return flat, dims, card


def load(config: Config, flat: Tensor, source: str | Path | None, seed: int) -> Provenance:
    """Fill `flat` from a file where there is one for this shape; say what was done."""
    random = f"random, seed {seed}"
    if source is None:
        return Provenance(False, random, "untrained: a t-test")
    path = FOLDER / file_name(config) if source == "auto" else Path(source)
    if path.exists():
        array, dims, card = read(path)
        if not np.array_equal(dims, config.dims()):
            if source != "auto":
                raise ValueError(f"{path.name} holds weights of shape {dims.tolist()}, not {config.dims().tolist()}")
        else:
            flat.copy_(torch.from_numpy(array))
            return Provenance(True, f"{path.name} {card['sha256'][:12]}", f"{path.name} {card['sha256'][:12]}")
    elif source != "auto":
        raise ValueError(f"no weights at {path}")
    return _borrow(config, flat, random)


def _borrow(config: Config, flat: Tensor, predictor: str) -> Provenance:
    """Trigger and (where it is of the same kind) modifier from the default file, for a shape without its own."""
    default = Config()
    path = FOLDER / file_name(default)
    if not path.exists():
        return Provenance(False, predictor, "untrained: a t-test")
    array, _, card = read(path)
    parts = TRIGGER_PARTS + (MODIFIER_PARTS if config.modifier == default.modifier else ())
    for name in parts:
        flat[backbone.span(config, name)] = torch.from_numpy(array[backbone.span(default, name)])
    return Provenance(False, predictor, f"{path.name} {card['sha256'][:12]}")
