"""What the referee keeps: orders, positions, agents and the market's accounts, as plain objects (units: docs/exchange.md)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Order:
    """A queued order. The second group belongs to entries only; distances in price units, limit 0 is a market order."""

    kind: str
    number: int
    quantity: int
    requested: int
    decided: int

    side: int = 0
    budget: int = 0
    leverage: int = 100
    limit: int = 0
    stop: int = 0
    take: int = 0
    trail: int = 0
    confidence: int = 0
    regime: int = 0


@dataclass
class Position:
    """An open position and its trade's sums."""

    trade: int
    side: int
    quantity: int
    entry_value: int
    entry_price: int
    entry_ms: int
    leverage: int
    margin: int
    fees: int
    slippage: int
    lowest: int
    highest: int
    opened: int = 0
    stop: int = 0
    stop_kind: str = "stop"
    take: int = 0
    trail: int = 0
    best: int = 0
    liquidation: int = 0
    funding: int = 0
    gross: int = 0
    exits_value: int = 0


@dataclass
class Agent:
    """One agent; `margin` is its margin account, `habits` what it decides by (`tests.referee.habits`)."""

    number: int
    cash: int
    funded: bool = True
    active: bool = True
    archetype: int = 0
    timeframe_ms: int = 0
    timeframe: int = 0
    cooldown_ms: int = 0
    habits: object = None
    margin: int = 0
    position: Position | None = None
    order: Order | None = None
    cool_until: int = 0
    orders: int = 0
    fills: int = 0
    trades: int = 0
    closed: int = 0
    wins: int = 0
    pnl: int = 0

    def named(self, counter: str) -> int:
        """The next number of this agent's orders, fills or trades."""
        setattr(self, counter, getattr(self, counter) + 1)
        return self.number * 10_000_000 + getattr(self, counter)


@dataclass
class Accounts:
    """The market's side of the ledger, funded agents only."""

    cash: int = 0
    margin: int = 0
    fees: int = 0
    funding: int = 0
    insurance: int = 0
    market: int = 0


@dataclass
class Fill:
    """At which price, and what the extreme of the candle cut off."""

    reference: int
    raw: int
    price: int = 0
    maker: bool = False
    step: str = ""
    kind: str = ""
