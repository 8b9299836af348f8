"""Who is alive: the roster of agents and, market by market, their packed arrays.

One agent is a row, never an object. Roster rows stand in kernel order: by market, then timeframe, archetype and agent
number, so a market's agents are one slice. Agents are born and removed between blocks only; a living agent keeps its
state when rows move. Numbers are given once and never reused.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents import genome
from agents import layout as at
from agents.decisions import queue_exit, refresh_rows
from agents.market_agents import CARRIED, MarketAgents, pack
from trader.core import rng
from trader.core.rng import Stream
from trader.core.rows import Operator

Integers = NDArray[np.int64]

_DAY_UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class Roster:
    """Agents as columns, N rows. `market`, `timeframe` and `archetype` are indices; `living` is False for an agent that
    selection has culled and that still holds a position; parents are -1 where there are none."""

    agent: Integers
    market: Integers
    timeframe: Integers
    archetype: Integers
    generation: Integers
    born_ms: Integers
    parent_a: Integers
    parent_b: Integers
    operator: Integers
    living: NDArray[np.bool_]
    genomes: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.agent)

    def take(self, rows: NDArray[Any] | slice) -> Roster:
        """The rows selected by an index or mask."""
        return Roster(*(getattr(self, column.name)[rows] for column in fields(self)))

    def join(self, other: Roster) -> Roster:
        """These rows and then the other's."""
        return Roster(
            *(np.concatenate((getattr(self, column.name), getattr(other, column.name))) for column in fields(self))
        )

    def order(self) -> Integers:
        """Row numbers in kernel order."""
        return np.lexsort((self.agent, self.archetype, self.timeframe, self.market)).astype(np.int64)


def founders(
    seed: int, size: int, markets: int, timeframes: int, archetypes: NDArray[np.int64], born_ms: int
) -> Roster:
    """The first generation: genomes uniform over every range, habitats and archetypes dealt out evenly."""
    agent = np.arange(size, dtype=np.int64)
    return strangers(seed, Stream.FOUNDER, 0, agent, markets, timeframes, archetypes, born_ms)


def strangers(
    seed: int, stream: Stream, generation: int, agent: Integers, markets: int, timeframes: int,
    archetypes: NDArray[np.int64], born_ms: int,
) -> Roster:  # fmt: skip
    """Agents without parents, numbered `agent` [N, ascending], with uniform genomes.

    Cells (market, timeframe, archetype) are filled in turn, in an order shuffled by seed and generation, so that every
    cell has its share; `archetypes` are the numbers of those in use.
    """
    size = len(agent)
    units = rng.uniform(seed, stream, generation, agent[:, None], np.arange(len(genome.GENES))[None, :])
    genomes = genome.settle(genome.from_unit(units))
    cells = markets * timeframes * len(archetypes)
    cell = np.argsort(rng.uniform(seed, Stream.HABITAT, generation, np.arange(cells), 0), kind="stable")
    cell = cell[np.arange(size) % cells]
    market, rest = np.divmod(cell, timeframes * len(archetypes))
    timeframe, kind = np.divmod(rest, len(archetypes))
    no_parent = np.full(size, -1, np.int64)
    genomes[:, genome.INDEX["symbol"]] = market
    genomes[:, genome.INDEX["timeframe"]] = timeframe
    return Roster(
        agent, market, timeframe, archetypes[kind], np.full(size, generation, np.int64),
        np.full(size, born_ms, np.int64), no_parent, no_parent.copy(), np.full(size, int(Operator.FOUNDER), np.int64),
        np.ones(size, np.bool_), genomes,
    )  # fmt: skip


def nobody() -> Roster:
    """A roster without rows."""
    columns: list[Any] = [np.zeros(0, np.int64) for _ in fields(Roster)]
    columns[-2:] = [np.zeros(0, np.bool_), np.zeros((0, len(genome.GENES)))]
    return Roster(*columns)


