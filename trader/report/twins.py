"""Evolving agents against their twins: agents whose genomes never change, and agents replaced at random.

All trade the same candles under the same rules; only selection differs. What is compared is the mean result of a living
agent per day: the profits and losses of the trades that a group closed on a day ÷ the group's living agents that day ÷
an equal share of the starting capital. Differences are resampled in blocks of days, paired, so that the market's own
good and bad days cancel.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trader.report.intervals import paired
from trader.report.metrics import Columns, Floats
from trader.report.series import DAY_MS, YEAR_MS

EVOLVING: Final = "evolving"


def daily_result(
    agents: NDArray[np.int64], born_ms: NDArray[np.int64], died_ms: Floats, trades: Columns, days: NDArray[np.int64],
    share: float,
) -> Floats:  # fmt: skip
    """Mean result of a living agent on each day, as a fraction of a share: float64 [D].

    agents, born_ms, died_ms (NaN: lives) [A]; trades with agent, exit_ms and pnl; days: int64 [D], rising, ms UTC.
    """
    of_group = np.isin(np.asarray(trades["agent"]), agents)
    place = np.searchsorted(days, np.asarray(trades["exit_ms"])[of_group], side="right") - 1
    inside = place >= 0
    pnl = np.asarray(trades["pnl"], np.float64)[of_group]
    made = np.bincount(place[inside], pnl[inside], len(days))
    born = np.searchsorted(np.sort(born_ms), days + DAY_MS, side="left")
    dead = np.searchsorted(np.sort(died_ms[np.isfinite(died_ms)]), days, side="right")
    living = born - dead
    return np.asarray(np.where(living > 0, made / np.maximum(living, 1) / share, np.nan))


def compare(
    groups: Mapping[str, NDArray[np.int64]], agents: Columns, trades: Columns, span: tuple[int, int], share: float,
    seed: int,
) -> dict[str, Any]:  # fmt: skip
    """Each group's annual mean result, and evolving minus each twin with its interval.

    groups: agents' numbers by group, `evolving` among them; agents: agent, born_ms, died_ms of all; span: ms of the
    first open and the last close; share: capital of one agent.
    """
    number = np.asarray(agents["agent"])
    days = np.arange(span[0] // DAY_MS, -(-span[1] // DAY_MS), dtype=np.int64) * DAY_MS
    per_year = YEAR_MS / DAY_MS
    results = {}
    for name, members in groups.items():
        chosen = np.isin(number, members)
        born, died = np.asarray(agents["born_ms"])[chosen], np.asarray(agents["died_ms"], np.float64)[chosen]
        results[name] = daily_result(members, born, died, trades, days, share)
    document: dict[str, Any] = {}
    for name, members in groups.items():
        mine = results[name][np.isfinite(results[name])]
        document[name] = {
            "agents": len(members),
            "annual_result": float(mine.mean() * per_year) if len(mine) else float("nan"),
        }
        if name == EVOLVING:
            continue
        both = np.isfinite(results[name]) & np.isfinite(results[EVOLVING])
        ours, theirs = results[EVOLVING][both], results[name][both]
        found = paired(ours, theirs, lambda values: {"mean": values.mean(-1) * per_year}, seed=seed)
        document[name] |= {
            "evolving_minus_this": float((ours - theirs).mean() * per_year) if both.any() else float("nan"),
            "interval": list(found["mean"]) if found else None,
        }
    return document
