"""The start-up guard: the five top-level packages must be this project's own.

`agents`, `memory`, `rl` and `portfolio` are common names; another installed package of one of these names would be
imported in silence instead. So before any command runs, all five must lie in one folder (looked up, not imported).
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final

import trader
from trader.core.errors import UserError

PACKAGES: Final = ("trader", "agents", "rl", "portfolio", "memory")


def folder_of(package: str) -> Path | None:
    """Folder that holds the package Python would import under this name; None if there is none."""
    spec = find_spec(package)
    if spec is None:
        return None
    if spec.origin is not None:
        return Path(spec.origin).resolve().parent.parent
    return next((Path(place).resolve().parent for place in spec.submodule_search_locations or ()), None)


def check_packages() -> None:
    """Refuse to start beside a foreign package.

    Raises:
        UserError: one of the packages is missing or lies elsewhere.
    """
    home = Path(trader.__file__).resolve().parent.parent
    for package in PACKAGES:
        found = folder_of(package)
        if found is None:
            raise UserError(
                f"package {package!r} is not installed beside {home}: install the project again (make setup)"
            )
        if found != home:
            raise UserError(
                f"another package named {package!r} in {found} hides the one in {home}: use the project's .venv"
            )
