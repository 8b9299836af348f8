"""Scripts of faults for the fake exchange: what goes wrong, at which candle, for how long. Seeded."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """kind; candle at which it begins; length in candles (streams) or in answers (`rest_…`); seconds of a ban."""

    candle: int
    kind: str
    length: int = 1
    seconds: float = 0.0


STREAM_KINDS = (
    "disconnect", "half_open", "stall", "duplicate", "out_of_order", "late", "no_close", "hole", "restated", "bad_value",
    "malformed", "empty_list", "null_kline", "error_frame", "binary", "future", "skew",
)  # fmt: skip
REST_KINDS = (
    "rest_500", "rest_400", "rest_502", "rest_503", "rest_maintenance", "rest_403", "rest_429", "rest_418", "rest_html",
    "rest_cut", "rest_empty", "rest_nothing", "rest_partial", "rest_hole", "rest_bad_row", "rest_spike", "rest_unsorted",
    "rest_timeout", "rest_abort", "rest_deep",
)  # fmt: skip
KINDS = (*STREAM_KINDS, *REST_KINDS, "down")


def random_script(seed: int, candles: int, faults: int) -> list[Fault]:
    """`faults` faults over `candles` candles, every kind about equally often; the last fifth of them is calm."""
    rng = random.Random(seed)
    kinds = [KINDS[i % len(KINDS)] for i in range(faults)]
    rng.shuffle(kinds)
    script = []
    for kind in kinds:
        length = rng.choice((1, 1, 2, 3))
        if kind in {"rest_hole", "rest_spike"}:
            length = min(length, 2)  # three like answers would be believed, and rightly
        seconds = {"rest_429": 1, "rest_418": 1, "rest_timeout": 0.3}.get(kind, 0.0)
        script.append(
            Fault(rng.randrange(3, candles * 4 // 5), kind, length if kind != "down" else 2 * length, seconds)
        )
    return script
