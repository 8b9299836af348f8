"""What the population has to beat: cash, holding, rebalancing, holding at a steady risk, and random agents.

All are computed from candles on the evaluation's equal steps, at the last close before each grid point, with the taker fee
and half the spread on whatever changes hands, and funding where the session charges it. None of them moves a price or is
bound by a share of the volume, so they have it a little easier than the population.

*Random agents* hold exactly what the population held and pay exactly what it paid, at other times: its own positions (as a
share of equity, all markets together) and costs, cut into blocks and dealt anew. Exposure and turnover are the same to the
last digit; only the timing is gone. Axes: n steps, M markets, T frames, K draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from trader.lab.flows import STILL_OPEN
from trader.report.series import DAY_MS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trader.core.config import Config
    from trader.lab.history import History
    from trader.lab.simulation import Simulation
    from trader.lab.windows import Grid

Floats = NDArray[np.float64]

TRAILING_DAYS: Final = 30
"""Of returns from which the volatility-targeted holder knows today's risk."""
FEWEST_BLOCKS: Final = 20
"""Into which positions are cut at least, so that there is something to deal."""


@dataclass(frozen=True, slots=True)
class Board:
    """The markets on the steps of an evaluation.

    returns: float64 [n, M], of a long position over each step, funding included, 0 where a market has no price yet;
    there: bool [n, M], whether it has one; cost: fraction of what changes hands; first: step with which holders begin.
    """

    returns: Floats
    there: NDArray[np.bool_]
    cost: float
    first: int


def board(config: Config, history: History, steps: Grid) -> Board:
    """The markets of a history."""
    marks = history.marks()
    place = np.searchsorted(history.times + history.base_ms, steps.points, side="right") - 1
    prices = np.where((place >= 0)[:, None], marks[np.maximum(place, 0)], np.nan)
    there = np.isfinite(prices[:-1])
    moves = np.where(there, prices[1:] / np.where(there, prices[:-1], 1.0) - 1.0, 0.0)
    paid = np.concatenate((np.zeros((1, marks.shape[1])), np.cumsum(funding(config, history), axis=0)))
    moves -= np.diff(paid[np.maximum(place + 1, 0)], axis=0)
    cost = config.exchange.fees.taker + config.exchange.slippage
    return Board(np.nan_to_num(moves), there, cost, int(np.flatnonzero(steps.test)[0]))


def funding(config: Config, history: History) -> Floats:
    """What a long position pays in every traded frame, as a fraction, [T, M]."""
    rates = history.block.stamp_rate[history.warmup :]
    charged = config.exchange.market_type == "swap" and config.exchange.funding
    return np.nan_to_num(rates) if charged else np.zeros_like(rates)


def holders(market: Board) -> dict[str, Floats]:
    """Step returns [n] of every rival that only holds; 0 before the first step out of sample."""
    equal = market.there / np.maximum(market.there.sum(axis=1, keepdims=True), 1)
    fixed = np.where(market.there, 1.0 / market.there.shape[1], 0.0)
    always = np.ones(len(equal), np.bool_)
    entering = np.zeros(len(equal), np.bool_)
    entering[market.first] = True
    return {
        "cash": np.zeros(len(equal)),
        "buy_and_hold": _portfolio(market, fixed, entering),
        "equal_weight": _portfolio(market, equal, always),
        "volatility_target": _portfolio(market, equal * _steady(market, equal)[:, None], always),
    }


def _portfolio(market: Board, targets: Floats, trades: NDArray[np.bool_]) -> Floats:
    """Returns of holding `targets` [n, M] (shares of wealth), set anew where `trades` [n]; sold at the end."""
    out = np.zeros(len(targets))
    held = np.zeros(targets.shape[1])
    last = len(targets) - 1
    for t in range(market.first, len(targets)):
        fee = 0.0
        if trades[t]:
            fee = market.cost * float(np.abs(targets[t] - held).sum())
            held = targets[t].copy()
        grown = held * (1.0 + market.returns[t])
        wealth = 1.0 - held.sum() + grown.sum()
        if t == last:
            fee += market.cost * float(grown.sum())
        out[t] = (1.0 - fee) * wealth - 1.0
        held = grown / wealth
    return out


