"""The decision problem of a birth, written down before anything learns it.

    step        one free slot: an agent of a given market and timeframe is to be born at a generation's end
    state       what is known of that market and timeframe then: features, regime, embedding of the sequence model, and of
                the population: each archetype's share there and mean shrunken fitness
    action      archetype x preset of the genes that set risk and patience; all other genes are drawn at random
    reward      the newborn's shrunken daily Sharpe ratio after its first judged generation, times REWARD_SCALE, in [-1, 1]
    next state  the same market and timeframe when the reward is known
    episode     the session; discount 0 makes it a contextual bandit (an ablation arm), the default looks one birth on
    decisions   share of births x births per generation x generations; the end card tells how many there were

The control is an immigrant: the same construction with an action drawn at random.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from agents import genome
from trader.core import rng
from trader.core.features import FEATURES
from trader.core.rng import Stream
from trader.core.rows import Regime
from trader.session.reading import WIDTH

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from agents.population import Roster

REWARD_SCALE: Final = 4.0
"""A daily Sharpe ratio of 0.25 (4.8 a year) is the largest reward: no real strategy keeps more."""

_PRESET_GENES: Final = (
    "confidence_threshold", "position_size_base", "leverage_cap", "stop_atr", "take_atr", "holding_candles",
)  # fmt: skip
PRESETS: Final[dict[str, tuple[float, ...]]] = {
    "careful": (0.7, 0.2, 0.10, 0.5, 0.5, 0.4),
    "steady": (0.5, 0.5, 0.30, 0.5, 0.6, 0.6),
    "bold": (0.3, 0.8, 0.60, 0.6, 0.8, 0.5),
    "patient": (0.6, 0.4, 0.25, 0.8, 0.9, 0.9),
}
"""Positions of those genes between their bounds (0 lowest, 1 highest), on their own scales."""

_BOUND: Final = 8.0


class BirthProblem:
    """Shapes and codes of the problem for a session's archetypes (their numbers, ascending)."""

    def __init__(self, archetypes: tuple[int, ...], names: tuple[str, ...]) -> None:
        self.archetypes = np.array(archetypes, np.int64)
        self.actions = [f"{name} {preset}" for name in names for preset in PRESETS]
        self.size = len(FEATURES) + len(Regime) + WIDTH + 2 * len(archetypes)
        self._presets = np.array(list(PRESETS.values()))
        self._genes = [genome.INDEX[name] for name in _PRESET_GENES]

    def states(
        self, market: NDArray[np.int64], timeframe: NDArray[np.int64], view: dict[str, NDArray[Any]],
        roster: Roster, fitness: NDArray[np.float64],
    ) -> NDArray[np.float32]:  # fmt: skip
        """States [n, size] of slots in markets and timeframes [n].

        view: `features` [M, K, F], `regime` [M, K] and `embedding` [M, K, WIDTH] of the last frame; fitness [N] shrunken,
        NaN for agents not judged.
        """
        out = np.zeros((len(market), self.size), np.float32)
        features = np.nan_to_num(view["features"][market, timeframe])
        out[:, : len(FEATURES)] = features / np.float32(_BOUND)
        at = len(FEATURES)
        out[np.arange(len(market)), at + view["regime"][market, timeframe]] = 1.0
        at += len(Regime)
        embedding = view["embedding"][market, timeframe]
        out[:, at : at + WIDTH] = embedding / (1.0 + np.abs(embedding))
        at += WIDTH
        for i in range(len(market)):
            here = roster.living & (roster.market == market[i]) & (roster.timeframe == timeframe[i])
            out[i, at:] = self._population(here, roster.archetype, fitness)
        return out

    def _population(
        self, here: NDArray[np.bool_], archetype: NDArray[np.int64], fitness: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Share and mean fitness of each archetype among the agents of one market and timeframe."""
        kinds = len(self.archetypes)
        out = np.zeros(2 * kinds)
        place = np.searchsorted(self.archetypes, archetype[here])
        count = np.bincount(place, minlength=kinds)[:kinds]
        known = np.isfinite(fitness[here])
        total = np.bincount(place[known], weights=fitness[here][known], minlength=kinds)[:kinds]
        judged = np.bincount(place[known], minlength=kinds)[:kinds]
        out[:kinds] = count / max(int(count.sum()), 1)
        out[kinds:] = np.clip(REWARD_SCALE * total / np.maximum(judged, 1), -1.0, 1.0)
        return out

    def reward(self, shrunk: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rewards of shrunken daily Sharpe ratios."""
        return np.clip(REWARD_SCALE * shrunk, -1.0, 1.0)

    def newborns(
        self,
        seed: int,
        generation: int,
        agents: NDArray[np.int64],
        actions: NDArray[np.int64],
        old: NDArray[np.float64],
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Archetypes [n] and genomes [n, GENES] of actions [n]; the habitat genes come from `old`."""
        numbers = np.arange(len(genome.GENES))
        units = rng.uniform(seed, Stream.IMMIGRANT, generation, agents[:, None], numbers[None, :])
        kind, preset = np.divmod(actions, len(self._presets))
        units[:, self._genes] = self._presets[preset]
        genomes = genome.settle(genome.from_unit(units))
        for name in ("symbol", "timeframe"):
            genomes[:, genome.INDEX[name]] = old[:, genome.INDEX[name]]
        return self.archetypes[kind], genomes
