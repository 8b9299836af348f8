"""Trading environments: valid for Gymnasium, causal, accounted to the unit, with an exact oracle; leaks and noise."""

import itertools
import time
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import rl.envs
from rl.envs import Candles, NextReturnEnv, PaperExchange, SinglePositionEnv, next_return_oracle, single_position_oracle
from rl.envs.oracle import best_path
from rl.envs.single_position import WARMUP, market_features
from rl.envs.synthetic import synthetic_candles
from rl.policies import DQN, PPO

NAMES = [
    "nested-trader/SinglePosition-v0",
    "nested-trader/SinglePositionLeak-v0",
    "nested-trader/SinglePositionNoise-v0",
    "nested-trader/NextReturn-v0",
    "nested-trader/NextReturnHidden-v0",
]


@pytest.mark.parametrize("name", NAMES)
def test_environments_are_registered_and_clean(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gym.make(name).unwrapped, skip_render_check=True)
    rl.envs.register()  # twice does no harm


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_episode(name):
    def episode():
        env = gym.make(name)
        observation, _ = env.reset(seed=3)
        rows = [observation]
        for action in np.random.default_rng(0).integers(0, 3, 300):
            observation, reward, terminated, truncated, _ = env.step(int(action))
            rows.append(np.append(observation, reward))
            if terminated or truncated:
                break
        return np.concatenate(rows)

    np.testing.assert_array_equal(episode(), episode())


@pytest.mark.parametrize("seed", range(5))
def test_oracle_of_the_market_is_what_its_path_earns(seed):
    env = SinglePositionEnv(length=60)
    env.reset(seed=seed)
    value, path = single_position_oracle(env)
    assert sum(env.step(int(action))[1] for action in path) == pytest.approx(value, abs=1e-5)
    rng = np.random.default_rng(seed)
    for _ in range(20):
        env.reset(seed=seed)
        assert sum(env.step(int(action))[1] for action in rng.integers(0, 3, 60)) <= value


def test_oracle_equals_trying_every_path():
    env = NextReturnEnv(length=6, cost=0.3)
    env.reset(seed=1)
    best = -np.inf
    for path in itertools.product(range(3), repeat=6):
        env.step_number = env.position = 0
        best = max(best, sum(env.step(action)[1] for action in path))
    assert next_return_oracle(env)[0] == pytest.approx(best)
    assert best_path(np.zeros((0, 3, 3)))[0] == 0.0


def flat_market(prices, spread=0.0):
    prices = np.asarray(prices, float)
    return Candles(prices, prices * (1 + spread), prices * (1 - spread), prices)


def test_a_round_trip_costs_two_fees_and_two_half_spreads():
    env = SinglePositionEnv(flat_market(np.full(WARMUP + 10, 100.0)), length=8, capital=10_000.0)
    env.reset(seed=0)
    env.step(2)
    *_, info = env.step(1)
    # fills at 100.02 and 99.98 of 100 units; fees 0.05 % of each value
    expected = 10_000 - 100 * (100.02 - 99.98) - 0.0005 * 100 * (100.02 + 99.98)
    assert info["equity"] == pytest.approx(expected, abs=1e-6)


def test_orders_fill_at_the_next_open_not_at_the_close_that_was_seen():
    count = WARMUP + 10
    opens, closes = np.full(count, 100.0), np.full(count, 100.0)
    opens[WARMUP + 1] = 110.0
    closes[WARMUP + 1] = 110.0
    candles = Candles(opens, np.maximum(opens, closes), np.minimum(opens, closes), closes)
    env = SinglePositionEnv(candles, length=8)
    env.reset(seed=0)
    _, reward, *_ = env.step(2)
    assert reward < 0  # bought at 110: the jump was not earned


@pytest.mark.parametrize("side", [0, 2])
def test_liquidation_is_termination_and_never_costs_more_than_the_cash(side):
    prices = np.full(WARMUP + 26, 100.0)
    prices[WARMUP + 3 :] *= 1.2 if side == 0 else 0.8
    env = SinglePositionEnv(flat_market(prices), length=25, leverage=10.0)
    env.reset(seed=0)
    for _ in range(5):
        *_, terminated, truncated, info = env.step(side)
        if terminated:
            break
    assert terminated
    assert not truncated
    assert info["liquidated"]
    assert 0.0 <= info["equity"] < 1500.0


