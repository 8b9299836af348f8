"""Planted extremes: what real feeds have shown once, and numbers at the edge of what can be counted."""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random

import pytest

from tests.referee.arithmetic import Rules, Tier, liquidation_price
from tests.referee.driver import KernelSide, OrderKind, Reject, at, instrument_of, play
from tests.referee.habits import Habits
from tests.referee.scenarios import HOUR, START, Scenario, Send, Starting
from tests.referee.worked import COIN, USD, flat, order, story
from trader.broker.fills import summed_value
from trader.broker.margin import liquidation_price as broker_liquidation_price

LIMIT = 4_600_000_000_000_000_000
FINE = Rules(
    price_exponent=8, quantity_exponent=8, tick=1, lot=1, minimum_quantity=0, minimum_notional=0, maker=20_000,
    taker=50_000, participation=10_000_000, half_spread=20_000, impact=1_000_000, liquidation_fee=1_250_000, path="colour",
    path_seed=0, latency_ms=0, perpetual=True, tiers=(Tier(0, 500_000, 0, 20),),
)  # fmt: skip
EAGER = Habits(0.1, 2.0, 1.0, 0.0, 20.0, 0.0, 2.0, 4.0, 0.0, 0.0, 10**15, 0)


def decided(cash, candles, *, agents=1, habits=EAGER, rules=FINE):
    """Agents that decide at the close of candle 0 with score 0.9 and never again; the kernel equals the referee."""
    count = len(candles)
    scenario = Scenario(
        0, rules, candles, [None] * count, [True] * count, [Starting(a, cash, True, 0, habits) for a in range(agents)],
        scores=[[math.nan if t else 0.9] * agents for t in range(count)],
        closed=[[True]] * count, atr=[[(candles[0][3]) * 0.01]] * count, regime=[[0]] * count, cuts=set(range(count)),
    )  # fmt: skip
    play(scenario)
    kernel = KernelSide(scenario)
    kernel.run(0, count)
    return kernel.events(), kernel.balances()


def test_wick_to_a_hundredth_of_a_cent():
    """The price of a coin at 14.27 is 0.0001 for a moment: stop sold at most at what the candle traded, liquidation at its
    own price, and no trade loses more than its margin."""
    wick = (14.27, 14.30, 0.0001, 14.25, 1e7)
    sends = [order(1, 100, 5, stop=100), order(1, 100, 20, agent=1), order(-1, 100, 20, agent=2)]
    told = story(
        sends, [wick, flat(14.25)], first=flat(14.27, 1e9), price_exponent=4, quantity_exponent=6, funded=(True,) * 3
    )
    stopped, liquidated = told.of("exit")
    assert (stopped["kind"], stopped["price"]) == (int(OrderKind.STOP), 142_600)
    assert (liquidated["kind"], liquidated["price"]) == (int(OrderKind.LIQUIDATION), 136_247)
    assert all(row["trade_pnl"] >= -row["margin"] for row in (stopped, liquidated))
    assert told.after[-1][2]["side"] == -1


@pytest.mark.parametrize("opened", [100.0, 51.0])
def test_candle_of_minus_49_percent_at_twenty(opened):
    """Inside the candle at the liquidation price, as a gap at the open: the margin is lost, never more; the rest is insurance."""
    told = story([order(1, leverage=20)], [(opened, opened, 51.0, 51.0, 1e6)])
    assert told.exit["trade_pnl"] == -told.exit["margin"] == -5_05000000
    assert told.accounts["insurance"] == (48_000_000 if opened == 100.0 else -44 * USD)


def test_five_hundred_candles_without_volume():
    """A stop that was reached in the first of 500 candles without volume fills in the first candle that trades, whole."""
    dry = [(100.0, 100.0, 94.0, 94.0, 0.0), *[flat(94.0, 0.0)] * 499]
    told = story([order(1, stop=500)], [*dry, flat(94.0, 5.0)])
    assert [(row["event"], row["candle"]) for row in told.events] == [("entry", 1), ("exit", 502)]
    assert (told.exit["kind"], told.exit["price"], told.exit["qty"]) == (int(OrderKind.STOP), 9400, COIN)
    assert told.exit["decided_ms"] == START + 2 * HOUR


