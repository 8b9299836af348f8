"""Nested memory in the loop: what became of moments like this one.

An experience is a moment of decision (one market, one timeframe, one close): its key is the sequence model's embedding
then (with the model off, the market's features), its value the result of a long position opened there, in percent of
its price: of the trades decided at that moment, turned to the long side and averaged; or, where nobody entered, of what
followed over `horizon` candles (a decision not taken). It is delivered at the level's boundary and known from the close
of the trade on.

Every close of a timeframe is one query: the expected result and its uncertainty become two features of all agents who
decide there. Inside a block the memory is frozen. What was expected is kept, so that the outcome can teach the reader
and surprises are remembered first.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from agents import layout as at
from memory import NestedMemory
from trader.core import rows
from trader.core.features import FIRST_LEARNED, FeatureBlock
from trader.core.timeframes import milliseconds
from trader.core.types import CLOSE
from trader.session.levels import LevelSpec, LevelUpdate
from trader.session.moments import TRACED, Moments
from trader.session.reading import WIDTH, Reading, plain
from trader.session.retention import RetentionAudit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trader.core.config import Config
    from trader.core.types import Block
    from trader.session.books import Books
    from trader.session.market_run import MarketResult

ESTIMATE, CERTAINTY = FIRST_LEARNED + 2, FIRST_LEARNED + 3

LARGEST: Final = 25.0
"""Results are clipped to so many percent: one wick must not be all that is remembered."""

WRITES: Final = 16
"""Most experiences taken in at one delivery, the most surprising first: what the memory costs is bounded."""

_BOUND: Final = 8.0
_ENTRY_TRADE, _ENTRY_SIDE, _ENTRY_TIMEFRAME, _ENTRY_DECIDED = (
    rows.ENTRY.position(name) - 3 + at.EVENT_BODY for name in ("trade", "side", "timeframe", "decided_ms")
)
_EXIT_TRADE, _EXIT_VALUE, _EXIT_GROSS = (
    rows.EXIT.position(name) - 3 + at.EVENT_BODY for name in ("trade", "trade_value", "trade_gross")
)


class _Outcomes(NamedTuple):
    """What is delivered, n of each: ring and place of the moments, results in percent, and what was expected [n, 6, 3]."""

    moments: list[Moments]
    slots: list[int]
    values: NDArray[np.float64]
    summaries: NDArray[np.float64]


class MemoryLevel:
    """The memory, the moments that wait for their outcome, and the level's row."""

    def __init__(self, config: Config, markets: int) -> None:
        settings = config.levels.memory
        self.spec = LevelSpec(
            name="memory",
            every=settings.every,
            parameters="stored experiences, semantic slots and matrix, write gate, weights of reading",
            context_flow="closed trades of all agents, and what followed decisions not taken",
            objective="mean squared error of the recalled result: of the running mean before, of the memory after",
            update_rule="delta rule into the semantic store, gated writes, gradient of the read mixture at close",
        )
        self._horizon = settings.horizon
        self._lengths = [milliseconds(name) for name in config.feed.timeframes]
        self._base_ms = milliseconds(config.feed.base_timeframe)
        self.memory = NestedMemory(
            WIDTH, working=settings.working, episodic=settings.episodic, seed=config.session.seed & 0x7FFFFFFF
        )
        self._moments = {
            (m, k): Moments(length, self._horizon, WIDTH)
            for m in range(markets)
            for k, length in enumerate(self._lengths)
        }
        self._open: dict[int, tuple[int, int, int, int]] = {}
        self._closed: list[tuple[int, int, int, float, int]] = []
        self._audit = RetentionAudit(WIDTH)
        self._numbers = np.zeros(1, np.int64)  # updates made

    # --- reading ------------------------------------------------------------------------------------------------

    def read(self, block: Block, features: FeatureBlock, reading: Reading | None) -> None:
        """Ask the memory at every close, and write the two features; all frames up to the next close keep them."""
        reading = plain(features) if reading is None else reading
        asked = features.closed & features.valid & reading.ready
        m, k, frame = np.nonzero(asked.transpose(1, 2, 0))  # by market and timeframe, oldest first
        if len(frame) == 0:
            return
        keys = reading.embedding[frame, m, k]
        summaries, traces = self.memory.read_many(keys)
        closes, regimes = block.candles[frame, m, CLOSE], features.regime[frame, m, k]
        edges = np.flatnonzero(np.diff(m * len(self._lengths) + k)) + 1
        for first, stop in pairwise((0, *edges.tolist(), len(frame))):
            mine = slice(first, stop)
            self._moments[int(m[first]), int(k[first])].add(
                block.times[frame[mine]], keys[mine], closes[mine], regimes[mine], summaries[mine], traces[mine]
            )
        deviation = np.sqrt(summaries[:, 5, 0])
        known = np.isfinite(deviation)
        safe = np.where(known, deviation, 1.0)
        expected = np.clip(summaries[:, 5, 2] / (safe + 1e-9), -_BOUND, _BOUND)
        features.features[frame, m, k, ESTIMATE] = np.where(known, expected, 0.0)
        features.features[frame, m, k, CERTAINTY] = np.where(known, 1.0 / (1.0 + safe), 0.0)

    def observe(self, block: Block, results: list[MarketResult]) -> None:
        """Note entries and exits of a block; they are delivered at the boundary."""
        for m, result in enumerate(results):
            events = result.events
            kinds = events[:, at.EVENT_KIND]
            for event in events[kinds == at.EVENT_ENTRY].tolist():
                k = self._lengths.index(event[_ENTRY_TIMEFRAME])
                self._open[event[_ENTRY_TRADE]] = (m, k, event[_ENTRY_DECIDED], 1 if event[_ENTRY_SIDE] > 0 else -1)
                self._moments[m, k].taken(event[_ENTRY_DECIDED])
            for event in events[kinds == at.EVENT_EXIT].tolist():
                known = self._open.pop(event[_EXIT_TRADE], None)
                if known is None or event[_EXIT_VALUE] <= 0:
                    continue
                m_entry, k, decided, side = known
                percent = 100.0 * side * event[_EXIT_GROSS] / event[_EXIT_VALUE]
                time_ms = int(block.times[event[at.EVENT_CANDLE]])
                self._closed.append((m_entry, k, decided, percent, time_ms))
        for (m, _), moments in self._moments.items():
            moments.pass_time(block.times, block.candles[:, m, CLOSE], block.present[:, m])

    # --- level --------------------------------------------------------------------------------------------------

    def update(self, books: Books, frame: int, time_ms: int) -> LevelUpdate:  # noqa: ARG002  # every level has these
        """Deliver what has closed: teach the reader, remember the surprises, and once in a while look back."""
        self._numbers[0] += 1
        outcomes = self._outcomes()
        summaries, values = outcomes.summaries, outcomes.values
        for moments, slot, value in zip(outcomes.moments, outcomes.slots, values.tolist(), strict=True):
            if slot % TRACED == 0:
                moment = moments.at(slot)
                self.memory.learn(self.memory.recall_from(moment.summary, moment.trace), value)
        written = self._remember(outcomes, time_ms)
        known = np.isfinite(summaries[:, 5, 0])
        before, after = (
            float(np.mean((summaries[known, voice, 2] - values[known]) ** 2)) if known.any() else float("nan")
            for voice in (4, 5)
        )
        detail: dict[str, Any] = {
            "delivered": len(values),
            "written": written,
            "stored": self.memory.episodic.count,
            "bytes": self.memory.nbytes,
        }
        if retention := self._audit.due(int(self._numbers[0]), self.memory):
            detail["retention"] = retention
        return LevelUpdate(int(self._numbers[0]), before, after, kept=after <= before, detail=detail)

    def _outcomes(self) -> _Outcomes:
        """Moments whose outcome is known by now: of trades, in time order, and of decisions not taken."""
        groups: dict[tuple[int, int, int], list[float]] = {}
        for m, k, decided, percent, _ in sorted(self._closed):
            groups.setdefault((decided, m, k), []).append(percent)
        self._closed.clear()
        owners: list[Moments] = []
        slots: list[int] = []
        values: list[float] = []
        for (decided, m, k), results in groups.items():
            slot = self._moments[m, k].find(decided)
            if slot is not None:
                owners.append(self._moments[m, k])
                slots.append(slot)
                values.append(min(max(float(np.mean(results)), -LARGEST), LARGEST))
        summaries = [moments.summaries([slot]) for moments, slot in zip(owners, slots, strict=True)]
        for moments in self._moments.values():
            places, moved = moments.not_taken(LARGEST)
            if len(places):
                owners.extend([moments] * len(places))
                slots.extend(places.tolist())
                values.extend(moved.tolist())
                summaries.append(moments.summaries(places))
        return _Outcomes(owners, slots, np.array(values), np.concatenate(summaries or [np.zeros((0, 6, 3))]))

    def _remember(self, outcomes: _Outcomes, time_ms: int) -> int:
        """Write the most surprising outcomes, in the order of their moments."""
        surprise = np.abs(outcomes.values - outcomes.summaries[:, 5, 2])
        chosen = np.sort(np.argsort(-surprise, kind="stable")[:WRITES]).tolist()
        for i in chosen:
            moment, value = outcomes.moments[i].at(outcomes.slots[i]), float(outcomes.values[i])
            context = np.zeros(len(rows.Regime))
            context[moment.regime] = 1.0
            self.memory.write(moment.key, value, float(time_ms), context)
            self._audit.offer(moment.key, value, moment.regime)
        return len(chosen)

    def state(self) -> dict[str, Any]:
        """Memory, waiting moments, open trades."""
        state: dict[str, Any] = {f"memory.{name}": np.array(a) for name, a in self.memory.state_dict().items()}
        for (m, k), moments in self._moments.items():
            state |= {f"moments.{m}.{k}.{name}": values for name, values in moments.state().items()}
        state |= {f"audit.{name}": values for name, values in self._audit.state().items()}
        state["open"] = np.array([(trade, *entry) for trade, entry in self._open.items()], np.int64).reshape(-1, 5)
        state["closed"] = np.array([(m, k, d, t) for m, k, d, _, t in self._closed], np.int64).reshape(-1, 4)
        state["closed_percent"] = np.array([p for _, _, _, p, _ in self._closed])
        state["numbers"] = self._numbers.copy()
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Become what `state` described."""

        def part(prefix: str) -> dict[str, Any]:
            return {name[len(prefix) :]: values for name, values in state.items() if name.startswith(prefix)}

        self.memory.load_state_dict(part("memory."))
        for (m, k), moments in self._moments.items():
            moments.restore(part(f"moments.{m}.{k}."))
        self._audit.restore(part("audit."))
        self._open = {int(row[0]): (int(row[1]), int(row[2]), int(row[3]), int(row[4])) for row in state["open"]}
        self._closed = [
            (int(row[0]), int(row[1]), int(row[2]), float(percent), int(row[3]))
            for row, percent in zip(state["closed"], state["closed_percent"], strict=True)
        ]
        self._numbers[:] = state["numbers"]
