"""What a trading environment needs from an exchange: four pure functions of numbers.

A linear perpetual contract: profit in the quote currency, quantity in base units, signed (positive long).

    fill price     market price moved against the trader by half spread and slippage
    fee            rate * |quantity| * price
    margin         |quantity| * price / leverage (initial),  rate * |quantity| * price (maintenance)
    liquidation    the price at which cash + unrealised profit equals the maintenance margin

The environment holds an object of this protocol and no rule of its own, so the paper broker's functions can stand in
its place.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol


class Exchange(Protocol):
    """See the module's docstring. Prices and amounts in the quote currency."""

    def fill_price(self, price: float, change: float) -> float:
        """Price at which a change of position by `change` (sign = direction) fills at market price `price`."""
        ...

    def fee(self, quantity: float, price: float) -> float:
        """Fee >= 0 of a fill."""
        ...

    def initial_margin(self, quantity: float, price: float) -> float:
        """Least equity to open or enlarge a position."""
        ...

    def liquidation_price(self, quantity: float, entry: float, equity_at_entry: float) -> float:
        """Price at which the position is liquidated: 0 (long) or infinity (short) if it never is."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class LinearPerpetual:
    """Fractions of price or notional: taker fee, half spread with slippage, maintenance margin; largest leverage."""

    taker_fee: float = 0.0005
    slippage: float = 0.0002
    maintenance: float = 0.005
    max_leverage: float = 20.0

    def __post_init__(self) -> None:
        fractions = (self.taker_fee, self.slippage, self.maintenance)
        if not all(0.0 <= value < 1.0 for value in fractions) or not self.max_leverage >= 1.0:
            raise ValueError(f"fractions are in [0, 1) and leverage is at least 1, got {self}")

    def fill_price(self, price: float, change: float) -> float:
        """See `Exchange`."""
        return price * (1.0 + self.slippage) if change > 0.0 else price * (1.0 - self.slippage)

    def fee(self, quantity: float, price: float) -> float:
        """See `Exchange`."""
        return self.taker_fee * abs(quantity) * price

    def initial_margin(self, quantity: float, price: float) -> float:
        """See `Exchange`."""
        return abs(quantity) * price / self.max_leverage

    def liquidation_price(self, quantity: float, entry: float, equity_at_entry: float) -> float:
        """Solve equity + q (p - entry) = maintenance |q| p for p."""
        if quantity == 0.0:
            raise ValueError("a flat position has no liquidation price")
        price = (quantity * entry - equity_at_entry) / (quantity - self.maintenance * abs(quantity))
        if quantity > 0.0:
            return max(price, 0.0)
        return price if price > 0.0 else float("inf")
