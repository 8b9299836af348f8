"""A folder is a registry: a file dropped into it is found, named after itself, and numbered by its place in the alphabet."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType


def modules(package: str, path: Iterable[str]) -> dict[str, ModuleType]:
    """Every module of a package's folder by name, in alphabetical order: `modules(__name__, __path__)`."""
    names = sorted(info.name for info in pkgutil.iter_modules(path))
    return {name: importlib.import_module(f"{package}.{name}") for name in names}
