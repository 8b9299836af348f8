"""Limits on shares: caps per agent and group, the drawdown cushion, and what opposing positions cost.

Caps cut and never hand on: what a cap takes away stays in the pool's cash, so no cap can be broken by another's rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

PARTS = 1_000_000_000_000
"""Shares become money through whole parts of this many: rounded down once, and down again to 1e-8."""


@dataclass(frozen=True, slots=True)
class Caps:
    """Largest shares of the pool's capital, as fractions; 1 is no cap."""

    agent: float = 1.0
    archetype: float = 1.0
    market: float = 1.0


def capped(
    targets: Integers, total: int, caps: Caps, archetype: Integers, market: Integers, movable: NDArray[np.bool_]
) -> tuple[Integers, NDArray[np.bool_]]:
    """Targets [n] (1e-8) brought under the caps by cutting those that are `movable`; and who was cut.

    total: the pool's capital the shares are of, 1e-8. Fixed targets use up their group's room first.
    """
    result = targets.copy()
    largest = amount_of(caps.agent, total)
    result[movable] = np.minimum(result[movable], largest)
    for share, group in ((caps.archetype, archetype), (caps.market, market)):
        if share >= 1.0:
            continue
        limit = amount_of(share, total)
        for code in np.unique(group):
            members = group == code
            moving = members & movable
            room = max(limit - int(result[members & ~movable].sum()), 0)
            wanted = int(result[moving].sum())
            if wanted > room:
                result[moving] = [int(value) * room // wanted for value in result[moving].tolist()]
    return result, result < targets


def amount_of(share: float, total: int) -> int:
    """A share of an amount in 1e-8, rounded down."""
    return total * int(share * PARTS) // PARTS


def amounts(weights: Floats, capital: int) -> Integers:
    """Shares [n] of a capital, each rounded down: their sum is never above it."""
    parts = np.floor(np.maximum(weights, 0.0) * PARTS).astype(np.int64)
    excess = int(parts.sum())
    scale = max(excess, PARTS)
    return np.array([int(part) * capital // scale for part in parts.tolist()], np.int64)


def cushion(equity: int, peak: int, max_drawdown: float) -> float:
    """Share of the capital to hand out: 1 at the peak, falling to 0 where the drawdown reaches its limit.

    (E - (1 - d) M) / (d M) with equity E, peak M and limit d (Grossman and Zhou 1993).
    """
    if peak <= 0 or max_drawdown <= 0.0:
        return 1.0
    return min(max(1.0 - (1.0 - equity / peak) / max_drawdown, 0.0), 1.0)


def netting(positions: Floats, market: Integers, fee: Floats) -> tuple[float, float, float]:
    """Gross and net exposure, and the fees of a round trip that netting opposing positions of a market would save.

    positions: signed values [n]; market: int64 [n]; fee: taker fee of each market as a fraction [M].
    """
    gross = np.bincount(market, np.abs(positions), len(fee))
    net = np.abs(np.bincount(market, positions, len(fee)))
    return float(gross.sum()), float(net.sum()), float((2.0 * fee * (gross - net)).sum())