def _steady(market: Board, equal: Floats) -> Floats:
    """Share that is invested [n]: volatility of all the past ÷ that of the last 30 steps, at most 1; known before a step."""
    moves = (equal * market.returns).sum(axis=1)
    shares = np.ones(len(moves))
    for t in range(TRAILING_DAYS, len(moves)):
        recent, ever = moves[t - TRAILING_DAYS : t].std(), moves[:t].std()
        shares[t] = min(1.0, ever / recent) if recent > 0 else 1.0
    return shares


def random_agents(
    config: Config, history: History, steps: Grid, simulations: Sequence[Simulation], *, draws: int, seed: int
) -> Floats:
    """Step returns [K, n] of the population's positions and costs dealt to other times; 0 outside the test windows.

    Of several seeds the mean position is taken, as their mean return is judged.
    """
    frames = _frames(history, steps)
    shares = np.mean([s.net[frames] / s.equity[frames, None] for s in simulations], axis=0)
    costs = np.mean([s.costs[frames] / s.equity[frames] for s in simulations], axis=0)
    marks = history.marks()[frames]
    moves = np.zeros_like(marks)
    moves[1:] = np.nan_to_num(marks[1:] / marks[:-1] - 1.0) - funding(config, history)[frames][1:]
    place = np.searchsorted(history.times[frames] + history.base_ms, steps.points, side="right")
    generator = np.random.Generator(np.random.PCG64(seed))
    length = block_frames(simulations, history.base_ms, len(moves))
    out = np.zeros((draws, len(steps.points) - 1))
    for k in range(draws):
        order = dealt(len(moves), length, generator)
        made = -costs[order]
        made[1:] += (shares[order[:-1]] * moves[1:]).sum(axis=1)
        logs = np.concatenate(([0.0], np.cumsum(np.log1p(np.maximum(made, -0.999)))))
        out[k] = np.expm1(np.diff(logs[place]))
    return np.where(steps.test, out, 0.0)


def block_frames(simulations: Sequence[Simulation], base_ms: int, frames: int) -> int:
    """Length of a block in frames: four mean holding times, so that most positions stay whole, at least a day."""
    held = np.concatenate([(s.closed - s.opened)[s.closed < STILL_OPEN] for s in simulations])
    wanted = max(4 * float(held.mean()) if len(held) else 0.0, DAY_MS) / base_ms
    return int(np.clip(wanted, 1, max(frames // FEWEST_BLOCKS, 1)))


def dealt(count: int, length: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Numbers 0 to count − 1 on a circle that begins anywhere, cut into blocks of `length`, the blocks in random order."""
    circle = (np.arange(count) + int(generator.integers(count))) % count
    blocks = [circle[first : first + length] for first in range(0, count, length)]
    return np.concatenate([blocks[place] for place in generator.permutation(len(blocks))])


def _frames(history: History, steps: Grid) -> slice:
    """Traded frames from the first step out of sample to the last."""
    tested = np.flatnonzero(steps.test)
    ends = history.times + history.base_ms
    first = int(np.searchsorted(ends, steps.points[tested[0]], side="right"))
    return slice(max(first - 1, 0), int(np.searchsorted(ends, steps.points[tested[-1] + 1], side="right")))


def last_best(returns: Floats, steps: Grid) -> Floats:
    """Returns [n] of always following the one of `returns` [n, N] with the best Sharpe ratio before each window."""
    out = np.zeros(len(returns))
    for window in steps.windows:
        begin = int(np.flatnonzero(window)[0]) if window.any() else 0
        past = returns[:begin]
        deviation = past.std(axis=0) if len(past) > 1 else np.zeros(returns.shape[1])
        ratio = np.where(deviation > 0, past.mean(axis=0) / np.where(deviation > 0, deviation, 1.0), -np.inf)
        out[window] = returns[window, int(ratio.argmax())]
    return out


def archetype_returns(simulation: Simulation, steps: Grid) -> Floats:
    """Step returns [n, A] of every archetype, as if it had the population's mean gross exposure to itself: what it earned ÷
    equity before the step, times the population's exposure ÷ its own. Ratios do not depend on that factor."""
    place = np.searchsorted(simulation.times + steps.base_ms, steps.points, side="right")
    earned = np.concatenate((np.zeros((1, simulation.archetypes.shape[1])), simulation.archetypes))[place]
    equity = np.concatenate(([simulation.start], simulation.equity))[place]
    own = simulation.exposures
    factor = np.where(own > 0, own.sum() / np.where(own > 0, own, 1.0), 0.0)
    return np.asarray(np.diff(earned, axis=0) / np.maximum(equity[:-1, None], 1e-9) * factor)
