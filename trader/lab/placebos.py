"""Placebos of a run: the whole session again, learning included, on histories that have its volatility and no structure.

A surrogate history is made of the run's own candles. Every frame's moves (open, high, low and close over the close before,
all markets together, with the volume) are kept; their order is not: frames change places inside blocks of `BLOCK` frames,
and the blocks change places. So returns keep their size, their tails, their correlation between markets and their
clustering within a block, the market ends where it ended, and what came before says nothing about what comes next but this:
whether the block that both stand in rose or fell on the whole. Stretches between two listings are shuffled apart, so that no
market trades before it began. Funding stamps stay.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trader.core import rng
from trader.core.config import from_json
from trader.core.errors import UserError
from trader.core.rng import Stream
from trader.core.types import CLOSE, HIGH, LOW, OPEN, VOLUME
from trader.lab.history import FRAMES, History, filled, joined
from trader.lab.simulation import Stopped, simulate
from trader.session.summary import Progress
from trader.store import trials
from trader.store.store import open_store, persistent

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from trader.core.config import Config
    from trader.session.engine import Engine
    from trader.session.summary import StopFlag

BLOCK: Final = 48
"""Frames of a block: within two days of hours volatility is much the same, and every move longer than that is broken up."""


def placebos(
    run: str | int, count: int, *, url: str, progress: Callable[[Progress], None] | None = None,
    stop: StopFlag | None = None,
) -> dict[str, Any]:  # fmt: skip
    """How a run's total return stands among those of `count` placebos.

    Returns `count`, `total_return` (the run's), `total_returns` (theirs), `better_than` (share of them below it),
    `p_value` = (1 + those at or above it) ÷ (1 + count), `resolution` = 1 ÷ (1 + count), `told`.

    Raises:
        UserError: no such database or run, it has no journal, or too few frames to shuffle.
    """
    with open_store(url, create=False, read_only=True) as opened:
        store = persistent(opened)
        row = store.resolve(run)
        blocks = list(store.journal(row.run, None, FRAMES))
        if not blocks:
            raise UserError(f"run {row.run}: has committed no candles, so there is nothing to shuffle")
        instruments = store.instruments(row.run)
    config = from_json(row.config)
    history = History(row.feed, trials.HISTORY, row.base_ms, instruments, joined(blocks))
    if len(history) < 2 * BLOCK:
        raise UserError(f"run {row.run}: {len(history)} candles are too few for placebos: at least {2 * BLOCK}")
    watch = _Watch(len(history.block), count + 1, progress, stop)
    returns = [_total_return(config, surrogate(history, config.session.seed, k), watch, k) for k in range(1, count + 1)]
    return _told(_total_return(config, history, watch, 0), returns)


def _told(own: float, returns: list[float]) -> dict[str, Any]:
    count = len(returns)
    better = sum(value < own for value in returns) / count
    resolution = 1.0 / (1 + count)
    return {
        "count": count,
        "total_return": own,
        "total_returns": returns,
        "better_than": better,
        "p_value": (1 + sum(value >= own for value in returns)) * resolution,
        "resolution": resolution,
        "told": f"better than {better:.0%} of its own {count} placebos; {count} cannot tell less than {resolution:.1%} of chance",
    }


class _Watch:
    """Tells how far all sessions together are."""

    def __init__(
        self, frames: int, sessions: int, progress: Callable[[Progress], None] | None, stop: StopFlag | None
    ) -> None:
        self._frames = frames
        self._sessions = sessions
        self._progress = progress
        self._stop = stop

    def report(self, place: int) -> Callable[[int, Engine], None]:
        """What session number `place` calls."""

        def advanced(frames: int, engine: Engine) -> None:
            if self._stop is not None and self._stop.requested:
                raise Stopped
            if self._progress is not None:
                done, counts = place * self._frames + frames, engine.counts
                self._progress(
                    Progress(done, self._frames * self._sessions, counts.trades, engine.books.equity, counts.last_ms)
                )

        return advanced


def _total_return(config: Config, history: History, watch: _Watch, place: int) -> float:
    simulation = simulate(config, history, watch.report(place))
    return float(simulation.equity[-1] / simulation.start - 1.0)


def surrogate(history: History, seed: int, number: int) -> History:
    """Surrogate `number` of a history: the warm-up as it was, everything after it without order."""
    block, first = history.block, history.warmup
    before = filled(block.candles[:, :, CLOSE])
    before = np.concatenate((np.full((1, before.shape[1]), np.nan), before[:-1]))
    ratios = block.candles[:, :, :VOLUME] / before[:, :, None]
    value = block.candles[:, :, VOLUME] * block.candles[:, :, CLOSE]
    order = np.arange(len(block))
    for begin, end in _stretches(block.present, first):
        order[begin:end] = begin + shuffled(end - begin, seed, number, begin)
    candles = _rebuilt(block.candles, ratios[order], value[order], first)
    for m, instrument in enumerate(history.instruments):  # in units in which prices can be counted at all
        candles[first:, m, :VOLUME] = np.round(candles[first:, m, :VOLUME], instrument.price_exponent)
    return replace(
        history, block=replace(block, candles=candles, present=np.isfinite(candles[:, :, CLOSE]), visits=None)
    )


def _stretches(present: NDArray[np.bool_], first: int) -> list[tuple[int, int]]:
    """Frames between two listings, [begin, end): from the one after the latest candle that a market began with."""
    begins = np.argmax(present, axis=0)[present.any(axis=0)]
    edges = sorted({first, *(int(frame) + 1 for frame in begins if frame + 1 > first), len(present)})
    return [(begin, end) for begin, end in pairwise(edges) if begin < end]


def shuffled(count: int, seed: int, number: int, place: int) -> NDArray[np.int64]:
    """0 to count − 1: blocks of `BLOCK` in random order, and random order inside each."""
    draws = rng.uniform(seed, Stream.PLACEBO, number, place + np.arange(count), 0)
    blocks = np.arange(count) // BLOCK
    ranks = rng.uniform(seed, Stream.PLACEBO, number, place + np.arange(blocks[-1] + 1), 1)[blocks]
    return np.lexsort((draws, ranks))


def _rebuilt(
    candles: NDArray[np.float64], ratios: NDArray[np.float64], value: NDArray[np.float64], first: int
) -> NDArray[np.float64]:
    """Candles from moves; a market's first candle, which has no close before it, stays."""
    out = candles.copy()
    last = filled(candles[:, :, CLOSE])[first - 1].copy() if first else np.full(candles.shape[1], np.nan)
    for t in range(first, len(candles)):
        starts = np.isnan(last) & np.isfinite(candles[t, :, CLOSE])
        made = ratios[t] * last[:, None]
        made[starts] = candles[t, starts, :VOLUME]
        out[t, :, :VOLUME] = made
        out[t, :, VOLUME] = np.where(starts, candles[t, :, VOLUME], value[t] / made[:, CLOSE])
        last = np.where(np.isfinite(made[:, CLOSE]), made[:, CLOSE], last)
    out[:, :, HIGH] = np.max(out[:, :, [OPEN, HIGH, LOW, CLOSE]], axis=2)
    out[:, :, LOW] = np.min(out[:, :, [OPEN, HIGH, LOW, CLOSE]], axis=2)
    return out
