"""Finished sessions of an evaluation on disk, so that one that was killed goes on with what is finished.

A folder belongs to one (config, candles, code): its name is their hash. A file appears whole or not at all; one that cannot be
read is made again.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

import trader
from trader.core.config import config_hash
from trader.lab.simulation import Simulation

if TYPE_CHECKING:
    from trader.core.config import Config
    from trader.lab.history import History

DEFAULT: Final = Path("data") / "evaluations"
PACKAGES: Final = ("trader", "agents", "portfolio", "rl", "memory")


class Folder:
    """Simulations by name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def load(self, name: str) -> Simulation | None:
        """The simulation of that name, if it is there and whole."""
        try:
            with np.load(self.path / f"{name}.npz", allow_pickle=False) as found:
                values = {field.name: found[field.name] for field in fields(Simulation)}
        except (OSError, KeyError, ValueError, zipfile.BadZipFile):
            return None
        return Simulation(**{**values, "start": float(values["start"]), "seconds": float(values["seconds"])})

    def save(self, name: str, simulation: Simulation) -> None:
        """Keep it; after a kill at any moment the file is whole or absent."""
        half = self.path / f".{name}-{os.getpid()}.npz"
        with half.open("wb") as file:
            np.savez_compressed(file, **{field.name: getattr(simulation, field.name) for field in fields(Simulation)})
            file.flush()
            os.fsync(file.fileno())
        half.replace(self.path / f"{name}.npz")


def folder_of(root: Path, config: Config, history: History) -> Folder:
    """The folder of a config's sessions on these candles."""
    parts = (config_hash(config), history.content, code_hash())
    return Folder(root / hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16])


def code_hash() -> str:
    """SHA-256 (hex) of the version and of every Python file of the installed packages: other code, other sessions."""
    digest = hashlib.sha256(trader.__version__.encode())
    above = Path(trader.__file__).parent.parent
    for package in PACKAGES:
        for file in sorted((above / package).rglob("*.py")):
            digest.update(str(file.relative_to(above)).encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()
