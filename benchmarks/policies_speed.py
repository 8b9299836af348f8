"""Environment steps per second beside Stable-Baselines3, same settings, one thread, interleaved in one run.

    python benchmarks/policies_speed.py [--rounds 5] [--only "DQN CartPole"]

Each round trains every arm once for a fixed number of steps (CartPole for PPO, Acrobot and CartPole for DQN), in turn,
so that the load of the machine falls on all alike; the ratio is the median over rounds of the ratio inside a round.
Process CPU time is printed beside wall time. The same networks (64-64, no LayerNorm in the comparable arms), batch
sizes, frequencies and learning rates; returns are compared by benchmarks/policies_gates.py and `--returns`.
"""

from __future__ import annotations

import argparse
import statistics
import time

import gymnasium as gym
import numpy as np
import stable_baselines3 as sb3
import torch
from stable_baselines3.common.env_util import make_vec_env

from rl.policies import DQN, PPO

PPO_STEPS, DQN_STEPS = 10_240, 6_000
PPO_SAME = {"n_steps": 32, "batch_size": 256, "n_epochs": 20, "gamma": 0.98, "gae_lambda": 0.8}
DQN_SAME = {
    "batch_size": 64, "buffer_size": 50_000, "learning_starts": 500, "train_freq": 4, "gradient_steps": 4, "gamma": 0.99,
    "exploration_fraction": 0.2, "exploration_final_eps": 0.05,
}  # fmt: skip
PLAIN = {"double": False, "dueling": False, "prioritized": False, "n_steps": 1}


def their_ppo(seed):
    env = make_vec_env("CartPole-v1", n_envs=8, seed=seed)
    return sb3.PPO(
        "MlpPolicy", env, learning_rate=lambda p: 1e-3 * p, clip_range=lambda p: 0.2 * p, seed=seed, **PPO_SAME
    )


def our_ppo(seed, **extra):
    return PPO(lambda: gym.make("CartPole-v1"), seed=seed, n_envs=8, learning_rate=1e-3, **PPO_SAME, **extra)


def their_dqn(name):
    return lambda seed: sb3.DQN(
        "MlpPolicy",
        make_vec_env(name, seed=seed),
        learning_rate=1e-3,
        target_update_interval=250,
        seed=seed,
        **DQN_SAME,
    )


def our_dqn(name, **extra):
    return lambda seed: DQN(lambda: gym.make(name), seed=seed, learning_rate=1e-3, target_sync=250, **DQN_SAME, **extra)


ARMS = {
    "PPO CartPole": (
        PPO_STEPS,
        {
            "SB3": their_ppo,
            "same (adam, mse, no LayerNorm)": lambda s: our_ppo(
                s, optimizer="adam", layer_norm=False, value_loss="mse"
            ),
            "defaults (nested, LayerNorm)": our_ppo,
        },
        {"same (adam, mse, no LayerNorm)": 1.5, "defaults (nested, LayerNorm)": 1.0},
    ),
    **{
        f"DQN {name}": (
            DQN_STEPS,
            {
                "SB3": their_dqn(f"{name}-v1"),
                "same (adam, vanilla)": our_dqn(f"{name}-v1", optimizer="adam", layer_norm=False, **PLAIN),
                "double dueling PER 3-step (adam)": our_dqn(f"{name}-v1", optimizer="adam", layer_norm=False),
                "defaults (nested, LayerNorm, all parts)": our_dqn(f"{name}-v1"),
            },
            {"same (adam, vanilla)": 1.5, "double dueling PER 3-step (adam)": 1.0},
        )
        for name in ("CartPole", "Acrobot")
    },
}


def measure(make, steps, seed):
    agent = make(seed)
    wall, cpu = time.perf_counter(), time.process_time()
    agent.learn(steps)
    return time.perf_counter() - wall, time.process_time() - cpu


def evaluate(agent, name, theirs, episodes=20):
    env = gym.make(name)
    totals = []
    for k in range(episodes):
        observation, _ = env.reset(seed=70_000 + k)
        total, done = 0.0, False
        while not done:
            action = int(agent.predict(observation, deterministic=True)[0]) if theirs else agent.predict(observation)
            observation, reward, terminated, truncated, _ = env.step(action)
            total, done = total + float(reward), terminated or truncated
        totals.append(total)
    return float(np.mean(totals))


def returns(seeds):
    """Returns of both libraries in one run: PPO CartPole 50k, DQN Acrobot 50k."""
    for label, name, steps, theirs, ours in (
        ("PPO", "CartPole-v1", 50_000, their_ppo, our_ppo),
        ("DQN", "Acrobot-v1", 50_000, their_dqn("Acrobot-v1"), our_dqn("Acrobot-v1")),
    ):
        for library, make in (("SB3", theirs), ("ours", ours)):
            scores = [evaluate(make(seed).learn(steps), name, library == "SB3") for seed in range(seeds)]
            print(
                f"{label} {name} {steps} steps, {library}: median {statistics.median(scores):.1f} of {scores}",
                flush=True,
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--returns", type=int, default=0, help="also compare returns over this many seeds (slow)")
    parser.add_argument("--only", nargs="*", choices=list(ARMS), default=list(ARMS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    failed = 0
    for title in arguments.only:
        steps, arms, promised = ARMS[title]
        for make in arms.values():
            measure(make, 1000, 99)  # compilation, caches
        wall = {label: [] for label in arms}
        cpu = {label: [] for label in arms}
        for seed in range(arguments.rounds):
            for label, make in arms.items():
                seconds, busy = measure(make, steps, seed)
                wall[label].append(seconds)
                cpu[label].append(busy)
        for label in arms:
            ratios = [a / b for a, b in zip(wall["SB3"], wall[label], strict=True)]
            busy = [a / b for a, b in zip(cpu["SB3"], cpu[label], strict=True)]
            bound, ratio = promised.get(label), statistics.median(ratios)
            failed += bound is not None and ratio < bound
            verdict = "" if bound is None else f", promised {bound}: {'holds' if ratio >= bound else 'DOES NOT HOLD'}"
            print(
                f"{title} | {label}: {steps / statistics.median(wall[label]):.0f} steps/s, {ratio:.2f} x SB3 "
                f"(rounds {min(ratios):.2f} to {max(ratios):.2f}; CPU time {statistics.median(busy):.2f}){verdict}",
                flush=True,
            )
    if arguments.returns:
        returns(arguments.returns)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