def test_entries_in_candles_without_volume_are_refused():
    told = story([order(1), order(-1, agent=1)], first=flat(100.0, 0.0), funded=(True, False))
    assert [row["reason"] for row in told.of("reject")] == [int(Reject.NO_VOLUME)] * 2


def test_price_of_0_00000123():
    """Tick 1e-8, whole coins. 123 units and half a spread of 0.0246 units, impact nearly none: bought at 124, a whole tick
    against the agent. Stop 2 % of 123 = 2.46 -> 2 units lower; fee 124 q * 0.0005; liquidation price (E - margin) / 0.995 / q."""
    candle = (0.00000123, 0.00000124, 0.00000123, 0.00000123, 1e12)
    events, balances = decided(100 * USD, [candle] * 3, rules=replace(FINE, quantity_exponent=0))
    (entry,) = events
    quantity, margin = entry["qty"], balances[0]["margin"]
    assert (entry["event"], entry["price"], entry["stop"], entry["take"]) == ("entry", 124, 122, 128)
    assert entry["fee"] == math.ceil(quantity * 124 / 2000)
    assert margin == math.ceil(quantity * 124 / 20)
    assert balances[0]["liquidation"] == math.ceil((quantity * 124 - margin) / 0.995 / quantity) == 119


def test_tick_that_the_candle_cuts_off_is_charged_as_fee():
    """The same order in a candle that stands still at 123 units: price 123, and one unit for each coin more in the fee."""
    events, _ = decided(100 * USD, [flat(0.00000123, 1e12)] * 3, rules=replace(FINE, quantity_exponent=0))
    quantity = events[0]["qty"]
    assert (events[0]["price"], events[0]["fee"]) == (123, math.ceil(quantity * 123 / 2000) + quantity)


