"""What a trading environment asks of an exchange, and the paper broker as its answer.

The environment holds an object of the `Exchange` protocol and no rule of its own. `PaperExchange` calls the very
functions that the trading session calls: integers in price units, quantity units and 1e-8 of the quote currency,
every rounding against the trader, linear contracts with isolated margin (`trader.broker`).

side: +1 buys or long, -1 sells or short. Impact needs the demand of all traders and the candle's volume; a single
trader of this size has none, so its slippage is the half spread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from trader.broker.fills import order_value, slipped_price, taker_fee
from trader.broker.margin import initial_margin, liquidation_price
from trader.broker.market import HALF_SPREAD, LIQUIDATION_FEE, PRICE_SCALE, ExchangeRules, market_vector, tier_table
from trader.core.money import FRACTION_SCALE, mul_div_ceil
from trader.core.types import Instrument, LeverageTier

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Exchange(Protocol):
    """See the module's docstring."""

    price_scale: int
    """Price units in one unit of quote currency."""
    quantity_scale: int
    """Quantity units in one unit of base currency."""

    def fill_price(self, price: int, side: int) -> int:
        """Price at which an order fills when the market is at `price`."""
        ...

    def value(self, price: int, quantity: int, side: int) -> int:
        """Amount a buyer pays or a seller receives."""
        ...

    def fee(self, value: int) -> int:
        """Fee of a fill of this value."""
        ...

    def initial_margin(self, value: int, leverage: int) -> int:
        """Margin that opens a position of this value; leverage in hundredths."""
        ...

    def liquidation_price(self, side: int, quantity: int, entry_value: int, margin: int) -> int:
        """Price at which the position is taken over, 0 if there is none."""
        ...

    def liquidation_fee(self, value: int) -> int:
        """Fee of a liquidation of this value, before it is limited to what is left of the margin."""
        ...


DEFAULT_INSTRUMENT = Instrument(
    symbol="SYN/USDT",
    perpetual=True,
    maker_fee=20_000,
    taker_fee=50_000,
    tiers=(LeverageTier(notional_floor=0, maintenance_rate=500_000, maintenance_amount=0, maximum_leverage=20),),
    source="environment default",
)
"""A perpetual with the session's default fees (0.02 % and 0.05 %) and one bracket: 0.5 % maintenance, 20 times."""


class PaperExchange:
    """The paper broker's rules for one instrument."""

    def __init__(self, instrument: Instrument = DEFAULT_INSTRUMENT, rules: ExchangeRules | None = None) -> None:
        self.market: NDArray[np.int64] = market_vector(instrument, rules if rules is not None else ExchangeRules())
        self.tiers: NDArray[np.int64] = tier_table(instrument)
        self.price_scale = int(self.market[PRICE_SCALE])
        self.quantity_scale = 10**instrument.quantity_exponent
        self.half_spread = int(self.market[HALF_SPREAD])

    def fill_price(self, price: int, side: int) -> int:
        """See `Exchange`."""
        return int(slipped_price(price, side, self.half_spread, self.market))

    def value(self, price: int, quantity: int, side: int) -> int:
        """See `Exchange`."""
        return int(order_value(price, quantity, side, self.market))

    def fee(self, value: int) -> int:
        """See `Exchange`."""
        return int(taker_fee(value, self.market))

    def initial_margin(self, value: int, leverage: int) -> int:
        """See `Exchange`."""
        return int(initial_margin(value, leverage))

    def liquidation_price(self, side: int, quantity: int, entry_value: int, margin: int) -> int:
        """See `Exchange`."""
        return int(liquidation_price(side, quantity, entry_value, margin, self.market, self.tiers))

    def liquidation_fee(self, value: int) -> int:
        """See `Exchange`."""
        return int(mul_div_ceil(value, int(self.market[LIQUIDATION_FEE]), FRACTION_SCALE))