def _newborn_arrays(roster: Roster, timeframes_ms: tuple[int, ...]) -> dict[str, NDArray[Any]]:
    """State, triggers, watch and days of agents that have done nothing yet."""
    n = len(roster)
    state = np.zeros((n, at.STATE_FIELDS), np.int64)
    state[:, at.AGENT] = roster.agent
    state[:, at.ARCHETYPE] = roster.archetype
    state[:, at.TIMEFRAME_MS] = np.array(timeframes_ms, np.int64)[roster.timeframe]
    state[:, at.ACTIVE] = 1
    state[:, at.FUNDED] = 1
    state[:, at.PENDING] = at.NOTHING_PENDING
    watch = np.zeros((at.WATCH_FIELDS, n), np.int64)
    watch[at.WAKE] = at.NEVER
    return {
        "state": state,
        "triggers": np.zeros((at.TRIGGER_FIELDS, n), np.float32),
        "watch": watch,
        "days": np.zeros((at.DAY_FIELDS, n)),
        "phenotypes": roster.genomes.copy(),
        "multipliers": np.ones((n, at.MULTIPLIERS)),
    }


class Population:
    """All agents of a session.

    Args:
        markets: market vectors (`trader.broker.market`), one for each market in the session's order.
        timeframes_ms: the timeframes agents decide on, ascending.
        archetypes: how many archetypes there may be; each can have a calibration of its own.
    """

    def __init__(self, markets: list[Integers], timeframes_ms: tuple[int, ...], archetypes: int = 64) -> None:
        self.rules = markets
        self.calibration = np.full((archetypes, at.BINS), np.nan)
        self.timeframes_ms = timeframes_ms
        self.roster = nobody()
        self.markets: list[MarketAgents] = [
            self._packed(self.roster, _newborn_arrays(self.roster, timeframes_ms)) for _ in markets
        ]
        self.totals = [np.zeros(at.TOTAL_FIELDS, np.int64) for _ in markets]
        for totals in self.totals:
            totals[at.LAST_DAY] = _DAY_UNKNOWN
        self.next_agent = 0

    def _packed(self, roster: Roster, arrays: dict[str, NDArray[Any]]) -> MarketAgents:
        return pack(roster.archetype, roster.timeframe, self.timeframes_ms, arrays, self.calibration)

    def __len__(self) -> int:
        return len(self.roster)

    def column(self, field: int) -> Integers:
        """One state column of all agents, in roster order (a copy)."""
        return np.concatenate([market.state[:, field] for market in self.markets])

    def days(self) -> NDArray[np.float64]:
        """Daily results of all agents, float64 [DAY_FIELDS, N], in roster order (a copy)."""
        return np.concatenate([market.days for market in self.markets], axis=1)

    def slices(self) -> list[slice]:
        """The roster rows of each market."""
        edges = np.searchsorted(self.roster.market, np.arange(len(self.markets) + 1))
        return [slice(int(edges[m]), int(edges[m + 1])) for m in range(len(self.markets))]

    def add(self, newborn: Roster) -> None:
        """Let agents be born; their numbers must come after all that were given."""
        assert len(newborn) == 0 or newborn.agent.min() >= self.next_agent, "agent numbers are never reused"
        if len(newborn):
            self.next_agent = int(newborn.agent.max()) + 1
        self._rebuild(np.ones(len(self.roster), np.bool_), newborn)

    def remove(self, gone: NDArray[np.bool_]) -> None:
        """Remove flat agents without money (mask over the roster)."""
        for field in (at.SIDE, at.CASH, at.MARGIN, at.HELD):
            assert not self.column(field)[gone].any(), "an agent leaves flat and empty-handed"
        self._rebuild(~gone, nobody())

    def _rebuild(self, kept: NDArray[np.bool_], newborn: Roster) -> None:
        for m, rows in enumerate(self.slices()):
            old = self.markets[m]
            mask = kept[rows]
            arriving = newborn.take(newborn.market == m)
            if mask.all() and len(arriving) == 0:
                continue
            here = self.roster.take(rows).take(mask).join(arriving)
            order = here.order()
            fresh = _newborn_arrays(arriving, self.timeframes_ms)
            arrays = {
                name: np.take(
                    np.concatenate((np.compress(mask, getattr(old, name), axis), fresh[name]), axis), order, axis
                )
                for name, axis in CARRIED.items()
            }
            self.markets[m] = self._packed(here.take(order), arrays)
            self.refresh(m)
        together = self.roster.take(kept).join(newborn)
        self.roster = together.take(together.order())

    def refresh(self, m: int, rows: NDArray[np.int64] | None = None) -> None:
        """Recompute triggers and running equity of a market's agents after something outside the kernel changed them."""
        market = self.markets[m]
        chosen = np.arange(len(market)) if rows is None else rows.astype(np.int64)
        refresh_rows(market.state, market.habits, market.triggers, market.watch, chosen, self.rules[m])

    def pay(self, amounts: Integers) -> None:
        """Add grants (> 0) and recalls (< 0), 1e-8, int64 [N] in roster order; neither is a result of trading."""
        for m, rows in enumerate(self.slices()):
            part = amounts[rows]
            moved = np.flatnonzero(part)
            if len(moved) == 0:
                continue
            market = self.markets[m]
            market.state[moved, at.CASH] += part[moved]
            assert (market.state[moved, at.CASH] >= market.state[moved, at.HELD]).all(), "held money was recalled"
            self.totals[m][at.TOTAL_CASH] += int(part.sum())
            flow = part[moved] * 1e-8
            market.triggers[at.PEAK, moved] += flow.astype(np.float32)
            market.days[at.DAY_MARK, moved] += flow
            self.refresh(m, moved)

    def fund(self, chosen: NDArray[np.bool_]) -> None:
        """Let flat shadows (mask over the roster) trade the pool's capital: their virtual account ends, at nothing."""
        self._reopen(chosen, funded=1, account=0)

    def shadow(self, chosen: NDArray[np.bool_], account: int) -> None:
        """Let flat agents without capital (mask over the roster) trade a virtual account of this size (1e-8)."""
        self._reopen(chosen, funded=0, account=account)

    def _reopen(self, chosen: NDArray[np.bool_], *, funded: int, account: int) -> None:
        """Start flat agents anew on an account; that is no result of their trading."""
        for m, rows in enumerate(self.slices()):
            changed = np.flatnonzero(chosen[rows])
            if len(changed) == 0:
                continue
            market = self.markets[m]
            state = market.state
            busy = state[changed, at.SIDE] | state[changed, at.MARGIN] | state[changed, at.HELD]
            assert not busy.any(), "only a flat agent changes accounts"
            before = np.where(state[changed, at.FUNDED] == 1, state[changed, at.CASH], 0)
            assert not before.any(), "capital of the pool is recalled, not forgotten"
            state[changed, at.FUNDED] = funded
            state[changed, at.CASH] = account
            market.triggers[at.PEAK, changed] = np.float32(account * 1e-8)
            market.days[at.DAY_MARK, changed] = account * 1e-8
            self.refresh(m, changed)

    def top_up(self, chosen: NDArray[np.bool_], account: int) -> None:
        """Bring the virtual accounts of flat shadows (mask over the roster) back to this size (1e-8)."""
        for m, rows in enumerate(self.slices()):
            changed = np.flatnonzero(chosen[rows] & (self.markets[m].state[:, at.CASH] != account))
            if len(changed) == 0:
                continue
            market = self.markets[m]
            flow = (account - market.state[changed, at.CASH]) * 1e-8
            market.state[changed, at.CASH] = account
            market.triggers[at.PEAK, changed] += flow.astype(np.float32)
            market.days[at.DAY_MARK, changed] += flow
            self.refresh(m, changed)

    def retire(self, culled: NDArray[np.bool_], kind: int, now_ms: int) -> None:
        """Stop agents (mask over the roster): drop queued entries, queue the closing of open positions, no new ones."""
        for m, rows in enumerate(self.slices()):
            market = self.markets[m]
            chosen = np.flatnonzero(culled[rows])
            for row in chosen.tolist():
                state = market.state[row]
                state[at.ACTIVE] = 0
                if state[at.SIDE] == 0:
                    state[at.PENDING] = at.NOTHING_PENDING
                    state[at.HELD] = 0
                elif state[at.PENDING] == at.NOTHING_PENDING:
                    queue_exit(market.state, row, kind, now_ms)
            self.refresh(m, chosen)
        self.roster = replace(self.roster, living=self.roster.living & ~culled)

    def allow_entries(self, *, allowed: bool) -> None:
        """Let living agents enter, or keep them from it: queued entries are dropped, positions stay."""
        for m, rows in enumerate(self.slices()):
            state = self.markets[m].state
            living = self.roster.living[rows]
            state[living, at.ACTIVE] = int(allowed)
            if not allowed:
                queued = living & (state[:, at.SIDE] == 0)
                state[queued, at.PENDING] = at.NOTHING_PENDING
                state[queued, at.HELD] = 0
            self.refresh(m)

    def calibrate(self, table: NDArray[np.float64]) -> None:
        """Let agents tell these probabilities [archetypes, BINS] as their confidence from now on (NaN: the score)."""
        self.calibration[: len(table)] = table
        for market in self.markets:
            mine = self.calibration[market.state[:, at.ARCHETYPE]]
            known = ~np.isnan(mine[:, 0])
            market.habits[:, at.CALIBRATED] = known
            market.habits[known, at.FIRST_BIN :] = mine[known]

    def multiply(self, rows: NDArray[np.int64], multipliers: NDArray[np.float64]) -> None:
        """Let some agents (ascending rows of the roster) act with these multipliers [n, MULTIPLIERS] from now on."""
        for m, part in enumerate(self.slices()):
            first, stop = np.searchsorted(rows, (part.start, part.stop)).tolist()
            if stop > first:
                here = rows[first:stop] - part.start
                self.markets[m].multiply(here, multipliers[first:stop])
                self.refresh(m, here)

    def express(self, m: int, rows: NDArray[np.int64]) -> None:
        """Let changed phenotypes of some agents of a market act from now on."""
        self.markets[m].express(rows)
        self.refresh(m, rows)

    def phenotypes(self) -> NDArray[np.float64]:
        """Genes as they are expressed, [N, GENES], in roster order (a copy)."""
        return np.concatenate([market.phenotypes for market in self.markets])

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything a checkpoint needs, as arrays. A pure read."""
        arrays: dict[str, NDArray[Any]] = {
            f"roster.{column.name}": getattr(self.roster, column.name).copy() for column in fields(self.roster)
        }
        arrays["next_agent"] = np.array(self.next_agent, np.int64)
        arrays["calibration"] = self.calibration.copy()
        for m, market in enumerate(self.markets):
            arrays[f"totals.{m}"] = self.totals[m].copy()
            for name in CARRIED:
                arrays[f"{name}.{m}"] = getattr(market, name).copy()
        return arrays

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Become what `state` described."""
        self.roster = Roster(*(arrays[f"roster.{column.name}"] for column in fields(Roster)))
        self.next_agent = int(arrays["next_agent"])
        self.calibration[:] = arrays["calibration"]
        for m, rows in enumerate(self.slices()):
            self.totals[m] = arrays[f"totals.{m}"].copy()
            carried = {name: arrays[f"{name}.{m}"].copy() for name in CARRIED}
            self.markets[m] = self._packed(self.roster.take(rows), carried)
