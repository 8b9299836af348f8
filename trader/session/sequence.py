"""Level 0, HOPE in the loop: a sequence model reads every market's candles ahead of the agents.

One stream per market and timeframe of at least 15 minutes, all with the same shipped weights (`candle_stream.py`). What
it says at a close depends on candles only, so a whole block is read before the agents decide, and any cutting into
blocks gives the same. Its prediction and its trigger's probability become two features; its embedding is the key of
the nested memory and part of what policies see. Timeframes below 15 minutes see what the fastest stream last said.
While the trigger is silent the model is the frozen net, bit for bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from memory.hope import HOPE
from memory.markets import FEATURES as INPUTS
from trader.core.features import FIRST_LEARNED
from trader.core.timeframes import milliseconds
from trader.core.types import CLOSE
from trader.session import candle_stream
from trader.session.candle_stream import CandleStream
from trader.session.levels import LevelSpec, LevelUpdate
from trader.session.reading import WIDTH, Reading

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trader.core.config import Config
    from trader.core.features import FeatureBlock
    from trader.core.types import Block
    from trader.session.books import Books

SHORTEST_MS: Final = 15 * 60_000
"""The model reads timeframes of at least this length; below it a candle is mostly the noise of the spread."""

PREDICTION, CHANGE = FIRST_LEARNED, FIRST_LEARNED + 1


class SequenceLevel:
    """The model, its streams, and its row in the table of levels."""

    def __init__(self, config: Config, symbols: tuple[str, ...]) -> None:
        settings = config.levels.hope
        self.spec = LevelSpec(
            name="hope",
            every=settings.every,
            parameters="fast weights of the sequence model, one set per market and timeframe; slow weights are frozen",
            context_flow="every closed candle of its timeframes; the label of a prediction is the next candle",
            objective="mean squared error of the next return in deviations: frozen net before, weights in force after",
            update_rule="Kalman form of the delta rule on shadow weights; a trigger puts them in force and takes them out",
        )
        self._lengths = [milliseconds(name) for name in config.feed.timeframes]
        self._leader = next((m for m, symbol in enumerate(symbols) if symbol.startswith("BTC/")), 0)
        self._leader_close = np.full(1, np.nan)
        self._progress = np.zeros(2, np.int64)  # whether it has begun, and updates made
        self.timeframes = tuple(k for k, length in enumerate(self._lengths) if length >= SHORTEST_MS)
        self.model = HOPE(inputs=INPUTS, width=WIDTH, trigger_threshold=settings.trigger_threshold)
        self.model.reset(len(symbols) * len(self.timeframes))
        self._streams = {
            (m, k): CandleStream(self.model, m * len(self.timeframes) + j, self._lengths[k], WIDTH)
            for m in range(len(symbols))
            for j, k in enumerate(self.timeframes)
        }

    # --- reading ------------------------------------------------------------------------------------------------

    def read(self, block: Block, features: FeatureBlock, *, warming: bool) -> Reading:
        """Read a block, write the two features into it, and return the embeddings."""
        shape = features.closed.shape
        reading = Reading(np.zeros((*shape, WIDTH), np.float32), np.zeros(shape, np.bool_))
        leaders = self._leaders(block)
        if not warming and not self._progress[0]:
            self._progress[0] = 1
            for stream in self._streams.values():
                stream.begin()
        for (m, k), stream in self._streams.items():
            rows = np.flatnonzero(features.closed[:, m, k])
            candles, times = features.candles[rows, m, k], block.times[rows]
            lead = candles[:, CLOSE] if m == self._leader else leaders[rows]
            lead = np.where(np.isnan(lead), candles[:, CLOSE], lead)
            if warming:
                stream.remember(candles, lead, times)
            else:
                held = stream.held.copy() if stream.known else None
                read, said = stream.take(candles, lead, times, features.valid[rows, m, k])
                _spread(held, rows[read], said, features, reading, m, k)
        if not warming and self.timeframes:
            self._lend(features, reading)
        return reading

    def _leaders(self, block: Block) -> NDArray[np.float64]:
        """Close of the leading market at every frame, the last one known where it has no candle."""
        present = block.present[:, self._leader]
        last = np.maximum.accumulate(np.where(present, np.arange(len(block)), -1))
        closes = block.candles[:, self._leader, CLOSE]
        filled = np.where(last >= 0, closes[np.maximum(last, 0)], self._leader_close[0])
        self._leader_close[0] = filled[-1]
        return np.asarray(filled)

    def _lend(self, features: FeatureBlock, reading: Reading) -> None:
        """What the fastest stream says, for the timeframes the model does not read."""
        fastest = self.timeframes[0]
        for k in range(fastest):
            reading.embedding[:, :, k] = reading.embedding[:, :, fastest]
            reading.ready[:, :, k] = reading.ready[:, :, fastest]
            said = np.nan_to_num(features.features[:, :, fastest, PREDICTION : CHANGE + 1])
            features.features[:, :, k, PREDICTION : CHANGE + 1] = np.where(features.valid[:, :, k, None], said, np.nan)

    # --- level --------------------------------------------------------------------------------------------------

    def update(self, books: Books, frame: int, time_ms: int) -> LevelUpdate:  # noqa: ARG002  # every level has these
        """Tell what the model did since the last row; its learning happened candle by candle."""
        self._progress[1] += 1
        total = np.sum([stream.tally for stream in self._streams.values()], axis=0, initial=0)
        total = np.broadcast_to(total, candle_stream.TALLIES)
        for stream in self._streams.values():
            stream.settle()
        steps = int(total[candle_stream.STEPS])
        scale = max(steps, 1) * candle_stream.ERROR_SCALE
        before = float(total[candle_stream.FROZEN_ERROR]) / scale if steps else float("nan")
        after = float(total[candle_stream.ERROR]) / scale if steps else float("nan")
        detail = {
            "candles": steps,
            "alarms": int(total[candle_stream.ALARMS]),
            "opened": int(total[candle_stream.OPENED]),
            "candles_in_force": int(total[candle_stream.IN_FORCE]),
            "slow_weights": self.model.slow_hash()[:16],
        }
        return LevelUpdate(int(self._progress[1]), before, after, kept=after <= before, detail=detail)

    def state(self) -> dict[str, Any]:
        """The model's streams and the inputs of each."""
        state: dict[str, Any] = {"leader": self._leader_close.copy(), "progress": self._progress.copy()}
        state |= {f"model.{name}": values for name, values in self.model.streams().items()}
        for (m, k), stream in self._streams.items():
            state |= {f"stream.{m}.{k}.{name}": values for name, values in stream.state().items()}
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Become what `state` described."""
        self._leader_close[:] = state["leader"]
        self._progress[:] = state["progress"]
        self.model.restore_streams({name: state[f"model.{name}"] for name in self.model.streams()})
        for (m, k), stream in self._streams.items():
            stream.restore({name: state[f"stream.{m}.{k}.{name}"] for name in stream.state()})


def _spread(
    held: NDArray[np.float64] | None, rows: NDArray[np.int64], said: NDArray[np.float64], features: FeatureBlock,
    reading: Reading, m: int, k: int,
) -> None:  # fmt: skip
    """Write what was said at `rows` into these and all later frames, and what was held before into the earlier ones."""
    frames = len(features.closed)
    if len(rows) == 0:  # most blocks of a slow timeframe
        if held is not None:
            reading.embedding[:, m, k] = held[:WIDTH]
            reading.ready[:, m, k] = True
            features.features[features.valid[:, m, k], m, k, PREDICTION : CHANGE + 1] = held[WIDTH:]
        return
    newest = np.full(frames, -1, np.int64)
    newest[rows] = np.arange(len(rows))
    newest = np.maximum.accumulate(newest)
    table = said if held is None else np.concatenate((said, held[None]))
    known = newest >= 0 if held is None else np.ones(frames, np.bool_)
    values = table[newest]  # -1 is the held row, or one that `known` leaves out
    reading.embedding[known, m, k] = values[known, :WIDTH]
    reading.ready[:, m, k] = known
    usable = known & features.valid[:, m, k]
    features.features[usable, m, k, PREDICTION : CHANGE + 1] = values[usable, WIDTH:]
