"""Shrunken half Kelly: shares in proportion to half of what maximises expected log growth, on shrunken estimates.

Kelly's fraction of an uncorrelated asset is mu / sigma^2 = SR / sigma (Kelly 1956; Thorp 2006). On raw estimates that
ruins, so the daily Sharpe ratio is shrunk to the mean of its niche by empirical Bayes (Efron and Morris 1975) and half
of the fraction is taken. Shares are bounded by 1 together: capital is not levered here. If no estimate is positive
there is no edge to bet on, and shares follow risk only.
"""

from __future__ import annotations

import numpy as np

from portfolio.records import MINIMUM_DAYS, Floats, Records, inverse

MEANING = "half of Kelly's fraction on shrunken Sharpe ratios; by risk only while no edge is positive"

FRACTION = 0.5


def shrunken_sharpe(records: Records) -> Floats:
    """Daily Sharpe ratios [n], each moved towards its niche's mean by the share of it that is noise; 0 if not judged."""
    judged = records.taking_part & (records.count >= MINIMUM_DAYS) & (records.deviation > 0.0)
    raw = np.where(judged, records.mean / np.where(judged, records.deviation, 1.0), 0.0)
    noise = np.where(judged, (1.0 + 0.5 * raw * raw) / np.where(judged, records.count, 1.0), 0.0)
    niches = int(records.niche.max(initial=0)) + 1

    def total(values: Floats) -> Floats:
        return np.asarray(np.bincount(records.niche[judged], values[judged], niches), np.float64)

    number = np.maximum(total(np.ones(len(raw))), 1.0)
    centre = total(raw) / number
    spread = total((raw - centre[records.niche]) ** 2) / np.maximum(number - 1.0, 1.0)
    signal = np.maximum(spread - total(noise) / number, 0.0)[records.niche]
    share = np.divide(signal, signal + noise, out=np.zeros(len(raw)), where=signal > 0.0)
    return np.where(judged, centre[records.niche] + share * (raw - centre[records.niche]), 0.0)


def weights(records: Records) -> Floats:
    """b_i = max(0, c SR_i / sigma_i), scaled down to a sum of 1."""
    edge = np.maximum(shrunken_sharpe(records), 0.0)
    if not edge.any():
        return inverse(records.deviation, records.taking_part)
    wanted = FRACTION * edge / np.where(records.deviation > 0.0, records.deviation, 1.0)
    return np.asarray(wanted / max(float(wanted.sum()), 1.0))
