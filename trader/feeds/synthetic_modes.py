"""The kinds of synthetic market: what is planted in it, in numbers that the generator and the oracle share.

- `regimes`: bull, bear, range and crash with drifts and volatilities of their own, a plausible market, nothing promised;
- `planted`: an edge that is known to be there: long stretches that trend up or down (momentum pays) and ranges that pull
  back to an anchor (reversion pays), strong enough at edge 1 to be clearly profitable after default fees;
- `null`: no edge at all: simple returns are a martingale difference and funding has mean zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from trader.core.regime import NAMES
from trader.core.rows import Regime
from trader.core.timeframes import DAY_MS, HOUR_MS

if TYPE_CHECKING:
    from numpy.typing import NDArray

Mode = Literal["regimes", "planted", "null"]

DEFAULT_CORRELATION: Final = 0.7
"""Between BTC, ETH, ADA, LTC and XRP it was .62 to .84 in 2018 to 2023 (hourly returns)."""
_HOME: Final = 0.0001
"""A faint pull to the first price keeps decades in bounds; not in a null market."""

_SIZE_BY_HOUR: Final = (
    1.24, 1.06, 0.93, 0.90, 0.85, 0.85, 0.88, 0.91, 1.00, 0.95, 0.97, 0.94,
    1.06, 1.10, 1.19, 1.13, 1.17, 0.97, 0.93, 0.93, 1.01, 1.00, 1.02, 1.02,
)  # fmt: skip
"""Mean absolute return by hour of the UTC day over its mean, as in five large coins from 2018 to 2023."""
_VOLUME_BY_HOUR: Final = (
    1.13, 0.95, 0.88, 0.83, 0.82, 0.82, 0.88, 0.92, 1.03, 0.99, 1.01, 1.01,
    1.18, 1.24, 1.33, 1.27, 1.38, 1.05, 0.96, 0.92, 0.93, 0.78, 0.81, 0.87,
)  # fmt: skip
"""Mean volume by hour, likewise."""


@dataclass(frozen=True, slots=True)
class SyntheticTerms:
    """What the configuration asks of a synthetic market.

    schedule: (regime, candles) in order, repeated; empty: a Markov chain. edge: factor on everything predictable.
    correlation: of any two markets' shocks. holes: share of candles that are missing.
    """

    mode: Mode = "regimes"
    schedule: tuple[tuple[str, int], ...] = ()
    edge: float = 1.0
    correlation: float = DEFAULT_CORRELATION
    holes: float = 0.0


@dataclass(frozen=True, slots=True)
class Rules:
    """A mode in numbers, by regime code (index 0: no regime): see `synthetic_market.generate`."""

    drift: NDArray[np.float64]
    size: NDArray[np.float64]
    pull: float
    home: float
    mean_hours: NDArray[np.float64]
    chain: NDArray[np.float64]
    schedule: NDArray[np.int64]
    first: int

    def switch_chances(self, base_ms: int) -> NDArray[np.float64]:
        """Probabilities [5, 5] of the next candle's regime, by the chain or, in the long run, by the schedule."""
        if len(self.schedule):
            return _scheduled_chances(self.schedule)
        hazard = np.minimum(base_ms / HOUR_MS / self.mean_hours, 1.0)
        return np.asarray(np.diag(1.0 - hazard) + hazard[:, None] * np.diff(self.chain, axis=1, prepend=0.0))


def rules_of(terms: SyntheticTerms) -> Rules:
    """The numbers of a mode."""
    schedule = np.zeros((0, 2), np.int64)
    if terms.schedule:
        lengths = np.cumsum([candles for _, candles in terms.schedule])
        schedule = np.array(
            [(NAMES.index(name) + 1, end) for (name, _), end in zip(terms.schedule, lengths, strict=True)]
        )
    if terms.mode == "planted":
        drift, size = (0.0, 0.15, -0.15, 0.0, -0.30), (1.0, 0.8, 0.8, 0.8, 1.6)
        pull, mean_hours, rarer = 0.08, (1.0, 240.0, 240.0, 240.0, 48.0), 0.0
    else:
        drift, size = (0.0, 0.09, -0.06, 0.0, -0.25), (1.0, 0.95, 1.05, 0.8, 2.0)
        pull, mean_hours, rarer = 0.05, (1.0, 120.0, 120.0, 120.0, 24.0), 0.12
    null = terms.mode == "null"
    return Rules(
        drift=np.array(drift) * terms.edge,
        size=np.array(size),
        pull=pull * terms.edge,
        home=0.0 if null else _HOME * terms.edge,
        mean_hours=np.array(mean_hours),
        chain=_chain(rarer),
        schedule=schedule,
        first=int(Regime.UNKNOWN if null else Regime.RANGE),
    )


def _chain(crash: float) -> NDArray[np.float64]:
    """Cumulative probabilities [5, 5] of the regime after each: a crash with this chance, else the others alike."""
    chances = np.zeros((5, 5))
    for now in range(1, 5):
        calm = [other for other in (1, 2, 3) if other != now]
        chances[now, calm] = (1.0 - (crash if now != Regime.CRASH else 0.0)) / len(calm)
        if now != Regime.CRASH:
            chances[now, Regime.CRASH] = crash
    cumulative = np.cumsum(chances, axis=1)
    # the last bound is exactly 1, so that every draw finds a regime
    cumulative[1:, Regime.CRASH] = 1.0
    if crash == 0.0:
        cumulative[cumulative > 1.0 - 1e-9] = 1.0
    return cumulative


def _scheduled_chances(schedule: NDArray[np.int64]) -> NDArray[np.float64]:
    """Shares of the steps of a repeated schedule that stay or go from one regime to another."""
    lengths = np.diff(schedule[:, 1], prepend=0)
    counts = np.zeros((5, 5))
    for row, (now, length) in enumerate(zip(schedule[:, 0], lengths, strict=True)):
        counts[now, now] += length - 1
        counts[now, schedule[(row + 1) % len(schedule), 0]] += 1
    totals = counts.sum(axis=1, keepdims=True)
    return np.asarray(np.where(totals > 0, counts / np.maximum(totals, 1.0), np.eye(5)))


def shapes_of_day(base_ms: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Factors on deviation and volume by candle of the UTC day; a single 1 where a candle is a day or more.

    The second is what the volume has beyond the first, with which it grows anyhow.
    """
    if DAY_MS % base_ms or base_ms >= DAY_MS:
        return np.ones(1), np.ones(1)
    minutes = DAY_MS // 60_000
    hour = np.arange(minutes) // 60
    squares = np.array(_SIZE_BY_HOUR)[hour] ** 2
    volumes = np.array(_VOLUME_BY_HOUR)[hour]
    slots = DAY_MS // base_ms
    size = np.sqrt((squares / squares.mean()).reshape(slots, -1).mean(axis=1))
    return size, (volumes / volumes.mean()).reshape(slots, -1).mean(axis=1) / size
