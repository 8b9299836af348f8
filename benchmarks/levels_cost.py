"""What every level costs a session: processor time of its own code, per frame.

    python benchmarks/levels_cost.py DATA [--config configs/replay.toml] [--end 2018-10-01] [--set KEY=VALUE ...]

Replays DATA (a folder of a candle store) in memory with one thread, and adds up the thread's processor time in each level's
update, in collecting closed trades, and in looking at candles and features; compiled code is loaded before. Promised for
calibration, bandits and self-modifier together: 300 microseconds a frame of five markets with 1,000 agents.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import structlog

from trader.core.config import load
from trader.lab.history import load_history
from trader.lab.simulation import simulate
from trader.session.engine import Engine
from trader.session.outcomes import Outcomes

PROMISED_US = 300.0
JUDGED = ("bandits", "calibration", "self_modifier", "outcomes")


class Clock:
    """Seconds and calls by name; `around` wraps a method of a class or an object."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)

    def around(self, owner: Any, method: str, name: str) -> None:
        """Count every call of `owner.method` under `name`."""
        plain: Callable[..., Any] = getattr(owner, method)

        def timed(*arguments: Any, **options: Any) -> Any:
            started = time.thread_time()
            try:
                return plain(*arguments, **options)
            finally:
                self.seconds[name] += time.thread_time() - started
                self.calls[name] += 1

        setattr(owner, method, timed)


def main() -> None:
    """Print one line a level."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("--config", default="configs/replay.toml")
    parser.add_argument("--end", default="2018-10-01")
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    given = {"feed.kind": "replay", "feed.data": [options.data], "feed.end": options.end}
    config = load(options.config, [*options.set, "engine.threads=1"], given)
    clock, wrapped = Clock(), []

    def wrap(_: int, engine: Engine) -> None:
        if not wrapped:  # after the first block: compiled code is loaded by then
            wrapped.append(engine.frame)
            for level in engine.levels:
                clock.around(level, "update", level.spec.name)
                if hasattr(level, "see"):
                    clock.around(level, "see", level.spec.name)
            clock.around(Outcomes, "observe", "outcomes")

    found = simulate(config, load_history(config), wrap)
    frames = len(found.equity) - wrapped[0]
    for name in sorted(clock.seconds):
        told = f"{1e6 * clock.seconds[name] / frames:8.1f} us a frame, {clock.calls[name]:6,} calls"
        print(f"{name:15s}{told}")
    together = 1e6 * sum(clock.seconds[name] for name in JUDGED) / frames
    print(f"{', '.join(JUDGED)} together {together:.0f} us a frame over {frames:,} frames; promised {PROMISED_US:.0f}")


if __name__ == "__main__":
    main()
