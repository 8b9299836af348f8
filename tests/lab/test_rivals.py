"""Rivals against arithmetic by hand, and random agents against what they promise: the same positions at other times."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from trader.lab import judgement, rivals
from trader.lab.rivals import Board, block_frames, dealt, holders, last_best
from trader.lab.windows import Grid

HOUR = 3_600_000
DAY = 24 * HOUR


def board(returns, cost=0.01, first=0, there=None):
    returns = np.asarray(returns, float)
    return Board(returns, np.ones_like(returns, bool) if there is None else np.asarray(there), cost, first)


def test_buy_and_hold_by_hand():
    """One market, +10 % then -50 %: bought for 1 at 1 %, sold for .55 at 1 %."""
    found = holders(board([[0.1], [-0.5]]))
    assert np.prod(1 + found["buy_and_hold"]) == pytest.approx((1 - 0.01) * (1.1 * 0.5) * (1 - 0.01 * 0.5), rel=1e-2)
    assert found["buy_and_hold"][0] == pytest.approx(0.99 * 1.1 - 1)
    assert (found["cash"] == 0).all()


def test_rebalancing_by_hand():
    """Two markets, one doubles and halves again: held it ends where it began, rebalanced it gains an eighth."""
    moves = [[1.0, 0.0], [-0.5, 0.0]]
    free = holders(board(moves, cost=0.0))
    assert np.prod(1 + free["buy_and_hold"]) == pytest.approx(1.0)
    assert np.prod(1 + free["equal_weight"]) == pytest.approx(1.125)
    dear = holders(board(moves, cost=0.01))
    assert np.prod(1 + dear["equal_weight"]) < 1.125 * 0.985


def test_a_market_that_is_not_there_yet_is_cash_and_nothing_happens_before_the_first_step():
    found = holders(board([[0.5, 0.0], [0.5, 0.0]], cost=0.0, first=1, there=[[True, False], [True, False]]))
    assert found["buy_and_hold"] == pytest.approx([0.0, 0.25])
    assert found["equal_weight"] == pytest.approx([0.0, 0.5])


def test_steady_risk_holds_less_when_it_is_loud_and_knows_only_the_past():
    generator = np.random.default_rng(1)
    moves = np.concatenate((generator.normal(size=200) * 0.01, generator.normal(size=100) * 0.05))[:, None]
    shares = rivals._steady(board(moves), np.ones_like(moves))
    assert shares[:201].min() > 0.6
    assert shares[240:].mean() < 0.7
    later = moves.copy()
    later[250:] *= 9
    assert np.array_equal(rivals._steady(board(later), np.ones_like(moves))[:251], shares[:251])


def test_dealing_keeps_every_number_and_blocks_together():
    order = dealt(1000, 50, np.random.Generator(np.random.PCG64(3)))
    assert sorted(order.tolist()) == list(range(1000))
    neighbours = np.diff(order) % 1000 == 1
    assert 0.97 < neighbours.mean() < 1.0


def test_random_agents_have_the_populations_exposure_and_none_of_its_timing():
    """A trader who is in the market exactly when it rises: dealt anew, its mean is exposure × drift − costs."""
    frames = 24 * 200
    generator = np.random.default_rng(5)
    moves = generator.normal(size=frames) * 0.01 + 0.0002
    closes = 100 * np.exp(np.cumsum(moves))
    times = np.arange(frames, dtype=np.int64) * HOUR
    held = (np.roll(moves, -1) > 0).astype(float)[:, None]
    equity = np.ones(frames)
    one = SimpleNamespace(net=held, equity=equity, costs=np.full(frames, 1e-5), opened=times[:10], closed=times[1:11])
    history = SimpleNamespace(
        times=times, base_ms=HOUR, warmup=0, marks=lambda: closes[:, None],
        block=SimpleNamespace(stamp_rate=np.full((frames, 1), np.nan)),
    )  # fmt: skip
    config = SimpleNamespace(exchange=SimpleNamespace(market_type="spot", funding=False))
    points = np.arange(201, dtype=np.int64) * DAY
    steps = Grid(DAY, HOUR, points, np.arange(200) < 50, (np.arange(200) >= 60)[None, :])
    drawn = rivals.random_agents(config, history, steps, [one], draws=200, seed=1)
    assert (drawn[:, :60] == 0).all()
    drift = float(np.log(closes[24 * 200 - 1] / closes[24 * 60 - 1])) / 140
    mean = np.log1p(drawn[:, 60:]).mean()
    expected = held[24 * 60 :].mean() * drift
    assert mean == pytest.approx(expected - 24e-5, abs=0.0008)
    clever = 24 * float((held[24 * 60 : -1, 0] * moves[24 * 60 + 1 :]).mean())
    assert clever > 5 * abs(mean)


def test_blocks_hold_most_positions_whole_but_leave_something_to_deal():
    def trades(hours):
        return [SimpleNamespace(opened=np.zeros(3, np.int64), closed=np.full(3, hours * HOUR))]

    assert block_frames(trades(1), HOUR, 10_000) == 24
    assert block_frames(trades(30), HOUR, 10_000) == 120
    assert block_frames(trades(5000), HOUR, 10_000) == 500


def test_the_last_best_is_chosen_before_each_window():
    returns = np.zeros((40, 2))
    returns[:20, 0], returns[20:, 1] = 0.01, 0.02
    returns += np.random.default_rng(1).normal(size=returns.shape) * 1e-4
    steps = Grid(DAY, HOUR, np.arange(41), np.arange(40) < 10, np.array([np.arange(40) // 10 == k for k in (1, 3)]))
    found = last_best(returns, steps)
    assert np.array_equal(found[10:20], returns[10:20, 0])
    assert np.array_equal(found[30:], returns[30:, 0])  # over all thirty steps the first one is still ahead
    assert (found[20:30] == 0).all()


@pytest.mark.parametrize(
    ("sweep", "multiple"),
    [
        ([(0, 0.3), (1, 0.1), (2, -0.1), (4, -0.5)], 1.5),
        ([(0, -0.1), (1, -0.2)], 0.0),
        ([(0, 0.3), (1, 0.2)], None),
        ([(1, -0.3), (2, -0.4)], None),
    ],
)
def test_break_even_by_hand(sweep, multiple):
    found, told = judgement.break_even(sweep)
    assert (found is None) == (multiple is None)
    assert found is None or found == pytest.approx(multiple)
    assert told
