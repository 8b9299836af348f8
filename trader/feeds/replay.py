"""History from files as frames: many symbols aligned on the union of their open times, holes left as holes.

Arrays only: per symbol its open times and candles (48 bytes a row) and, for perpetuals, its joined stamps; a block is
cut out when it is asked for. A market without a candle at a frame is absent there (NaN row, `present` False). Missing
candles inside a symbol's span become incidents of kind `gap`, told with the block of the first candle after the hole.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trader.core.aggregation import aggregate
from trader.core.rows import Phase, Received
from trader.core.timeframes import name
from trader.core.types import Block, Incident, Instrument, UserError
from trader.feeds.catalogue import SymbolFiles, detail_timeframe, find_symbols, source_timeframe
from trader.feeds.detail import Detail, visits_of
from trader.feeds.files import Candles, read_candles, read_stamps
from trader.feeds.funding import join
from trader.feeds.history import MissingHistoryError
from trader.feeds.instruments import TradingTerms, instruments_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class _Gap:
    """A hole in a source file: open of the first missing candle, how many are missing, open of the next candle."""

    time_ms: int
    missing: int
    next_ms: int


@dataclass(frozen=True, slots=True)
class _Market:
    """One symbol's history from start (less warm-up) to end: times [T], values [T, 5], rates and marks [T] or None."""

    symbol: str
    source_ms: int
    files: tuple[Path, ...]
    times: NDArray[np.int64]
    values: NDArray[np.float64]
    rates: NDArray[np.float64] | None
    marks: NDArray[np.float64] | None
    gaps: tuple[_Gap, ...]
    detail: Detail | None = None


