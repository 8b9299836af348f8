"""Random scenarios: a market, its candles, its agents, and what they order; a function of one seed.

A scenario either carries ready orders (`sends`: entries and exits with integer fields, tried at the close of a candle)
or habits and scores by which agents decide for themselves, with culls sent in between.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from random import Random

from tests.referee.arithmetic import Rules, Tier
from tests.referee.habits import Habits, bracket_leverage

HOUR = 3_600_000
START = 1_700_000_000_000 // HOUR * HOUR
NAN = math.nan
COUNTABLE = 2**61
"""Largest quantity of one order here."""


@dataclass
class Send:
    """Tried at the close of candle `candle`: an entry if the agent is flat, an exit if it holds, else nothing."""

    candle: int
    agent: int
    kind: str
    side: int = 1
    share: float = 1.0
    leverage: int = 100
    quantity: int = 0
    limit: int = 0
    stop: int = 1
    take: int = 1
    trail: int = 0


@dataclass
class Starting:
    """An agent at the start."""

    number: int
    cash: int
    funded: bool
    timeframe: int
    habits: Habits
    archetype: int = 0
    active: bool = True


@dataclass
class Scenario:
    """Everything a run needs. candles: floats (open, high, low, close, volume) or None where absent; stamps: (rate, mark)
    or None; scores [candle][agent]; closed, atr, regime [candle][timeframe]; cuts: candles after which all is compared."""

    seed: int
    rules: Rules
    candles: list[tuple[float, ...] | None]
    stamps: list[tuple[float, float] | None]
    trading: list[bool]
    agents: list[Starting]
    sends: list[Send] = field(default_factory=list)
    scores: list[list[float]] = field(default_factory=list)
    closed: list[list[bool]] = field(default_factory=list)
    atr: list[list[float]] = field(default_factory=list)
    regime: list[list[int]] = field(default_factory=list)
    cuts: set[int] = field(default_factory=set)
    timeframes: int = 1
    ends: bool = False
    finer: list[list[tuple[float, ...]]] = field(default_factory=list)


def loguniform(random: Random, low: float, high: float) -> float:
    return math.exp(random.uniform(math.log(low), math.log(high)))


def normal(random: Random, deviation: float) -> float:
    """Gaussian, without the values that only a search for trouble draws."""
    return min(max(random.gauss(0, deviation), -5 * deviation), 5 * deviation)


def _tiers(random: Random, wealth: int) -> tuple[Tier, ...]:
    """One to four brackets; the amount keeps maintenance continuous, as exchanges do."""
    count = random.choice((1, 1, 2, 3, 4))
    floors = [0, *sorted(random.sample(range(wealth // 100 + 1, wealth * 20 + 99), count - 1))]
    rate = random.choice((0, 400_000, 500_000, 1_000_000))
    leverage = random.choice((20, 20, 50, 125))
    tiers = [Tier(0, rate, 0, leverage)]
    for floor in floors[1:]:
        higher = min(rate + random.choice((500_000, 1_500_000, 5_000_000)), 50_000_000)
        amount = tiers[-1].amount + -(-floor * (higher - rate) // 100_000_000)
        rate, leverage = higher, max(leverage // random.choice((1, 2, 4)), 1)
        tiers.append(Tier(floor, rate, amount, leverage))
    return tuple(tiers)


def _instrument(random: Random) -> tuple[int, int, int, int, int]:
    """(price exponent, quantity exponent, tick, lot, typical price in units)."""
    shape = random.choice(("tiny", "tiny", "unknown", "usual", "usual", "large", "coarse", "coarse"))
    if shape == "tiny":
        return 8, random.choice((0, 2, 4, 8)), 1, random.choice((1, 1, 100)), random.choice((123, 1234, 17))
    if shape == "unknown":
        return 8, 8, 1, 1, int(loguniform(random, 10**6, 10**13))
    if shape == "usual":
        return 2, 6, random.choice((1, 10)), random.choice((1, 1000)), int(loguniform(random, 500, 10**7))
    if shape == "large":
        return (
            random.choice((0, 1, 4)),
            8,
            random.choice((1, 5, 50)),
            random.choice((1, 10**4)),
            random.randrange(10**5, 10**7),
        )
    tick = random.choice((7, 25, 100, 1000))
    return 4, random.choice((4, 6)), tick, random.choice((3, 10, 1000, 10**5)), tick * random.randrange(20, 5000)


def _candles(random: Random, count: int, rules: Rules, typical: int, depth: float) -> list[tuple[float, ...] | None]:
    """A walk in price units with gaps, wicks, crashes, holes and runs without volume; `depth` is the usual volume."""
    scale = 10.0**rules.price_exponent
    volatility = loguniform(random, 0.002, 0.08)
    on_grid = random.random() < 0.8
    price, candles, dry = float(typical), [], 0
    for _ in range(count):
        if candles and random.random() < 0.06:
            candles.append(None)
            continue
        opened = price * (math.exp(normal(random, volatility * 3)) if random.random() < 0.15 else 1.0)
        close = opened * math.exp(normal(random, volatility))
        event = random.random()
        if event < 0.02:
            close = opened * 0.51
        elif event < 0.04:
            close = opened * 1.6
        elif event < 0.1:
            close = opened
        high = max(opened, close) * math.exp(abs(normal(random, volatility)) * random.choice((0, 1, 1, 2)))
        low = min(opened, close) * math.exp(-abs(normal(random, volatility)) * random.choice((0, 1, 1, 2)))
        if random.random() < 0.015:
            low = 1.0
        prices = [max(x, 1.0) for x in (opened, high, low, close)]
        if on_grid:
            prices = [float(max(round(x / rules.tick), 1) * rules.tick) for x in prices]
        price = max(min(prices[3], typical * 50), typical / 50, rules.tick)
        dry = dry - 1 if dry else (random.randrange(1, 6) if random.random() < 0.04 else 0)
        volume = 0.0 if dry else depth * loguniform(random, 0.02, 20)
        floats = [x / scale for x in prices]
        candles.append((*floats, volume / 10.0**rules.quantity_exponent))
    return candles


def _finer(random: Random, candle: tuple[float, ...] | None, tick: float) -> list[tuple[float, ...]]:
    """Finer candles on a walk from open to close: none, some (holes, extremes never reached) or six; now and then they go
    beyond the candle, have no colour, or lie between the ticks."""
    if candle is None or random.random() < 0.1:
        return []
    opened, high, low, close = candle[:4]
    found, last = [], opened
    for k in range(6):
        target = close if k == 5 else random.choice((high, low, random.uniform(low, high), last))
        ends = [last, target, random.uniform(low, high), random.choice((low, high, target))]
        if random.random() < 0.5:
            ends = [max(round(x / tick), 1) * tick for x in ends]
        if random.random() < 0.05:
            ends.append(random.choice((high * 1.01, low * 0.99)))
        shown = ends[0] if random.random() < 0.15 else ends[1]
        if random.random() < 0.85:
            found.append((ends[0], max(ends), min(ends), shown, 0.0))
        last = target if random.random() < 0.8 else random.uniform(low, high)
    return found


def _habits(random: Random, timeframe_ms: int) -> Habits:
    return Habits(
        threshold=random.choice((0.2, 0.5, 0.05)), exit_threshold=random.choice((1e-3, 0.1, 0.6)),
        size=random.choice((0.02, 0.3, 0.5, 1.0)), size_confidence=random.choice((0.0, 0.5, 1.0)),
        leverage_cap=random.choice((1.0, 3.3, 10.0, 20.0)), leverage_confidence=random.choice((0.0, 0.4, 1.0)),
        stop_atr=loguniform(random, 0.5, 8), take_atr=loguniform(random, 0.5, 16),
        trail_atr=random.choice((0.0, 0.0, 1.0, 2.5)), limit_atr=random.choice((0.0, 0.0, 0.5, 0.9)),
        holding_ms=random.choice((2, 5, 20)) * timeframe_ms, cooldown_ms=random.choice((0, 0, 1, 3)) * timeframe_ms,
    )  # fmt: skip


def _cash(random: Random, wealth: int) -> int:
    """Usually a part of `wealth`; now and then nothing, or more than can be ordered."""
    kind = random.random()
    return 0 if kind < 0.03 else 10**17 if kind > 0.98 else int(wealth * loguniform(random, 0.1, 1.0))


def _sends(random: Random, count: int, agents: list[Starting], rules: Rules, candles, wealth: int) -> list[Send]:
    """Entries and exits for a few candles of each agent."""
    sends = []
    for t in range(count):
        for a in range(len(agents)):
            if candles[t] is None or random.random() > 0.4:
                continue
            close = max(int(candles[t][3] * 10**rules.price_exponent), 1)
            reach = max(int(close * loguniform(random, 0.001, 0.3)), 1)
            leverage = random.choice((100, 200, 333, 500, 1000, 2000, 2000, 5000, 12500)) if rules.perpetual else 100
            leverage = bracket_leverage(leverage, agents[a].cash * leverage // 100, rules)
            notional = wealth * loguniform(random, 0.01, 1.0) * leverage / 100
            quantity = min(int(notional * rules.divisor / close), COUNTABLE) // rules.lot * rules.lot
            side = random.choice((1, -1)) if rules.perpetual else 1
            limit = 0
            if random.random() < 0.35:
                limit = max((close - side * reach // 8) // rules.tick * rules.tick, rules.tick)
            kind = "entry" if random.random() < 0.6 else random.choice(("signal", "time", "cull", "flatten"))
            sends.append(Send(
                t, a, kind, side, random.choice((0.3, 0.9, 1.0)), leverage, max(quantity, rules.lot), limit,
                reach, max(int(reach * random.choice((0.5, 1, 3))), 1), random.choice((0, 0, reach, reach // 2)),
            ))  # fmt: skip
    return sends


def _scores(random: Random, scenario: Scenario) -> None:
    """Scores, regimes and true ranges for agents that decide for themselves."""
    count, numbers = len(scenario.candles), len(scenario.agents)
    reach = 10.0**-scenario.rules.price_exponent
    last = 1.0
    for t in range(count):
        candle = scenario.candles[t]
        last = candle[3] if candle else last
        scenario.closed.append([k == 0 or t % 3 == 2 for k in range(scenario.timeframes)])
        wide = max(last * loguniform(random, 0.002, 0.05), reach)
        scenario.atr.append([random.choice((wide, wide, wide, NAN, wide * 2)) for _ in range(scenario.timeframes)])
        scenario.regime.append([random.randrange(5) for _ in range(scenario.timeframes)])
        scenario.scores.append([
            NAN if random.random() < 0.1 else random.choice((-1, 1)) * random.random() ** 0.5 for _ in range(numbers)
        ])  # fmt: skip


def make(seed: int) -> Scenario:
    """The scenario of a seed."""
    return build(Random(seed), seed)


def build(random: Random, seed: int) -> Scenario:
    """A scenario drawn from `random`; `seed` is only its name."""
    price_exponent, quantity_exponent, tick, lot, typical = _instrument(random)
    perpetual = random.random() < 0.85
    wealth = int(loguniform(random, 10**9, 10**14))  # ten units of money to a million
    wealth = min(wealth, COUNTABLE * typical // (20 * 10 ** (price_exponent + quantity_exponent - 8)))
    maker, taker = random.choice(((20_000, 50_000), (100_000, 100_000), (0, 0), (12_345, 67_891)))
    rules = Rules(
        price_exponent, quantity_exponent, tick, lot, random.choice((0, lot * 3)), random.choice((0, 5 * 10**8)),
        maker, taker, random.choice((10_000_000, 10_000_000, 1_000_000, 100_000_000)),
        random.choice((20_000, 0, 20_000, 300_000, 6_000_000)), random.choice((1_000_000, 1_000_000, 0, 20_000_000)),
        random.choice((1_250_000, 1_250_000, 0)), random.choice(("colour", "colour", "pessimistic", "random", "detail")),
        random.randrange(2**31), random.choice((0, 0, 0, 1, 2)) * HOUR, perpetual,
        _tiers(random, wealth) if perpetual else (Tier(0, 0, 0, 1),),
    )  # fmt: skip
    count = random.choice((20, 30, 40))
    quantity = wealth * 3 * rules.divisor / typical
    depth = max(quantity * loguniform(random, 0.1, 300) * (10_000_000 / rules.participation), 1.0)
    candles = _candles(random, count, rules, typical, depth)
    timeframes = random.choice((1, 2))
    agents = [
        Starting(
            number, _cash(random, wealth), random.random() > 0.15,
            number * timeframes // 6, _habits(random, HOUR), archetype=number % 3, active=random.random() > 0.03,
        )
        for number in range(random.randrange(1, 7))
    ]  # fmt: skip
    stamps = [
        (
            random.choice((0.0001, -0.0003, 0.004, 0.0)) * random.random(),
            random.choice((candle[0] * 1.001, candle[3], NAN)),
        )
        if candle and perpetual and random.random() < 0.15
        else None
        for candle in candles
    ]
    warmup = random.choice((0, 0, 3))
    scenario = Scenario(
        seed, rules, candles, stamps, [t >= warmup for t in range(count)], agents, timeframes=timeframes,
        ends=random.random() < 0.3,
    )  # fmt: skip
    if random.random() < 0.5:
        scenario.sends = _sends(random, count, agents, rules, candles, wealth)
    else:
        scenario.sends = [
            Send(t, a, "cull")
            for t in range(count)
            for a in range(len(agents))
            if candles[t] and random.random() < 0.02
        ]
        _scores(random, scenario)
    if rules.path == "detail":
        scenario.finer = [_finer(random, candle, tick / 10.0**price_exponent) for candle in candles]
    often = random.choice((1.0, 1.0, 0.3, 0.0))
    scenario.cuts = {t for t in range(count) if random.random() < often} | {send.candle for send in scenario.sends}
    scenario.cuts.add(count - 1)
    return scenario
