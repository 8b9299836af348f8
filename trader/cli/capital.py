"""The smallest capital with which the median agent can place an order at a market's minimum.

The median agent has the genome in the middle of every range and decides at its own confidence threshold. From a grant G
it puts G × size × (1 − s + s × c) at risk (c: confidence, s: how far size follows it) with a leverage between 1 and its
cap, likewise by confidence. A grant is the capital less the reserve, divided by the number of agents. The quantity
comes from the sizing that sessions use (`agents.decisions.order_quantity`), and the capital is found by bisection, so
the figure cannot drift away from what agents do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from trader.core.config_values import LARGEST_CAPITAL
from trader.core.errors import UserError

if TYPE_CHECKING:
    from trader.broker.market import ExchangeRules
    from trader.core.config import Config
    from trader.core.types import Instrument

UNIT: Final = 10**8
"""Amounts are counted in 1e-8 of the currency."""


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


def smallest_capital(
    instrument: Instrument, price: float, agents: int, reserve: float, median: MedianAgent, rules: ExchangeRules
) -> float:
    """Capital in the quote currency at which the median of `agents` agents can order the minimum at `price`.

    Raises:
        UserError: everything is held back as reserve, or no capital that can be counted is enough.
    """
    from agents.decisions import order_quantity, tier_leverage
    from trader.broker import market as rule
    from trader.broker.fills import notional_floor

    if reserve >= 1:
        raise UserError("pool.reserve: 1 leaves nothing to trade with")
    market = rule.market_vector(instrument, rules)
    tiers = rule.tier_table(instrument)
    leverage = int(median.leverage * 100) if instrument.perpetual else 100
    units = max(round(price * 10**instrument.price_exponent), 1)

    def can_order(capital: int) -> bool:
        budget = int(capital * (1 - reserve) / agents * median.stake)
        quantity = order_quantity(budget, tier_leverage(leverage, budget * leverage // 100, tiers), units, market)
        enough = quantity >= market[rule.MINIMUM_QUANTITY]
        return bool(enough and notional_floor(units, quantity, market) >= market[rule.MINIMUM_NOTIONAL])

    low, high = 0, 1
    while not can_order(high):
        low, high = high, high * 2
        if high > LARGEST_CAPITAL * UNIT:
            raise UserError(f"{instrument.symbol}: no capital is enough for its minimum at a price of {price:g}")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if can_order(middle) else (middle, high)
    return high / UNIT


def capital_report(config: Config) -> list[CapitalLine]:
    """One line a market of the config's feed; markets of a replay without data are not known."""
    if config.feed.kind == "replay" and not config.feed.data:
        detail = "no data named: its markets and prices are known once there is (--set feed.data='[\"PATH\"]')"
        return [CapitalLine(symbol, None, detail) for symbol in config.feed.symbols or ("all found",)]
    if config.feed.kind == "live":
        return [CapitalLine(symbol, None, "its price is known once it trades") for symbol in config.feed.symbols or ()]
    median = median_agent()
    return [_line(config, instrument, price, median) for instrument, price in _markets(config)]


def _line(config: Config, instrument: Instrument, price: float, median: MedianAgent) -> CapitalLine:
    from trader.broker.market import ExchangeRules

    rules = ExchangeRules(half_spread=config.exchange.slippage)
    smallest = smallest_capital(instrument, price, config.population.size, config.pool.reserve, median, rules)
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