class ReplayFeed:
    """Files as a feed.

    Args:
        paths: files or folders in the candle store's layout.
        exchange_id: ccxt id, for the choice of venue.
        market_type: `spot` or `swap`; funding is read for `swap` only.
        symbols: the wanted ones, None for all that are there.
        base_ms: length of a frame.
        quote: the pool's currency; other symbols are refused. None: any.
        start_ms: first open time that is traded, inclusive; None: the first there is.
        end_ms: open time before which the feed ends, exclusive; None: the last there is.
        warmup: base candles of history before start, told with phase WARMUP.
        terms: fees and leverage tiers; None: the defaults of the market type.
        detail: also tell how finer candles go through each base candle, where a symbol has any.

    Raises:
        UserError: nothing fits, a file is bad, a symbol has the wrong quote currency, or no candle lies in the span.
    """

    kind = "replay"

    def __init__(
        self, paths: Sequence[Path | str], *, exchange_id: str, market_type: str, symbols: tuple[str, ...] | None,
        base_ms: int, quote: str | None, start_ms: int | None = None, end_ms: int | None = None, warmup: int = 0,
        terms: TradingTerms | None = None, detail: bool = False,
    ) -> None:  # fmt: skip
        if start_ms is not None and end_ms is not None and start_ms >= end_ms:
            raise UserError(f"feed.start ({start_ms}) must be before feed.end ({end_ms})")
        self._places = tuple(Path(path) for path in paths)
        found = find_symbols(self._places, exchange_id=exchange_id, market_type=market_type, symbols=symbols)
        for symbol in found:
            if quote is not None and symbol.partition("/")[2] != quote:
                raise UserError(f"feed.symbols: {symbol} is not quoted in {quote}, the currency of the pool")
        self.base_ms = base_ms
        self.start_ms = start_ms
        begin = None if start_ms is None else start_ms - warmup * base_ms
        loaded = [_load(files, base_ms, market_type == "swap", detail=detail) for files in found.values()]
        markets = [_cut(market, begin, end_ms) for market in loaded]
        self._left_out = tuple(market.symbol for market in markets if len(market.times) == 0)
        if symbols is not None and self._left_out:
            raise MissingHistoryError(
                f"feed.symbols: {self._left_out[0]} has no candles between feed.start and feed.end", self._left_out
            )
        self._markets = tuple(market for market in markets if len(market.times))
        if not self._markets:
            raise MissingHistoryError(
                f"{', '.join(map(str, self._places))}: no candles between feed.start and feed.end", self._left_out
            )
        self._times = np.unique(np.concatenate([market.times for market in self._markets]))
        if start_ms is not None and self._times[-1] < start_ms:
            raise MissingHistoryError(
                f"{', '.join(map(str, self._places))}: no candles at or after feed.start",
                tuple(market.symbol for market in self._markets),
            )
        self._visits = None
        self._detail_ms: dict[str, int | None] = {}
        if detail:
            self._detail_ms = {m.symbol: m.detail.length_ms if m.detail else None for m in self._markets}
            self._visits = visits_of([(m.times, m.values, m.detail) for m in self._markets], base_ms, start_ms)
            self._markets = tuple(replace(market, detail=None) for market in self._markets)
        self.symbols: tuple[str, ...] = tuple(market.symbol for market in self._markets)
        self.instruments: tuple[Instrument, ...] = instruments_for(self.symbols, terms or TradingTerms(market_type))

    def __len__(self) -> int:
        """Frames, warm-up included."""
        return len(self._times)

    def blocks(self, size: int, after_ms: int | None = None) -> Iterator[Block]:
        """Blocks of at most `size` frames with open times > `after_ms`, warm-up first."""
        if size < 1:
            raise ValueError(f"block size must be >= 1, not {size}")
        first = 0 if after_ms is None else int(np.searchsorted(self._times, after_ms, "right"))
        for start in range(first, len(self._times), size):
            yield self._block(self._times[start : start + size], self._times[start - 1] if start else None)

    def _block(self, times: NDArray[np.int64], before_ms: int | None) -> Block:
        """The frames at these times; incidents of holes that end in them."""
        shape = (len(times), len(self._markets))
        candles = np.full((*shape, 5), np.nan)
        present = np.zeros(shape, np.bool_)
        rate = np.full(shape, np.nan)
        mark = np.full(shape, np.nan)
        for m, market in enumerate(self._markets):
            part = slice(np.searchsorted(market.times, times[0]), np.searchsorted(market.times, times[-1], "right"))
            at = np.searchsorted(times, market.times[part])
            candles[at, m] = market.values[part]
            present[at, m] = True
            if market.rates is not None and market.marks is not None:
                rate[at, m] = market.rates[part]
                mark[at, m] = market.marks[part]
        warm = Phase.REPLAY if self.start_ms is None else Phase.WARMUP
        phase = np.where(times < (self.start_ms or 0), int(warm), int(Phase.REPLAY)).astype(np.int64)
        received = np.full(shape, int(Received.FILE), np.int64)
        arrays = (times.copy(), candles, present, rate, mark, received, phase)
        for array in arrays:
            array.flags.writeable = False
        visits = None if self._visits is None else self._visits.between(int(times[0]), int(times[-1]))
        return Block(*arrays, incidents=self._incidents(before_ms, int(times[-1])), visits=visits)

    def _incidents(self, before_ms: int | None, last_ms: int) -> tuple[Incident, ...]:
        """Holes whose next candle opens after `before_ms`, at the latest at `last_ms`, in time order."""
        told = () if before_ms is not None else self._without_detail()
        found = [
            Incident(
                gap.time_ms, "gap", market.symbol,
                f"{gap.missing} candles of {name(market.source_ms)} missing, next at {gap.next_ms}",
            )
            for market in self._markets
            for gap in market.gaps
            if (before_ms is None or gap.next_ms > before_ms) and gap.next_ms <= last_ms
        ]  # fmt: skip
        return (*told, *sorted(found, key=lambda incident: (incident.time_ms, incident.symbol)))

    def _without_detail(self) -> tuple[Incident, ...]:
        """Symbols whose way through a candle was wanted and is not known."""
        return tuple(
            Incident(int(self._times[0]), "detail", symbol, f"no candles finer than {name(self.base_ms)}: by colour")
            for symbol, step in self._detail_ms.items()
            if step is None
        )

    def describe(self) -> dict[str, Any]:
        """Span and step, and for every symbol its files, rows, span and holes."""
        return {
            "kind": self.kind,
            "step": name(self.base_ms),
            "frames": len(self._times),
            "first_ms": int(self._times[0]),
            "last_ms": int(self._times[-1]),
            "warmup_frames": int(np.searchsorted(self._times, self.start_ms)) if self.start_ms is not None else 0,
            "zone": "UTC",
            "left_out": list(self._left_out),
            "symbols": {market.symbol: _describe(market) for market in self._markets},
            "detail": {symbol: name(step) if step else None for symbol, step in self._detail_ms.items()},
        }

    def close(self) -> None:
        """Nothing is held open: files are read once."""


