"""The error bar of candles as data: one run's journal once more under every rule for the way inside a candle.

What a candle hides is the order in which its prices came; `exchange.path` is a guess about it. The same candles, seed and
levels under each guess tell how much of a result hangs on it. Nothing is stored: rows are counted and let go.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trader.core.config import from_json
from trader.core.errors import UserError
from trader.core.money import AMOUNT_SCALE
from trader.core.types import Visits
from trader.session.engine import Engine
from trader.session.feeds import make_feed
from trader.store.records import FINISHED
from trader.store.store import open_store, persistent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from trader.core.config import Config
    from trader.core.types import Block
    from trader.store.records import RunRow
    from trader.store.store import Store

RULES: Final = ("colour", "pessimistic", "random")
"""Rules that need nothing but the candles; `detail` joins them where finer candles are known."""

DETAIL: Final = "detail"

FRAMES: Final = 512
"""Frames read at once."""


class _Nowhere:
    """A sink that keeps nothing."""

    def write(self, table: str, values: NDArray[np.int64]) -> None:
        """Let rows go."""

    def write_text(self, table: str, values: Sequence[Sequence[Any]]) -> None:
        """Let rows go."""


def path_error_bar(run: str | int, *, url: str) -> dict[str, dict[str, float | int]]:
    """A run's result under every rule: `profit` and `equity_end` in the pool's currency, `total_return` and
    `max_drawdown` as fractions, `trades`.

    `detail` is there if the run's journal has the way through its candles, or the files it was made from still do.
    Positions are closed at the end if the run itself was finished.

    Raises:
        UserError: no such database or run, or it has no journal.
    """
    with open_store(url, create=False, read_only=True) as opened:
        store = persistent(opened)
        row = store.resolve(run)
        config = from_json(row.config)
        visits = _known_visits(store, row, config)
        rules = RULES if visits is None else (*RULES, DETAIL)
        return {
            rule: _once_more(store, row, _under(config, rule), visits if rule == DETAIL else None) for rule in rules
        }


def _under(config: Config, rule: str) -> Config:
    return config.model_copy(update={"exchange": config.exchange.model_copy(update={"path": rule})})


def _once_more(store: Store, row: RunRow, config: Config, visits: Visits | None) -> dict[str, float | int]:
    """The journal through a fresh engine, with these visits; the figures at its end."""
    engine = Engine(config, store.instruments(row.run), _Nowhere())
    try:
        for block in store.journal(row.run, None, FRAMES):
            own = visits and visits.between(int(block.times[0]), int(block.times[-1]))
            engine.advance(replace(block, visits=own))
        if row.status == FINISHED:
            engine.finish()
    finally:
        engine.close()
    equity = engine.equity() if engine.counts.frames else row.equity_start
    return {
        "profit": (equity - row.equity_start) / AMOUNT_SCALE,
        "equity_end": equity / AMOUNT_SCALE,
        "total_return": equity / row.equity_start - 1.0,
        "max_drawdown": engine.counts.deepest,
        "trades": engine.counts.trades,
    }


def _known_visits(store: Store, row: RunRow, config: Config) -> Visits | None:
    """The ways through the run's candles: from its journal, else from its files; None where nobody knows any."""
    if config.exchange.path == DETAIL:
        return _joined(store.journal(row.run, None, FRAMES))
    if config.feed.kind != "replay":
        return None
    try:
        feed = make_feed(_under(config, DETAIL))
    except UserError:
        return None  # the files are gone, or are others now
    try:
        if feed.symbols != tuple(item.symbol for item in store.instruments(row.run)):
            return None
        return _joined(feed.blocks(FRAMES))
    finally:
        feed.close()


def _joined(blocks: Iterator[Block]) -> Visits | None:
    parts = [block.visits for block in blocks if block.visits is not None and len(block.visits.price)]
    if not parts:
        return None
    return Visits(np.concatenate([part.place for part in parts]), np.concatenate([part.price for part in parts]))
