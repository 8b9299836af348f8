"""One scenario through the kernel and through the referee, and the first thing in which they differ.

The kernel gets the arrays that a session would build (market vector, brackets, integer candles through `bars_of`);
orders of a scenario are written into the rows of `state`. Events are compared with all their columns, and at every cut
all balances, positions and queued orders. Axes: n agents, K timeframes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from agents import layout as at
from agents.decisions import queue_exit, refresh_rows
from agents.kernel import close_all, run_market
from agents.orders import next_id
from tests.referee.arithmetic import Bar, Rules, candle_integers, way_of
from tests.referee.book import Agent, Order
from tests.referee.engine import Referee
from tests.referee.habits import decide
from tests.referee.scenarios import HOUR, START, Scenario, Send
from trader.broker.market import ExchangeRules, Path, market_vector, tier_table
from trader.core.rows import ENTRY, EXIT, FUNDING, PARTIAL, REJECT, Limit, OrderKind, Reject
from trader.core.types import Block, Instrument, LeverageTier, Visits
from trader.feeds import detail
from trader.feeds.files import Candles
from trader.session.market_run import bars_of, visits_of

_TABLES = {
    at.EVENT_ENTRY: ENTRY, at.EVENT_EXIT: EXIT, at.EVENT_PARTIAL: PARTIAL, at.EVENT_REJECT: REJECT,
    at.EVENT_FUNDING: FUNDING,
}  # fmt: skip
_COLUMNS = {
    kind: [name for name in table.names if name not in ("seq", "time_ms", "market")] for kind, table in _TABLES.items()
}
_STEPS = {
    "funding": at.PHASE_FUNDING, "gap": at.PHASE_OPEN_LIQUIDATION, "open": at.PHASE_OPEN, "path": at.PHASE_PATH,
    "limit": at.PHASE_LIMIT, "liquidation": at.PHASE_LIQUIDATION, "decision": at.PHASE_DECISION,
}  # fmt: skip
_CODES = {
    "kind": {code.name.lower(): int(code) for code in OrderKind}, "limited_by": {code.name.lower(): int(code) for code in Limit},
    "reason": {code.name.lower(): int(code) for code in Reject}, "step": _STEPS,
}  # fmt: skip
_HELD = (
    "side", "quantity", "entry_value", "liquidation", "stop", "take", "trail", "best", "leverage", "entry_ms",
)  # fmt: skip
HABITS = (
    "threshold", "exit_threshold", "size", "size_confidence", "leverage_cap", "leverage_confidence", "stop_atr", "take_atr",
    "trail_atr", "limit_atr", "holding_ms", "cooldown_ms",
)  # fmt: skip


class DifferenceError(AssertionError):
    """Kernel and referee disagree."""


def instrument_of(rules: Rules) -> tuple[np.ndarray, np.ndarray]:
    """Market vector and bracket table, through the public way."""
    instrument = Instrument(
        "REF/USDT", perpetual=rules.perpetual, price_exponent=rules.price_exponent, tick=rules.tick,
        quantity_exponent=rules.quantity_exponent, lot=rules.lot, minimum_quantity=rules.minimum_quantity,
        minimum_notional=rules.minimum_notional, maker_fee=rules.maker, taker_fee=rules.taker,
        tiers=tuple(LeverageTier(t.floor, t.rate, t.amount, t.leverage) for t in rules.tiers) if rules.perpetual else (),
    )  # fmt: skip
    exchange = ExchangeRules(
        participation=rules.participation / 1e8, half_spread=rules.half_spread / 1e8, impact=rules.impact / 1e8,
        liquidation_fee=rules.liquidation_fee / 1e8, path=Path[rules.path.upper()], path_seed=rules.path_seed,
        latency_ms=rules.latency_ms,
    )  # fmt: skip
    return market_vector(instrument, exchange), tier_table(instrument)


def finer_visits(scenario: Scenario) -> Visits | None:
    """The visits that a feed with these finer candles (ten minutes each) would tell; None without any."""
    if not scenario.finer:
        return None
    step = HOUR // 6
    times = [START + t * HOUR + k * step for t, all_of in enumerate(scenario.finer) for k in range(len(all_of))]
    values = np.array([candle for all_of in scenario.finer for candle in all_of]).reshape(-1, 5)
    here = [t for t, candle in enumerate(scenario.candles) if candle]
    base = np.array([scenario.candles[t] for t in here]).reshape(-1, 5)
    found = detail.Detail(step, Candles(np.array(times, np.int64), values))
    return detail.visits_of([(START + np.array(here, np.int64) * HOUR, base, found)], HOUR, None)


class KernelSide:
    """The arrays of one market and calls of the compiled kernel on them."""

    def __init__(self, scenario: Scenario) -> None:
        self.market, self.tiers = instrument_of(scenario.rules)
        self.scenario = scenario
        n, frames, timeframes = len(scenario.agents), len(scenario.candles), scenario.timeframes
        candles = np.array([c or (np.nan,) * 5 for c in scenario.candles])[:, None, :]
        stamps = np.array([s or (np.nan, np.nan) for s in scenario.stamps])
        phase = np.where(scenario.trading, 3, 0).astype(np.int64)
        present = np.array([c is not None for c in scenario.candles])[:, None]
        block = Block(
            START + np.arange(frames) * HOUR, candles, present, stamps[:, :1], stamps[:, 1:],
            np.zeros((frames, 1), np.int64), phase, visits=finer_visits(scenario),
        )  # fmt: skip
        self.bars = bars_of(block, 0, self.market, funding=True)
        self.visits = visits_of(block, 0, self.market, self.bars)
        self.floats = np.ascontiguousarray(candles[:, 0, [2, 1, 3]])
        scored = bool(scenario.scores)
        self.closed = np.array(scenario.closed) if scored else np.zeros((frames, timeframes), np.bool_)
        self.atr = np.array(scenario.atr) if scored else np.ones((frames, timeframes))
        self.regime = np.array(scenario.regime if scored else np.zeros((frames, timeframes)), np.int8)
        self.scores = np.array(scenario.scores if scored else np.zeros((frames, n)), np.float32)
        frame = [agent.timeframe for agent in scenario.agents]
        self.segments = np.searchsorted(frame, np.arange(timeframes + 1)).astype(np.int64)
        self.state = np.zeros((n, at.STATE_FIELDS), np.int64)
        self.habits = np.zeros((n, at.HABIT_FIELDS))
        self.triggers = np.zeros((at.TRIGGER_FIELDS, n), np.float32)
        self.watch = np.zeros((at.WATCH_FIELDS, n), np.int64)
        self.days = np.zeros((at.DAY_FIELDS, n))
        self.totals = np.zeros(at.TOTAL_FIELDS, np.int64)
        self.totals[at.LAST_DAY] = -1
        self.rows: list[np.ndarray] = []
        for a, agent in enumerate(scenario.agents):
            row = self.state[a]
            row[at.AGENT], row[at.ARCHETYPE], row[at.TIMEFRAME_MS] = agent.number, agent.archetype, timeframe_ms(agent)
            row[at.ACTIVE], row[at.FUNDED], row[at.CASH] = agent.active, agent.funded, agent.cash
            row[at.PENDING] = at.NOTHING_PENDING
            self.habits[a, : len(HABITS)] = [getattr(agent.habits, name) for name in HABITS]
            if not scored:
                self.habits[a, at.HOLDING_MS] = 1e15
        self.totals[at.TOTAL_CASH] = sum(agent.cash for agent in scenario.agents if agent.funded)
        refresh_rows(self.state, self.habits, self.triggers, self.watch, np.arange(n), self.market)

    def run(self, first: int, stop: int) -> None:
        """Candles [first, stop) as one block."""
        n, part = len(self.state), slice(first, stop)
        out = np.zeros((stop - first, at.OUT_FIELDS), np.int64)
        events = np.zeros((at.EVENTS_PER_CANDLE * n * (stop - first + 1), at.EVENT_FIELDS), np.int64)
        reached, count = run_market(
            0, self.bars[part], self.visits, self.floats[part], self.closed[part], self.atr[part], self.regime[part],
            self.scores[part],
            self.segments, self.state, self.habits, self.triggers, self.watch, self.days, self.totals, self.market,
            self.tiers, events, out, np.zeros(128, np.uint8),
            np.zeros((3, n), np.int64),
        )  # fmt: skip
        assert reached == stop - first
        self.out = out[-1].tolist()
        events[:count, at.EVENT_CANDLE] += first
        self.rows.append(events[:count])

    def send(self, send: Send, now: int) -> None:
        """Write an order into the agent's row, as a decision would."""
        row = self.state[send.agent]
        if row[at.PENDING] != at.NOTHING_PENDING:
            return
        if send.kind != "entry":
            if row[at.SIDE] == 0:
                return
            queue_exit(self.state, send.agent, int(OrderKind[send.kind.upper()]), now)
        elif row[at.SIDE] == 0:
            row[at.HELD] = int(int(row[at.CASH]) * int(send.share * 100) // 100)
            row[at.PENDING], row[at.PENDING_SIDE] = int(OrderKind.ENTRY), send.side
            row[at.PENDING_QUANTITY] = row[at.PENDING_REQUESTED] = send.quantity
            row[at.PENDING_ORDER] = next_id(self.state, send.agent, at.ORDERS)
            row[at.PENDING_DECIDED], row[at.PENDING_LEVERAGE] = now, send.leverage
            row[at.PENDING_CONFIDENCE] = row[at.PENDING_SCORE] = row[at.PENDING_REGIME] = 0
            row[at.PENDING_STOP], row[at.PENDING_TAKE], row[at.PENDING_TRAIL] = send.stop, send.take, send.trail
            row[at.PENDING_LIMIT] = send.limit
        refresh_rows(self.state, self.habits, self.triggers, self.watch, np.array([send.agent]), self.market)

    def end(self) -> None:
        """The end of a finished session, at the last candle present."""
        last = self.bars[np.flatnonzero(self.bars[:, at.IN_PRESENT])[-1]]
        events = np.zeros((len(self.state), at.EVENT_FIELDS), np.int64)
        self.out = []
        count = close_all(
            self.state, self.habits, self.triggers, self.watch, self.totals, last, self.market, events
        )  # fmt: skip
        self.rows.append(events[:count])

    def events(self) -> list[dict]:
        """All events since the last call, by column name."""
        found = []
        for row in np.concatenate(self.rows).tolist() if self.rows else []:
            kind = row[at.EVENT_KIND]
            columns = _COLUMNS[kind]
            event = dict(zip(columns, row[at.EVENT_BODY :], strict=False))
            event.pop("phase", None)  # the session writes it
            found.append(
                event | {"event": _TABLES[kind].name, "candle": row[at.EVENT_CANDLE], "step": row[at.EVENT_PHASE]}
            )
        self.rows = []
        return found

    def balances(self) -> dict:
        """Everything that must be equal between events."""
        result = {
            name: int(self.totals[field])
            for name, field in (
                ("cash", at.TOTAL_CASH), ("margin", at.TOTAL_MARGIN), ("fees", at.TOTAL_FEES),
                ("funding", at.TOTAL_FUNDING), ("insurance", at.TOTAL_INSURANCE), ("market", at.TOTAL_MARKET),
            )
        }  # fmt: skip
        if self.out:
            result["out"] = tuple(self.out)
        for row in self.state.tolist():
            agent = {
                name: row[field]
                for name, field in (
                    ("cash", at.CASH), ("margin", at.MARGIN), ("held", at.HELD), ("side", at.SIDE), ("closed", at.CLOSED),
                    ("pnl", at.PNL), ("wins", at.WINS), ("cool_until", at.COOL_UNTIL), ("pending", at.PENDING),
                )
            }  # fmt: skip
            if row[at.SIDE]:
                for name, field in (
                    ("quantity", at.QUANTITY), ("entry_value", at.COST), ("liquidation", at.LIQUIDATION),
                    ("stop", at.STOP), ("stop_kind", at.STOP_KIND), ("take", at.TAKE), ("trail", at.TRAIL),
                    ("best", at.BEST), ("leverage", at.LEVERAGE), ("entry_ms", at.ENTRY_MS),
                ):  # fmt: skip
                    agent[name] = row[field]
            if row[at.PENDING] != at.NOTHING_PENDING:
                agent["order"] = (row[at.PENDING_ORDER], row[at.PENDING_QUANTITY], row[at.PENDING_DECIDED])
            result[row[at.AGENT]] = agent
        return result


def timeframe_ms(agent) -> int:
    return HOUR * (3 if agent.timeframe else 1)


class RefereeSide:
    """The same scenario on the referee."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.agents = [
            Agent(
                a.number, a.cash, a.funded, a.active, a.archetype, timeframe_ms(a), a.timeframe, a.habits.cooldown_ms, a.habits
            )
            for a in scenario.agents
        ]  # fmt: skip
        self.referee = Referee(scenario.rules, self.agents)
        self.ended = False

    def run(self, first: int, stop: int) -> None:
        scenario = self.scenario
        for t in range(first, stop):
            self.referee.candle(t, bar_of(scenario, t))
            if scenario.candles[t] and scenario.trading[t] and scenario.scores:
                for a, agent in enumerate(self.agents):
                    k = agent.timeframe
                    decide(
                        self.referee, agent, closes=scenario.closed[t][k], score=float(np.float32(scenario.scores[t][a])),
                        atr=scenario.atr[t][k], regime=scenario.regime[t][k],
                    )  # fmt: skip

    def send(self, send: Send, now: int) -> None:
        agent = self.agents[send.agent]
        if agent.order or (agent.position is None) != (send.kind == "entry"):
            return
        if agent.position:
            self.referee.send_exit(agent, send.kind, now)
            return
        self.referee.send_entry(agent, Order(
            "entry", agent.named("orders"), send.quantity, send.quantity, now, side=send.side,
            budget=agent.cash * int(send.share * 100) // 100, leverage=send.leverage, limit=send.limit, stop=send.stop,
            take=send.take, trail=send.trail,
        ))  # fmt: skip

    def end(self) -> None:
        self.ended = True
        self.referee.end()

    def events(self) -> list[dict]:
        found = [
            event | {key: codes[event[key]] for key, codes in _CODES.items() if key in event}
            for event in self.referee.events
        ]
        self.referee.events = []
        return found

    def balances(self) -> dict:
        result = dict(vars(self.referee.accounts))
        if not self.ended:
            result["out"] = (result["cash"], result["margin"], self.referee.unrealised())
        for agent in self.agents:
            held = agent.order.budget if agent.order else 0
            row = {
                "cash": agent.cash, "margin": agent.margin, "held": held, "side": 0, "closed": agent.closed,
                "pnl": agent.pnl, "wins": agent.wins, "cool_until": agent.cool_until, "pending": at.NOTHING_PENDING,
            }  # fmt: skip
            if position := agent.position:
                row |= {name: getattr(position, name) for name in _HELD}
                row["stop_kind"] = OrderKind[position.stop_kind.upper()]
            if order := agent.order:
                row["pending"] = OrderKind[order.kind.upper()]
                row["order"] = (order.number, order.quantity, order.decided)
            result[agent.number] = row
        return result


def bar_of(scenario: Scenario, t: int) -> Bar:
    """The referee's own integer form of a candle and its stamp."""
    candle, stamp, rules = scenario.candles[t], scenario.stamps[t], scenario.rules
    if candle is None:
        return Bar(START + t * HOUR, False, scenario.trading[t], 0, 0, 0, 0, 0)
    integers = candle_integers(candle, rules)
    rate = mark = 0
    if stamp and rules.perpetual:
        rate = round(stamp[0] * 1e12)
        mark = integers[0] if stamp[1] != stamp[1] else round(stamp[1] * 10.0**rules.price_exponent)
    bar = Bar(START + t * HOUR, True, scenario.trading[t], *integers, rate, mark)
    if scenario.finer and scenario.finer[t]:
        bar = replace(bar, way=way_of(candle, scenario.finer[t], bar, rules))
    return bar


def _compare(kernel: KernelSide, referee: RefereeSide, where: str) -> int:
    """Raise the first difference in events since the last call or in the balances now; returns how many events."""

    def order(event):
        return event["candle"], event["agent"], event["step"]

    left, right = sorted(kernel.events(), key=order), sorted(referee.events(), key=order)
    for mine, theirs in zip(left, right, strict=False):
        if mine != theirs:
            keys = [key for key in mine | theirs if mine.get(key) != theirs.get(key)]
            told = {key: (mine.get(key), theirs.get(key)) for key in keys}
            raise DifferenceError(f"{where}: (kernel, referee) {told}\nkernel  {mine}\nreferee {theirs}")
    if len(left) != len(right):
        raise DifferenceError(f"{where}: one event more: {left[len(right) :]} {right[len(left) :]}")
    mine, theirs = kernel.balances(), referee.balances()
    for key in mine:
        if mine[key] != theirs[key]:
            told = mine[key], theirs[key]
            if isinstance(mine[key], dict):
                told = {
                    name: (mine[key].get(name), theirs[key].get(name))
                    for name in mine[key] | theirs[key]
                    if mine[key].get(name) != theirs[key].get(name)
                }
            raise DifferenceError(f"{where}: {key}: (kernel, referee) {told}")
    return len(left)


def play(scenario: Scenario) -> int:
    """Run a scenario on both; returns the number of events.

    Raises:
        DifferenceError: the two disagree in an event, a balance, a position or an order.
    """
    kernel, referee = KernelSide(scenario), RefereeSide(scenario)
    first = events = 0
    for t in sorted(scenario.cuts):
        kernel.run(first, t + 1)
        referee.run(first, t + 1)
        first = t + 1
        for send in scenario.sends:
            if send.candle == t:
                kernel.send(send, START + t * HOUR)
                referee.send(send, START + t * HOUR)
        events += _compare(kernel, referee, f"seed {scenario.seed} candle {t}")
    if scenario.ends:
        kernel.end()
        referee.end()
        events += _compare(kernel, referee, f"seed {scenario.seed} at the end")
    return events
