"""Points at which a test may let the process die or fail: crash safety is tested on the real code, not on a copy.

The environment variable TRADER_FAILPOINT names one point, the passing that counts (from 1) and what happens then:
`commit.before:3` or `commit.before:3:exit` ends the process at once with status 137 (as `kill -9` would, no clean-up
runs), `commit.before:3:error` raises OSError. When the variable is unset every point is a function that does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

POINTS: Final = (
    "statement.before",
    "statement.after",
    "commit.before",
    "commit.after",
    "checkpoint.before_write",
    "checkpoint.after_write",
    "checkpoint.before_rename",
    "checkpoint.after_rename",
)

VARIABLE: Final = "TRADER_FAILPOINT"
KILLED: Final = 137
"""Exit status of a process that was killed with signal 9, as a shell reports it."""


def _nothing(point: str) -> None:
    """The hook of every ordinary process."""


def _armed(setting: str) -> Callable[[str], None]:
    """The hook that counts passings of one point.

    Raises:
        ValueError: the setting names no point, no count or no action.
    """
    point, count, action = (*setting.split(":"), "exit")[:3]
    if point not in POINTS or action not in {"exit", "error"} or int(count) < 1:
        raise ValueError(f"{VARIABLE}={setting}: expected POINT:COUNT[:exit|error] with a POINT of {', '.join(POINTS)}")
    left = int(count)

    def hook(passing: str) -> None:
        nonlocal left
        if passing != point:
            return
        left -= 1
        if left != 0:
            return
        if action == "error":
            raise OSError(f"fail-point {setting}")
        os._exit(KILLED)

    return hook


def _from_environment() -> Callable[[str], None]:
    setting = os.environ.get(VARIABLE)
    return _armed(setting) if setting else _nothing


passing: Callable[[str], None] = _from_environment()
"""Called by the store at each point with the point's name."""


def rearm() -> None:
    """Read the environment again (tests change it within one process)."""
    global passing  # noqa: PLW0603 - one hook for the process, like the environment it comes from
    passing = _from_environment()
