"""Allocation rules, one a file: pure functions from the agents' records to the share of the capital each should have.

A file dropped in here is a rule: found, named and documented. It defines
    `MEANING`  one sentence,
    `weights(records) -> float64 [n]`  shares >= 0 with a sum of at most 1; 0 for who does not take part.
What a rule leaves out stays in the pool's cash. Rules that follow their own past (let winners compound) read
`records.held`: what this same rule gave last time, after the results since.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from portfolio.records import Floats, Records
from trader.core.registry import modules


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule: its name (the file's), what it means, its function."""

    name: str
    meaning: str
    weights: Callable[[Records], Floats]


@cache
def discovered() -> dict[str, Rule]:
    """Every rule of this folder by name, in alphabetical order: the order is the rule's number.

    Raises:
        AttributeError: a file lacks one of the two names.
    """
    return {name: Rule(name, module.MEANING, module.weights) for name, module in modules(__name__, __path__).items()}
