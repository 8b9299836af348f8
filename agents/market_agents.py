"""The agents of one market as packed arrays, ready for the kernel (layouts: `agents.layout`).

Rows are sorted by (timeframe, archetype, agent), so that each timeframe is one segment and each archetype within it one
contiguous group. Rows move only when agents are born or removed, at a boundary.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents import genome, scores, signals
from agents import layout as at
from agents.archetypes import Archetype
from trader.core.features import FEATURES

_PADDED_FEATURES = -(-len(FEATURES) // 4) * 4

_CHUNK = 128

RESTING = 0.5
"""Least distance of a limit entry in average true ranges: with smaller genes agents send market orders."""


@dataclass(slots=True)
class MarketAgents:
    """n agents of one market.

    `groups` are (timeframe index, archetype index, start, stop); the array fields are described in `agents.layout`;
    `genes` float32 [GENES, n]; `weights` float32 [F padded to 4, n]; `mixing` float32 [MIX_FIELDS, n].
    """

    state: NDArray[np.int64]
    habits: NDArray[np.float64]
    triggers: NDArray[np.float32]
    watch: NDArray[np.int64]
    days: NDArray[np.float64]
    genes: NDArray[np.float32]
    weights: NDArray[np.float32]
    mixing: NDArray[np.float32]
    segments: NDArray[np.int64]
    groups: tuple[tuple[int, int, int, int], ...]
    flags: NDArray[np.uint8]
    woken: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.state)


def habits_of(genomes: NDArray[np.float64], timeframe_ms: NDArray[np.int64]) -> NDArray[np.float64]:
    """What the kernel needs of genomes [n, GENES], as float64 [n, HABIT_FIELDS]; times become ms of market time."""
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
    genomes: NDArray[np.float64], archetype: NDArray[np.int64], timeframe: NDArray[np.int64],
    timeframes_ms: tuple[int, ...], carried: tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64],
    NDArray[np.float64]],
) -> MarketAgents:  # fmt: skip
    """Arrays of agents already in row order; `carried` is (state, triggers, watch, days), which living agents keep."""
    n = len(genomes)
    state, triggers, watch, days = carried
    timeframe_ms = np.array(timeframes_ms, np.int64)[timeframe]
    habits = habits_of(genomes, timeframe_ms)
    habits[archetype == signals.number()] = signals.habits()
    weights, mixing = mixing_of(genomes)
    segments = np.searchsorted(timeframe, np.arange(len(timeframes_ms) + 1)).astype(np.int64)
    groups = []
    edges = np.flatnonzero(np.diff(timeframe * 1_000_000 + archetype)) + 1
    for start, stop in zip([0, *edges.tolist()], [*edges.tolist(), n], strict=True):
        if stop > start:
            groups.append((int(timeframe[start]), int(archetype[start]), int(start), int(stop)))
    return MarketAgents(
        state=np.ascontiguousarray(state),
        habits=habits,
        triggers=np.ascontiguousarray(triggers),
        watch=np.ascontiguousarray(watch),
        days=np.ascontiguousarray(days),
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
    rows = np.zeros(0, np.int64)
    for timeframe, archetype, start, stop in agents.groups:
        if timeframe != current:
            current = timeframe
            ready = closed[:, timeframe] & valid[:, timeframe]
            rows = np.flatnonzero(ready)
            out[closed[:, timeframe] & ~ready, agents.segments[timeframe] : agents.segments[timeframe + 1]] = np.nan
            padded[rows, : features.shape[2]] = features[rows, timeframe]
        if archetypes[archetype].name == signals.SIGNAL:
            closes = np.flatnonzero(closed[:, timeframe])
            out[closes, start:stop] = np.nan if said is None else said[closes, None]
        elif len(rows):
            archetypes[archetype].ideas(padded, rows, agents.genes, out, start, stop)
            scores.mix_scores(
                padded,
                rows,
                np.ascontiguousarray(regime[:, timeframe]),
                agents.weights,
                agents.mixing,
                out,
                start,
                stop,
            )
