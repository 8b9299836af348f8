"""The smallest capital with which the median agent can place an order at a market's minimum.

The median agent has the genome in the middle of every range and decides at its own confidence threshold. From a grant G
it puts G × size × (1 − s + s × c) at risk (c: confidence, s: how far size follows it) with a leverage between 1 and its
cap, likewise by confidence; margin and taker fee of the order must fit into that (`agents.decisions`). A grant is the
capital less the reserve, divided by the number of agents. Solved for the capital:

    notional = max(minimum_notional, max(minimum_quantity, lot) × price)
    capital  = notional × (1 / leverage + fee) / (size × (1 − s + s × c)) × agents / (1 − reserve)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trader.core.errors import UserError

if TYPE_CHECKING:
    from trader.core.config import Config
    from trader.core.types import Instrument

UNIT = 10**8
"""Fees and minimum notionals come in parts of 1e-8."""


@dataclass(frozen=True, slots=True)
class MedianAgent:
    """What the median agent stakes: share of its grant, leverage on a perpetual."""

    stake: float
    leverage: float


@dataclass(frozen=True, slots=True)
class CapitalLine:
    """One market of the report; `smallest` in the pool's currency, None where no price is known."""

    symbol: str
    smallest: float | None
    detail: str
    warning: str = ""

    @property
    def told(self) -> str:
        """The figure as text, rounded up to cents."""
        return "unknown" if self.smallest is None else f"{math.ceil(self.smallest * 100) / 100:.2f}"


def median_agent() -> MedianAgent:
    """The agent in the middle of every gene's range, at its own threshold."""
    from agents.genome import INDEX, median_genome

    genome = median_genome()
    gene = {name: float(genome[place]) for name, place in INDEX.items()}
    confidence = gene["confidence_threshold"] / 100
    follow = gene["position_size_confidence"]
    stake = gene["position_size_base"] * (1 - follow + follow * confidence)
    follow = gene["leverage_confidence"]
    leverage = 1 + (gene["leverage_cap"] - 1) * (1 - follow + follow * confidence)
    return MedianAgent(stake, max(leverage, 1.0))


def smallest_capital(instrument: Instrument, price: float, agents: int, reserve: float, median: MedianAgent) -> float:
    """Capital in the quote currency at which the median of `agents` agents can order the minimum at `price`.

    Raises:
        UserError: everything is held back as reserve.
    """
    if reserve >= 1:
        raise UserError("pool.reserve: 1 leaves nothing to trade with")
    quantity = max(instrument.minimum_quantity, instrument.lot) / 10**instrument.quantity_exponent
    notional = max(instrument.minimum_notional / UNIT, quantity * price)
    leverage = median.leverage if instrument.perpetual else 1.0
    cash = notional * (1 / leverage + instrument.taker_fee / UNIT) / median.stake
    return cash * agents / (1 - reserve)


def capital_report(config: Config) -> list[CapitalLine]:
    """One line a market of the config's feed; markets of a replay without data are not known."""
    if config.feed.kind == "replay" and not config.feed.data:
        detail = "no data named: its markets and prices are known once there is (--set feed.data='[\"PATH\"]')"
        return [CapitalLine(symbol, None, detail) for symbol in config.feed.symbols or ("all found",)]
    median = median_agent()
    return [_line(config, instrument, price, median) for instrument, price in _markets(config)]


def _line(config: Config, instrument: Instrument, price: float, median: MedianAgent) -> CapitalLine:
    smallest = smallest_capital(instrument, price, config.population.size, config.pool.reserve, median)
    detail = f"at a price of {price:g}, {config.population.size} agents; minimum from: {instrument.source}"
    warning = ""
    if config.pool.capital < smallest:
        warning = (
            f"pool.capital {config.pool.capital:g} is below {smallest:.2f}: the median agent cannot place an order in "
            f"{instrument.symbol}; raise pool.capital or lower population.size"
        )
    return CapitalLine(instrument.symbol, smallest, detail, warning)


def _markets(config: Config) -> list[tuple[Instrument, float]]:
    """Instruments of the config's feed, each with its first close."""
    from trader.session.feeds import make_feed

    feed = make_feed(config)
    prices: dict[int, float] = {}
    for block in feed.blocks(512):
        for market in range(len(feed.instruments)):
            seen = block.candles[block.present[:, market], market, 3]
            if market not in prices and len(seen):
                prices[market] = float(seen[0])
        if len(prices) == len(feed.instruments):
            break
    feed.close()
    return [(instrument, prices[market]) for market, instrument in enumerate(feed.instruments) if market in prices]
