"""Does a policy find a leaked return, and does it stay away from profit on noise? Against the exact oracle.

python benchmarks/policies_leak.py [--seeds 3] [--cases 0 1 2 3 4 5 6 7]
"""

from __future__ import annotations

import argparse
import time

import gymnasium as gym
import numpy as np

from rl.envs import next_return_oracle, single_position_oracle
from rl.policies import A2C, DQN, PPO

CASES = [
    (PPO, "nested-trader/NextReturn-v0", 40_000),
    (PPO, "nested-trader/SinglePositionLeak-v0", 60_000),
    (DQN, "nested-trader/NextReturn-v0", 15_000),
    (DQN, "nested-trader/SinglePositionLeak-v0", 15_000),
    (A2C, "nested-trader/NextReturn-v0", 60_000),
    (PPO, "nested-trader/NextReturnHidden-v0", 40_000),
    (PPO, "nested-trader/SinglePositionNoise-v0", 40_000),
    (PPO, "nested-trader/SinglePosition-v0", 60_000),
]


def evaluate(agent, name, episodes=100, seed=50_000):
    env = gym.make(name)
    oracle = next_return_oracle if "Next" in name else single_position_oracle
    got, best = [], []
    for k in range(episodes):
        observation, _ = env.reset(seed=seed + k)
        best.append(oracle(env.unwrapped)[0])
        total, done = 0.0, False
        while not done:
            observation, reward, terminated, truncated, _ = env.step(agent.predict(observation))
            total, done = total + float(reward), terminated or truncated
        got.append(total)
    return np.mean(got), np.std(got) / np.sqrt(episodes), np.mean(best)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cases", type=int, nargs="*", default=list(range(len(CASES))))
    arguments = parser.parse_args()
    for kind, name, steps in (CASES[index] for index in arguments.cases):
        for seed in range(arguments.seeds):
            start, busy = time.perf_counter(), time.process_time()
            agent = kind(lambda name=name: gym.make(name), seed=seed).learn(steps)
            spent, busy = time.perf_counter() - start, time.process_time() - busy
            mean, error, best = evaluate(agent, name)
            print(
                f"{kind.__name__} {name} seed {seed}: {mean:.2f} +- {error:.2f} of oracle {best:.2f} "
                f"= {100 * mean / best:.1f} %, {steps} steps in {spent:.1f} s ({busy:.1f} s of CPU time)",
                flush=True,
            )


if __name__ == "__main__":
    main()
