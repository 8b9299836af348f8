"""Equal grants: every living agent should have the same capital.

With compounding, results stay in the pool's capital and the shares grow or shrink with it; without, every agent is
brought back to its part of the first deposit, and profits stay in the pool's cash.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from portfolio.records import Floats, Records

MEANING = "every living agent has the same share"


def weights(records: Records) -> Floats:
    """1 / n each."""
    count = int(records.taking_part.sum())
    return np.where(records.taking_part, 1.0 / max(count, 1), 0.0)


def targets(
    total: int, deposited: int, living: NDArray[np.bool_], *, compounding: bool, reserve: int
) -> NDArray[np.int64]:
    """Target capital per agent.

    Args:
        total: realised capital of pool and agents together, 1e-8.
        deposited: capital first deposited, 1e-8.
        living: bool [n], who takes part.
        compounding: whether `total` or `deposited` is shared out.
        reserve: share of the capital that stays in the pool, parts per 1e8.

    Returns:
        int64 [n] in 1e-8, 0 for those who do not take part.
    """
    count = int(living.sum())
    if count == 0:
        return np.zeros(len(living), np.int64)
    capital = max(total if compounding else min(deposited, total), 0)
    share = capital * (100_000_000 - reserve) // 100_000_000 // count
    return np.where(living, share, 0).astype(np.int64)
