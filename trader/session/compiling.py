"""Compile, or load from disk, the functions that every session calls (`rehearsal.py` adds those of its levels).

Two made-up candles go through every compiled function in the types the loop uses; nothing of it is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from agents import layout as at
from agents.archetypes import discovered
from agents.decisions import decide, queue_exit, told_confidences
from agents.kernel import close_all, unrealised
from agents.population import Population, founders
from trader.broker.fills import order_value
from trader.broker.market import ExchangeRules, market_vector, tier_table
from trader.core.features import FEATURES, FeatureBlock, FeatureEngine
from trader.core.timeframes import milliseconds
from trader.core.types import Block, Instrument
from trader.session.market_run import MarketRunner

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from agents.market_agents import MarketAgents

_HOUR_MS = milliseconds("1h")


def compile_kernels() -> None:
    """Make every compiled function ready; takes well under a second when the code is on disk."""
    instrument = Instrument("COMPILE/USDT", perpetual=True)
    market = market_vector(instrument, ExchangeRules())
    archetypes = tuple(discovered().values())
    population = Population([market], (_HOUR_MS,))
    population.add(founders(0, len(archetypes), 1, 1, np.arange(len(archetypes)), 0))
    population.pay(np.full(len(archetypes), 10**12, np.int64))
    block = _block()
    FeatureEngine(1, _HOUR_MS, (_HOUR_MS,)).update(block)
    features = FeatureBlock(
        np.ones((2, 1, 1, len(FEATURES)), np.float32), np.ones((2, 1, 1), np.bool_), np.ones((2, 1, 1), np.bool_),
        np.ones((2, 1, 1)), np.ones((2, 1, 1), np.int8), np.ones((2, 1, 1, 5)),
    )  # fmt: skip
    runner = MarketRunner(0, market, tier_table(instrument), archetypes, funding=True)
    agents, totals = population.markets[0], population.totals[0]
    runner.run(block, features, agents, totals)
    unrealised(totals, market)
    order_value(1, 1, 1, market)
    close_all(
        agents.state, agents.habits, agents.triggers, agents.watch, totals, np.ones(at.IN_FIELDS, np.int64), market,
        np.zeros((len(agents), at.EVENT_FIELDS), np.int64),
    )  # fmt: skip
    _decide_once(agents, market, tier_table(instrument))
    queue_exit(agents.state, 0, 7, 0)
    population.retire(np.ones(len(archetypes), np.bool_), 7, 0)


def _decide_once(agents: MarketAgents, market: NDArray[np.int64], tiers: NDArray[np.int64]) -> None:
    """What the self-modifier calls beside the kernel."""
    events = np.zeros((1, at.EVENT_FIELDS), np.int64)
    told_confidences(agents.habits, np.zeros(len(agents)))
    decide(
        agents.state, agents.habits, 0, 0, np.ones(at.IN_FIELDS, np.int64), True, 0.0, 1.0, 0, market, tiers, events, 0
    )


def _block() -> Block:
    """Two candles at a price of 100."""
    candles = np.full((2, 1, 5), 100.0)
    none = np.full((2, 1), np.nan)
    return Block(
        np.array([0, _HOUR_MS]), candles, np.ones((2, 1), np.bool_), none, none.copy(), np.zeros((2, 1), np.int64),
        np.full(2, 3, np.int64),
    )  # fmt: skip
