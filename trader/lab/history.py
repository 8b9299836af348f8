"""A stretch of candles held in memory, so that many sessions can live through exactly the same ones.

A history is what a feed tells from its warm-up to its end, as one block: T frames (warm-up first), M markets. It is cut
by frames, never by reading again, and its content has a hash: what was tried on it can be counted.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trader.core.errors import UserError
from trader.core.rows import Phase
from trader.core.timeframes import milliseconds
from trader.core.types import CLOSE, Block, Instrument, Visits
from trader.session.feeds import make_feed
from trader.store import trials

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from trader.core.config import Config
    from trader.feeds.base import Feed

FRAMES: Final = 4_096
"""Frames read at once."""


@dataclass(frozen=True, slots=True)
class History:
    """Instruments and candles of every market, warm-up first.

    kind: of the feed; source: `trader.store.trials.source_of`; base_ms: length of a frame.
    """

    kind: str
    source: str
    base_ms: int
    instruments: tuple[Instrument, ...]
    block: Block

    @property
    def symbols(self) -> tuple[str, ...]:
        """BASE/QUOTE of every market."""
        return tuple(instrument.symbol for instrument in self.instruments)

    @property
    def warmup(self) -> int:
        """Frames before the first decision."""
        return int(np.count_nonzero(self.block.phase == int(Phase.WARMUP)))

    @property
    def times(self) -> NDArray[np.int64]:
        """Opens of the traded frames, ms UTC."""
        return self.block.times[self.warmup :]

    def __len__(self) -> int:
        return len(self.block) - self.warmup

    def until(self, frames: int) -> History:
        """The warm-up and the first `frames` traded frames."""
        return replace(self, block=self.block[: self.warmup + frames])

    def marks(self) -> NDArray[np.float64]:
        """Last close of every market at the end of every traded frame, float64 [T, M]; NaN before its first candle."""
        return filled(self.block.candles[:, :, CLOSE])[self.warmup :]

    def trial_data(self, timeframes: tuple[str, ...]) -> trials.Data:
        """What the registry of trials knows it by."""
        times = self.times
        return trials.Data(
            self.kind,
            self.source,
            self.symbols,
            timeframes,
            self.base_ms,
            (int(times[0]), int(times[-1])),
            self.content,
        )

    @property
    def content(self) -> str:
        """SHA-256 (hex) of times, candles, funding and instruments."""
        digest = hashlib.sha256(repr(self.instruments).encode())
        block = self.block
        for array in (block.times, block.candles, block.stamp_rate, block.stamp_mark, block.phase):
            digest.update(np.ascontiguousarray(array).tobytes())
        if block.visits is not None:
            digest.update(np.ascontiguousarray(block.visits.place).tobytes())
            digest.update(np.ascontiguousarray(block.visits.price).tobytes())
        return digest.hexdigest()


def load_history(config: Config) -> History:
    """All candles that a session of the config would trade, limited by `session.candles`.

    Raises:
        UserError: a live feed, an endless one, or candles that are missing, unreadable or wrong.
    """
    if config.feed.kind == "live":
        raise UserError('feed.kind: "live" has no history to evaluate on; name files with --data')
    limit = config.session.candles
    if config.feed.kind == "synthetic" and limit is None and config.feed.end is None:
        raise UserError("session.candles: a made-up market is endless; say how many candles to evaluate on")
    feed = make_feed(config)
    try:
        block = joined(list(_limited(feed, limit)))
        source = trials.source_of(feed.kind, config.session.seed, _settings(config))
        return History(feed.kind, source, milliseconds(config.feed.base_timeframe), feed.instruments, block)
    finally:
        feed.close()


def filled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each column with what is missing replaced by the last value before it; [T, M]."""
    place = np.where(np.isfinite(values), np.arange(len(values))[:, None], 0)
    np.maximum.accumulate(place, axis=0, out=place)
    return np.take_along_axis(values, place, axis=0)


def _settings(config: Config) -> dict[str, Any]:
    from trader.core.config import as_dict

    return as_dict(config.feed)


def _limited(feed: Feed, limit: int | None) -> Iterator[Block]:
    traded = 0
    for block in feed.blocks(FRAMES):
        counted = (block.phase != int(Phase.WARMUP)).cumsum()
        length = len(block) if limit is None else int((counted <= limit - traded).sum())
        yield block[:length]
        traded += int(counted[-1])
        if limit is not None and traded >= limit:
            return


def joined(blocks: list[Block]) -> Block:
    """One block of many, of one feed or journal.

    Raises:
        UserError: there is nothing.
    """
    if not blocks:
        raise UserError("feed: no candles to evaluate on")

    def together(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(block, name) for block in blocks])

    visits = [block.visits for block in blocks if block.visits is not None]
    joined = (
        Visits(np.concatenate([each.place for each in visits]), np.concatenate([each.price for each in visits]))
        if visits
        else None
    )
    return Block(
        times=together("times"), candles=together("candles"), present=together("present"),
        stamp_rate=together("stamp_rate"), stamp_mark=together("stamp_mark"), received=together("received"),
        phase=together("phase"), visits=joined,
    )  # fmt: skip
