"""Hierarchical risk parity over groups of agents: like groups share the risk that unlike ones each get.

Lopez de Prado, "Building diversified portfolios that outperform out of sample" (2016): groups are ordered by single
linkage on the distance sqrt((1 - correlation) / 2) of their mean results, then the order is split in half again and
again, each half getting a share in inverse proportion to its variance. Inside a group shares follow inverse volatility.
Groups (archetype x market) instead of single agents: a correlation matrix of a thousand agents from some tens of
epochs would be noise, and too slow.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from portfolio.records import Floats, Records, inverse

MEANING = "risk parity over a tree of like groups of agents, inverse volatility inside a group"

MINIMUM_EPOCHS = 8
"""With fewer epochs a correlation is not told from noise: inverse volatility is used."""


def weights(records: Records) -> Floats:
    """Shares [n]."""
    inside = inverse(records.deviation, records.taking_part)
    if len(records.returns) < MINIMUM_EPOCHS or not records.taking_part.any():
        return inside
    groups = int(records.group.max()) + 1
    sums = np.bincount(records.group, inside, groups)
    there = np.flatnonzero(np.bincount(records.group, minlength=groups))
    share = inside / np.where(sums > 0.0, sums, 1.0)[records.group]
    members = np.argsort(records.group, kind="stable")
    starts = np.searchsorted(records.group[members], np.arange(groups)[there])
    results = np.add.reduceat((records.returns * share)[:, members], starts, axis=1)
    parts = np.zeros(groups)
    parts[there] = np.where(sums[there] > 0.0, of_groups(results), 0.0)
    parts /= parts.sum()
    return share * parts[records.group]


def of_groups(results: Floats) -> Floats:
    """Shares [G] from results [E, G]."""
    centred = results - results.mean(axis=0)
    covariance = np.einsum("eg,eh->gh", centred, centred) / max(len(results) - 1, 1)
    variance = np.diag(covariance).copy()
    floor = max(float(np.median(variance)) * 0.0625, 1e-18)
    covariance[np.diag_indices_from(covariance)] = np.maximum(variance, floor)
    deviation = np.sqrt(np.diag(covariance))
    correlation = np.clip(covariance / deviation[:, None] / deviation[None, :], -1.0, 1.0)
    order = leaf_order(np.sqrt(np.maximum(0.5 * (1.0 - correlation), 0.0)))
    inverse_variance = 1.0 / np.diag(covariance)[order]
    weighted = inverse_variance[:, None] * covariance[np.ix_(order, order)] * inverse_variance[None, :]
    parts = np.ones(len(order))
    stack = [(0, len(order))]
    while stack:
        first, last = stack.pop()
        if last - first == 1:
            continue
        middle = (first + last) // 2
        left, right = slice(first, middle), slice(middle, last)
        # variance of each half's inverse-variance portfolio
        risk_left, risk_right = (
            max(float(weighted[half, half].sum()) / float(inverse_variance[half].sum()) ** 2, 1e-18)
            for half in (left, right)
        )
        parts[left] *= risk_right / (risk_left + risk_right)
        parts[right] *= risk_left / (risk_left + risk_right)
        stack += [(first, middle), (middle, last)]
    shares = np.empty(len(order))
    shares[order] = parts / parts.sum()
    return shares


def leaf_order(distance: Floats) -> NDArray[np.int64]:
    """Leaves of the single-linkage tree of a distance matrix [G, G] from left to right; ties go to the lower number."""
    distance = distance.copy()
    np.fill_diagonal(distance, np.inf)
    clusters = [[leaf] for leaf in range(len(distance))]
    for _ in range(len(distance) - 1):
        first, second = sorted(divmod(int(np.argmin(distance)), len(distance)))
        clusters[first] += clusters[second]
        nearest = np.minimum(distance[first], distance[second])
        distance[first, :] = distance[:, first] = nearest
        distance[second, :] = distance[:, second] = np.inf
        distance[first, first] = np.inf
    return np.array(clusters[0], np.int64)
