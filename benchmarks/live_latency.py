"""From a closed candle to its committed decisions with 10,000 agents: promised p99 ≤ 50 ms on two cores.

The session's own path, one frame a block as a living feed gives them, each committed to SQLite: the clock runs from the
moment the session gets the candle until its commit has returned. Boundaries (the pool's epochs, natural selection) are
among the candles. Run: python benchmarks/live_latency.py [--candles 2000] [--agents 10000] [--profile]
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import tempfile
import time
from pathlib import Path

import numpy as np

from trader.core.config import load
from trader.session import api

PROMISED_MS = 50.0


class Stopwatch:
    """Milliseconds from each frame's arrival to its commit."""

    def __init__(self) -> None:
        self.spent: list[float] = []
        self._arrived: float | None = None

    def frames(self, blocks):
        """Pass blocks on; those of one frame after the warm-up are timed."""
        for block in blocks:
            self._arrived = time.perf_counter() if len(block) == 1 and block.phase[0] != 0 else None
            yield block

    def committed(self) -> None:
        """The commit of the frame has returned."""
        if self._arrived is not None:
            self.spent.append((time.perf_counter() - self._arrived) * 1e3)
            self._arrived = None


def watched(watch: Stopwatch) -> None:
    """Let every session of this process be timed."""
    session = api._Session  # noqa: SLF001 - what is measured is its own loop
    limited, commit = session._limited, session.commit  # noqa: SLF001

    def frames(self, blocks):
        return watch.frames(limited(self, blocks))

    def committed(self, *, final=False):
        commit(self, final=final)
        watch.committed()

    session._limited, session.commit = frames, committed  # noqa: SLF001


def main() -> None:
    """Print the distribution."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candles", type=int, default=2000)
    parser.add_argument("--agents", type=int, default=10_000)
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    config = load(
        None, [],
        {
            "feed.kind": "synthetic", "feed.base_timeframe": "1m", "feed.symbols": ["BTC/USDT", "ETH/USDT"], "feed.speed": 1e15,
            "exchange.market_type": "spot", "population.size": given.agents, "session.candles": given.candles,
            "levels.evolution.every": 1440, "levels.pool.every": 240, "session.checkpoint_every": 720, "session.seed": 7,
        },
    )  # fmt: skip
    watch = Stopwatch()
    watched(watch)
    profile = cProfile.Profile()
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "live.db"
        if given.profile:
            profile.enable()
        summary = api.run_session(config, url=str(database)).as_dict()
        profile.disable()
        size = database.stat().st_size
    spent = np.array(watch.spent)
    p50, p90, p99 = np.percentile(spent, (50, 90, 99))
    print(
        f"{len(spent)} candles, {given.agents} agents, {summary['orders']} orders: p50 {p50:.1f} ms, p90 {p90:.1f} ms, "
        f"p99 {p99:.1f} ms (promised {PROMISED_MS:g} ms); the first candle, which founds the population, {spent[0]:.0f} ms, "
        f"the longest after it {spent[1:].max():.1f} ms; {size / 1e6:.1f} MB of database"
    )
    if given.profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(35)


if __name__ == "__main__":
    main()
