"""Trading ideas, one a file. A file dropped in here is an archetype: found, named, documented and tested.

A file defines:
    `MEANING`  one sentence,
    `idea(features, genes, j) -> float32`  a numba function: the idea's opinion on one candle for agent column j;
        features float32 [F] (index them by `trader.core.features.INDEX`), genes float32 [GENES, n] in genome order
        (index them by `agents.genome.INDEX`); > 0 asks for a long position, < 0 for a short one, roughly unit scale,
    `ideas(features, rows, genes, scores, start, stop)`  the same over a block: `scores[r, j] = idea(features[r], genes,
        j)`. It stands in each file because numba keeps compiled code on disk only for functions of a module.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from trader.core.registry import modules


@dataclass(frozen=True, slots=True)
class Archetype:
    """A trading idea: its name (the file's), what it means, its scalar function and its block function."""

    name: str
    meaning: str
    idea: Callable[..., Any]
    ideas: Callable[..., None]


@cache
def discovered() -> dict[str, Archetype]:
    """Every archetype of this folder by name, in alphabetical order: the order is the archetype's number.

    Raises:
        AttributeError: a file lacks one of the three names.
    """
    return {
        name: Archetype(name, module.MEANING, module.idea, module.ideas)
        for name, module in modules(__name__, __path__).items()
    }
