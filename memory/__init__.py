"""Nested memory and HOPE: associative memories, continuum memory, a sequence model that modifies itself.

The public names are imported on first use, so that `import memory` alone loads neither torch nor numba.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOMES = {
    "NestedMemory": "memory.nested",
    "Recall": "memory.read",
    "ContinuumMemory": "memory.continuum",
    "RegimeSnapshotBank": "memory.snapshots",
    "SelfModifyingTitans": "memory.titans",
    "HOPE": "memory.hope",
    "RememberingHOPE": "memory.remembering",
}

if TYPE_CHECKING:
    from memory.continuum import ContinuumMemory as ContinuumMemory
    from memory.nested import NestedMemory as NestedMemory
    from memory.read import Recall as Recall
    from memory.remembering import RememberingHOPE as RememberingHOPE
    from memory.snapshots import RegimeSnapshotBank as RegimeSnapshotBank

__all__ = [
    "HOPE", "ContinuumMemory", "NestedMemory", "Recall", "RegimeSnapshotBank", "RememberingHOPE", "SelfModifyingTitans",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import the module behind a public name when it is first asked for (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'memory' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """Public names, loaded or not."""
    return sorted(_HOMES)