@pytest.mark.parametrize("cash", [LIMIT - 1, LIMIT // 20, LIMIT // 1024 // 10])
def test_notional_near_the_largest_amount_is_refused(cash):
    """20x on so much cash is a notional beyond floor(4.6e18 / 1024): `too_large`, and nothing moves."""
    events, balances = decided(cash, [flat(100.0, 1e9)] * 3)
    assert [(row["event"], row["reason"], row["sent"]) for row in events] == [("reject", int(Reject.TOO_LARGE), 0)]
    assert balances["cash"] == cash
    assert balances[0]["held"] == 0


def test_largest_notional_that_is_taken():
    """One part less than the bound fills, and its thousandfold (a price of 100,000) is still counted exactly."""
    cash = LIMIT // 1024 // 21
    candles = [flat(100.0, 1e10), flat(100.0, 1e10), (100.0, 100_000.0, 100.0, 100_000.0, 1e10)]
    events, _ = decided(cash, candles, habits=replace(EAGER, take_atr=90_000.0))
    assert [row["event"] for row in events] == ["entry", "exit"]
    assert events[1]["trade_gross"] > 800 * events[0]["margin"]


def test_quantity_near_the_largest_is_refused():
    """4.6e18 units of a coin at 0.00000123 are 56,580: an order of more coins than can be counted is refused."""
    events, _ = decided(10_000 * USD, [flat(0.00000123, 1e10)] * 3)
    assert [(row["event"], row["reason"]) for row in events] == [("reject", int(Reject.TOO_LARGE))]


def test_summed_demand_beyond_64_bits_is_shared_like_any_other():
    """Four orders of about 3.2e18 units (39,000 USD at 0.00000123 with eight decimals) are 1.3e19 together, more than 64 bits
    hold; the candle trades 1e18 units, 10 % of it may be taken: 2.5e16 for each, never the whole."""
    candles = [flat(0.00000123, 1e10)] * 2
    events, _ = decided(2_000 * USD, candles, agents=4)
    assert [row["event"] for row in events] == ["entry"] * 4
    assert sum(row["qty"] for row in events) <= 10**17


@pytest.mark.parametrize("side", [1, -1])
def test_net_quantity_beyond_64_bits_is_valued_exactly(side):
    """Three orders of 3.2e18 units of a coin at 0.00000123, one a candle: 9.6e18 units together. The unrealised result after
    each candle (the price moves by a unit) is the referee's, to the unit; so is it when two of the three have left."""
    quantity, rules = 3_200_000_000_000_000_000, replace(FINE, participation=100_000_000, half_spread=0, impact=0)
    candles = [flat(price / 1e8, 4e10) for price in (123, 123, 123, 123, 124, 121, 125, 126, 123)]
    agents = [Starting(a, 10**14, True, 0, EAGER) for a in range(3)]
    sends = [Send(a, a, "entry", side, 1.0, 100, quantity, 0, 10**12, 10**12) for a in range(3)]
    sends += [Send(5, 0, "signal"), Send(6, 1, "signal")]
    count = len(candles)
    scenario = Scenario(
        0, rules, candles, [None] * count, [True] * count, agents, sends=sends, cuts=set(range(count))
    )  # fmt: skip
    assert play(scenario) == 5
    kernel, told = KernelSide(scenario), []
    for t in range(count):
        kernel.run(t, t + 1)
        for send in scenario.sends:
            if send.candle == t:
                kernel.send(send, START + t * HOUR)
        told.append(kernel.out[at.OUT_UNREALISED])
    assert told[4] == side * 3 * quantity // 10**8


@pytest.mark.parametrize("seed", range(20))
def test_value_of_a_sum_of_any_size(seed):
    """Long division in 64 bits equals Python's integers, modulo 2^64 and rounded down, for any sum, price and divisor."""
    random = Random(seed)
    for _ in range(200):
        divisor = 10 ** random.randrange(16)
        total = random.choice((-1, 1)) * random.randrange(2 ** random.randrange(1, 84))
        price = random.randrange(2 ** random.randrange(1, 62))
        if price * 1024 // divisor >= LIMIT:
            continue
        market = instrument_of(replace(FINE, price_exponent=8, quantity_exponent=len(str(divisor)) - 1))[0]
        exact = price * total // divisor
        assert (summed_value(price, total >> 32, total & (2**32 - 1), market) - exact) % 2**64 == 0


def test_a_position_beyond_counting_stops_the_kernel():
    """A short of 4.4e15 units of 1e-8 in value, and a price that is 2,000 times higher: refused, never wrapped."""
    send = Send(0, 0, "entry", -1, 1.0, 100, 44 * 10**14 // 10_000, 0, 10**9, 10**9)
    with pytest.raises(OverflowError, match=r"4\.6e18"):
        story([send], [flat(200_000.0)], cash=10**16)


def test_volume_near_the_largest():
    """Volume is counted to 4e18; the order is small, its impact rounds to the half spread."""
    events, _ = decided(100 * USD, [flat(1.0, 1e15)] * 2)
    assert [row["event"] for row in events] == ["entry"]


def test_sides_of_the_smallest_price():
    """A market sale is never below one tick: a short entry at a price of one unit fills at one unit."""
    told = story([order(-1, 1, 1)], first=flat(0.01), half_spread=300_000)
    assert told.of("entry")[0]["price"] == 1


# --- what the referee found in the kernel, each in its smallest form ----------------------------------------------------


def test_shadow_orders_need_volume():
    """No funded demand, no volume: a shadow's order fills nothing, neither at the open nor on the path."""
    told = story([order(1)], first=flat(100.0, 0.0), funded=(False,))
    assert [row["event"] for row in told.events] == ["reject"]
    told = story([order(1, stop=100)], [(100.0, 100.0, 98.0, 98.0, 0.0)], funded=(False,))
    assert [row["event"] for row in told.events] == ["entry"]


def test_spot_has_no_liquidation_price():
    """One unit (1e-8 coin) of a coin is sold at 0.50: it brings 0 and costs 1, and 1 for what the candle cut off: the margin is
    then one below the entry value of the rest. On spot that still makes no liquidation price."""
    rules = {"perpetual": False, "tiers": (Tier(0, 0, 0, 1),), "price_exponent": 8, "quantity_exponent": 8}
    send = Send(0, 0, "entry", 1, 1.0, 100, 10**8, 0, 10**12, 10**12)
    told = story([send, Send(1, 0, "signal")], [flat(0.5, 1e-8)], first=flat(0.5), half_spread=20_000, **rules)
    (part,) = told.of("partial")
    assert (part["qty"], part["gross"], part["fee"]) == (1, -1, 1)
    assert told.after[-1][0]["margin"] == told.after[-1][0]["entry_value"] - 1
    assert told.liquidation == 0


def test_candle_between_two_units_wakes_who_waits():
    """Open to close between 93.994 and 93.996: in cents all is 9399 (low never above high). A stop at 93.99 is reached,
    although the float low is above it."""
    told = story([order(1, stop=601)], [(93.995, 93.996, 93.994, 93.995, 1e6)])
    assert (told.exit["kind"], told.exit["price"]) == (int(OrderKind.STOP), 9399)


def test_liquidation_in_place_of_a_part_takes_nothing_from_the_cap():
    """Spread 6 %, candle 2 trades 1 coin. A (2 coins at 20x, margin 10) wants out and gets 1 coin at 90 (89.864 moved into the
    candle): result -10, nothing is left for the fee, so both coins are taken over at 90, outside the cap. The cap is still 1 coin
    when B's stop comes: filled in full."""
    sends = [order(1, 2, 20), order(1, 1, 2, stop=300, agent=1), Send(1, 0, "signal")]
    told = story(sends, [(95.6, 95.6, 90.0, 90.0, 1.0)], funded=(True, True), half_spread=6_000_000)
    first = [(row["agent"], row["kind"], row["qty"], row["price"]) for row in told.of("exit")]
    assert first == [(0, int(OrderKind.LIQUIDATION), 2 * COIN, 9000), (1, int(OrderKind.STOP), COIN, 9000)]


def test_take_does_nothing_for_who_opens_beyond_the_liquidation_price():
    """Spread 6 %, long at 20x: bought at 106 in a candle that opens at 100. (106 - 5.3) / 0.995 = 101.21: the open is
    beyond it, so the path begins in liquidation although the candle falls (high first) and its high 108 reaches the take 107."""
    send = Send(0, 0, "entry", 1, 1.0, 2000, COIN, 0, 2000, 100)
    told = story([send], first=(100.0, 108.0, 99.0, 99.5, 1e6), half_spread=6_000_000)
    entry, out = told.events[:2]
    assert (entry["price"], entry["take"]) == (10_600, 10_700)
    assert (out["kind"], out["price"], out["step"]) == (int(OrderKind.LIQUIDATION), 10_000, at.PHASE_LIQUIDATION)


@pytest.mark.parametrize("engine", [broker_liquidation_price, liquidation_price])
def test_liquidation_price_of_very_many_units_is_rounded_against_the_agent(engine):
    """More than 2^52 units, no maintenance: both terms are halved first, that too against the agent. Long 5e15 units owing
    50.00000001: 100.00000002 units -> 101. Short 5e15 + 1 units with 50: 99.99.. -> 99."""
    rules = replace(FINE, tiers=(Tier(0, 0, 0, 20),))
    if engine is broker_liquidation_price:
        market, tiers = instrument_of(rules)

        def price(*terms):
            return engine(*terms, market, tiers)
    else:

        def price(*terms):
            return engine(*terms, rules)

    assert price(1, 5 * 10**15, 6 * 10**9 + 1, 10**9) == 101
    assert price(-1, 5 * 10**15 + 1, 4 * 10**9, 10**9) == 99
