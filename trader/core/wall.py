"""Wall time: the one place where the machine's own clock is read.

It serves people (when a run was started, how long it took) and the doctor. No row of the digest depends on it: "now" of
a session comes from the exchange or from the candles.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now_ms() -> int:
    """Milliseconds since 1970, UTC, as this machine believes."""
    return time.time_ns() // 1_000_000


def utc_text() -> str:
    """The present moment as ISO text, UTC, to the second."""
    return datetime.fromtimestamp(now_ms() // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds() -> float:
    """A clock that never goes back; only differences mean anything."""
    return time.perf_counter()


def processor_seconds() -> float:
    """Processor time of this process, all threads; only differences mean anything."""
    return time.process_time()
