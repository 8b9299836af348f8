"""Fixed share: buy and hold that never forgets anybody, so that it can follow when another agent becomes the best.

b <- (1 - a) b + a / n after each drift (Herbster and Warmuth 1998). Against a sequence of k switches between agents its
log wealth is at most (k + 1) ln n + k ln(1 / a) + a T short.
"""

from __future__ import annotations

import numpy as np

from portfolio.records import Floats, Records

MEANING = "winners compound, and a part of everything is shared out again each epoch"

ALPHA = 0.02
"""Shared out each epoch: the best for one switch in fifty epochs, about a year of weekly ones."""


def weights(records: Records) -> Floats:
    """(1 - a) held + a / n."""
    count = int(records.taking_part.sum())
    return np.where(records.taking_part, (1.0 - ALPHA) * records.held + ALPHA / max(count, 1), 0.0)
