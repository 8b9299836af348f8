"""Whole training runs of policies in the trading environments: what the controller's shipped weights are trained on.

A job draws a market (drift, volatility, length of regimes), costs, whether the next return is leaked (so that there is
something to learn for certain), a policy (PPO, A2C or DQN) and a base rate from its seed, trains the policy once in the
single-position environment and returns

    cost = exp(-(mean reward of all training steps) / (mean reward of the oracle with perfect foresight))

so that a difference of log cost is a difference in shares of the oracle's profit, costs of trading included. The mean
is over the whole run: speed counts and not only the end. Environment, noise and initial network are equal for all
optimizers of one job. The optimizer's bound is the policies' own (4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from rl.optim.meta_train import Job

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rl.envs.synthetic import Candles
    from rl.optim.tasks import MakeOptimizer

LENGTH = 128  # decisions of an episode
STEPS = {"PPO": 6144, "A2C": 8192, "DQN": 3000}
KEYWORDS: dict[str, dict[str, Any]] = {
    "PPO": {"n_epochs": 10, "hidden": (32, 32), "gamma": 0.9},
    "A2C": {"hidden": (32, 32), "gamma": 0.9},
    "DQN": {"hidden": (32, 32), "gamma": 0.9, "learning_starts": 200, "target_sync": 250, "batch_size": 32},
}
ORACLE_EPISODES = 8
RATES = (1e-4, 1e-2)


class Meter(gym.Wrapper[Any, Any, Any, Any]):
    """Adds up the rewards of all environments of one run: `sums` is [reward, steps], shared by them."""

    def __init__(self, env: gym.Env[Any, Any], sums: NDArray[np.float64]) -> None:
        super().__init__(env)
        self.sums = sums

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """As the environment's."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.sums += (float(reward), 1.0)
        return observation, reward, terminated, truncated, info


@dataclass(frozen=True, slots=True)
class Market:
    """Candles of the synthetic market with its regimes' drifts and volatilities scaled, in regimes of this length."""

    scale: float
    regime_length: float

    def __call__(self, generator: np.random.Generator, count: int) -> Candles:
        """`count` candles, prices from 100."""
        from rl.envs.synthetic import Candles, synthetic_candles

        plain = synthetic_candles(generator, count, regime_length=self.regime_length)
        return Candles(*(100.0 * (column / 100.0) ** self.scale for column in plain))


@dataclass(frozen=True, slots=True)
class TradingRun:
    """One training run; see the module's docstring."""

    policy: str
    seed: int
    market: Market
    leak: bool
    lr: float

    def environment(self) -> Any:
        """A fresh single-position environment of this job's market."""
        from rl.envs import SinglePositionEnv

        unit = 0.008 * self.market.scale
        return SinglePositionEnv(make_candles=self.market, length=LENGTH, leak=self.leak, reward_unit=unit)

    def oracle(self) -> float:
        """Mean reward of one step with perfect foresight, over a few episodes of seeds of their own."""
        from rl.envs import single_position_oracle

        env = self.environment()
        total = 0.0
        for episode in range(ORACLE_EPISODES):
            env.reset(seed=1_000_000_007 + 1000 * self.seed + episode)
            total += single_position_oracle(env)[0]
        return total / (ORACLE_EPISODES * LENGTH)

    def __call__(self, make_optimizer: MakeOptimizer) -> float:
        """See `tasks.Task`."""
        from rl import policies

        sums = np.zeros(2)
        agent = getattr(policies, self.policy)(
            lambda: Meter(self.environment(), sums),
            seed=self.seed,
            optimizer=lambda parameters, **_: make_optimizer(parameters),  # rate and options are the job's
            learning_rate=self.lr,
            anneal=False,
            **KEYWORDS[self.policy],
        )
        agent.learn(STEPS[self.policy])
        agent.close()
        return math.exp(-float(sums[0] / sums[1]) / self.oracle())


def trading_job(seed: int) -> Job:
    """A random market, policy and rate; half of the jobs leak the next return."""
    rng = np.random.default_rng([seed, 11])
    market = Market(float(rng.uniform(0.7, 1.5)), float(rng.choice([60.0, 120.0, 240.0])))
    policy = ("PPO", "A2C", "DQN")[int(rng.integers(3))]
    leak = bool(rng.random() < 0.5)
    rate = float(np.exp(rng.uniform(math.log(RATES[0]), math.log(RATES[1]))))
    options = {"bound": 4.0} if policy == "DQN" else {"bound": 4.0, "eps": 1e-5}  # as the policies' own
    return Job(TradingRun(policy, seed, market, leak, rate), rate, options)