def _describe(market: _Market) -> dict[str, Any]:
    return {
        "files": [str(path) for path in market.files],
        "source_step": name(market.source_ms),
        "rows": len(market.times),
        "first_ms": int(market.times[0]),
        "last_ms": int(market.times[-1]),
        "holes": len(market.gaps),
        "missing": sum(gap.missing for gap in market.gaps),
        "funding_stamps": 0 if market.rates is None else int(np.isfinite(market.rates).sum()),
        "stamps_with_mark": 0 if market.marks is None else int(np.isfinite(market.marks).sum()),
    }


def _load(files: SymbolFiles, base_ms: int, perpetual: bool, *, detail: bool) -> _Market:
    """Read one symbol's whole history, bring it to the base timeframe and join its stamps; finer candles if wanted."""
    source_ms = source_timeframe(files, base_ms)
    candles = _join_pieces(files.candles[source_ms], source_ms)
    times, values = candles.times, candles.values
    if source_ms != base_ms:
        times, values, _ = aggregate(times, values, source_ms, base_ms)
    rates = marks = None
    if perpetual and files.funding is not None and len(times):
        mark_candles = [_join_pieces(files.marks[length], length) for length in sorted(files.marks)]
        rates, marks = join(times, read_stamps(files.funding), mark_candles)
    gaps = _gaps(candles.times, source_ms)
    finer = detail_timeframe(files, base_ms) if detail else None
    return _Market(
        files.symbol, source_ms, tuple(files.candles[source_ms]), times, values, rates, marks, gaps,
        None if finer is None else Detail(finer, _join_pieces(files.candles[finer], finer)),
    )  # fmt: skip


def _join_pieces(paths: list[Path], length_ms: int) -> Candles:
    """The pieces of one timeframe, one after the other."""
    pieces = [read_candles(path, length_ms) for path in paths]
    for before, after, path in zip(pieces, pieces[1:], paths[1:], strict=False):
        if after.times[0] <= before.times[-1]:
            raise UserError(f"{path}: row 1: ts must be after the last row of the piece before it")
    if len(pieces) == 1:
        return pieces[0]
    return Candles(np.concatenate([p.times for p in pieces]), np.concatenate([p.values for p in pieces]))


def _gaps(times: NDArray[np.int64], step_ms: int) -> tuple[_Gap, ...]:
    """Holes between the rows of a source file."""
    before = np.flatnonzero(np.diff(times) > step_ms)
    return tuple(
        _Gap(int(times[i]) + step_ms, int((times[i + 1] - times[i]) // step_ms) - 1, int(times[i + 1])) for i in before
    )


def _cut(market: _Market, begin_ms: int | None, end_ms: int | None) -> _Market:
    """The market between two open times; copies, so that the rest of the file is let go."""
    first = 0 if begin_ms is None else int(np.searchsorted(market.times, begin_ms))
    last = len(market.times) if end_ms is None else int(np.searchsorted(market.times, end_ms))
    part = slice(first, max(first, last))
    times = market.times[part].copy()
    # told with the first frame after the hole: it must lie in the span, and so must the candle before the hole
    low, high = (int(times[0]), int(times[-1])) if len(times) else (0, -1)
    return _Market(
        market.symbol, market.source_ms, market.files, times, market.values[part].copy(),
        None if market.rates is None else market.rates[part].copy(),
        None if market.marks is None else market.marks[part].copy(),
        tuple(gap for gap in market.gaps if low < gap.time_ms and gap.next_ms <= high), market.detail,
    )  # fmt: skip
