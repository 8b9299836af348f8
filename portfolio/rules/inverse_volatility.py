"""Inverse volatility: shares in inverse proportion to the deviation of daily results, so that each brings equal risk
(if they were uncorrelated)."""

from __future__ import annotations

from portfolio.records import Floats, Records, inverse

MEANING = "shares in inverse proportion to the deviation of daily results"


def weights(records: Records) -> Floats:
    """b_i = (1 / sigma_i) / sum (1 / sigma)."""
    return inverse(records.deviation, records.taking_part)
