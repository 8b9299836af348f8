"""A small run with everything in it, made by a plain simulation in Python integers: an oracle beside the session's kernel.

Two markets with other exponents, funded and unfunded agents, entries, partial exits, exits, a liquidation that insurance
pays for, funding, refusals, grants and recalls, births and deaths, fitness, levels, a funnel, positions left open.
`make(frames, agents, seed)` gives the rows of every frame; `write` hands them to a writer.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np

from trader.core import rows
from trader.core.types import Incident, Instrument, LeverageTier
from trader.store.records import Cursor, RunHeader

HOUR = 3_600_000
CAPITAL = 10**14
FEE = 50_000  # parts per 1e8

INSTRUMENTS = (
    Instrument("AAA/USDT", perpetual=True, tiers=(LeverageTier(0, 500_000, 0, 20),)),
    Instrument("BBB/USDT", perpetual=False, price_exponent=4, quantity_exponent=6, tick=5, lot=10),
)
NAMES = {
    "archetype": {0: "trend", 1: "reversion"},
    "rule": {0: "equal"},
    "stage": {0: "decided", 1: "entered"},
    "niche": {0: "AAA/USDT 1h"},
    "policy": {0: "dqn", 3: "immigrant"},
    "optimizer": {0: "nested", 2: "none"},
    "gene": {1: "patience"},
    "action": {0: "trend careful", 5: "momentum steady"},
}


def header(name: str = "sample") -> RunHeader:
    config = {"exchange": {"participation": 0.5}, "session": {"seed": 0}}
    return RunHeader(
        name=name, feed="synthetic", seed=0, config=json.dumps(config), config_hash="c0ffee", code_version="0.1.0",
        platform='{"python":"3.11"}', started_utc="2026-11-24T00:00:00Z", base_ms=HOUR, equity_start=CAPITAL,
        instruments=INSTRUMENTS, names=NAMES,
    )  # fmt: skip


@dataclass
class Frame:
    """Rows of one frame by table, its cursor, the open positions after it, incidents."""

    tables: dict[str, list[tuple]] = field(default_factory=dict)
    cursor: Cursor | None = None
    positions: list[tuple] = field(default_factory=list)
    incidents: list[Incident] = field(default_factory=list)


@dataclass
class Open:
    trade: int
    market: int
    side: int
    qty: int
    cost: int
    price: int
    margin: int
    opening: int
    entry_fee: int
    entered_qty: int
    gross: int = 0
    fees: int = 0
    funding: int = 0
    value: int = 0
    slippage: int = 0
    order: int = 0


def bits(value: float) -> int:
    return int(rows.float_bits(np.array([value]))[0])


def divisor(market: int) -> int:
    return 10 ** (INSTRUMENTS[market].price_exponent + INSTRUMENTS[market].quantity_exponent - 8)


def value_of(market: int, price: int, qty: int, direction: int) -> int:
    product = price * qty
    return -(-product // divisor(market)) if direction > 0 else product // divisor(market)


class Simulation:
    """State of the sample; `step` makes the next frame."""

    def __init__(self, agents: int, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.agents = agents
        self.sequence = dict.fromkeys({spec.sequence for spec in rows.TABLES.values()}, 0)
        self.cash = dict.fromkeys(range(agents), 0)
        self.pool = 0
        self.open: dict[int, Open] = {}
        self.counts = {(agent, what): 0 for agent in range(agents) for what in ("trade", "order", "fill")}
        self.close = [5_000 * 10**8, 20_0000]
        self.candles = 0
        self.peak = 0
        self.frame = Frame()
        self.extremes: list[tuple[int, int]] = []

    def number(self, table: str) -> int:
        self.sequence[rows.TABLES[table].sequence] += 1
        return self.sequence[rows.TABLES[table].sequence]

    def put(self, table: str, **values: object) -> None:
        spec = rows.TABLES[table]
        values["seq"] = self.number(table)
        row = tuple(
            bits(values[c.name]) if c.kind == rows.FLOAT and spec.numeric else values[c.name]  # type: ignore[arg-type]
            for c in spec.columns
        )
        assert set(values) == set(spec.names), set(values) ^ set(spec.names)
        self.frame.tables.setdefault(table, []).append(row)

    def next_id(self, agent: int, what: str) -> int:
        self.counts[agent, what] += 1
        return agent * rows.IDS_PER_AGENT + self.counts[agent, what]

    def funded(self, agent: int) -> int:
        return int(agent != self.agents - 1)

    def begin(self, time_ms: int) -> None:
        self.put("transfer", time_ms=time_ms, debit=int(rows.Account.WORLD), credit=int(rows.Account.POOL_CASH),
                 amount=CAPITAL, code=int(rows.TransferCode.DEPOSIT), agent=-1, trade=-1)  # fmt: skip
        self.pool = CAPITAL
        for agent in range(self.agents):
            self.put("birth", time_ms=time_ms, agent=agent, parent_a=agent - 1, parent_b=-1, operator=agent % 3,
                     archetype=agent % 2, market=agent % 2, timeframe=HOUR, generation=0, frozen=0,
                     genes=f'{{"aggression":{agent}}}')  # fmt: skip
            self.allocate(agent, time_ms, CAPITAL // (2 * self.agents))

    def allocate(self, agent: int, time_ms: int, amount: int) -> None:
        if not self.funded(agent) or amount == 0:
            self.cash[agent] += amount
            return
        held = self.open.get(agent)
        before = self.cash[agent] + (held.margin if held else 0)
        self.put("allocation", time_ms=time_ms, epoch=0, agent=agent, before=before, weight=10**9 // self.agents,
                 amount=amount, score=0.5, risk=float("nan"), rule=0, limited_by=0)  # fmt: skip
        self.cash[agent] += amount
        self.pool -= amount

    def step(self, number: int, *, warm: bool = False) -> Frame:
        self.frame = Frame()
        time_ms = number * HOUR + 10 * HOUR
        if number == 0:
            self.begin(time_ms)
        self.candles_of(number, time_ms, warm)
        if not warm:
            for agent in range(self.agents):
                self.act(agent, time_ms, number)
            if number % 7 == 3:
                self.learn(number, time_ms)
            self.mark(number, time_ms)
            equity = self.frame.tables["equity"][-1][6]
            self.frame.positions = [self.snapshot(agent) for agent in sorted(self.open)]
            self.frame.cursor = Cursor(number, time_ms, self.candles, equity)
        else:
            self.frame.cursor = Cursor(-1, time_ms, self.candles, CAPITAL)
        return self.frame

    def candles_of(self, number: int, time_ms: int, warm: bool) -> None:
        self.extremes = []
        for market in range(2):
            opened = self.close[market]
            move = int(opened * self.random.normal() * 0.01) // 5 * 5
            close = max(opened + move, 1000)
            low, high = min(opened, close) - 50, max(opened, close) + 50
            self.extremes.append((low, high))
            self.close[market] = close
            scale = 10.0 ** INSTRUMENTS[market].price_exponent
            self.put("candle", frame=-1 if warm else number, market=market, ts=time_ms, open=opened / scale, high=high / scale,
                     low=low / scale, close=close / scale, volume=1e4 + 1 / 3, received=0, revised=0,
                     phase=int(rows.Phase.WARMUP if warm else rows.Phase.REPLAY))  # fmt: skip
            self.candles += 1
        if number % 8 == 0:
            self.put("stamp", market=0, ts=time_ms, rate=1e-4, mark=float("nan"))
            for visit, extreme in enumerate((1, -1, 1), start=1):
                price = 100.0 + extreme * visit
                self.put("visit", ts=time_ms, market=0, visit=visit, extreme=extreme, tied=0, price=price)
            self.put("opinion", market=1, ts=time_ms, value=0.5 - number % 3 / 2)
            self.frame.incidents.append(Incident(time_ms, "gap", "BBB/USDT", "1 candle missing"))

    def act(self, agent: int, time_ms: int, number: int) -> None:
        draw = self.random.random()
        held = self.open.get(agent)
        if held is None:
            if draw < 0.3:
                self.enter(agent, time_ms)
            elif draw < 0.4:
                self.put("reject", time_ms=time_ms, market=agent % 2, agent=agent, order_id=self.next_id(agent, "order"),
                         side=1, decided_ms=time_ms - HOUR, requested_qty=10**6, reason=int(draw * 1000) % 7 + 1,
                         sent=int(draw > 0.35), funded=self.funded(agent))  # fmt: skip
            return
        if number % 8 == 0 and held.market == 0:
            self.fund(agent, held, time_ms)
        if draw < 0.15 and held.qty > 20:
            self.leave(agent, held, time_ms, held.qty // 20 * 10, int(rows.OrderKind.STOP))
        elif draw < 0.45:
            self.leave(agent, held, time_ms, held.qty, int(rows.OrderKind(1 + int(draw * 100) % 5)))
        elif draw < 0.5:
            self.leave(agent, held, time_ms, held.qty, int(rows.OrderKind.LIQUIDATION))

    def enter(self, agent: int, time_ms: int) -> None:
        market = agent % 2
        side = 1 if market == 1 or agent % 4 == 0 else -1
        price = self.extremes[market][1 if side > 0 else 0]
        qty = self.cash[agent] // 10 * divisor(market) // price // 10 * 10
        if qty == 0:
            return
        value = value_of(market, price, qty, side)
        initial, fee = -(-value // (500 if agent % 3 == 1 else 3)), -(-value * FEE // 10**8)
        trade, order, fill = (self.next_id(agent, what) for what in ("trade", "order", "fill"))
        self.cash[agent] -= initial + fee
        held = Open(trade, market, side, qty, value, price, initial, initial + fee, fee, qty, fees=fee, slippage=7)
        self.open[agent] = held
        self.put("entry", time_ms=time_ms, market=market, agent=agent, trade=trade, order_id=order, fill=fill, side=side,
                 archetype=agent % 2, timeframe=HOUR, leverage=300, requested_qty=qty + 10, qty=qty, price=price, fee=fee,
                 margin=initial + fee, decided_ms=time_ms - HOUR, confidence=7512, regime=1, stop=price // 2,
                 take=price * 2, limited_by=1, slippage=7, maker=agent % 2, funded=self.funded(agent), score=8012,
                 phase=3)  # fmt: skip

    def fund(self, agent: int, held: Open, time_ms: int) -> None:
        amount = -held.side * (held.cost // 10_000)
        if held.margin + amount < 0 or amount == 0:
            return
        held.margin += amount
        held.funding += amount
        self.put("funding", time_ms=time_ms, market=held.market, agent=agent, trade=held.trade, amount=amount,
                 qty=held.qty, mark=self.close[held.market], rate=1e-4, funded=self.funded(agent))  # fmt: skip

    def leave(self, agent: int, held: Open, time_ms: int, qty: int, kind: int) -> None:
        whole = qty == held.qty
        price = self.extremes[held.market][0 if held.side > 0 else 1]
        liquidated = kind == int(rows.OrderKind.LIQUIDATION)
        value = value_of(held.market, price, qty, -held.side)
        cost = held.cost if whole else min(value_of(held.market, held.price, qty, held.side), held.cost)
        gross = held.side * (value - cost)
        fee = 0 if liquidated else -(-value * FEE // 10**8)
        if not whole and held.margin + gross - fee < 0:
            return
        insurance = max(-(held.margin + gross - fee), 0) if whole else 0
        held.order = held.order or self.next_id(agent, "order")
        fill = self.next_id(agent, "fill")
        held.margin += gross - fee + insurance
        held.qty -= qty
        held.cost -= cost
        held.gross += gross + insurance
        held.fees += fee
        held.value += value
        shared = {
            "time_ms": time_ms, "market": held.market, "agent": agent, "trade": held.trade, "order_id": held.order,
            "fill": fill, "kind": kind, "decided_ms": time_ms - HOUR, "requested_qty": qty + held.qty, "qty": qty,
            "price": price, "fee": fee, "gross": gross + insurance, "limited_by": int(not whole),
            "funded": self.funded(agent),
        }  # fmt: skip
        if not whole:
            self.put("partial", **shared)
            return
        pnl = held.gross - held.fees + held.funding
        self.put("exit", **shared, insurance=insurance, liquidation_fee=0, trade_qty=held.entered_qty,
                 trade_value=held.value, trade_gross=held.gross, trade_fees=held.fees, trade_funding=held.funding,
                 trade_pnl=pnl, margin=held.opening, slippage=held.slippage, lowest=min(price, held.price) - 100,
                 highest=max(price, held.price) + 100)  # fmt: skip
        self.cash[agent] += held.margin
        assert held.margin == held.opening + pnl
        assert held.margin >= 0
        del self.open[agent]

    def learn(self, number: int, time_ms: int) -> None:
        for agent in range(self.agents):
            self.put("fitness", time_ms=time_ms, agent=agent, generation=number // 7, raw=0.1 * agent,
                     shrunk=0.05 * agent + number, standard_error=float("inf"), niche=0, rank=agent, fate=agent % 4)  # fmt: skip
        self.put("level", time_ms=time_ms, level="evolution", step=number // 7, objective_before=float("nan"),
                 objective_after=-0.0, kept=1, detail='{"born":0,"text":"é"}')  # fmt: skip
        self.put(
            "policy", time_ms=time_ms, birth=number, policy=0, optimizer=0, action=5, value=0.25, reward=-0.125, agent=1
        )
        self.put("policy", time_ms=time_ms, birth=number, policy=3, optimizer=2, action=0, value=float("nan"), reward=0.5,
                 agent=2)  # fmt: skip
        self.put("modification", time_ms=time_ms, agent=1, trigger=1, gene=1, before=0.5, after=0.625,
                 confidence_before=40.0, confidence_after=55.5, expected=0.001, realised=float("nan"), kept=-1,
                 adopted_ms=time_ms - HOUR, trial=number)  # fmt: skip
        self.put("bandit", time_ms=time_ms, timeframe=HOUR, regime=1, parameter=2, arm=1.25, propensity=0.2,
                 ticket=number, agent=1, trade=-1, reward=0.5, mean=0.5, effective_n=float("inf"),
                 decided_ms=time_ms - HOUR)  # fmt: skip
        for agent in range(self.agents - 1):
            if agent not in self.open and self.cash[agent] > 10**9:
                self.allocate(agent, time_ms, -(10**9))
        if number == 3:
            self.put("death", time_ms=time_ms, agent=0, cause=1, generation=0, fitness=0.25, trades=1, pnl=5)

    def mark(self, number: int, time_ms: int) -> None:
        unrealised = 0
        mine = [(a, held) for a, held in self.open.items() if self.funded(a)]
        for market in range(2):
            net = sum(held.side * held.qty for _, held in mine if held.market == market)
            cost = sum(held.side * held.cost for _, held in mine if held.market == market)
            unrealised += self.close[market] * net // divisor(market) - cost
        cash = self.pool + sum(self.cash[a] for a in range(self.agents) if self.funded(a))
        reserved = sum(held.margin for _, held in mine)
        equity = cash + reserved + unrealised
        self.peak = max(self.peak, equity)
        self.put("equity", frame=number, time_ms=time_ms, cash=cash, reserved=reserved, unrealised=unrealised,
                 equity=equity, peak=self.peak)  # fmt: skip

    def snapshot(self, agent: int) -> tuple:
        held = self.open[agent]
        return (
            agent, held.trade, held.market, held.side, 300, held.qty, held.price, self.close[held.market], held.price // 2,
            0, 0, held.margin, 0, self.funded(agent),
        )  # fmt: skip


def make(frames: int = 40, agents: int = 8, seed: int = 0, warm: int = 3) -> list[Frame]:
    """Frames -warm ... frames - 1 of a sample run; the last one also holds the funnel."""
    simulation = Simulation(agents, seed)
    result = [simulation.step(number, warm=number < 0) for number in range(-warm, frames)]
    for stage in range(2):
        simulation.frame = result[-1]
        simulation.put("funnel", market=0, archetype=1, stage=stage, count=100 - stage)
    return result


def hand_over(writer: object, frame: Frame) -> None:
    """Give the rows of a frame to a writer."""
    for table, found in frame.tables.items():
        if rows.TABLES[table].numeric:
            writer.write(table, np.array(found, np.int64))  # type: ignore[attr-defined]
        else:
            writer.write_text(table, found)  # type: ignore[attr-defined]
    writer.incidents(frame.incidents)  # type: ignore[attr-defined]
    writer.positions(np.array(frame.positions, np.int64).reshape(-1, 14))  # type: ignore[attr-defined]


def write(store: object, frames: list[Frame], *, every: int = 1, name: str = "sample") -> int:
    """Write a run with a commit after every `every` frames, stopped with its digests; return its number."""
    run = store.create_run(header(name))  # type: ignore[attr-defined]
    writer = store.writer(run)  # type: ignore[attr-defined]
    for number, frame in enumerate(frames, start=1):
        hand_over(writer, frame)
        if number % every == 0 or number == len(frames):
            writer.commit(frame.cursor)
    store.update_run(run, status="stopped", digests=writer.digests(), summary={"decisions": 5, "trades": 3})  # type: ignore[attr-defined]
    writer.close()
    return run
