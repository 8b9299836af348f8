"""What every trading idea must do, built in or from outside; `examine` is the contract as a list of broken rules.

from agents.battery import examine, examine_file
assert examine_file("my_idea.py") == []
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from agents.genome import GENES, from_unit
from trader.core.features import FEATURES

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from agents.archetypes import Archetype

CANDLES: Final = 300
AGENTS: Final = 60
LARGEST_MEAN: Final = 3.0
"""Scores are of unit scale: a larger mean size would make every agent certain all the time."""
BOUND: Final = 8.0
"""Features are within plus and minus this."""
SHORTEST_MEANING: Final = 10


def examine(archetype: Archetype) -> list[str]:
    """The rules that the archetype breaks, each a line; empty if it keeps them all."""
    problems = []
    if len(archetype.meaning.strip()) < SHORTEST_MEANING:
        problems.append("MEANING is no sentence: say what the idea does")
    genes, features = _genes(), _features()
    scores, again = _scores(archetype, features, genes), _scores(archetype, features, genes)
    extremes = np.stack([np.full(features.shape[1], value, np.float32) for value in (-BOUND, 0.0, BOUND)])
    if not np.isfinite(scores).all() or not np.isfinite(_scores(archetype, extremes, genes)).all():
        problems.append("idea gives a score that is not finite")
    elif not np.array_equal(scores, again):
        problems.append("idea gives another score when it is asked again")
    elif not np.array_equal(scores[7, :5], [archetype.idea(features[7], genes, j) for j in range(5)]):
        problems.append("idea on a block differs from idea on one candle")
    elif not scores.any():
        problems.append("idea never asks for a position")
    elif np.abs(scores).mean() > LARGEST_MEAN:
        problems.append(f"scores are {np.abs(scores).mean():.3g} on average: about 1 is sure, more than 3 is too much")
    if not (np.array_equal(genes, _genes()) and np.array_equal(features, _features())):
        problems.append("idea changes its inputs")
    return problems


def examine_file(path: str | Path) -> list[str]:
    """The rules that a plugin file breaks, each a line; empty if it can be used as it is."""
    from agents.plugins import load
    from trader.core.errors import UserError

    try:
        load(str(path))
    except UserError as error:
        return [str(error)]
    return []


def _scores(archetype: Archetype, features: NDArray[np.float32], genes: NDArray[np.float32]) -> NDArray[np.float32]:
    scores = np.zeros((len(features), AGENTS), np.float32)
    archetype.ideas(features, np.arange(len(features)), genes, scores, 0, AGENTS)
    return scores


def _genes() -> NDArray[np.float32]:
    units = np.random.default_rng(2).uniform(size=(AGENTS, len(GENES)))
    return np.ascontiguousarray(from_unit(units).T, dtype=np.float32)


def _features() -> NDArray[np.float32]:
    """Made-up features [CANDLES, F], padded as the event loop pads them."""
    width = -(-len(FEATURES) // 4) * 4
    values = np.zeros((CANDLES, width), np.float32)
    drawn = np.random.default_rng(0).normal(size=(CANDLES, len(FEATURES))) * 1.5
    values[:, : len(FEATURES)] = np.clip(drawn, -BOUND, BOUND)
    return values
