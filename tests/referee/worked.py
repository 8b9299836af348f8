"""One simple market for examples worked by hand: prices in cents, one coin at 100.00, no spread, no impact.

Price exponent 2 and quantity exponent 6, so D = 1: price * quantity is the value in 1e-8. Taker fee 0.05 %, liquidation fee
1.25 %, participation 100 %, and as much volume as wanted unless an example says otherwise. A story is told by the kernel and
checked against the referee on the way. Candle 0 decides, candle 1 fills at its open, the example's candles follow.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tests.referee.arithmetic import Rules, Tier
from tests.referee.driver import KernelSide, play
from tests.referee.habits import Habits
from tests.referee.scenarios import HOUR, START, Scenario, Send, Starting

USD = 100_000_000
COIN = 1_000_000
FAR = 10**9
IDLE = Habits(0.5, 0.5, 0.1, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 10**15, 0)
HALF_PERCENT = (Tier(0, 500_000, 0, 125),)
RULES = Rules(
    price_exponent=2, quantity_exponent=6, tick=1, lot=1, minimum_quantity=0, minimum_notional=0, maker=20_000, taker=50_000,
    participation=100_000_000, half_spread=0, impact=0, liquidation_fee=1_250_000, path="colour", path_seed=0, latency_ms=0,
    perpetual=True, tiers=HALF_PERCENT,
)  # fmt: skip


@dataclass
class Story:
    """What the kernel told: events in order, the state after every candle."""

    events: list[dict]
    after: list[dict]

    @property
    def accounts(self) -> dict:
        return self.after[-1]

    def of(self, event: str) -> list[dict]:
        return [row for row in self.events if row["event"] == event]

    @property
    def exit(self) -> dict:
        (row,) = self.of("exit")
        return row

    @property
    def liquidation(self) -> int:
        """The liquidation price shown for agent 0 after the last candle, in cents."""
        return self.after[-1][0]["liquidation"]


def flat(price: float, volume: float = 1e6) -> tuple[float, ...]:
    return (price, price, price, price, volume)


STILL = flat(100.0)


def order(
    side: int, coins: float = 1.0, leverage: int = 10, stop: int | None = None, agent: int = 0, candle: int = 0
) -> Send:
    """A market entry; `stop` in cents from the entry, else out of reach, like the take."""
    return Send(
        candle, agent, "entry", side, 1.0, round(leverage * 100), round(coins * COIN), 0, stop or FAR, FAR,
    )  # fmt: skip


def story(sends, later=(), *, stamps=None, first=STILL, funded=(True,), cash=100_000 * USD, **rules) -> Story:
    """Candles 0 and 1 are `first`, then come `later`; `stamps` maps candle number to (rate, mark)."""
    candles = [first, first, *later]
    agents = [Starting(number, cash, real, 0, IDLE) for number, real in enumerate(funded)]
    table = [(stamps or {}).get(t) for t in range(len(candles))]
    count = len(candles)
    scenario = Scenario(
        0, replace(RULES, **rules), candles, table, [True] * count, agents, sends=list(sends), cuts=set(range(count))
    )
    play(scenario)
    kernel, after = KernelSide(scenario), []
    events = []
    for t in range(count):
        kernel.run(t, t + 1)
        for send in scenario.sends:
            if send.candle == t:
                kernel.send(send, START + t * HOUR)
        events += sorted(kernel.events(), key=lambda row: (row["step"], row["agent"]))
        after.append(kernel.balances())
        assert sum(
            after[-1][name] for name in ("cash", "margin", "fees", "funding", "insurance", "market")
        ) == cash * sum(funded)
    return Story(events, after)
