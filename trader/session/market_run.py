"""One market through one block: inputs for the kernel, its events and its per-candle totals.

Everything here belongs to one market, so markets can run in threads: no result depends on how many there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from agents import layout as at
from agents.kernel import run_market
from agents.market_agents import MarketAgents, score_block
from trader.broker import market as rule
from trader.broker.market import candle_units
from trader.broker.path import VISIT_FIELDS, VISIT_PRICE, VISIT_TIED
from trader.core.rows import Phase
from trader.core.types import Block

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from agents.archetypes import Archetype
    from trader.core.features import FeatureBlock

EVENT_ROOM: Final = 4096
"""Least number of event rows a buffer has beyond one candle's worst case."""


@dataclass(frozen=True, slots=True)
class MarketResult:
    """events int64 [E, EVENT_FIELDS]; out int64 [T, OUT_FIELDS]."""

    events: NDArray[np.int64]
    out: NDArray[np.int64]


def bars_of(block: Block, m: int, market: NDArray[np.int64], *, funding: bool) -> NDArray[np.int64]:
    """The kernel's integer candles int64 [T, IN_FIELDS] of market `m`.

    A stamp without a mark price uses the last price before it, which is the candle's own open.
    """
    bars = np.zeros((len(block), at.IN_FIELDS), np.int64)
    present = block.present[:, m]
    bars[:, at.IN_MS] = block.times
    bars[:, at.IN_PRESENT] = present
    bars[:, at.IN_TRADING] = block.phase != int(Phase.WARMUP)
    bars[:, at.IN_OPEN : at.IN_VOLUME + 1] = candle_units(block.candles[:, m], market)
    rate = block.stamp_rate[:, m]
    stamped = np.isfinite(rate) & present
    if funding and market[rule.PERPETUAL] and stamped.any():
        bars[stamped, at.IN_RATE] = np.rint(rate[stamped] * at.RATE_SCALE)
        mark = np.rint(block.stamp_mark[stamped, m] * float(market[rule.PRICE_SCALE]))
        bars[stamped, at.IN_MARK] = np.where(np.isfinite(mark), mark, bars[stamped, at.IN_OPEN])
    return bars


def visits_of(
    block: Block, m: int, market: NDArray[np.int64], bars: NDArray[np.int64]
) -> NDArray[np.int64]:  # fmt: skip
    """The kernel's visits int64 [V, 2] of market `m`; where each candle's begin is written into `bars`.

    A price becomes units by rounding towards the candle's open and never across it, then moves into [low, high].
    """
    if block.visits is None or len(block.visits.price) == 0:
        return np.zeros((0, VISIT_FIELDS), np.int64)
    mine = block.visits.place[:, 1] == m
    place, price = block.visits.place[mine], block.visits.price[mine] * float(market[rule.PRICE_SCALE])
    frame = np.searchsorted(block.times, place[:, 0])
    bars[:, at.IN_VISITS] = np.bincount(frame, minlength=len(bars))
    bars[:, at.IN_VISIT] = np.cumsum(bars[:, at.IN_VISITS]) - bars[:, at.IN_VISITS]
    opened = bars[frame, at.IN_OPEN]
    tolerance = np.maximum(price * 1e-15, 1e-6)
    units = np.where(
        place[:, 3] > 0,
        np.maximum(np.floor(price + tolerance).astype(np.int64), opened),
        np.minimum(np.ceil(price - tolerance).astype(np.int64), opened),
    )
    visits = np.empty((len(place), VISIT_FIELDS), np.int64)
    visits[:, VISIT_PRICE] = np.clip(units, bars[frame, at.IN_LOW], bars[frame, at.IN_HIGH])
    visits[:, VISIT_TIED] = place[:, 4]
    return visits


class MarketRunner:
    """Runs one market's agents; keeps the scratch arrays between blocks."""

    def __init__(
        self,
        m: int,
        market: NDArray[np.int64],
        tiers: NDArray[np.int64],
        archetypes: tuple[Archetype, ...],
        *,
        funding: bool,
    ) -> None:
        self._m = m
        self._market = market
        self._tiers = tiers
        self._archetypes = archetypes
        self._funding = funding
        self._events = np.zeros((0, at.EVENT_FIELDS), np.int64)
        self._scores = np.zeros((0, 0), np.float32)

    def run(
        self, block: Block, features: FeatureBlock, agents: MarketAgents, totals: NDArray[np.int64]
    ) -> MarketResult:
        """Advance the market's agents over the block, in place."""
        m = self._m
        frames, n = len(block), len(agents)
        bars = bars_of(block, m, self._market, funding=self._funding)
        visits = visits_of(block, m, self._market, bars)
        # from the integers: what a trigger sees must never be less than what the exact code decides on
        # and in rows, as one row alone would be: the kernel is compiled once for any number of frames
        floats = np.ascontiguousarray(bars[:, [at.IN_LOW, at.IN_HIGH, at.IN_CLOSE]]) / float(
            self._market[rule.PRICE_SCALE]
        )
        closed = np.ascontiguousarray(features.closed[:, m])
        regime = np.ascontiguousarray(features.regime[:, m])
        self._make_room(frames, n)
        scores = self._scores[:frames]
        score_block(
            agents, self._archetypes, features.features[:, m], closed, features.valid[:, m], regime, scores,
            None if block.signals is None else block.signals[:, m],
        )  # fmt: skip
        out = np.zeros((frames, at.OUT_FIELDS), np.int64)
        parts = []
        first = 0
        while first < frames:
            first, count = run_market(
                first, bars, visits, floats, closed, np.ascontiguousarray(features.atr[:, m]), regime, scores,
                agents.segments, agents.state, agents.habits, agents.triggers, agents.watch, agents.days, totals,
                self._market, self._tiers, self._events, out, agents.flags, agents.woken,
            )  # fmt: skip
            parts.append(self._events[:count].copy())
        return MarketResult(np.concatenate(parts) if parts else self._events[:0].copy(), out)

    def _make_room(self, frames: int, n: int) -> None:
        capacity = at.EVENTS_PER_CANDLE * n + EVENT_ROOM
        if len(self._events) < capacity:
            self._events = np.zeros((capacity, at.EVENT_FIELDS), np.int64)
        if self._scores.shape[1] != n or self._scores.shape[0] < frames:
            self._scores = np.zeros((frames, n), np.float32)
