"""What a candle from an exchange must be before anybody believes it.

An exchange's answer is input from a stranger: rubbish instead of JSON reaches us as rows of None, "NaN" as nan. A row
that breaks a rule is never repaired. A jump of more than `SPIKE` against the last close is possible and unlikely: such
a row is not refused, it must be told several times.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final

Row = tuple[float, float, float, float, float]
"""open, high, low, close, volume."""

SPIKE: Final = 20.0
"""Factor against the last close. Real wicks of a minute reached 5 and 1/10 on large venues; a slipped decimal is 100."""

LATEST_MS: Final = 253_402_300_799_999
"""The last millisecond of the year 9999."""


def problem(ts: Any, row: Iterable[Any], base_ms: int) -> str:
    """The rule that a candle breaks, "" if none: `ts` int ms on the grid of `base_ms`, `row` five numbers."""
    if isinstance(ts, bool) or not isinstance(ts, int) or not 0 < ts <= LATEST_MS:
        return "time is no time"
    if ts % base_ms and base_ms < 7 * 86_400_000:  # weeks open on Monday, not at a multiple
        return "time is not on the grid"
    values = tuple(row)
    if len(values) != 5 or any(isinstance(value, bool) or not isinstance(value, (int, float)) for value in values):
        return "not five numbers"
    if not all(math.isfinite(value) for value in values):
        return "a number is not finite"
    opened, high, low, close, volume = values
    if min(opened, high, low, close) <= 0:
        return "a price is not above zero"
    if volume < 0:
        return "volume is below zero"
    if high < max(opened, close, low) or low > min(opened, close):
        return "high and low do not hold open and close"
    return ""


def is_spike(row: Row, last_close: float | None) -> bool:
    """Whether a price lies more than `SPIKE` times above or below the last close."""
    if last_close is None:
        return False
    return max(row[:4]) > last_close * SPIKE or min(row[:4]) * SPIKE < last_close
