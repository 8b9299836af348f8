"""What every level costs a session: processor time of its own code, per frame.

    python benchmarks/levels_cost.py DATA [--config configs/replay.toml] [--end 2018-10-01] [--set KEY=VALUE ...]

Replays DATA (a folder of a candle store) in memory with one thread, and adds up the thread's processor time in each level's
update, in collecting closed trades, and in reading candles, features and memories; everything is rehearsed before. Promised
for calibration, bandits and self-modifier together: 300 microseconds a frame of five markets with 1,000 agents. Then whole
sessions, nothing wrapped: all levels on beside all off, the processor time of each piece of 128 frames being the least of
`--repeats` equal sessions (what other programs do to the processor only adds). Promised: 700 microseconds a frame more.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import structlog

from trader.core.config import Config, load
from trader.lab.flows import Rows
from trader.lab.history import History, load_history
from trader.lab.simulation import simulate
from trader.lab.variants import changed
from trader.session.engine import Engine
from trader.session.outcomes import Outcomes
from trader.session.rehearsal import rehearse

PROMISED_US = 300.0
PROMISED_ALL_US = 700.0
PIECE = 128
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
    parser.add_argument("--repeats", type=int, default=5)
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
                for method in ("update", "see", "read", "observe"):
                    if hasattr(level, method):
                        clock.around(level, method, level.spec.name)
            clock.around(Outcomes, "observe", "outcomes")

    found = simulate(config, load_history(config), wrap)
    frames = len(found.equity) - wrapped[0]
    for name in sorted(clock.seconds):
        told = f"{1e6 * clock.seconds[name] / frames:8.1f} us a frame, {clock.calls[name]:6,} calls"
        print(f"{name:15s}{told}")
    everything = 1e6 * sum(clock.seconds.values()) / frames
    print(f"all of these {everything:.0f} us a frame")
    together = 1e6 * sum(clock.seconds[name] for name in JUDGED) / frames
    print(f"{', '.join(JUDGED)} together {together:.0f} us a frame over {frames:,} frames; promised {PROMISED_US:.0f}")
    off = changed(config, {f"levels.{name}.enabled": False for name in type(config.levels).model_fields})
    history = load_history(config)
    on_us, off_us = (whole(each, history, options.repeats) for each in (config, off))
    print(
        f"whole sessions: all levels on {on_us:.0f}, off {off_us:.0f}, on beyond off {on_us - off_us:.0f} us a frame; "
        f"promised {PROMISED_ALL_US:.0f}"
    )


def whole(config: Config, history: History, repeats: int) -> float:
    """Processor time of a session in microseconds a frame, after its first pieces."""
    rehearse(config)
    lived = []
    for _ in range(repeats):
        engine, pieces = Engine(config, history.instruments, Rows()), []
        engine.advance(history.block[: history.warmup + PIECE])
        for first in range(history.warmup + PIECE, len(history.block), PIECE):
            started = time.thread_time()
            engine.advance(history.block[first : first + PIECE])
            pieces.append(time.thread_time() - started)
        engine.close()
        lived.append(pieces)
    frames = len(history.block) - history.warmup - PIECE
    return 1e6 * float(np.min(lived, axis=0).sum()) / frames


if __name__ == "__main__":
    main()
