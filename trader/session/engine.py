"""The event loop's body: frames in, rows out. A pure function of (config, seed, candles), whatever made the frames.

A block of frames is cut at boundaries (frames after which some level is due). Each piece runs through features, scores
and kernel, market by market; its rows are written; then the levels that are due act, fast to slow, and write theirs.
Cutting anywhere else changes nothing. The engine never reads a clock and keeps everything it knows in `state()`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from agents import controls
from agents import layout as at
from agents.kernel import close_all, unrealised
from agents.plugins import known
from agents.population import Population, founders
from portfolio.risk import Caps
from trader.broker.fills import order_value
from trader.broker.market import tier_table
from trader.core.clock import Level, LevelClock
from trader.core.features import FeatureEngine
from trader.core.money import to_amount
from trader.core.rows import Phase, Reject
from trader.core.threads import thread_pool
from trader.core.timeframes import milliseconds
from trader.core.types import Block, Instrument, UserError
from trader.session import breaker
from trader.session.books import POOL_CASH, Books, Sink
from trader.session.composition import archetype_numbers, archetypes_of, levels_of, market_vectors, midwife_of
from trader.session.event_rows import Written, write_candles, write_events
from trader.session.grants import endow
from trader.session.market_run import MarketResult, MarketRunner
from trader.session.outcomes import Learner, Outcomes, Watcher
from trader.session.reading import plain

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trader.core.config import Config
    from trader.core.features import FeatureBlock
    from trader.session.levels import SessionLevel
    from trader.session.modifier import SelfModifierLevel
    from trader.session.recollection import MemoryLevel
    from trader.session.sequence import SequenceLevel

SCORES_PER_PIECE: Final = 1 << 21
"""Most scores of one market held at once: 8 MB, so that they stay near the processor."""


@dataclass(slots=True)
class Counts:
    """What a session has done so far. `taken` counts frames with, `frames` without the warm-up; `deepest` is the
    largest drawdown of equity as a fraction of its peak."""

    candles: int = 0
    taken: int = 0
    frames: int = 0
    agent_candles: int = 0
    orders: int = 0
    trades: int = 0
    shadow_trades: int = 0
    last_ms: int = -1
    deepest: float = 0.0


class Engine:
    """One session's state and how a block changes it.

    Args:
        config: the validated configuration.
        instruments: one for each market, in the session's order.
        sink: where rows go.
    """

    def __init__(self, config: Config, instruments: tuple[Instrument, ...], sink: Sink) -> None:
        base_ms = milliseconds(config.feed.base_timeframe)
        timeframes_ms = tuple(milliseconds(name) for name in config.feed.timeframes)
        vectors = market_vectors(config, instruments)
        everything = tuple(known(config.population.plugins).values())
        self.config = config
        self.instruments = instruments
        self.archetypes = archetypes_of(config)
        self.counts = Counts()
        self.frame = 0
        self.peak = 0
        population = Population(vectors, timeframes_ms, len(everything))
        self.books = Books(
            population, sink, tuple(item.symbol for item in instruments), config.feed.timeframes,
            max(to_amount(config.pool.capital) // config.population.size, 1),
        )  # fmt: skip
        self._midwife = midwife_of(config)
        self._tiers = [tier_table(instrument) for instrument in instruments]
        self.levels = levels_of(config, self.books.symbols, vectors, self._tiers, self._midwife)
        self._modifier = cast("SelfModifierLevel | None", self._level("self_modifier"))
        self._sequence = cast("SequenceLevel | None", self._level("hope"))
        self._memory = cast("MemoryLevel | None", self._level("memory"))
        self._outcomes = Outcomes()
        self._learners = [level for level in self.levels if isinstance(level, Learner)]
        self._watchers = [level for level in self.levels if isinstance(level, Watcher)]
        pool = config.pool
        self.books.caps = Caps(pool.caps.agent, pool.caps.archetype, pool.caps.market)
        clocks = [Level(level.spec.name, level.spec.every) for level in self.levels]
        if pool.max_drawdown < breaker.NEVER:
            clocks.append(Level("breaker", config.levels.pool.every))
        self.clock = LevelClock(tuple(clocks))
        self._features = FeatureEngine(len(instruments), base_ms, timeframes_ms)
        self._runners = [
            MarketRunner(m, vector, self._tiers[m], everything, funding=config.exchange.funding)
            for m, vector in enumerate(vectors)
        ]
        self._threads = min(config.engine.threads, len(instruments))
        self._pool = thread_pool(self._threads) if self._threads > 1 else None

    def _level(self, name: str) -> SessionLevel | None:
        return next((level for level in self.levels if level.spec.name == name), None)

    # --- running ------------------------------------------------------------------------------------------------

    def advance(self, block: Block) -> None:
        """Take in the next frames, whatever their number."""
        first = 0
        while first < len(block):
            length = self._piece_length(block, first)
            self._run_piece(block[first : first + length])
            first += length

    def _piece_length(self, block: Block, first: int) -> int:
        """Frames to run at once: to the next boundary, the end of the warm-up, the block's end, or as many as fit."""
        left = len(block) - first
        warming = block.phase[first:] == int(Phase.WARMUP)
        if warming[0]:
            return min(left, int(np.argmin(warming)) or left)
        largest = max((len(market) for market in self.books.population.markets), default=1)
        length = min(left, max(SCORES_PER_PIECE // max(largest, 1), 1))
        boundary = self.clock.frames_to_boundary(self.frame)
        return length if boundary is None else min(length, boundary)

    def _run_piece(self, block: Block) -> None:
        warming = block.phase[0] == int(Phase.WARMUP)
        if not warming and self.frame == 0:
            self._begin(int(block.times[0]))
        features = self._features.update(block)
        self._read(block, features, warming=warming)
        frames = np.full(len(block), -1, np.int64) if warming else self.frame + np.arange(len(block))
        self.counts.candles += write_candles(self.books, block, frames)
        self.counts.last_ms = int(block.times[-1])
        self.counts.taken += len(block)
        if warming:
            self._run_markets(block, features)
            return
        results = self._run_markets(block, features)
        self._count(write_events(self.books, block, results))
        if self._memory is not None:
            self._memory.observe(block, results)
        if self._learners:
            outcomes = self._outcomes.observe(block, results)
            for learner in self._learners:
                learner.take(outcomes)
        for watcher in self._watchers:
            watcher.see(block, features)
        self._count_decisions(block, features, results)
        sizes = np.array([len(market) for market in self.books.population.markets])
        self.counts.agent_candles += int(block.present.sum(axis=0) @ sizes)
        self.books.absorb()
        self._write_equity(block, results, frames)
        self.frame += len(block)
        self.counts.frames += len(block)
        self._run_levels(self.frame - 1, int(block.times[-1]))

    def _read(self, block: Block, features: FeatureBlock, *, warming: bool) -> None:
        """Let the sequence model and the memory add what they know to the features, ahead of the agents."""
        reading = None if self._sequence is None else self._sequence.read(block, features, warming=bool(warming))
        if self._memory is not None and not warming:
            self._memory.read(block, features, reading)
        if self._midwife is not None and not warming:
            seen = plain(features) if reading is None else reading
            self._midwife.see(features.features[-1], features.regime[-1], seen.embedding[-1])

    def _count_decisions(self, block: Block, features: FeatureBlock, results: list[MarketResult]) -> None:
        """Closes of a timeframe, for the agents that decide on it, by archetype."""
        closes = features.closed & block.present[:, :, None]
        for m, market in enumerate(self.books.population.markets):
            self.books.funnel.add_closes(m, closes[:, m], block.times, results[m].events, market)

    def _count(self, written: Written) -> None:
        """Count closed trades of all agents, and orders: those of shadows are not sent."""
        self.counts.trades += written.trades
        self.counts.shadow_trades += written.shadow_trades
        self.counts.orders += written.orders

    def _run_markets(self, block: Block, features: FeatureBlock) -> list[MarketResult]:
        population = self.books.population

        def one(m: int) -> MarketResult:
            try:
                return self._runners[m].run(block, features, population.markets[m], population.totals[m])
            except OverflowError as error:
                symbol = self.instruments[m].symbol
                raise UserError(f"pool.capital: too much for what the price of {symbol} did: {error}") from error

        if self._pool is None:
            return [one(m) for m in range(len(self._runners))]
        return list(self._pool.map(one, range(len(self._runners))))

    def _begin(self, time_ms: int) -> None:
        """Frame 0: the deposit, the founders, the first equal grants."""
        config = self.config
        seed, numbers = config.session.seed, archetype_numbers(config)
        cells = len(self.instruments), len(self.books.timeframes)
        counts = controls.shares(
            config.population.size, config.population.controls.frozen, config.population.controls.random
        )
        self.books.deposit(to_amount(config.pool.capital), time_ms)
        first = founders(seed, counts.evolving, *cells, numbers, time_ms)
        everybody = first.join(controls.frozen_twins(first, counts.frozen)).join(
            controls.random_agents(seed, 0, counts.evolving + counts.frozen, counts.random, *cells, numbers, time_ms)
        )
        self.books.birth(everybody, time_ms)
        endow(self.books, config.pool.compounding, config.pool.reserve, 0, time_ms)
        self.peak = self.books.equity_at_cost()

    def _run_levels(self, frame: int, time_ms: int) -> None:
        due = {level.name for level in self.clock.due(frame)}
        for level in self.levels:
            if level.spec.name in due:
                self.books.level_row(level.spec.name, time_ms, level.update(self.books, frame, time_ms))
        if due:
            breaker.act(self.books, self.config.pool.max_drawdown, time_ms)

    def _write_equity(self, block: Block, results: list[MarketResult], frames: NDArray[np.int64]) -> None:
        out = np.sum([result.out for result in results], axis=0)
        pool_cash = self.books.ledger.balance(POOL_CASH)
        cash = out[:, at.OUT_CASH] + pool_cash
        equity = cash + out[:, at.OUT_MARGIN] + out[:, at.OUT_UNREALISED]
        peak = np.maximum(np.maximum.accumulate(equity), self.peak)
        self.peak = int(peak[-1])
        self.books.equity, self.books.peak = int(equity[-1]), self.peak
        self.counts.deepest = max(self.counts.deepest, float(np.max((peak - equity) / np.maximum(peak, 1))))
        self.books.emit(
            "equity",
            (frames, block.times, cash, out[:, at.OUT_MARGIN], out[:, at.OUT_UNREALISED], equity, peak),
            len(block),
        )

    def finish(self) -> None:
        """End of a finished session: positions are closed at the last close, with fee; rows are dated there."""
        population = self.books.population
        if self._modifier is not None:
            self._modifier.finish(self.books, self.counts.last_ms)
        self.books.withdraw(np.ones(len(population), np.bool_), Reject.WITHDRAWN, self.counts.last_ms)
        results = []
        times = []
        for m, market in enumerate(population.markets):
            events = np.zeros((len(market), at.EVENT_FIELDS), np.int64)
            bar = np.zeros(at.IN_FIELDS, np.int64)
            bar[at.IN_MS] = self.counts.last_ms
            bar[at.IN_CLOSE : at.IN_CLOSE + 1] = population.totals[m][at.LAST_CLOSE]
            bar[at.IN_OPEN] = bar[at.IN_HIGH] = bar[at.IN_LOW] = bar[at.IN_CLOSE]
            count = close_all(
                market.state, market.habits, market.triggers, market.watch, population.totals[m], bar,
                population.rules[m], events,
            )  # fmt: skip
            results.append(MarketResult(events[:count], np.zeros((0, at.OUT_FIELDS), np.int64)))
            times.append(self.counts.last_ms)
        empty = np.zeros((1, len(self.instruments)))
        last = Block(
            np.array([self.counts.last_ms]), np.zeros((1, len(self.instruments), 5)), empty > 0, empty * np.nan,
            empty * np.nan, empty.astype(np.int64), np.zeros(1, np.int64),
        )  # fmt: skip
        self._count(write_events(self.books, last, results))
        self.books.absorb()
        self.books.check_agents()
        self.books.write_funnel()

    # --- looking ------------------------------------------------------------------------------------------------

    def equity(self) -> int:
        """Equity of the pool at the last close, 1e-8."""
        population = self.books.population
        return self.books.equity_at_cost() + sum(
            int(unrealised(population.totals[m], population.rules[m])) for m in range(len(self.instruments))
        )

    def decisions(self) -> int:
        """Closes of an agent's timeframe it could have decided at."""
        return sum(int(totals[at.DECISIONS]) for totals in self.books.population.totals)

    def orders(self) -> int:
        """Rows of `v_order`: entries, refusals, exits, and exits that a liquidation overtook half-way."""
        superseded = sum(int(totals[at.SUPERSEDED]) for totals in self.books.population.totals)
        return self.counts.orders + self.books.other_orders + superseded

    def positions(self) -> NDArray[np.int64]:
        """Open positions, int64 [P, 14]: agent, trade, market, side, leverage, quantity, entry price, mark, stop, take,
        liquidation price, margin left, unrealised result, funded; units as in `rows.ENTRY`."""
        lines = []
        for m, market in enumerate(self.books.population.markets):
            rules, mark = self.books.population.rules[m], int(self.books.population.totals[m][at.LAST_CLOSE])
            for row in np.flatnonzero(market.state[:, at.SIDE]).tolist():
                s = market.state[row]
                side = int(s[at.SIDE])
                value = order_value(mark, int(s[at.QUANTITY]), -side, rules)
                lines.append((
                    s[at.AGENT], s[at.TRADE_ID], m, side, s[at.LEVERAGE], s[at.QUANTITY], s[at.ENTRY_PRICE], mark,
                    s[at.STOP] % at.NEVER, s[at.TAKE] % at.NEVER, s[at.LIQUIDATION], s[at.MARGIN],
                    side * (value - int(s[at.COST])), s[at.FUNDED],
                ))  # fmt: skip
        return np.array(lines, np.int64).reshape(len(lines), 14)

    # --- checkpoint ---------------------------------------------------------------------------------------------

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Arrays and JSON of everything the engine remembers. A pure read."""
        arrays, books = self.books.state()
        arrays = {f"books.{name}": value for name, value in arrays.items()}
        arrays |= {f"features.{name}": value for name, value in self._features.state().items()}
        for level in self.levels:
            arrays |= {f"level.{level.spec.name}.{name}": value for name, value in level.state().items()}
        arrays |= {f"outcomes.{name}": value for name, value in self._outcomes.state().items()}
        if self._midwife is not None:
            arrays |= {f"midwife.{name}": value for name, value in self._midwife.state().items()}
        return arrays, {"books": books, "frame": self.frame, "peak": self.peak, "counts": asdict(self.counts)}

    def restore(self, arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> None:
        """Become what `state` described."""

        def part(prefix: str) -> dict[str, NDArray[Any]]:
            return {name[len(prefix) :]: value for name, value in arrays.items() if name.startswith(prefix)}

        self.books.restore(part("books."), meta["books"])
        self._features.restore(part("features."))
        self._outcomes.restore(part("outcomes."))
        for level in self.levels:
            level.restore(part(f"level.{level.spec.name}."))
        if self._midwife is not None:
            self._midwife.restore(part("midwife."))
        self.frame = int(meta["frame"])
        self.peak = int(meta["peak"])
        self.counts = Counts(**meta["counts"])

    def close(self) -> None:
        """End the worker threads."""
        if self._pool is not None:
            self._pool.shutdown()
