"""What a trader who knows a synthetic market's state earns after costs: the yardstick for everything that has to learn it.

The oracle sees, at each close, the regime the candle was made in and the anchor a range pulls to; it sees no future
shock and no future switch. Its position (-1, 0 or 1 in every market) is optimal for that knowledge up to the grid: the
problem with proportional costs is solved by policy iteration (Howard, Dynamic Programming and Markov Processes, 1960)
over (regime or distance from the anchor, position), with ordinary volatility. It is then carried over the market's
actual prices: decided at a close, filled at the next open.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from trader.core.rows import Regime
from trader.core.timeframes import HOUR_MS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trader.feeds.synthetic import SyntheticFeed, Truth

POSITIONS: Final = (-1.0, 0.0, 1.0)
_GRID: Final = np.linspace(-8.0, 8.0, 81)
"""Distances from the anchor in deviations of a candle."""
_DISCOUNT: Final = 1.0 - 1e-5
"""Of a candle: so near to 1 that the policy is that of the average reward, and every policy has a value."""
_ROUNDS: Final = 100
_FOLLOWING_HOURS: Final = 72.0
"""Time constant with which an anchor follows (synthetic_market._AVERAGE_HOURS)."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Positions on a synthetic market and what came of them, as fractions of one unit of capital a market.

    positions: float64 [T, M], held from the open of candle t to the open of the next.
    gross, costs: float64 [T, M], return of the position (funding included) and cost of the change at its open.
    expected: float64 [T, M], what the state let expect of the position, before costs: the profit without its luck.
    """

    positions: NDArray[np.float64]
    gross: NDArray[np.float64]
    costs: NDArray[np.float64]
    expected: NDArray[np.float64]

    @property
    def profit(self) -> float:
        """Profit after costs, mean over the markets, without compounding."""
        return float((self.gross - self.costs).sum(axis=0).mean())

    @property
    def expected_profit(self) -> float:
        """Expected profit after costs, mean over the markets."""
        return float((self.expected - self.costs).sum(axis=0).mean())


def oracle(feed: SyntheticFeed, cost: float, frames: int | None = None) -> Outcome:
    """The oracle's positions and profit over the first `frames` traded frames (None: to the feed's end).

    Args:
        feed: the market; it is generated anew, the feed itself does not move.
        cost: of one fill, fee and half spread, as a fraction of the notional.
        frames: how many.
    """
    truth = feed.truth(frames)
    return outcome(truth, oracle_positions(feed, truth, cost), cost)


def outcome(truth: Truth, decided: NDArray[np.float64], cost: float) -> Outcome:
    """What positions decided at each close [T, M] earn; a candle that is missing neither fills nor loses its decision."""
    frames, markets = decided.shape
    positions = np.zeros((frames, markets))
    held = np.zeros(markets)
    for t in range(1, frames):
        # an absent market cannot trade, and nobody decided anything at a close that was not seen
        held = np.where(truth.present[t] & truth.present[t - 1], decided[t - 1], held)
        positions[t] = held
    returns = np.zeros((frames, markets))
    returns[:-1] = truth.opens[1:] / truth.opens[:-1] - 1.0
    returns[-1] = truth.closes[-1] / truth.opens[-1] - 1.0
    # a stamp is paid on what is held when it is made, before the fills at the same open
    before = np.vstack((np.zeros((1, markets)), positions[:-1]))
    changes = np.abs(np.diff(positions, axis=0, prepend=0.0))
    changes[-1] += np.abs(positions[-1])
    return Outcome(positions, positions * returns - before * truth.rates, cost * changes, positions * truth.expected)


def oracle_positions(feed: SyntheticFeed, truth: Truth, cost: float) -> NDArray[np.float64]:
    """The oracle's decision at each close [T, M]."""
    decided = np.zeros(truth.closes.shape)
    anchors = _anchors_after(truth, feed.base_ms)
    root_hours = math.sqrt(feed.base_ms / HOUR_MS)
    held = np.zeros(len(feed.sigmas), np.int64) + 1
    policies = [_policy(feed, sigma, cost) for sigma in feed.sigmas]
    for m, policy in enumerate(policies):
        scale = feed.sigmas[m] * feed.rules.size[Regime.RANGE] * root_hours
        distance = (truth.closes[:, m] / anchors[:, m] - 1.0) / scale
        place = np.abs(distance[:, None] - _GRID[None, :]).argmin(axis=1) + _TRENDS
        states = np.where(truth.regimes == Regime.RANGE, place, _TREND_STATE[truth.regimes])
        for t, state in enumerate(states):
            held[m] = policy[state, held[m]]
            decided[t, m] = POSITIONS[held[m]]
    return decided


