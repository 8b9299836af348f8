"""Closed trades with what was known when they were decided: what levels learn from, collected once for all of them.

An entry's figures wait until its trade closes; then they are one `Outcome`, handed to every level that asked for it and
used at its next boundary. Amounts in 1e-8, times in ms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, runtime_checkable

import numpy as np

from agents import layout as at
from trader.core import rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trader.core.features import FeatureBlock
    from trader.core.types import Block
    from trader.session.market_run import MarketResult


def as_array(outcomes: list[Outcome]) -> NDArray[np.int64]:
    """Outcomes that wait, for a checkpoint: int64 [n, fields]."""
    return np.array(outcomes, np.int64).reshape(len(outcomes), len(Outcome._fields))


def from_array(lines: NDArray[np.int64]) -> list[Outcome]:
    """The inverse of `as_array`."""
    return [Outcome(*line) for line in lines.tolist()]


class Outcome(NamedTuple):
    """One closed trade. score and confidence in 1/100 of a percent, as they were at the decision."""

    agent: int
    trade: int
    archetype: int
    timeframe_ms: int
    decided_ms: int
    score: int
    confidence: int
    regime: int
    margin: int
    pnl: int
    exit_ms: int


def in_order(outcomes: list[Outcome]) -> list[Outcome]:
    """By exit and trade: the order in which blocks deliver them depends on where the stream was cut."""
    return sorted(outcomes, key=lambda outcome: (outcome.exit_ms, outcome.trade))


@runtime_checkable
class Learner(Protocol):
    """A level that learns from closed trades."""

    def take(self, outcomes: list[Outcome]) -> None:
        """Keep them until the level's boundary."""


@runtime_checkable
class Watcher(Protocol):
    """A level that looks at candles and features."""

    def see(self, block: Block, features: FeatureBlock) -> None:
        """What has just been decided on; called after the block's decisions, before levels act."""


def _columns(spec: rows.TableSpec, names: str) -> list[int]:
    return [spec.position(name) - 3 + at.EVENT_BODY for name in names.split()]


_ENTRY: Final = _columns(rows.ENTRY, "trade agent archetype timeframe decided_ms score confidence regime")
_EXIT: Final = _columns(rows.EXIT, "trade margin trade_pnl")


class Outcomes:
    """Entries whose trade is still open."""

    def __init__(self) -> None:
        self._open: dict[int, tuple[int, ...]] = {}

    def observe(self, block: Block, results: list[MarketResult]) -> list[Outcome]:
        """The trades that closed in a block, in the order of (market, event)."""
        closed = []
        for result in results:
            kinds = result.events[:, at.EVENT_KIND]
            events = result.events[(kinds == at.EVENT_ENTRY) | (kinds == at.EVENT_EXIT)]
            entries, exits = events[:, _ENTRY].tolist(), events[:, _EXIT].tolist()
            times = block.times[events[:, at.EVENT_CANDLE]].tolist()
            for kind, entry, leaving, time_ms in zip(
                events[:, at.EVENT_KIND].tolist(), entries, exits, times, strict=True
            ):
                if kind == at.EVENT_ENTRY:
                    self._open[entry[0]] = tuple(entry[1:])
                    continue
                known = self._open.pop(leaving[0], None)
                if known is not None:
                    closed.append(Outcome._make((known[0], leaving[0], *known[1:], *leaving[1:], time_ms)))
        return closed

    def state(self) -> dict[str, NDArray[np.int64]]:
        """The entries that wait, as one array."""
        waiting = [(trade, *entry) for trade, entry in self._open.items()]
        return {"open": np.array(waiting, np.int64).reshape(len(waiting), len(_ENTRY))}

    def restore(self, state: dict[str, Any]) -> None:
        """Become what `state` described."""
        self._open = {row[0]: tuple(row[1:]) for row in state["open"].tolist()}
