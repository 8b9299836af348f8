"""An independent paper exchange: docs/exchange.md in plain Python, one agent after the other, one candle at a time.

It knows nothing of the kernel: no arrays, no triggers, unbounded integers. A `Referee` holds agents and system accounts;
`candle` takes one base candle through the document's steps and returns what happened; `send_entry` and `send_exit` queue
orders at a close. Events are dicts with the columns of the tables that they fill.
"""

from __future__ import annotations

from tests.referee.arithmetic import (
    PARTS,
    Bar,
    Rules,
    ceil_div,
    down,
    liquidation_price,
    pro_rata,
    slippage,
    slipped,
    up,
    value,
    visits,
)
from tests.referee.book import Accounts, Agent, Fill, Order, Position

RESTS_AT_EXCHANGE = ("stop", "take", "trail")


class Referee:
    """The exchange of one market."""

    def __init__(self, rules: Rules, agents: list[Agent]) -> None:
        self.rules = rules
        self.agents = agents
        self.accounts = Accounts(cash=sum(agent.cash for agent in agents if agent.funded))
        self.events: list[dict] = []
        self.bar: Bar | None = None
        self.index = -1
        self.last_close = 0

    # --- orders ------------------------------------------------------------------------------------------------

    def send_entry(self, agent: Agent, order: Order) -> None:
        assert agent.position is None and agent.order is None
        agent.order = order

    def send_exit(self, agent: Agent, kind: str, now: int) -> None:
        assert agent.position is not None
        quantity = agent.position.quantity
        agent.order = Order(kind, agent.named("orders"), quantity, quantity, now)

    # --- one candle --------------------------------------------------------------------------------------------

    def candle(self, index: int, bar: Bar) -> None:
        """Steps 1 to 5 and the trailing stops of step 6."""
        if not bar.present:
            return
        self.bar, self.index = bar, index
        for agent in self.agents if bar.rate else ():
            if agent.position:
                self._funding(agent)
        gone = [agent for agent in self.agents if self._gapped(agent)]
        for agent in gone:
            self._liquidate(agent, bar.open, "gap")
        due = [agent for agent in self.agents if agent not in gone and self._due(agent)]
        resting = [agent for agent in due if self._rests(agent)]
        trading = [agent for agent in due if agent not in resting]
        carried = [agent for agent in trading if agent.position]
        left = self._at_open(trading)
        self._on_path(resting, carried, left)
        for agent in self.agents:
            position = agent.position
            if position and position.liquidation and self._reaches(position, position.liquidation):
                worse = min if position.side > 0 else max
                self._liquidate(agent, worse(bar.open, position.liquidation), "liquidation")
        for agent in self.agents:
            if agent.position:
                self._trail(agent.position)
                agent.position.lowest = min(agent.position.lowest, bar.low)
                agent.position.highest = max(agent.position.highest, bar.high)
        self.last_close = bar.close

    def _gapped(self, agent: Agent) -> bool:
        held = agent.position
        return bool(held and held.liquidation and held.side * (self.bar.open - held.liquidation) <= 0)

    def _due(self, agent: Agent) -> bool:
        order = agent.order
        if order is None:
            return False
        return order.kind in RESTS_AT_EXCHANGE or self.bar.ms > order.decided + self.rules.latency_ms

    def _rests(self, agent: Agent) -> bool:
        order = agent.order
        return bool(order.kind == "entry" and order.limit and order.side * (self.bar.open - order.limit) > 0)

    def _reaches(self, position: Position, level: int) -> bool:
        """True if the candle's extreme on the losing side touches `level`."""
        adverse = self.bar.low if position.side > 0 else self.bar.high
        return position.side * (adverse - level) <= 0

    def _fractions(self, wanted: list[tuple[Agent, int, int]]) -> tuple[int, dict[int, int]]:
        """Summed demand of the funded orders (agent, side, quantity), and the slippage of either side."""
        sums = {side: sum(q for a, s, q in wanted if s == side and a.funded) for side in (1, -1)}
        return sum(sums.values()), {side: slippage(sums[side], self.bar.volume, self.rules) for side in sums}

    def _at_open(self, trading: list[Agent]) -> int:
        """Step 3; returns what is left of the cap."""
        bar, rules = self.bar, self.rules
        wanted = [(a, -a.position.side if a.position else a.order.side, a.order.quantity) for a in trading]
        demand, fractions = self._fractions(wanted)
        cap = bar.volume * rules.participation // PARTS
        left = cap
        for agent, side, quantity in wanted:
            offered = pro_rata(quantity, cap, demand, bar.volume, rules)
            raw = slipped(bar.open, side, fractions[side], rules)
            if agent.position:
                filled = self._exit(agent, Fill(bar.open, raw, step="open"), offered)
            else:
                limit = agent.order.limit
                if limit and side * (raw - limit) > 0:
                    raw = limit
                filled = self._enter(agent, Fill(bar.open, raw, step="open"), offered)
            left -= filled if agent.funded else 0
        return max(left, 0)

    def _on_path(self, resting: list[Agent], carried: list[Agent], left: int) -> None:
        """Step 4."""
        rules, bar = self.rules, self.bar
        wanted, references = [], {}
        for agent in self.agents:
            if agent in resting:
                order = agent.order
                extreme = bar.low if order.side > 0 else bar.high
                if order.side * (order.limit - extreme) >= rules.tick:
                    wanted.append((agent, order.side, order.quantity))
                    references[agent.number] = order.limit
                else:
                    self._cancel(agent, "unfilled", "limit")
            elif agent.position and agent not in carried:
                kind, reference = self._path_order(agent.position)
                if kind:
                    self.send_exit(agent, kind, bar.ms)
                    wanted.append((agent, -agent.position.side, agent.position.quantity))
                    references[agent.number] = reference
        demand, fractions = self._fractions(wanted)
        for agent, side, quantity in wanted:
            reference = references[agent.number]
            offered = pro_rata(quantity, left, demand, bar.volume, rules)
            if agent in resting:
                self._enter(agent, Fill(reference, reference, maker=True, step="limit"), offered)
                if agent.position and self._reaches(agent.position, agent.position.stop):
                    self.send_exit(agent, "stop", bar.ms)
            else:
                raw = slipped(reference, side, fractions[side], rules)
                self._exit(agent, Fill(reference, raw, step="path"), offered)

    def _path_order(self, position: Position) -> tuple[str, int]:
        """What the path does first to a position: (kind, reference price), kind empty for nothing to be ordered."""
        bar, side = self.bar, position.side
        stop_nearer = not position.liquidation or side * (position.stop - position.liquidation) > 0
        adverse = position.stop if stop_nearer else position.liquidation
        if stop_nearer and side * (bar.open - position.stop) <= 0:
            return position.stop_kind, bar.open
        if side * (bar.open - position.take) >= 0:
            return "take", bar.open
        for price in (bar.open, *visits(bar, side, self.rules)):
            if side * (price - adverse) <= 0:
                return (position.stop_kind, position.stop) if stop_nearer else ("", 0)
            if side * (price - position.take) >= 0:
                return "take", position.take
        return "", 0

    def _trail(self, position: Position) -> None:
        if not position.trail:
            return
        side = position.side
        position.best = max(position.best, self.bar.high) if side > 0 else min(position.best, self.bar.low)
        stop = position.best - side * position.trail
        if side * (stop - position.stop) > 0:
            position.stop, position.stop_kind = stop, "trail"

    # --- entries -----------------------------------------------------------------------------------------------

    def _fee(self, fill: Fill, quantity: int, worth: int) -> int:
        if fill.maker:
            return ceil_div(worth * self.rules.maker, PARTS)
        cut = ceil_div(abs(fill.raw - fill.price) * quantity, self.rules.divisor)
        return ceil_div(worth * self.rules.taker, PARTS) + cut

    def _cancel(self, agent: Agent, reason: str, step: str) -> None:
        order = agent.order
        agent.order = None
        agent.cool_until = self.bar.ms + agent.cooldown_ms
        self.reject(agent, order.number, order.side, order.decided, order.requested, reason, step, sent=1)

    def reject(self, agent, number, side, decided, requested, reason, step, *, sent):
        """An entry that bought nothing."""
        self.events.append({
            "event": "reject", "candle": self.index, "step": step, "agent": agent.number, "order_id": number, "side": side,
            "decided_ms": decided, "requested_qty": requested, "reason": reason, "sent": sent, "funded": int(agent.funded),
        })  # fmt: skip

    def _afford(self, fill: Fill, order: Order, quantity: int) -> tuple[int, int, int, int]:
        """Quantity that the budget carries, and its value, initial margin and fee."""
        while True:
            worth = value(fill.price, quantity, order.side, self.rules)
            initial = ceil_div(worth * 100, order.leverage)
            fee = self._fee(fill, quantity, worth)
            if quantity <= 0 or initial + fee <= order.budget:
                return max(quantity, 0), worth, initial, fee
            shrunk = int(float(quantity) * (float(order.budget) / float(initial + fee)))
            quantity = min(down(shrunk, self.rules.lot), quantity - self.rules.lot)

    def _enter(self, agent: Agent, fill: Fill, offered: int) -> int:
        """Fill or cancel an entry; returns the quantity filled."""
        bar, rules, order = self.bar, self.rules, agent.order
        fill.price = min(max(fill.raw, bar.low), bar.high)
        quantity, worth, initial, fee = self._afford(fill, order, offered)
        if quantity < rules.least or worth < rules.minimum_notional:
            reason = "margin"
            if offered < order.requested or offered < rules.least:
                reason = "participation" if bar.volume else "no_volume"
            self._cancel(agent, reason, fill.step)
            return 0
        agent.order = None
        told = abs(fill.price - fill.reference) * quantity // rules.divisor
        position = Position(
            agent.named("trades"), order.side, quantity, worth, fill.price, bar.ms, order.leverage, initial + fee, fee,
            told, bar.low, bar.high, opened=quantity,
        )  # fmt: skip
        agent.position = position
        agent.cash -= initial + fee
        agent.margin += initial
        self._place(agent, order)
        if agent.funded:
            self.accounts.cash -= initial + fee
            self.accounts.margin += initial
            self.accounts.fees += fee
        limited = "none"
        if quantity < order.requested:
            limited = "margin" if quantity < offered else "participation"
        self.events.append({
            "event": "entry", "candle": self.index, "step": fill.step, "agent": agent.number, "trade": position.trade,
            "order_id": order.number, "fill": agent.named("fills"), "side": order.side, "archetype": agent.archetype,
            "timeframe": agent.timeframe_ms, "leverage": order.leverage, "requested_qty": order.requested,
            "qty": quantity, "price": fill.price, "fee": fee, "margin": initial + fee, "decided_ms": order.decided,
            "confidence": order.confidence, "score": order.confidence, "regime": order.regime,
            "stop": position.stop, "take": position.take,
            "limited_by": limited, "slippage": told, "maker": int(fill.maker), "funded": int(agent.funded),
        })  # fmt: skip
        return quantity

    def _place(self, agent: Agent, order: Order) -> None:
        position, tick, price = agent.position, self.rules.tick, agent.position.entry_price
        if order.side > 0:
            position.stop, position.take = max(up(price - order.stop, tick), 0), up(price + order.take, tick)
        else:
            position.stop, position.take = down(price + order.stop, tick), max(down(price - order.take, tick), 0)
        position.trail, position.best = order.trail, price
        self._place_liquidation(agent)

    def _place_liquidation(self, agent: Agent) -> None:
        position = agent.position
        position.liquidation = liquidation_price(
            position.side, position.quantity, position.entry_value, agent.margin, self.rules
        )

    # --- exits -------------------------------------------------------------------------------------------------

    def _exit(self, agent: Agent, fill: Fill, quantity: int) -> int:
        """Fill an exit, whole or in part; returns what counts against the cap."""
        position, order = agent.position, agent.order
        if quantity == 0:
            return 0
        fill.kind = order.kind
        fill.price = min(max(fill.raw, self.bar.low), self.bar.high)
        whole = quantity == position.quantity
        if not whole:
            worth = value(fill.price, quantity, -position.side, self.rules)
            result = position.side * (worth - self._part_value(position, quantity))
            if agent.margin + result < self._fee(fill, quantity, worth):
                self._liquidate(agent, fill.price, fill.step)
                return 0
        self._leave(agent, fill, quantity)
        if not whole:
            order.quantity = position.quantity
            self._place_liquidation(agent)
        return quantity

    def _part_value(self, position: Position, quantity: int) -> int:
        if quantity == position.quantity:
            return position.entry_value
        return min(value(position.entry_price, quantity, position.side, self.rules), position.entry_value)

    def _liquidate(self, agent: Agent, price: int, step: str) -> None:
        quantity = agent.position.quantity
        agent.order = Order("liquidation", agent.named("orders"), quantity, quantity, self.bar.ms)
        self._leave(agent, Fill(price, price, price, step=step, kind="liquidation"), quantity)

    def _leave(self, agent: Agent, fill: Fill, quantity: int) -> None:
        """Book an exit fill."""
        position, order = agent.position, agent.order
        whole = quantity == position.quantity
        worth = value(fill.price, quantity, -position.side, self.rules)
        cost = self._part_value(position, quantity)
        gross = position.side * (worth - cost)
        left = agent.margin + gross
        fee, liquidation_fee = 0, 0
        if fill.kind == "liquidation":
            liquidation_fee = max(min(left, ceil_div(worth * self.rules.liquidation_fee, PARTS)), 0)
        else:
            fee = self._fee(fill, quantity, worth)
            if whole:
                fee = max(min(fee, left), 0)
        left -= fee + liquidation_fee
        insurance = max(-left, 0) if whole else 0
        if agent.funded:
            self.accounts.margin += left + insurance - agent.margin
            self.accounts.market -= gross
            self.accounts.fees += fee
            self.accounts.insurance += liquidation_fee - insurance
        agent.margin = left + insurance
        position.quantity -= quantity
        position.entry_value -= cost
        position.gross += gross + insurance
        position.fees += fee + liquidation_fee
        position.exits_value += worth
        position.slippage += abs(fill.price - fill.reference) * quantity // self.rules.divisor
        position.lowest = min(position.lowest, fill.price)
        position.highest = max(position.highest, fill.price)
        event = {
            "event": "exit" if whole else "partial", "candle": self.index, "step": fill.step, "agent": agent.number,
            "trade": position.trade, "order_id": order.number, "fill": agent.named("fills"), "kind": fill.kind,
            "decided_ms": order.decided, "requested_qty": order.requested, "qty": quantity, "price": fill.price, "fee": fee,
            "gross": gross + insurance, "limited_by": "none" if quantity == order.requested else "participation",
        }  # fmt: skip
        if whole:
            event |= self._close(agent, insurance, liquidation_fee)
        self.events.append(event | {"funded": int(agent.funded)})

    def _close(self, agent: Agent, insurance: int, liquidation_fee: int) -> dict:
        """Return the margin of a closed trade; the trade's sums for its event."""
        position = agent.position
        pnl = position.gross - position.fees + position.funding
        assert agent.margin == position.margin + pnl
        agent.cash += agent.margin
        if agent.funded:
            self.accounts.cash += agent.margin
            self.accounts.margin -= agent.margin
        agent.margin = 0
        agent.position = agent.order = None
        agent.cool_until = self.bar.ms + agent.cooldown_ms
        agent.closed += 1
        agent.wins += pnl > 0
        agent.pnl += pnl
        return {
            "insurance": insurance, "liquidation_fee": liquidation_fee, "trade_qty": position.opened,
            "trade_value": position.exits_value, "trade_gross": position.gross, "trade_fees": position.fees,
            "trade_funding": position.funding, "trade_pnl": pnl, "margin": position.margin,
            "slippage": position.slippage, "lowest": position.lowest, "highest": position.highest,
        }  # fmt: skip

    def end(self) -> None:
        """A finished session: queued entries are dropped, positions closed at the last close."""
        self.index = 0
        for agent in self.agents:
            if agent.position:
                self.send_exit(agent, "end", self.bar.ms)
                price = self.last_close
                self._leave(agent, Fill(price, price, price, step="decision", kind="end"), agent.position.quantity)
            agent.order = None

    def unrealised(self) -> int:
        """Unrealised result of all funded positions at the last close."""
        held = [agent.position for agent in self.agents if agent.position and agent.funded]
        net = sum(position.side * position.quantity for position in held)
        entered = sum(position.side * position.entry_value for position in held)
        return self.last_close * net // self.rules.divisor - entered

    # --- funding -----------------------------------------------------------------------------------------------

    def _funding(self, agent: Agent) -> None:
        position, bar = agent.position, self.bar
        worth = bar.mark * position.quantity // self.rules.divisor
        if position.side * bar.rate > 0:
            amount = -min(ceil_div(worth * abs(bar.rate), 10**12), agent.margin)
        else:
            amount = worth * abs(bar.rate) // 10**12
        if amount == 0:
            return
        agent.margin += amount
        position.funding += amount
        if agent.funded:
            self.accounts.margin += amount
            self.accounts.funding -= amount
        self._place_liquidation(agent)
        self.events.append({
            "event": "funding", "candle": self.index, "step": "funding", "agent": agent.number, "trade": position.trade,
            "amount": amount, "qty": position.quantity, "mark": bar.mark, "rate": bar.rate, "funded": int(agent.funded),
        })  # fmt: skip
