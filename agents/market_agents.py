"""The agents of one market as packed arrays, ready for the kernel (layouts: `agents.layout`).

Rows are sorted by (timeframe, archetype, agent), so that each timeframe is one segment and each archetype within it one
contiguous group. Rows move only when agents are born or removed, at a boundary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents import genome, scores, signals
from agents import layout as at
from agents.archetypes import Archetype
from trader.core.features import FEATURES

_PADDED_FEATURES = -(-len(FEATURES) // 4) * 4

_CHUNK = 128

_HIGHEST_THRESHOLD = 0.98
"""A bandit's multiplier never closes the door: scores come near 1 but do not reach it."""

RESTING = 0.5
"""Least distance of a limit entry in average true ranges: with smaller genes agents send market orders."""


CARRIED = {"state": 0, "triggers": 1, "watch": 1, "days": 1, "phenotypes": 0, "multipliers": 0}
"""What an agent keeps when rows move, and the axis of its rows in each array."""


@dataclass(slots=True)
class MarketAgents:
    """n agents of one market.

    `groups` are (timeframe index, archetype index, start, stop); the array fields are described in `agents.layout`;
    `phenotypes` float64 [n, GENES] are the genes as they are expressed (the genome, or what a self-modifier made of it);
    `multipliers` float64 [n, MULTIPLIERS] stand beside them; `calibration` [archetypes, BINS], NaN where there is none.
    `genes` float32 [GENES, n]; `weights` float32 [F padded to 4, n]; `mixing` float32 [MIX_FIELDS, n].
    """

    state: NDArray[np.int64]
    habits: NDArray[np.float64]
    triggers: NDArray[np.float32]
    watch: NDArray[np.int64]
    days: NDArray[np.float64]
    phenotypes: NDArray[np.float64]
    multipliers: NDArray[np.float64]
    calibration: NDArray[np.float64]
    genes: NDArray[np.float32]
    weights: NDArray[np.float32]
    mixing: NDArray[np.float32]
    segments: NDArray[np.int64]
    groups: tuple[tuple[int, int, int, int], ...]
    flags: NDArray[np.uint8]
    woken: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.state)

    def multiply(self, rows: NDArray[np.int64], multipliers: NDArray[np.float64]) -> None:
        """Set multipliers [n, MULTIPLIERS] of these rows, and derive their habits anew."""
        self.multipliers[rows] = multipliers
        self.habits[rows] = _habits(
            self.phenotypes[rows], self.state[rows, at.ARCHETYPE], self.state[rows, at.TIMEFRAME_MS], multipliers,
            self.calibration,
        )  # fmt: skip

    def express(self, rows: NDArray[np.int64]) -> None:
        """Derive anew what follows from the phenotypes, multipliers and calibration of these rows."""
        self.multiply(rows, self.multipliers[rows])
        genomes = self.phenotypes[rows]
        self.genes[:, rows] = genomes.T
        self.weights[:, rows], self.mixing[:, rows] = mixing_of(genomes)


def habits_of(
    genomes: NDArray[np.float64], timeframe_ms: NDArray[np.int64], multipliers: NDArray[np.float64],
    calibration: NDArray[np.float64],
) -> NDArray[np.float64]:  # fmt: skip
    """What the kernel needs of genomes [n, GENES], as float64 [n, HABIT_FIELDS]; times become ms of market time.

    `multipliers` [n, MULTIPLIERS] act on what `layout.MULTIPLIED` names; `calibration` [n, BINS] is each agent's.
    """
    index = genome.INDEX
    habits = np.zeros((len(genomes), at.HABIT_FIELDS))
    threshold = genomes[:, index["confidence_threshold"]] / 100.0
    habits[:, at.THRESHOLD] = threshold
    habits[:, at.EXIT_THRESHOLD] = np.maximum(genomes[:, index["patience"]] * threshold, 1e-3)
    habits[:, at.SIZE] = genomes[:, index["position_size_base"]]
    habits[:, at.SIZE_CONFIDENCE] = genomes[:, index["position_size_confidence"]]
    habits[:, at.LEVERAGE_CAP] = genomes[:, index["leverage_cap"]]
    habits[:, at.LEVERAGE_CONFIDENCE] = genomes[:, index["leverage_confidence"]]
    habits[:, at.STOP_ATR] = genomes[:, index["stop_atr"]]
    habits[:, at.TAKE_ATR] = genomes[:, index["take_atr"]]
    trailing = genomes[:, index["trailing_atr"]]
    habits[:, at.TRAIL_ATR] = np.where(trailing >= 1.0, trailing, 0.0)
    resting = genomes[:, index["entry_limit_atr"]]
    habits[:, at.LIMIT_ATR] = np.where(resting >= RESTING, resting, 0.0)
    habits[:, at.HOLDING_MS] = np.rint(genomes[:, index["holding_candles"]]) * timeframe_ms
    habits[:, at.COOLDOWN_MS] = np.rint(genomes[:, index["cooldown_candles"]]) * timeframe_ms
    habits[:, list(at.MULTIPLIED)] *= multipliers
    habits[:, at.THRESHOLD] = np.minimum(habits[:, at.THRESHOLD], _HIGHEST_THRESHOLD)
    habits[:, at.SIZE] = np.minimum(habits[:, at.SIZE], 1.0)
    habits[:, at.LEVERAGE_CAP] = np.maximum(habits[:, at.LEVERAGE_CAP], 1.0)
    calibrated = ~np.isnan(calibration[:, 0])
    habits[calibrated, at.CALIBRATED] = 1.0
    habits[calibrated, at.FIRST_BIN :] = calibration[calibrated]
    return habits


