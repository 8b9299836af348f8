"""How long a generation takes: judge, select, cross, mutate, births of a population, without the session around it.

    python benchmarks/generation_speed.py [--agents 1000] [--rounds 50]

Measured once as it is by default, and once with four islands and a grid of four by four with its archive. Prints the
median and the fastest round in ms; the promise is 10 ms for 1,000 agents.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from agents import evolution, fitness
from agents import layout as at
from agents.population import Population, founders
from trader.broker.market import ExchangeRules, market_vector
from trader.core.config import load
from trader.core.types import Instrument
from trader.session.niches import niches_of

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


def with_niches(agents: int, number: int) -> float:
    """Processor milliseconds of what islands, behaviour and archive add to that generation."""
    config = load(None, ["feed.kind=synthetic", "population.islands=4", "population.grid=4", f"session.seed={number}"])
    rules = [market_vector(Instrument(f"M{m}/USDT", perpetual=True), ExchangeRules()) for m in range(4)]
    population = Population(rules, (3_600_000, 14_400_000, 86_400_000))
    population.add(founders(number, agents, 4, 3, np.arange(8), 0))
    rng = np.random.default_rng(number)
    for market in population.markets:
        market.state[:, at.CLOSED] = rng.integers(1, 60, len(market))
        market.state[:, at.WINS] = market.state[:, at.CLOSED] // 2
        market.days[at.DAY_COUNT] = 30
    niches = niches_of(config)
    assert niches is not None
    roster = population.roster
    fitness, everybody = rng.normal(size=agents), np.ones(agents, np.bool_)
    started = time.process_time()
    niches.begin(population, fitness, everybody, 5)
    culled = niches.culled(fitness, roster, 0.2)
    groups = niches.niches(population)
    children = evolution.breed(
        number, 5, roster, np.where(culled, np.nan, fitness), int(culled.sum()), agents, 0, 3, 4, 3, 0.05, niche=groups
    )
    niches.enrol(niches.born(children, 5, roster.agent[agents // 2 :]))
    whole = 1000.0 * (time.process_time() - started)
    started = time.process_time()
    evolution.breed(
        number, 5, roster, np.where(culled, np.nan, fitness), int(culled.sum()), agents, 0, 3, 4, 3, 0.05
    )  # fmt: skip
    return whole - 1000.0 * (time.process_time() - started)


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
    more = np.array([with_niches(chosen.agents, number) for number in range(chosen.rounds)])
    print(f"four islands and a grid of four add: median {np.median(more):.2f} ms")


if __name__ == "__main__":
    main()
