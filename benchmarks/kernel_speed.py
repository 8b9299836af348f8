"""Nanoseconds per agent-candle of the population kernel, one thread, beside the floor measured in the same run.

    python benchmarks/kernel_speed.py [--agents 10000] [--candles 1024] [--rounds 7]

Kernel: scores (idea, feature weights, regime affinity) and `run_market` (shared fills, exits, fees, ledger, marks) for
one perpetual market on which every agent decides on every candle, with funding every eight hours and leverage brackets;
with --detail every candle also has a way of eight visits through it. The rounds of kernel and floor alternate, so that
other work on the machine meets both alike. Floor: what no exact kernel can avoid, written as
bare as possible: one sgemm for the scores (one thread), five trigger comparisons, and the mark to market.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # read when numpy is imported: the floor's sgemm runs on one thread

import numpy as np
from numba import njit

from agents import layout as at
from agents.archetypes import discovered
from agents.kernel import _flag_chunk, _mark
from agents.population import Population, founders
from trader.broker.market import ExchangeRules, market_vector, tier_table
from trader.core.features import FEATURES, FeatureBlock
from trader.core.types import Block, Instrument, LeverageTier, Visits
from trader.session.market_run import MarketRunner

HOUR_MS = 3_600_000
TIERS = (LeverageTier(0, 500_000, 0, 20), LeverageTier(10**13, 1_000_000, 5 * 10**10, 10))


PROMISED_NS, BEFORE_LIMITS_NS = 10.0, 8.58
"""What is promised with everything on, and what was measured before there were limit entries (a quiet machine)."""


def way_through(values: np.ndarray, times: np.ndarray) -> Visits:
    """Eight visits in every candle, nearer to its extremes each time."""
    steps = np.arange(1, 9)
    extreme = np.where(steps % 2, 1, -1)
    reach = np.ceil(steps / 2) / 4
    opened, high, low = values[:, 0, :1], values[:, 0, 1:2], values[:, 0, 2:3]
    price = np.where(extreme > 0, opened + (high - opened) * reach, opened - (opened - low) * reach)
    place = np.zeros((len(times) * 8, 5), np.int64)
    place[:, 0] = np.repeat(times, 8)
    place[:, 2] = np.tile(steps, len(times))
    place[:, 3] = np.tile(extreme, len(times))
    return Visits(place, price.ravel())


def market_block(candles: int, first_ms: int, *, detail: bool) -> tuple[Block, FeatureBlock]:
    """A random walk with fat tails, and autocorrelated features (what they say is of no matter to the speed)."""
    rng = np.random.default_rng(0)
    close = 20_000 * np.exp(np.cumsum(rng.standard_t(4, candles) * 0.005))
    opened = np.concatenate(([20_000.0], close[:-1]))
    high = np.maximum(opened, close) * (1 + np.abs(rng.normal(size=candles)) * 0.002)
    low = np.minimum(opened, close) * (1 - np.abs(rng.normal(size=candles)) * 0.002)
    values = np.stack((opened, high, low, close, np.full(candles, 1e6)), axis=1)[:, None, :]
    features = rng.normal(size=(candles, 1, 1, len(FEATURES))).astype(np.float32) * np.float32(0.3)
    for t in range(1, candles):
        features[t] += np.float32(0.95) * features[t - 1]
    yes = np.ones((candles, 1, 1), np.bool_)
    times = first_ms + np.arange(candles) * HOUR_MS
    rate = np.where(times[:, None] // HOUR_MS % 8 == 0, 0.0001, np.nan)
    mark = np.where(np.isnan(rate), np.nan, opened[:, None])
    block = Block(
        times, values, np.ones((candles, 1), np.bool_), rate, mark, np.zeros((candles, 1), np.int64),
        np.full(candles, 3, np.int64), visits=way_through(values, times) if detail else None,
    )  # fmt: skip
    atr = np.full((candles, 1, 1), 160.0)
    return block, FeatureBlock(features, yes, yes, atr, np.ones((candles, 1, 1), np.int8), np.ones((candles, 1, 1, 5)))


@njit(nogil=True)
def _flags(triggers, watch, scores, floats, times, flags):
    total = 0
    for t in range(scores.shape[0]):
        for start in range(0, scores.shape[1], 128):
            stop = min(start + 128, scores.shape[1])
            total += _flag_chunk(
                triggers, watch, scores[t], True, floats[t, 0], floats[t, 1], times[t], start, stop, flags
            )
    return total


@njit(nogil=True)
def _marks(triggers, watch, floats):
    for t in range(floats.shape[0]):
        _mark(triggers, watch, floats[t, 2], 1, 1 << 60)


def timed(calls, rounds: int) -> list[float]:
    """Median seconds of processor time of each call; the calls take turns."""
    times = np.zeros((rounds, len(calls)))
    for turn in times:
        for place, call in enumerate(calls):
            started = time.process_time()
            call()
            turn[place] = time.process_time() - started
    return np.median(times, axis=0).tolist()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--agents", type=int, default=10_000)
    parser.add_argument("--candles", type=int, default=1_024)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--detail", action="store_true", help="follow finer candles")
    options = parser.parse_args()
    instrument = Instrument("BENCH/USDT", perpetual=True, taker_fee=50_000, tiers=TIERS)
    market = market_vector(instrument, ExchangeRules())
    archetypes = tuple(discovered().values())
    population = Population([market], (HOUR_MS,))
    population.add(founders(0, options.agents, 1, 1, np.arange(len(archetypes)), 0))
    population.pay(np.full(options.agents, 10_000 * 10**8, np.int64))
    runner = MarketRunner(0, market, tier_table(instrument), archetypes, funding=True)
    piece = max((1 << 21) // options.agents, 1)
    events = 0
    clock = 0

    def kernel() -> None:
        nonlocal events, clock
        block, features = blocks
        visits = block.visits
        if visits is not None:
            visits = replace(visits, place=visits.place + np.array([clock, 0, 0, 0, 0]))
        block = replace(block, times=block.times + clock, visits=visits)
        clock += options.candles * HOUR_MS
        for first in range(0, options.candles, piece):
            part = slice(first, first + piece)
            taken = FeatureBlock(*(getattr(features, name)[part] for name in features.__slots__))
            events += len(runner.run(block[part], taken, population.markets[0], population.totals[0]).events)

    blocks = market_block(options.candles, 0, detail=options.detail)
    kernel()
    events = 0
    agents = population.markets[0]
    weights = np.ascontiguousarray(agents.weights[: len(FEATURES)])
    inputs = np.ascontiguousarray(blocks[1].features[:, 0, 0])
    scores = np.zeros((options.candles, options.agents), np.float32)
    floats = blocks[0].candles[:, 0][:, [2, 1, 3]].astype(np.float32)
    never = agents.watch.copy()
    never[at.WAKE] = at.NEVER
    _flags(agents.triggers, never, scores, floats, blocks[0].times, agents.flags)
    _marks(agents.triggers, never, floats)
    calls = (
        kernel,
        lambda: np.matmul(inputs, weights, out=scores),
        lambda: _flags(agents.triggers, never, scores, floats, blocks[0].times, agents.flags),
        lambda: _marks(agents.triggers, never, floats),
    )
    whole, gemm, flags, marks = timed(calls, options.rounds)
    unit = options.agents * options.candles / 1e9
    floor = gemm + flags + marks
    print(
        f"{options.agents} agents x {options.candles} candles, one thread, processor time, medians of {options.rounds}"
    )
    print(f"kernel  {whole / unit:6.2f} ns per agent-candle   ({events / options.rounds / unit / 1e9:.4f} events each)")
    print(
        f"floor   {floor / unit:6.2f} ns   (sgemm {gemm / unit:.2f}, flags {flags / unit:.2f}, marks {marks / unit:.2f})"
    )
    print(f"ratio   {whole / floor:6.2f}")
    print(
        f"promise {PROMISED_NS:6.2f} ns with everything on; before limit entries {BEFORE_LIMITS_NS:.2f} ns (quiet machine)"
    )


if __name__ == "__main__":
    main()
