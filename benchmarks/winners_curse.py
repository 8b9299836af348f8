"""The winner's curse: what the best of 1,000 agents without skill looks like, what its shrunken fitness says, what it does next.

    python benchmarks/winners_curse.py [--agents 1000] [--rounds 200]

Daily results have fat tails (Student, four degrees of freedom) and mean zero. Printed for several ages, as means over the
rounds: the best raw daily Sharpe ratio; the shrunken one of whom selection would take for the best; that agent's raw ratio in
the next window of the same length, with its standard error. Promised: the shrunken one is right about the next window.
"""

from __future__ import annotations

import argparse

import numpy as np

from agents import layout as at
from agents.fitness import Fitness, estimate

AGES = (7, 14, 30, 90)


def judged(results: np.ndarray) -> Fitness:
    """Fitness of agents of one niche from their daily results [N, days], by the code that selection uses."""
    days = np.zeros((at.DAY_FIELDS, len(results)))
    days[at.DAY_COUNT] = results.shape[1]
    days[at.DAY_SUM], days[at.DAY_SQUARES] = results.sum(axis=1), (results**2).sum(axis=1)
    return estimate(days, np.zeros(len(results), np.int64))


def winners(agents: int, age: int, rounds: int, skill: float = 0.0) -> np.ndarray:
    """float64 [rounds, 3]: best raw ratio, shrunken ratio of the winner, its ratio in the next window.

    skill: standard deviation of the agents' true daily ratios.
    """
    found = np.zeros((rounds, 3))
    for number in range(rounds):
        random = np.random.default_rng(number)
        truth = random.normal(0.0, skill, agents)[:, None] if skill else 0.0
        results = 0.01 * (truth + random.standard_t(4, (agents, 2 * age)) / np.sqrt(2.0))
        first, then = judged(results[:, :age]), judged(results[:, age:])
        winner = int(np.argmax(first.shrunk))
        found[number] = first.raw.max(), first.shrunk[winner], then.raw[winner]
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--agents", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=200)
    chosen = parser.parse_args()
    print("true spread | days | best raw | winner, shrunken | winner, next window")
    for skill in (0.0, 0.1):
        for age in AGES:
            found = winners(chosen.agents, age, chosen.rounds, skill)
            raw, shrunk, then = found.mean(axis=0)
            error = found[:, 2].std(ddof=1) / np.sqrt(chosen.rounds)
            print(f"{skill:11.1f} | {age:4d} | {raw:8.3f} | {shrunk:16.4f} | {then:+.4f} ± {error:.4f}")


if __name__ == "__main__":
    main()