def _habits(
    genomes: NDArray[np.float64], archetype: NDArray[np.int64], timeframe_ms: NDArray[np.int64],
    multipliers: NDArray[np.float64], calibration: NDArray[np.float64],
) -> NDArray[np.float64]:  # fmt: skip
    """`habits_of` agents; those of the archetype `signal` are fixed, whatever their genes and multipliers."""
    habits = habits_of(genomes, timeframe_ms, multipliers, calibration[archetype])
    habits[archetype == signals.number()] = signals.habits()
    return habits


def mixing_of(genomes: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Feature weights float32 [F padded, n] and mixing float32 [MIX_FIELDS, n] of genomes [n, GENES]."""
    index = genome.INDEX
    weights = np.zeros((_PADDED_FEATURES, len(genomes)), np.float32)
    learned = genomes[:, index["learned_weight"]] / np.sqrt(len(FEATURES))
    weights[: len(FEATURES)] = (genomes[:, genome.FIRST_WEIGHT :] * learned[:, None]).T
    mixing = np.ones((scores.MIX_FIELDS, len(genomes)), np.float32)
    mixing[scores.AGGRESSION] = genomes[:, index["aggression"]]
    mixing[scores.IDEA_WEIGHT] = genomes[:, index["idea_weight"]]
    mixing[scores.LONG_BIAS] = genomes[:, index["long_bias"]]
    mixing[scores.SHORT_BIAS] = genomes[:, index["short_bias"]]
    for offset, name in enumerate(("affinity_bull", "affinity_bear", "affinity_range", "affinity_crash"), start=1):
        mixing[scores.FIRST_AFFINITY + offset] = genomes[:, index[name]]
    return weights, mixing


def pack(
    archetype: NDArray[np.int64], timeframe: NDArray[np.int64], timeframes_ms: tuple[int, ...],
    carried: Mapping[str, NDArray[Any]], calibration: NDArray[np.float64],
) -> MarketAgents:  # fmt: skip
    """Arrays of agents already in row order; `carried` is what living agents keep (`CARRIED`)."""
    genomes, state, multipliers = carried["phenotypes"], carried["state"], carried["multipliers"]
    n = len(genomes)
    timeframe_ms = np.array(timeframes_ms, np.int64)[timeframe]
    weights, mixing = mixing_of(genomes)
    segments = np.searchsorted(timeframe, np.arange(len(timeframes_ms) + 1)).astype(np.int64)
    groups = []
    edges = np.flatnonzero(np.diff(timeframe * 1_000_000 + archetype)) + 1
    for start, stop in zip([0, *edges.tolist()], [*edges.tolist(), n], strict=True):
        if stop > start:
            groups.append((int(timeframe[start]), int(archetype[start]), int(start), int(stop)))
    return MarketAgents(
        state=np.ascontiguousarray(state),
        habits=_habits(genomes, archetype, timeframe_ms, multipliers, calibration),
        triggers=np.ascontiguousarray(carried["triggers"]),
        watch=np.ascontiguousarray(carried["watch"]),
        days=np.ascontiguousarray(carried["days"]),
        phenotypes=np.ascontiguousarray(genomes),
        multipliers=np.ascontiguousarray(multipliers),
        calibration=calibration,
        genes=np.ascontiguousarray(genomes.T, dtype=np.float32),
        weights=weights,
        mixing=mixing,
        segments=segments,
        groups=tuple(groups),
        flags=np.zeros(_CHUNK, np.uint8),
        woken=np.zeros((3, n), np.int64),
    )


def score_block(
    agents: MarketAgents, archetypes: tuple[Archetype, ...], features: NDArray[np.float32],
    closed: NDArray[np.bool_], valid: NDArray[np.bool_], regime: NDArray[np.int8], out: NDArray[np.float32],
    said: NDArray[np.float64] | None = None,
) -> None:  # fmt: skip
    """Scores of one market's agents over a block, into `out` float32 [T, n], where their timeframe closed.

    features [T, K, F]; closed, valid, regime [T, K]; said [T]: the file's signals of this market, NaN where it says
    nothing, the scores of the archetype `signal`. Rows that closed without valid features become NaN, which wakes nobody;
    rows that did not close are left as they are and are not read.
    """
    padded = np.zeros((features.shape[0], _PADDED_FEATURES), np.float32)
    current = -1
    rows, here = np.zeros(0, np.int64), regime[:, 0]
    for timeframe, archetype, start, stop in agents.groups:
        if timeframe != current:
            current = timeframe
            ready = closed[:, timeframe] & valid[:, timeframe]
            rows = np.flatnonzero(ready)
            out[closed[:, timeframe] & ~ready, agents.segments[timeframe] : agents.segments[timeframe + 1]] = np.nan
            padded[rows, : features.shape[2]] = features[rows, timeframe]
            here = np.ascontiguousarray(regime[:, timeframe])
        if archetypes[archetype].name == signals.SIGNAL:
            closes = np.flatnonzero(closed[:, timeframe])
            out[closes, start:stop] = np.nan if said is None else said[closes, None]
        elif len(rows):
            archetypes[archetype].ideas(padded, rows, agents.genes, out, start, stop)
            scores.mix_scores(
                padded,
                rows,
                here,
                agents.weights,
                agents.mixing,
                out,
                start,
                stop,
            )
