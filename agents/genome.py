"""The one table of genes: what an agent inherits, within which bounds, and what each gene means.

A genome is one float64 row [GENES]. Scales: `linear`; `log` (varied multiplicatively, both bounds positive);
`integer` (rounded when read); `category` (index into a list of the run: drawn anew or inherited, never nudged).
`modifiable` says whether a self-modifier may change the gene within a life. The habitat genes (symbol, timeframe)
are categories over what the run trades; their bounds come from the run.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trader.core.features import FEATURES

Genomes = NDArray[np.float64]


class Scale(StrEnum):
    """How a gene varies between its bounds."""

    LINEAR = "linear"
    LOG = "log"
    INTEGER = "integer"
    CATEGORY = "category"


@dataclass(frozen=True, slots=True)
class Gene:
    """One gene: name, bounds, scale, group (crossed over together), meaning, and if a self-modifier may touch it."""

    name: str
    low: float
    high: float
    scale: Scale
    group: str
    meaning: str
    modifiable: bool = True


_LINEAR, _LOG, _INTEGER, _CATEGORY = Scale.LINEAR, Scale.LOG, Scale.INTEGER, Scale.CATEGORY

_TRADING: Final = (
    Gene("aggression", 0.5, 2.0, _LOG, "habits", "multiplies the score before it is squashed into a confidence"),
    Gene("patience", 0.0, 1.0, _LINEAR, "habits", "opposing confidence that closes, as a share of the entry threshold"),
    Gene("confidence_threshold", 20.0, 80.0, _LINEAR, "habits", "confidence in percent that opens a position"),
    Gene("holding_candles", 4.0, 400.0, _LOG, "habits", "longest time in a position, in candles of the agent's timeframe"),
    Gene("cooldown_candles", 0.0, 48.0, _INTEGER, "habits", "pause after a position, in candles of the agent's timeframe"),
    Gene("position_size_base", 0.02, 0.5, _LOG, "risk", "share of free cash put at risk in one position"),
    Gene("position_size_confidence", 0.0, 1.0, _LINEAR, "risk", "how far position size follows confidence"),
    Gene("leverage_cap", 1.0, 20.0, _LOG, "risk", "largest leverage (1 on spot)"),
    Gene("leverage_confidence", 0.0, 1.0, _LINEAR, "risk", "how far leverage follows confidence"),
    Gene("stop_atr", 0.5, 8.0, _LOG, "risk", "distance of the stop in average true ranges of the agent's timeframe"),
    Gene("take_atr", 0.5, 16.0, _LOG, "risk", "distance of the take in average true ranges"),
    Gene("trailing_atr", 0.0, 8.0, _LINEAR, "risk", "distance of the trailing stop in average true ranges; below 1 it is off"),
    Gene("entry_limit_atr", 0.0, 1.0, _LINEAR, "risk", "distance of a limit entry in average true ranges; below 0.5: market"),
    Gene("affinity_bull", 0.0, 1.5, _LINEAR, "regimes", "multiplies the score while the market's regime is bull"),
    Gene("affinity_bear", 0.0, 1.5, _LINEAR, "regimes", "multiplies the score while the regime is bear"),
    Gene("affinity_range", 0.0, 1.5, _LINEAR, "regimes", "multiplies the score while the regime is range"),
    Gene("affinity_crash", 0.0, 1.5, _LINEAR, "regimes", "multiplies the score while the regime is crash"),
    Gene("long_bias", 0.0, 1.0, _LINEAR, "regimes", "multiplies scores that ask for a long position"),
    Gene("short_bias", 0.0, 1.0, _LINEAR, "regimes", "multiplies scores that ask for a short position"),
    Gene("idea_weight", 0.2, 2.0, _LOG, "idea", "weight of the archetype's own idea in the score"),
    Gene("learned_weight", 0.0, 1.0, _LINEAR, "idea", "weight of the sum of weighted features in the score"),
    Gene("shape_a", 0.0, 1.0, _LINEAR, "idea", "first free parameter of the archetype's idea"),
    Gene("shape_b", 0.0, 1.0, _LINEAR, "idea", "second free parameter of the archetype's idea"),
    Gene("shape_c", 0.0, 1.0, _LINEAR, "idea", "third free parameter of the archetype's idea"),
    Gene("shape_d", 0.0, 1.0, _LINEAR, "idea", "fourth free parameter of the archetype's idea"),
    Gene("mutation_habits", 0.01, 0.5, _LOG, "evolution", "mutation size of all other genes", modifiable=False),
    Gene("mutation_risk", 0.01, 0.5, _LOG, "evolution", "mutation size of the risk genes", modifiable=False),
    Gene("mutation_weights", 0.01, 0.5, _LOG, "evolution", "mutation size of the feature weights", modifiable=False),
    Gene("symbol", 0.0, 0.0, _CATEGORY, "habitat", "the market the agent trades", modifiable=False),
    Gene("timeframe", 0.0, 0.0, _CATEGORY, "habitat", "the timeframe on which the agent decides", modifiable=False),
)  # fmt: skip

GENES: Final[tuple[Gene, ...]] = _TRADING + tuple(
    Gene(f"weight_{name}", -1.0, 1.0, Scale.LINEAR, "weights", f"weight of the feature {name}") for name in FEATURES
)
"""Every gene, in genome order."""

INDEX: Final[dict[str, int]] = {gene.name: position for position, gene in enumerate(GENES)}

FIRST_WEIGHT: Final = len(_TRADING)

LOW: Final = np.array([gene.low for gene in GENES])
HIGH: Final = np.array([gene.high for gene in GENES])
IS_LOG: Final = np.array([gene.scale is Scale.LOG for gene in GENES])
NAMES: Final = tuple(gene.name for gene in GENES)
DECIMALS: Final = 6
"""Genes are kept to this many decimals."""
IS_INTEGER: Final = np.array([gene.scale is Scale.INTEGER for gene in GENES])
IS_CATEGORY: Final = np.array([gene.scale is Scale.CATEGORY for gene in GENES])
GROUPS: Final = tuple(dict.fromkeys(gene.group for gene in GENES if gene.scale is not Scale.CATEGORY))
GROUP_OF: Final = np.array([GROUPS.index(gene.group) if gene.group in GROUPS else -1 for gene in GENES])

_MUTATION_GENE: Final = {"risk": "mutation_risk", "weights": "mutation_weights"}
MUTATION_SIZE_OF: Final = np.array([INDEX[_MUTATION_GENE.get(gene.group, "mutation_habits")] for gene in GENES])
"""For each gene, the gene that holds its mutation size."""


def to_unit(genomes: Genomes) -> Genomes:
    """Genes as positions in [0, 1] between their bounds, logarithmic for log genes; categories become 0."""
    low = np.where(IS_LOG, np.log(np.where(IS_LOG, LOW, 1.0)), LOW)
    high = np.where(IS_LOG, np.log(np.where(IS_LOG, HIGH, 1.0)), HIGH)
    values = np.where(IS_LOG, np.log(np.where(IS_LOG, genomes, 1.0)), genomes)
    width = np.where(high > low, high - low, 1.0)
    return np.asarray(np.where(IS_CATEGORY, 0.0, (values - low) / width))


def from_unit(units: Genomes) -> Genomes:
    """The inverse of `to_unit`; categories come out as 0 and are filled in by the caller."""
    low = np.where(IS_LOG, np.log(np.where(IS_LOG, LOW, 1.0)), LOW)
    high = np.where(IS_LOG, np.log(np.where(IS_LOG, HIGH, 1.0)), HIGH)
    values = low + np.clip(units, 0.0, 1.0) * (high - low)
    values = np.where(IS_LOG, np.exp(values), values)
    return np.asarray(np.where(IS_CATEGORY, 0.0, np.clip(values, LOW, HIGH)))


def reflect(units: Genomes) -> Genomes:
    """Positions folded back into [0, 1] at the bounds, so that mutation has no pile-up there."""
    folded = np.mod(np.abs(units), 2.0)
    return np.asarray(np.where(folded > 1.0, 2.0 - folded, folded))


def median_genome() -> Genomes:
    """The genome in the middle of every range: the median founder."""
    return from_unit(np.full((1, len(GENES)), 0.5))[0]


def settle(genomes: Genomes) -> Genomes:
    """Genomes as they are stored and used: 6 decimals, integer genes whole. What the database shows is what trades."""
    return np.asarray(np.where(IS_INTEGER, np.rint(genomes), np.clip(np.round(genomes, DECIMALS), LOW, HIGH)))


def as_dict(genome: Genomes, symbol: str, timeframe: str) -> dict[str, float | str]:
    """A settled genome by name, for people and for the database."""
    values: dict[str, float | str] = dict(zip(NAMES, genome.tolist(), strict=True))
    values["symbol"] = symbol
    values["timeframe"] = timeframe
    return values
