"""The values that travel between layers: instruments, frames of candles, blocks of frames. Frozen; arrays read-only.

Axes: M markets (symbols in the session's order), T frames of a block, C the five candle columns.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from trader.core.errors import SurroundingsError, UserError

__all__ = [
    "CLOSE", "HIGH", "LOW", "OPEN", "VOLUME", "Block", "Incident", "Instrument", "LeverageTier", "SurroundingsError",
    "UserError", "Visits",
]  # fmt: skip

OPEN, HIGH, LOW, CLOSE, VOLUME = range(5)


@dataclass(frozen=True, slots=True)
class LeverageTier:
    """One bracket of a perpetual's leverage table. Notional in 1e-8 of the quote currency, rate as parts per 1e8."""

    notional_floor: int
    maintenance_rate: int
    maintenance_amount: int
    maximum_leverage: int


@dataclass(frozen=True, slots=True)
class Instrument:
    """How a symbol is priced and traded.

    Prices are integers in 10^-price_exponent, quantities in 10^-quantity_exponent of the base currency; `tick` and
    `lot` are the smallest steps, in those units; minima in quantity units and in 1e-8 of the quote currency.
    Fees are parts per 1e8. `source` says where the numbers come from ("default", a file, "bundled 2026-11-20").
    """

    symbol: str
    perpetual: bool
    price_exponent: int = 8
    tick: int = 1
    quantity_exponent: int = 8
    lot: int = 1
    minimum_quantity: int = 0
    minimum_notional: int = 0
    maker_fee: int = 100_000
    taker_fee: int = 100_000
    tiers: tuple[LeverageTier, ...] = ()
    source: str = "default"

    @property
    def quote(self) -> str:
        """Quote currency of the symbol."""
        return self.symbol.partition("/")[2].partition(":")[0]


@dataclass(frozen=True, slots=True)
class Incident:
    """Something the surroundings did that a reader of the database should know. Never in the digest."""

    time_ms: int
    kind: str
    symbol: str
    detail: str


@dataclass(frozen=True, slots=True)
class Visits:
    """The way through base candles as finer candles tell it: the prices visited, each beyond all before it.

    place: int64 [V, 5]: open time of the base candle, market, number of the visit in its candle (from 1), extreme (+1 a
      new high, -1 a new low), tied (1: this visit and the next come in the order that hurts a position); in the order of
      the first three.
    price: float64 [V].
    A candle without visits goes as the colour rule says.
    """

    place: NDArray[np.int64]
    price: NDArray[np.float64]

    def between(self, first_ms: int, last_ms: int) -> Visits:
        """Visits of the candles that open at first_ms to last_ms, both inclusive."""
        part = slice(
            int(np.searchsorted(self.place[:, 0], first_ms)), int(np.searchsorted(self.place[:, 0], last_ms, "right"))
        )
        return Visits(self.place[part], self.price[part])


@dataclass(frozen=True, slots=True)
class Block:
    """T consecutive frames of M markets.

    times: int64 [T], open time in ms UTC, strictly increasing, on the grid of the base timeframe.
    candles: float64 [T, M, 5]; rows of absent markets are NaN.
    present: bool [T, M]; at least one True a frame.
    stamp_rate, stamp_mark: float64 [T, M]; funding stamped at the frame's open, NaN where there is none
      (mark NaN where the feed has no mark price).
    received: int64 [T, M] `rows.Received`; phase: int64 [T] `rows.Phase`.
    incidents: what the feed noticed in or before these frames.
    visits: how finer candles went through these frames' candles; None where nobody asked.
    signals: float64 [T, M] in [-1, 1], what a file of signals says at these candles' closes, NaN where it says nothing;
      None where there is no file.
    """

    times: NDArray[np.int64]
    candles: NDArray[np.float64]
    present: NDArray[np.bool_]
    stamp_rate: NDArray[np.float64]
    stamp_mark: NDArray[np.float64]
    received: NDArray[np.int64]
    phase: NDArray[np.int64]
    incidents: tuple[Incident, ...] = field(default=())
    visits: Visits | None = None
    signals: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.times)

    def __getitem__(self, part: slice) -> Block:
        """Frames `part` of the block (views); the incidents stay with the first frame."""
        times, visits = self.times[part], self.visits
        if visits is not None:
            visits = visits.between(int(times[0]), int(times[-1])) if len(times) else visits.between(0, -1)
        return Block(
            times, self.candles[part], self.present[part], self.stamp_rate[part], self.stamp_mark[part],
            self.received[part], self.phase[part], self.incidents if (part.start or 0) == 0 else (), visits,
            None if self.signals is None else self.signals[part],
        )  # fmt: skip
