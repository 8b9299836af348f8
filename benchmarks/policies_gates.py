"""Returns of the three policies with their default settings on the standard problems, against the gates of part 4.

    python benchmarks/policies_gates.py [ppo] [dqn] [a3c] [a2c] [--seeds 3] [--optimizers nested,rmsprop]

One line a run: mean return of the deterministic policy over 20 fresh episodes, mean training return of the last 100
episodes, environment steps per second (loaded machines make this a lower bound). One summary line a gate.
"""

from __future__ import annotations

import argparse
import statistics
import time

import gymnasium as gym
import numpy as np

from rl.policies import A2C, A3C, DQN, PPO

GATES = {
    "ppo": (PPO, "CartPole-v1", 100_000, 475.0, "median"),
    "dqn": (DQN, "Acrobot-v1", 50_000, -95.0, "median"),
    "a3c": (A3C, "CartPole-v1", 150_000, 475.0, "all"),
    "a2c": (A2C, "CartPole-v1", 150_000, 475.0, "median"),
}
DEFAULT_OPTIMIZERS = {"a3c": ["nested", "rmsprop"]}


def evaluate(agent, name, episodes=20, seed=90_000):
    env = gym.make(name)
    totals = []
    for episode in range(episodes):
        observation, _ = env.reset(seed=seed + episode)
        total, done = 0.0, False
        while not done:
            observation, reward, terminated, truncated, _ = env.step(agent.predict(observation))
            total, done = total + float(reward), terminated or truncated
        totals.append(total)
    return float(np.mean(totals))


def run(gate, optimizer, seed):
    kind, name, steps, _, _ = GATES[gate]
    agent = kind(lambda: gym.make(name), seed=seed, optimizer=optimizer)
    start = time.perf_counter()
    agent.learn(steps)
    spent = time.perf_counter() - start
    score = evaluate(agent, name)
    report = agent.report()
    print(
        f"{gate} {optimizer} seed {seed}: {score:.1f} (training {report['return']:.1f}), "
        f"{agent.steps_done / spent:.0f} steps/s, multiplier {report.get('multiplier', 1.0):.2f}",
        flush=True,
    )
    agent.close()
    return score


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("gates", nargs="*", choices=[*GATES, []])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--optimizers", default=None)
    arguments = parser.parse_args()
    failed = 0
    for gate in arguments.gates or list(GATES):
        *_, bound, rule = GATES[gate]
        chosen = arguments.optimizers.split(",") if arguments.optimizers else DEFAULT_OPTIMIZERS.get(gate, ["nested"])
        for optimizer in chosen:
            scores = [run(gate, optimizer, seed) for seed in range(arguments.seeds)]
            value = min(scores) if rule == "all" else statistics.median(scores)
            failed += value < bound
            verdict = "holds" if value >= bound else "DOES NOT HOLD"
            print(
                f"== {gate} {optimizer}: {rule} of {len(scores)} seeds {value:.1f}, promised {bound}: {verdict}",
                flush=True,
            )
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