def test_the_end_of_the_data_is_a_truncation():
    env = SinglePositionEnv(length=5)
    env.reset(seed=0)
    ends = [env.step(1)[2:4] for _ in range(5)]
    assert ends == [(False, False)] * 4 + [(False, True)]


def test_margin_refuses_what_is_too_large():
    env = SinglePositionEnv(flat_market(np.full(WARMUP + 10, 100.0)), length=8, leverage=30.0, max_leverage=20.0)
    env.reset(seed=0)
    *_, info = env.step(2)
    assert env.position == 0
    assert info["equity"] == 10_000.0


@pytest.mark.parametrize("leak", [False, True])
def test_features_do_not_look_ahead_unless_asked_to(leak):
    candles = synthetic_candles(np.random.default_rng(0), 200)
    whole = market_features(candles, leak=leak)
    for t in (100, 150):
        cut = Candles(*(np.concatenate([column[: t + 1], column[t + 1 :] * 1.5]) for column in candles))
        changed = market_features(cut, leak=leak)
        np.testing.assert_array_equal(changed[:t], whole[:t])
        assert np.array_equal(changed[t], whole[t]) != leak
        assert not np.array_equal(changed[t + 1 :], whole[t + 1 :])


def test_synthetic_candles_hold_together_and_noise_has_no_drift():
    rng = np.random.default_rng(0)
    candles = synthetic_candles(rng, 5000)
    assert (candles.low <= np.minimum(candles.open, candles.close)).all()
    assert (candles.high >= np.maximum(candles.open, candles.close)).all()
    assert (candles.low > 0).all()
    ends = np.array([synthetic_candles(rng, 100, noise=True).close[-1] / 100 - 1 for _ in range(2000)])
    assert abs(ends.mean()) < 4 * ends.std() / np.sqrt(len(ends))


def evaluate(agent, name, oracle, episodes, seed=5000):
    """Mean return, its standard error, and the oracle's mean on the same fresh episodes."""
    env = gym.make(name)
    got, best = [], []
    for k in range(episodes):
        observation, _ = env.reset(seed=seed + k)
        best.append(oracle(env.unwrapped)[0])
        total, done = 0.0, False
        while not done:
            observation, reward, terminated, truncated, _ = env.step(agent.predict(observation))
            total += float(reward)
            done = terminated or truncated
        got.append(total)
    return np.mean(got), np.std(got) / np.sqrt(episodes), np.mean(best)


@pytest.mark.parametrize(
    ("kind", "name", "steps"), [(PPO, NAMES[3], 40_000), (PPO, NAMES[1], 60_000), (DQN, NAMES[3], 15_000)]
)
def test_a_leaked_return_is_found(kind, name, steps):
    oracle = next_return_oracle if "Next" in name else single_position_oracle
    start = time.process_time()
    agent = kind(lambda: gym.make(name), seed=0).learn(steps)
    spent = time.process_time() - start
    mean, _, best = evaluate(agent, name, oracle, 10)
    assert mean >= 0.95 * best
    assert spent < 60


@pytest.mark.parametrize("name", [NAMES[4], NAMES[2]])
def test_nobody_earns_on_fresh_noise(name):
    agent = PPO(lambda: gym.make(name), seed=0).learn(15_000)
    oracle = next_return_oracle if "Next" in name else single_position_oracle
    mean, error, _ = evaluate(agent, name, oracle, 40)
    assert mean - 2.5 * error <= 0.0


def test_the_paper_exchange_is_the_brokers():
    from rl.envs.exchange import DEFAULT_INSTRUMENT
    from trader.broker.fills import slipped_price, taker_fee
    from trader.broker.market import ExchangeRules, market_vector

    market = market_vector(DEFAULT_INSTRUMENT, ExchangeRules())
    exchange = PaperExchange()
    for price in (1_234_567_890, 99_999_999_999):
        for side in (1, -1):
            assert exchange.fill_price(price, side) == slipped_price(price, side, 20_000, market)
        assert exchange.fee(price) == taker_fee(price, market)
