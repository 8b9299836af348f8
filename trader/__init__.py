"""nested-trader: paper trading in which learning happens at several nested levels.

    from trader import replay, open_run

Importing this package loads nothing else; the three functions of `trader.session.python` come when they are asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trader.session.python import Run, open_run, replay, run

__version__ = "0.1.0"

__all__ = ["Run", "__version__", "open_run", "replay", "run"]


def __getattr__(name: str) -> Any:
    """`run`, `replay`, `open_run` and `Run`, loaded at first use."""
    if name in {"Run", "open_run", "replay", "run"}:
        from importlib import import_module

        return getattr(import_module("trader.session.python"), name)
    raise AttributeError(f"module 'trader' has no attribute {name!r}")
