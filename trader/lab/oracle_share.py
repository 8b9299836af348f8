"""How much of what was there to earn the population earned: only a made-up market with a planted edge knows.

The oracle knows the market's state and no future shock (`trader.feeds.synthetic_oracle`). It is always in the market with all
it has, the population hardly ever, so both are told per unit of gross exposure: profit out of sample ÷ (exposure × time).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trader.session.feeds import planted_oracle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from trader.core.config import Config
    from trader.lab.history import History
    from trader.lab.simulation import Simulation
    from trader.lab.windows import Grid


def oracle_share(
    config: Config, history: History, steps: Grid, simulations: Sequence[Simulation], returns: NDArray[np.float64]
) -> dict[str, Any] | None:
    """Profit per exposure of oracle and population, out of sample, and the share; None on other markets.

    returns: the population's on the steps [n]. Profits are sums of simple returns, after costs, without compounding.
    """
    if config.feed.kind != "synthetic" or config.feed.synthetic.mode != "planted":
        return None
    tested = steps.frames(history.times)
    found = planted_oracle(config, len(history))
    held = float(np.abs(found.positions[tested]).sum())
    best = float((found.gross - found.costs)[tested].sum()) / held if held else float("nan")
    exposure = np.mean([(each.gross.sum(axis=1) / each.equity)[tested].sum() for each in simulations])
    made = float(returns[steps.test].sum() / exposure) if exposure > 0 else float("nan")
    frames_a_year = 365.25 * 86_400_000 / history.base_ms
    return {
        "told": "profit a year per unit of gross exposure, out of sample, after costs",
        "oracle": best * frames_a_year,
        "population": made * frames_a_year,
        "share": made / best if best > 0 else float("nan"),
        "mean_exposure": float(exposure / tested.sum()),
    }
