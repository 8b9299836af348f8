"""The books of a session: who has what, and the rows that say why.

Levels act on the session only through here: capital moves by `allocate`, agents come and go by `birth` and `reap`, and
each of these writes its rows. Agents' balances live in the population's arrays (the sub-ledger); the ledger holds one
control account each for all agents' cash and all their margins, and after every block the two must agree to the unit.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from agents import genome
from agents import layout as at
from agents.controls import is_control, is_frozen
from portfolio.ledger import ImbalanceError, Ledger
from portfolio.pool import Plan
from portfolio.risk import Caps
from trader.core import rows
from trader.core.rows import Account, Cause, OrderKind, Reject, TransferCode, float_bits
from trader.session.funnel import Funnel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from agents.population import Population, Roster
    from trader.session.levels import LevelUpdate

AGENTS_CASH: Final = "agents:cash"
AGENTS_MARGIN: Final = "agents:margin"
POOL_CASH: Final = "pool:cash"

_ABSORBED: Final = (
    (at.TOTAL_FEES, "fees"),
    (at.TOTAL_FUNDING, "funding"),
    (at.TOTAL_INSURANCE, "insurance"),
    (at.TOTAL_MARKET, "market"),
)


class Sink(Protocol):
    """Where rows go: a writer of the store."""

    def write(self, table: str, values: NDArray[np.int64]) -> None:
        """Take rows of a numeric table."""

    def write_text(self, table: str, values: Sequence[Sequence[Any]]) -> None:
        """Take rows of a text table."""


class Books:
    """Population, ledger and row counters of one session.

    Args:
        population, sink: who trades, and where rows go.
        symbols, timeframes: names of the session's markets and timeframes.
        account: virtual capital of an agent without a grant, 1e-8.

    `equity` and `peak` are the pool's at the last close, 1e-8, set by the engine after every block; `halted` says that
    the circuit breaker keeps agents from entering, `tripped` since which frame, and `high` is the peak it measures from:
    the pool's, or that since it was last rearmed.
    """

    def __init__(
        self,
        population: Population,
        sink: Sink,
        symbols: tuple[str, ...],
        timeframes: tuple[str, ...],
        account: int = 10**12,
    ) -> None:
        self.population = population
        self.ledger = Ledger()
        self.symbols = symbols
        self.timeframes = timeframes
        self.account = account
        self.deposited = 0
        self.generation = 0
        self.departing: dict[int, tuple[float, int]] = {}
        self.caps = Caps()
        self.equity = 0
        self.peak = 0
        self.high = 0
        self.halted = False
        self.tripped = -1
        self.other_orders = 0  # orders told outside the kernel's blocks: taken back, or refused when decided again
        self.funnel = Funnel()
        self._sink = sink
        self._sequence = dict.fromkeys({spec.sequence for spec in rows.TABLES.values()}, 0)

    # --- rows ---------------------------------------------------------------------------------------------------

    def sequence(self, table: str, count: int) -> NDArray[np.int64]:
        """The next `count` row numbers of a table's counter."""
        name = rows.TABLES[table].sequence
        first = self._sequence[name] + 1
        self._sequence[name] += count
        return np.arange(first, first + count, dtype=np.int64)

    def emit(self, table: str, columns: Sequence[Any], count: int) -> None:
        """Write `count` rows given by their columns after `seq`: int64 arrays or scalars; floats as bits already."""
        if count == 0:
            return
        block = np.empty((count, len(columns) + 1), np.int64)
        block[:, 0] = self.sequence(table, count)
        for position, column in enumerate(columns, start=1):
            block[:, position] = column
        self._sink.write(table, block)

    def emit_numbered(self, table: str, block: NDArray[np.int64]) -> None:
        """Write rows whose `seq` was given by `sequence`."""
        if len(block):
            self._sink.write(table, block)

    def level_row(self, name: str, time_ms: int, update: LevelUpdate) -> None:
        """The row of a level's update."""
        detail = json.dumps(update.detail, sort_keys=True, separators=(",", ":"), allow_nan=False)
        number = int(self.sequence("level", 1)[0])
        before, after = (
            value if np.isfinite(value) else None for value in (update.objective_before, update.objective_after)
        )
        self._sink.write_text("level", [(number, time_ms, name, update.step, before, after, int(update.kept), detail)])

    # --- money --------------------------------------------------------------------------------------------------

    def deposit(self, amount: int, time_ms: int) -> None:
        """Money from outside into the pool."""
        self.ledger.post("world", POOL_CASH, amount)
        self.deposited += amount
        self.emit(
            "transfer",
            (time_ms, int(Account.WORLD), int(Account.POOL_CASH), amount, int(TransferCode.DEPOSIT), -1, -1),
            1,
        )

    def capital(self) -> NDArray[np.int64]:
        """Cash and margin of the pool's that every agent has, in roster order; a virtual account is none of it."""
        return (self.population.column(at.CASH) + self.population.column(at.MARGIN)) * self._funded()

    def free(self) -> NDArray[np.int64]:
        """The pool's cash that is not held for an order, in roster order."""
        return (self.population.column(at.CASH) - self.population.column(at.HELD)) * self._funded()

    def fundable(self) -> NDArray[np.bool_]:
        """Who takes part in the division of the pool: the living, without control agents (mask over the roster)."""
        roster = self.population.roster
        return roster.living & ~is_control(roster)

    def receptive(self) -> NDArray[np.bool_]:
        """Who can be given capital now: a shadow only while it is flat, so that no trade changes hands half-way."""
        return self.fundable() & ((self._funded() == 1) | self._flat())

    def _funded(self) -> NDArray[np.int64]:
        return self.population.column(at.FUNDED)

    def _flat(self) -> NDArray[np.bool_]:
        """Agents without position and without order (mask over the roster)."""
        population = self.population
        return (population.column(at.SIDE) == 0) & (population.column(at.PENDING) == at.NOTHING_PENDING)

    def _lend_accounts(self) -> None:
        """Who has nothing of the pool's trades a virtual account; those of flat shadows are brought back to its size."""
        population = self.population
        flat = self._flat() & population.roster.living
        funded = self._funded() == 1
        population.top_up(flat & ~funded, self.account)
        population.shadow(flat & funded & (self.capital() == 0), self.account)

    def allocate(
        self, plan: Plan, targets: NDArray[np.int64], epoch: int, time_ms: int, rule: int,
        score: NDArray[np.float64] | None = None, risk: NDArray[np.float64] | None = None,
    ) -> NDArray[np.int64]:  # fmt: skip
        """Carry out grants and recalls, with a row for each; returns the amounts.

        score, risk: float64 [n] in roster order, what the rule thought of each agent; None where it did not look.
        """
        before = self.capital()
        amounts = np.where((plan.amounts > 0) & ~self.receptive(), 0, plan.amounts)
        moved = np.flatnonzero(amounts)
        total = max(self.equity_at_cost(), 1)
        weights = np.array([int(target) * 1_000_000_000 // total for target in targets[moved]], np.int64)
        nothing = np.full(len(amounts), np.nan)
        self.emit(
            "allocation",
            (
                time_ms, epoch, self.population.roster.agent[moved], before[moved], weights, amounts[moved],
                float_bits((nothing if score is None else score)[moved]),
                float_bits((nothing if risk is None else risk)[moved]), rule, plan.limits[moved],
            ),
            len(moved),
        )  # fmt: skip
        recalled = -int(amounts[amounts < 0].sum())
        granted = int(amounts[amounts > 0].sum())
        self.ledger.post(AGENTS_CASH, POOL_CASH, recalled)
        self.ledger.post(POOL_CASH, AGENTS_CASH, granted)
        assert self.ledger.balance(POOL_CASH) >= 0, "the pool granted what it did not have"
        self.population.fund((amounts > 0) & (self._funded() == 0))
        self.population.pay(amounts)
        self._lend_accounts()
        return amounts

    def equity_at_cost(self) -> int:
        """Cash of the pool and capital of its agents: deposits plus realised results."""
        accounts = (POOL_CASH, AGENTS_CASH, AGENTS_MARGIN)
        return sum(self.ledger.balance(account) for account in accounts)

    def absorb(self) -> None:
        """Book what the kernel moved since the last call and compare the control accounts with the arrays.

        Raises:
            ImbalanceError: they differ, or the ledger does not sum to zero: a defect, and the session stops.
        """
        totals = np.sum(self.population.totals, axis=0)
        for field, account in _ABSORBED:
            self.ledger.move(AGENTS_MARGIN, account, int(totals[field]) - self.ledger.balance(account))
        self.ledger.move(AGENTS_MARGIN, AGENTS_CASH, int(totals[at.TOTAL_CASH]) - self.ledger.balance(AGENTS_CASH))
        if self.ledger.balance(AGENTS_MARGIN) != int(totals[at.TOTAL_MARGIN]):
            off = self.ledger.balance(AGENTS_MARGIN) - int(totals[at.TOTAL_MARGIN])
            raise ImbalanceError(f"agents' margins differ from the ledger by {off} (1e-8)")
        self.ledger.check()

    def check_agents(self) -> None:
        """Compare the control accounts with the sums over agents (a full pass over the population).

        Raises:
            ImbalanceError: they differ, or an agent's balance is negative.
        """
        for field, account in ((at.CASH, AGENTS_CASH), (at.MARGIN, AGENTS_MARGIN)):
            values = self.population.column(field) * self.population.column(at.FUNDED)
            if int(values.sum()) != self.ledger.balance(account):
                raise ImbalanceError(
                    f"{account}: agents have {values.sum()}, the ledger {self.ledger.balance(account)}"
                )
            if (values < 0).any():
                raise ImbalanceError(f"{account}: an agent's balance is negative")

    # --- agents -------------------------------------------------------------------------------------------------

    def birth(self, newborn: Roster, time_ms: int) -> None:
        """Let agents be born, with a row for each."""
        numbers = self.sequence("birth", len(newborn))
        frozen = is_frozen(newborn)
        lines = []
        for i, number in enumerate(numbers.tolist()):
            symbol = self.symbols[int(newborn.market[i])]
            timeframe = int(newborn.timeframe[i])
            genes = genome.as_dict(newborn.genomes[i], symbol, self.timeframes[timeframe])
            lines.append((
                number, time_ms, int(newborn.agent[i]), int(newborn.parent_a[i]), int(newborn.parent_b[i]),
                int(newborn.operator[i]), int(newborn.archetype[i]), int(newborn.market[i]),
                self.population.timeframes_ms[timeframe], int(newborn.generation[i]), int(frozen[i]),
                json.dumps(genes, sort_keys=True, separators=(",", ":"), allow_nan=False),
            ))  # fmt: skip
        self._sink.write_text("birth", lines)
        self.population.add(newborn)

    def withdraw(self, chosen: NDArray[np.bool_], reason: Reject, time_ms: int) -> None:
        """Write a row for each entry that agents (mask over the roster) have queued; whoever calls drops them."""
        population = self.population
        queued = (population.column(at.SIDE) == 0) & (population.column(at.PENDING) == int(OrderKind.ENTRY))
        rows_of = np.flatnonzero(chosen & queued)
        if len(rows_of) == 0:
            return
        roster, funded = population.roster, self._funded()[rows_of]
        columns = (at.PENDING_ORDER, at.PENDING_SIDE, at.PENDING_DECIDED, at.PENDING_REQUESTED)
        order, side, decided, requested = (population.column(column)[rows_of] for column in columns)
        market = roster.market[rows_of]
        self.emit(
            "reject",
            (time_ms, market, roster.agent[rows_of], order, side, decided, requested, int(reason), 1, funded),
            len(rows_of),
        )
        self.funnel.add_rejects(market.tolist(), roster.archetype[rows_of].tolist(), reason)
        self.other_orders += int(funded.sum())

    def retire(self, culled: NDArray[np.bool_], fitness: NDArray[np.float64], cause: Cause, time_ms: int) -> None:
        """Stop agents (mask over the roster); they die, with this fitness and cause, once they are flat (`reap`)."""
        agents = self.population.roster.agent[culled].tolist()
        self.departing |= {
            agent: (value, int(cause)) for agent, value in zip(agents, fitness[culled].tolist(), strict=True)
        }
        self.withdraw(culled, Reject.WITHDRAWN, time_ms)
        self.population.retire(culled, int(OrderKind.CULL), time_ms)

    def reap(self, epoch: int, time_ms: int, rule: int) -> None:
        """Recall the money of culled agents that are flat by now, write their deaths, and remove them."""
        population = self.population
        gone = ~population.roster.living & self._flat()
        if not gone.any():
            return
        amounts = np.where(gone, -self.capital(), 0)
        population.top_up(gone & (self._funded() == 0), 0)
        self.allocate(Plan(amounts, np.zeros(len(amounts), np.int64)), np.zeros_like(amounts), epoch, time_ms, rule)
        agents = population.roster.agent[gone]
        ends = [self.departing.pop(agent) for agent in agents.tolist()]
        self.emit(
            "death",
            (
                time_ms, agents, np.array([cause for _, cause in ends]), population.roster.generation[gone],
                float_bits(np.array([fitness for fitness, _ in ends])),
                population.column(at.CLOSED)[gone], population.column(at.PNL)[gone],
            ),
            int(gone.sum()),
        )  # fmt: skip
        self.funnel.add_agents(population, gone)
        population.remove(gone)

    def write_funnel(self) -> None:
        """The final counts of what became of every decision."""
        self.funnel.add_agents(self.population, np.ones(len(self.population), np.bool_))
        self.funnel.finish()
        lines = np.array(self.funnel.rows(), np.int64).reshape(-1, 4)
        self.emit("funnel", list(lines.T), len(lines))

    # --- checkpoint ---------------------------------------------------------------------------------------------

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Arrays and JSON of everything the books remember. A pure read."""
        meta = {
            "accounts": dict(self.ledger.accounts),
            "deposited": self.deposited,
            "generation": self.generation,
            "halted": self.halted,
            "tripped": self.tripped,
            "high": self.high,
            "other_orders": self.other_orders,
            "departing": [[agent, *end] for agent, end in sorted(self.departing.items())],
            "sequence": dict(self._sequence),
            "funnel": self.funnel.rows(),
        }
        return self.population.state(), meta

    def restore(self, arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> None:
        """Become what `state` described."""
        self.population.restore(arrays)
        self.ledger.accounts = {name: int(amount) for name, amount in meta["accounts"].items()}
        self.deposited = int(meta["deposited"])
        self.generation = int(meta["generation"])
        self.halted = bool(meta["halted"])
        self.tripped = int(meta["tripped"])
        self.high = int(meta["high"])
        self.other_orders = int(meta["other_orders"])
        self.departing = {int(agent): (float(fitness), int(cause)) for agent, fitness, cause in meta["departing"]}
        self.funnel.counts = {(m, kind, stage): count for m, kind, stage, count in meta["funnel"]}
        self._sequence = {name: int(number) for name, number in meta["sequence"].items()}
