"""Where compiled code is kept on disk, so that it can never be older than its source.

numba looks only at the file of the function that was compiled, not at the files of the functions it calls: after an
update of one file, code compiled from an older one would go on being used. So the cache folder is named after a hash of
every source file that takes part; another version of any of them is another folder. The newest few are kept.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path
from typing import Final

FOLDERS_KEPT: Final = 4

_PACKAGES: Final = ("trader/core", "trader/broker", "trader/feeds", "agents", "agents/archetypes", "memory", "rl/core")


def source_stamp(root: Path) -> str:
    """Hash of the source files below `root` whose compiled code depends on each other."""
    stamp = hashlib.sha256()
    for package in _PACKAGES:
        for path in sorted((root / package).glob("*.py")):
            stamp.update(path.name.encode() + b"\0" + path.read_bytes())
    return stamp.hexdigest()[:20]


def use_cache() -> None:
    """Point numba at the folder of this source, unless the environment names one (NUMBA_CACHE_DIR)."""
    if "NUMBA_CACHE_DIR" in os.environ:
        return
    root = Path(__file__).resolve().parents[2]
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nested-trader" / "compiled"
    folder = base / source_stamp(root)
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    if "numba" in sys.modules:
        sys.modules["numba"].config.CACHE_DIR = str(folder)
    if not folder.exists():
        _make(base, folder)


def _make(base: Path, folder: Path) -> None:
    """Make the folder and drop the oldest ones; a read-only home only means compiling anew."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        others = sorted((path for path in base.iterdir() if path != folder), key=lambda path: path.stat().st_mtime)
        for path in others[: max(len(others) - FOLDERS_KEPT + 1, 0)]:
            shutil.rmtree(path, ignore_errors=True)
    except OSError as error:
        sys.stderr.write(f"trader: compiled code is not kept: {error}\n")
