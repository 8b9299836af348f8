"""The formulas of docs/exchange.md in unbounded integers: rounding, candles, shares, slippage, liquidation prices.

Written from the document alone; nothing of the kernel or of the broker package is imported. Slow and plain on purpose.
Units as in the document: amounts 1e-8 of the quote currency, fractions in parts per 1e8, leverage in 1/100.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

PARTS = 100_000_000
LARGEST = 4_600_000_000_000_000_000
MEASURED = ((8, 995), (5, 982), (2, 883), (0, 641))  # tenths of |d| from which on, thousandths


@dataclass(frozen=True)
class Tier:
    """A leverage bracket: floor and amount in 1e-8 of the quote currency, rate in parts per 1e8, whole leverage."""

    floor: int
    rate: int
    amount: int
    leverage: int


@dataclass(frozen=True)
class Rules:
    """One market: its instrument and the exchange's rules, in the document's integer units."""

    price_exponent: int
    quantity_exponent: int
    tick: int
    lot: int
    minimum_quantity: int
    minimum_notional: int
    maker: int
    taker: int
    participation: int
    half_spread: int
    impact: int
    liquidation_fee: int
    path: str
    path_seed: int
    latency_ms: int
    perpetual: bool
    tiers: tuple[Tier, ...]

    @property
    def divisor(self) -> int:
        return 10 ** (self.price_exponent + self.quantity_exponent - 8)

    @property
    def least(self) -> int:
        return max(self.minimum_quantity, self.lot)


@dataclass(frozen=True)
class Bar:
    """One base candle in integers, with what is decided upon at its close."""

    ms: int
    present: bool
    trading: bool
    open: int
    high: int
    low: int
    close: int
    volume: int
    rate: int = 0
    mark: int = 0
    way: tuple[
        tuple[int, ...], ...
    ] = ()  # of each finer candle: open, extremes in order; a third entry 1 if either order


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def down(value: int, step: int) -> int:
    return value // step * step


def up(value: int, step: int) -> int:
    return ceil_div(value, step) * step


def candle_integers(candle, rules: Rules) -> tuple[int, int, int, int, int]:
    """Floats to units: the product with 10^exponent is taken in float64; high and low forgive its rounding."""
    scaled = [x * 10.0**rules.price_exponent for x in candle[:4]]
    slack = [max(abs(x) * 1e-15, 1e-6) for x in scaled]
    high = math.floor(scaled[1] + slack[1])
    low = min(math.ceil(scaled[2] - slack[2]), high)
    opened = min(max(round(scaled[0]), low), high)
    close = min(max(round(scaled[3]), low), high)
    return opened, high, low, close, math.floor(min(candle[4] * 10.0**rules.quantity_exponent, 4e18))


def value(price: int, quantity: int, side: int, rules: Rules) -> int:
    """What a buyer pays (up) or a seller gets (down)."""
    product = price * quantity
    result = ceil_div(product, rules.divisor) if side > 0 else product // rules.divisor
    assert abs(result) < LARGEST
    return result


def pro_rata(quantity: int, cap: int, demand: int, volume: int, rules: Rules) -> int:
    """How much of an order a step fills."""
    if volume == 0:
        return 0
    if demand <= cap:
        return quantity
    while demand >= 2**52:
        cap //= 2
        demand = demand // 2 + 1
    return down(quantity * cap // demand, rules.lot)


def slippage(demand: int, volume: int, rules: Rules) -> int:
    """Half spread and impact of a side, in parts per 1e8."""
    if demand == 0 or volume == 0:
        return rules.half_spread
    while volume >= 2**52 or demand >= 2**62:
        volume = max(volume // 2, 1)
        demand //= 2
    ratio = demand * 10**12 // volume
    if ratio >= LARGEST:
        ratio = 10**18
    return rules.half_spread + ceil_div(rules.impact * math.isqrt(ratio), 10**6)


def slipped(price: int, side: int, fraction: int, rules: Rules) -> int:
    """The raw price of an order of `side`."""
    move = ceil_div(price * fraction, PARTS)
    if side > 0:
        return up(price + move, rules.tick)
    return max(down(price - move, rules.tick), rules.tick)


def liquidation_price(side: int, quantity: int, entry_value: int, margin: int, rules: Rules) -> int:
    """Where equity equals maintenance; 0 if nowhere. First the value there, then the price, each against the agent."""
    if not rules.perpetual:
        return 0
    for number in range(len(rules.tiers) - 1, -1, -1):
        tier, q = rules.tiers[number], quantity
        if side > 0:
            worth = ceil_div((entry_value - margin - tier.amount) * PARTS, PARTS - tier.rate)
        else:
            worth = (entry_value + margin + tier.amount) * PARTS // (PARTS + tier.rate)
        while q >= 2**52:
            worth, q = (ceil_div(worth, 2), q // 2) if side > 0 else (worth // 2, ceil_div(q, 2))
        price = ceil_div(worth * rules.divisor, q) if side > 0 else worth * rules.divisor // q
        if price <= 0 or price >= LARGEST:
            continue
        if number == 0 or price * quantity // rules.divisor >= tier.floor:
            return price
    return 0


def draw(seed: int, ms: int) -> int:
    """The seeded draw of a candle, in [0, 1000): the finaliser of splitmix64."""
    mask = 2**64 - 1
    x = (seed ^ ms * 0x9E3779B97F4A7C15) & mask
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & mask
    x = (x ^ x >> 27) * 0x94D049BB133111EB & mask
    x ^= x >> 31
    return (x >> 32) * 1000 >> 32


def way_of(candle, finer, bar: Bar, rules: Rules) -> tuple[tuple[int, int, int, bool], ...]:
    """Of every finer candle, and at last of the candle itself: open, the two extremes in order, and whether the order is
    open. A price is rounded towards the candle's open, not across it, and moved into the candle."""

    def units(price: float) -> int:
        scaled = price * 10.0**rules.price_exponent
        slack = max(abs(scaled) * 1e-15, 1e-6)
        unit = bar.open
        if price > candle[0]:
            unit = max(math.floor(scaled + slack), bar.open)
        elif price < candle[0]:
            unit = min(math.ceil(scaled - slack), bar.open)
        return min(max(unit, bar.low), bar.high)

    way = []
    for opened, high, low, close, *_ in (*finer, candle):
        first, second = (high, low) if close < opened else (low, high)
        way.append((units(opened), units(first), units(second), close == opened))
    return tuple(way)


def visits(bar: Bar, side: int, rules: Rules) -> tuple[int, ...]:
    """The prices that the path visits after the open, in order, for a position of `side`."""
    if rules.path == "detail" and bar.way:
        prices: list[int] = []
        for opened, first, second, either in bar.way:
            hurts_first = (min, max) if side > 0 else (max, min)
            extremes = tuple(of(first, second) for of in hurts_first) if either else (first, second)
            prices += (opened, *extremes)
        return tuple(prices)
    hurts_first = (bar.low, bar.high) if side > 0 else (bar.high, bar.low)
    if rules.path == "pessimistic" or bar.close == bar.open:
        return hurts_first
    order = (bar.high, bar.low) if bar.close < bar.open else (bar.low, bar.high)
    if rules.path == "random":
        tenths = abs(bar.open - bar.close) * 10 // (bar.high - bar.low)
        chance = next(thousandths for least, thousandths in MEASURED if tenths >= least)
        if draw(rules.path_seed, bar.ms) >= chance:
            order = order[::-1]
    return order