def _anchors_after(truth: Truth, base_ms: int) -> NDArray[np.float64]:
    """The anchors after each candle [T, M]: outside a range the close itself."""
    step = np.where(truth.regimes == Regime.RANGE, min(base_ms / HOUR_MS / _FOLLOWING_HOURS, 1.0), 1.0)
    return np.asarray(truth.anchors + step[:, None] * (truth.closes - truth.anchors))


_TRENDS: Final = 4
"""States before the grid: no regime, bull, bear, crash."""
_TREND_STATE: Final = np.array([0, 1, 2, -1, 3])
"""State by regime code."""
_REGIME_OF_STATE: Final = np.array([0, 1, 2, 4] + [int(Regime.RANGE)] * len(_GRID))


def _policy(feed: SyntheticFeed, sigma: float, cost: float) -> NDArray[np.int64]:
    """Best position (index) [states, position held] after a close; amounts in deviations of an hour."""
    expected, moves = _model(feed)
    levels = np.array(POSITIONS)
    price = cost / sigma * np.abs(np.subtract.outer(levels, levels))
    value = np.zeros((len(expected), len(levels)))
    policy = np.full(value.shape, -1)
    for _ in range(_ROUNDS):
        ahead = expected[:, None] * levels + _DISCOUNT * moves @ value
        better = (ahead[:, None, :] - price).argmax(axis=2)
        if (better == policy).all():
            break
        policy = better
        value = _value(policy, expected, moves, price)
    return policy


def _value(
    policy: NDArray[np.int64], expected: NDArray[np.float64], moves: NDArray[np.float64], price: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Value [states, position held] of a policy: the solution of v = reward + discount * transitions * v."""
    states, positions = policy.shape
    held = np.arange(positions)
    reward = expected[:, None] * np.array(POSITIONS)[policy] - price[held, policy]
    transitions = np.zeros((states, positions, states, positions))
    for h in held:
        transitions[np.arange(states), h, :, policy[:, h]] = moves
    square = transitions.reshape(states * positions, -1)
    return np.linalg.solve(np.eye(len(square)) - _DISCOUNT * square, reward.ravel()).reshape(states, positions)


def _model(feed: SyntheticFeed) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Expected return of the next candle by state, in deviations of an hour, and chances of the next state."""
    hours = feed.base_ms / HOUR_MS
    rules, step = feed.rules, min(feed.base_ms / HOUR_MS / _FOLLOWING_HOURS, 1.0)
    chances = rules.switch_chances(feed.base_ms)[_REGIME_OF_STATE]
    distance = np.concatenate((np.zeros(_TRENDS), _GRID))
    back = min(rules.pull, 0.5 / hours) * hours * distance
    expected = chances @ (rules.drift * hours) - chances[:, Regime.RANGE] * back * rules.size[Regime.RANGE] * hours**0.5
    landed = (1.0 - step) * (distance - back)
    density = np.exp(-0.5 * ((_GRID[None, :] - landed[:, None]) / max(1.0 - step, 0.05)) ** 2)
    moves = np.zeros((len(distance), len(distance)))
    moves[:, _TRENDS:] = chances[:, [Regime.RANGE]] * density / density.sum(axis=1, keepdims=True)
    for regime in (Regime.UNKNOWN, Regime.BULL, Regime.BEAR, Regime.CRASH):
        moves[:, _TREND_STATE[regime]] = chances[:, regime]
    return expected, moves
