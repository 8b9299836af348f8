"""Trading ideas from outside the project: Python files that the configuration names (`population.plugins`).

A plugin file defines
    `MEANING`                 one sentence,
    `idea(features, genes)`   a plain function that numba can compile: features float32 [F] of one closed candle (index them
                              by `trader.core.features.FEATURES.index`), genes float32 [GENES] of one agent (index them by
                              `agents.genome.INDEX`); returns (direction, score): direction > 0 asks for a long position,
                              < 0 for a short one, 0 for none; score >= 0 says how strongly, about 1 when it is sure.

The file's name is the archetype's. Its hash stands in the configuration, so a run names the code it ran, and other code
under the same path is refused. Only files that a configuration names are executed, never anything from data. Compiled
beside the built-in ideas: theirs are called as they always were.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numba import njit

from agents.archetypes import Archetype, discovered
from agents.battery import examine
from agents.signals import ARCHETYPE as SIGNAL_ARCHETYPE
from trader.core.config_values import split_marked
from trader.core.errors import UserError
from trader.core.files import read_file


@cache
def known(plugins: tuple[str, ...]) -> dict[str, Archetype]:
    """The built-in archetypes, `signal`, and those of the plugin files (`PATH#sha256=…`), by name; their order is their number.

    Raises:
        UserError: a file is missing, is not what it was, breaks the contract, or takes a name that is taken.
    """
    found = {**discovered(), SIGNAL_ARCHETYPE.name: SIGNAL_ARCHETYPE}
    for plugin in plugins:
        archetype = load(plugin)
        if archetype.name in found:
            raise UserError(
                f"population.plugins: {plugin.partition('#')[0]}: there is an archetype {archetype.name!r} already"
            )
        found[archetype.name] = archetype
    return found


def load(plugin: str) -> Archetype:
    """The archetype of one file, after the whole battery has passed.

    Raises:
        UserError: one line that names the file and the rule it breaks.
    """
    path, digest = split_marked(plugin)
    try:
        source = read_file(path)
    except OSError as error:
        raise UserError(f"population.plugins: {path}: {error.strerror or error}") from None
    if digest and hashlib.sha256(source).hexdigest() != digest:
        raise UserError(f"population.plugins: {path} is not the file it was (sha256 {digest[:16]}… expected)")
    name = Path(path).stem
    if not name.isidentifier() or name.startswith("_"):
        raise UserError(f"population.plugins: {path}: the file's name is the archetype's and must be a plain word")
    try:
        archetype = _compiled(name, _executed(name, path, source))
        problems = examine(archetype)
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever the author's code raises is told in one line
        raise UserError(f"population.plugins: {path}: {_one_line(error)}") from None
    if problems:
        raise UserError(f"population.plugins: {path}: {problems[0]}")
    return archetype


def _executed(name: str, path: str, source: bytes) -> ModuleType:
    module = ModuleType(f"plugin_{name}")
    module.__file__ = path
    # a plugin is code of who runs the session: only a path in the config is ever executed, and its hash is in the run
    exec(compile(source, path, "exec"), module.__dict__)  # noqa: S102 # nosec B102
    for wanted, rule in (("MEANING", "one sentence"), ("idea", "a function (features, genes) -> (direction, score)")):
        if not hasattr(module, wanted):
            raise UserError(f"population.plugins: {path}: {wanted} is missing: {rule}")
    if not callable(module.idea):
        raise UserError(f"population.plugins: {path}: idea must be a function (features, genes) -> (direction, score)")
    return module


def _compiled(name: str, module: ModuleType) -> Archetype:
    """Scalar and block function of a plugin's idea."""
    opinion = module.idea if hasattr(module.idea, "py_func") else njit(nogil=True)(module.idea)
    return Archetype(name, str(module.MEANING), *_functions(opinion))


def _functions(opinion: Any) -> tuple[Callable[..., Any], Callable[..., None]]:
    @njit(nogil=True)
    def idea(features: Any, genes: Any, j: int) -> Any:
        direction, score = opinion(features, genes[:, j])
        return np.float32(np.sign(direction) * score)

    @njit(nogil=True, error_model="numpy")
    def ideas(features: Any, rows: Any, genes: Any, scores: Any, start: int, stop: int) -> None:
        for r in rows:
            for j in range(start, stop):
                scores[r, j] = idea(features[r], genes, j)

    return idea, ideas


def _one_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = next((line for line in lines if not line.startswith(("Failed in", "-"))), "")
    where = f" (line {error.lineno})" if isinstance(error, SyntaxError) and error.lineno else ""
    return f"{type(error).__name__}: {text[:200]}{where}"
