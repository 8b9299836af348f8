"""Learned target sync against fixed periods and Polyak averaging, DQN on CartPole (where plain DQN collapses).

    python benchmarks/policies_target_sync.py [--seeds 8] [--steps 50000] [--every 5000] [--arms learned "period 250"]

Per arm: interquartile mean over seeds of the mean evaluated return over the second half of training, a 95 % bootstrap
interval over seeds (percentile, 10,000 resamples), and the collapse rate: the share of checkpoints after the first
one >= 400 at which the evaluation fell below half of the best so far. Everything else is equal: double, dueling,
3-step, uniform replay, Huber, LayerNorm, plain Adam.
"""

from __future__ import annotations

import argparse

import gymnasium as gym
import numpy as np
from scipy.stats import trim_mean

from rl.policies import DQN

ARMS = {"learned": "learned", "period 250": 250, "period 1000": 1000, "period 4000": 4000, "Polyak 0.005": 0.005}


def evaluate(agent, episodes=5):
    env = gym.make("CartPole-v1")
    totals = []
    for k in range(episodes):
        observation, _ = env.reset(seed=60_000 + k)
        total, done = 0.0, False
        while not done:
            observation, reward, terminated, truncated, _ = env.step(agent.predict(observation))
            total, done = total + float(reward), terminated or truncated
        totals.append(total)
    return float(np.mean(totals))


def curve(sync, seed, steps, every):
    """Evaluations at every `every` steps."""
    agent = DQN(
        lambda: gym.make("CartPole-v1"), seed=seed, optimizer="adam", target_sync=sync, prioritized=False,
        anneal=False,
    )  # fmt: skip
    marks = []

    def callback(policy):
        if policy.steps_done >= (len(marks) + 1) * every:
            marks.append(evaluate(policy))

    agent.learn(steps, callback)
    return np.array(marks), agent.rule.report()["syncs"]


def collapses(marks):
    """(collapsed checkpoints, checkpoints counted)."""
    reached = np.flatnonzero(marks >= 400)
    if not reached.size:
        return 0, 0
    later = range(reached[0] + 1, len(marks))
    return sum(marks[i] < 0.5 * marks[: i + 1].max() for i in later), len(later)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=50_000)
    parser.add_argument("--every", type=int, default=5_000)
    parser.add_argument("--arms", nargs="*", choices=list(ARMS), default=list(ARMS))
    arguments = parser.parse_args()
    print(f"{arguments.seeds} seeds, {arguments.steps} steps, evaluated every {arguments.every}")
    rng = np.random.default_rng(0)
    for label in arguments.arms:
        sync = ARMS[label]
        curves = [curve(sync, seed, arguments.steps, arguments.every) for seed in range(arguments.seeds)]
        means = np.array([marks[len(marks) // 2 :].mean() for marks, _ in curves])
        resampled = trim_mean(rng.choice(means, (10_000, len(means))), 0.25, axis=1)
        low, high = np.percentile(resampled, [2.5, 97.5])
        fallen, counted = np.sum([collapses(marks) for marks, _ in curves], axis=0)
        print(
            f"{label}: {trim_mean(means, 0.25):.1f} [{low:.1f}, {high:.1f}], collapsed {fallen} of {counted} checkpoints, "
            f"hard syncs {np.mean([syncs for _, syncs in curves]):.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
