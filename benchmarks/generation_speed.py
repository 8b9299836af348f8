"""How long a generation takes: judge, select, cross, mutate, births of a population, without the session around it.

    python benchmarks/generation_speed.py [--agents 1000] [--rounds 50]

Prints the median and the fastest round in ms; the promise is 10 ms for 1,000 agents.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from agents import evolution, fitness
from agents import layout as at
from agents.population import founders

PROMISED_MS = 10.0


def generation(agents: int, number: int) -> float:
    """Processor milliseconds of one generation of `agents` agents, a fifth of whom are replaced."""
    rng = np.random.default_rng(number)
    roster = founders(number, agents, 4, 3, np.arange(8), 0)
    days = np.zeros((at.DAY_FIELDS, agents))
    daily = rng.normal(0.0, 0.01, (agents, 30))
    days[at.DAY_COUNT], days[at.DAY_SUM], days[at.DAY_SQUARES] = 30, daily.sum(axis=1), (daily**2).sum(axis=1)
    started = time.process_time()
    judged = fitness.estimate(days, roster.archetype)
    culled = evolution.cull(judged.shrunk, 0.2)
    chances = np.where(culled, np.nan, judged.shrunk)
    children = evolution.breed(number, 1, roster, chances, int(culled.sum()), agents, 0, 3, 4, 3, 0.05)
    together = roster.take(~culled).join(children)
    together.take(together.order())
    return 1000.0 * (time.process_time() - started)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--agents", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=50)
    chosen = parser.parse_args()
    times = np.array([generation(chosen.agents, number) for number in range(chosen.rounds)])
    print(
        f"{chosen.agents} agents: median {np.median(times):.2f} ms, fastest {times.min():.2f} ms; promised {PROMISED_MS} ms"
    )


if __name__ == "__main__":
    main()
