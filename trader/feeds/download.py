"""History from an exchange into the candle store: candles, and for perpetuals mark candles and funding stamps.

Asked in pages, validated row by row, written every `FLUSH_PAGES` pages (each file replaced in one step), so a download
that was killed goes on where it stopped: what the store has is not asked for again. Only closed candles are taken. A
hole inside a page is believed when the exchange tells it as often as a living session demands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np

from trader.core.timeframes import milliseconds, name
from trader.core.types import UserError
from trader.feeds.candle_rules import Row, problem
from trader.feeds.catalogue import venue_name
from trader.feeds.exchange_client import START_ATTEMPTS, Access, ExchangeClient
from trader.feeds.exchange_funding import fetch_stamps
from trader.feeds.files import Candles, Stamps, read_candles, read_stamps
from trader.feeds.follower import AGREEING, PAGE
from trader.feeds.importers import Piece
from trader.feeds.importing.store import join, write

FLUSH_PAGES: Final = 50
"""Pages between two writes: fifty thousand candles, about two megabytes."""

Tell = Callable[[str, str, int, int], None]
"""Told after every page: symbol, kind, candles so far, candles expected."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What to download: since inclusive, until exclusive, ms UTC; until None: up to the newest closed candle."""

    symbols: tuple[str, ...]
    timeframe: str
    since_ms: int
    until_ms: int | None
    out: Path


@dataclass(slots=True)
class Got:
    """What came of one file."""

    symbol: str
    kind: str
    path: Path
    rows: int = 0
    bad_rows: int = 0
    holes: int = 0


def download(access: Access, wish: Wish, tell: Tell | None = None) -> list[Got]:
    """Download, in this thread; one entry a file.

    Raises:
        UserError: unknown exchange, market or timeframe, or the store disagrees with the exchange.
        SurroundingsError: the exchange cannot be reached; what was written stays.
    """
    return asyncio.run(_download(access, wish, tell or (lambda *_: None)))


async def _download(access: Access, wish: Wish, tell: Tell) -> list[Got]:
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    client = ExchangeClient(access)
    try:
        await client.load()
        client.timeframe(wish.timeframe)
        got = []
        for symbol in wish.symbols:
            market = client.market(symbol)
            got.append(await _candles(client, wish, symbol, market, "candles", tell))
            if access.market_type == "swap":
                if client.rest.has.get("fetchMarkOHLCV"):
                    got.append(await _candles(client, wish, symbol, market, "mark", tell))
                if client.rest.has.get("fetchFundingRateHistory"):
                    got.append(await _funding(client, wish, symbol, market))
        return got
    finally:
        await client.close()


def _piece(client: ExchangeClient, symbol: str, kind: str, length_ms: int, content: Candles | Stamps) -> Piece:
    access = client.access
    venue = venue_name(access.exchange, access.market_type)
    return Piece(access.exchange, venue, symbol, kind, length_ms, content, "UTC ms", ())


def _spans(known: Any, since_ms: int, until_ms: int, step_ms: int) -> Iterator[tuple[int, int]]:
    """What the store lacks of [since, until): before its first row and after its last."""
    if not len(known):
        yield since_ms, until_ms
        return
    if since_ms < known[0]:
        yield since_ms, min(int(known[0]), until_ms)
    if until_ms > known[-1] + step_ms:
        yield max(int(known[-1]) + step_ms, since_ms), until_ms


async def _candles(client: ExchangeClient, wish: Wish, symbol: str, market: str, kind: str, tell: Tell) -> Got:
    step = milliseconds(wish.timeframe)
    place = wish.out / _piece(client, symbol, kind, step, Candles(np.zeros(0, np.int64), np.zeros((0, 5)))).place
    got = Got(symbol, kind, place)
    pages = _Pages(client, market, wish.timeframe, kind, got)
    until = await pages.newest() if wish.until_ms is None else min(wish.until_ms, await pages.newest())
    known = read_candles(place, step).times if place.exists() else np.zeros(0, np.int64)
    for first, end in _spans(known, -(-wish.since_ms // step) * step, until, step):
        rows: dict[int, Row] = {}
        since, asked = first, 0
        while since < end:
            page = await pages.page(since, end)
            rows |= page.rows
            got.rows += len(page.rows)
            since, asked = page.next_ms, asked + 1
            tell(symbol, kind, (min(since, end) - first) // step, (end - first) // step)
            if asked % FLUSH_PAGES == 0 or since >= end:
                _flush(client, wish, symbol, kind, step, rows)
                rows = {}
    return got


def _flush(client: ExchangeClient, wish: Wish, symbol: str, kind: str, step: int, rows: dict[int, Row]) -> None:
    if not rows:
        return
    times = np.array(sorted(rows), np.int64)
    values = np.array([rows[int(time)] for time in times], np.float64)
    piece = _piece(client, symbol, kind, step, Candles(times, values))
    write(join([piece], wish.out, fresh=False))


@dataclass(frozen=True, slots=True)
class _Page:
    """Rows by time, and where the next page begins."""

    rows: dict[int, Row]
    next_ms: int


class _Pages:
    """Pages of one market's candles or mark candles."""

    def __init__(self, client: ExchangeClient, market: str, timeframe: str, kind: str, got: Got) -> None:
        self._client = client
        self._market = market
        self._timeframe = timeframe
        self._step = milliseconds(timeframe)
        self._params = {"price": "mark"} if kind == "mark" else {}
        self._got = got

    async def _ask(self, since: int | None, limit: int) -> tuple[dict[int, Row], int]:
        """The good rows of one answer, and how many were bad."""
        rest = self._client.rest
        answer = await self._client.ask(
            lambda: rest.fetch_ohlcv(self._market, self._timeframe, since, limit, dict(self._params)),
            attempts=START_ATTEMPTS,
        )
        rows: dict[int, Row] = {}
        bad = 0
        for item in answer if isinstance(answer, list) else ():
            values = list(item[1:6]) if isinstance(item, (list, tuple)) and len(item) >= 5 else []
            if self._params and len(values) == 5 and values[4] is None:
                values[4] = 0.0  # a mark price has no volume
            if not values or problem(item[0], values, self._step):
                bad += 1
            else:
                rows[int(item[0])] = tuple(float(value) for value in values)  # type: ignore[assignment]
        return rows, bad

    async def newest(self) -> int:
        """Open of the candle in progress.

        Raises:
            UserError: the exchange tells no candles.
        """
        for _ in range(AGREEING):
            rows, _bad = await self._ask(None, 5)
            if rows:
                return max(rows)
        raise UserError(f"{self._client.access.exchange}: no {self._timeframe} candles of {self._market}")

    async def page(self, since: int, end: int) -> _Page:
        """Rows of [since, end) of the next page; holes and emptiness are asked for again before they are believed."""
        best: dict[int, Row] = {}
        bad = 0
        for _ in range(AGREEING):
            rows, bad = await self._ask(since, PAGE)
            best |= {ts: row for ts, row in rows.items() if since <= ts < end}
            reached = max(rows, default=since - self._step)
            whole = len(best) == (min(reached, end - self._step) - since) // self._step + 1
            if best and whole and not bad:
                break
        times = sorted(best)
        self._got.bad_rows += bad
        self._got.holes += sum(b - a > self._step for a, b in pairwise(times))
        return _Page(best, times[-1] + self._step if times else since + PAGE * self._step)


async def _funding(client: ExchangeClient, wish: Wish, symbol: str, market: str) -> Got:
    place = wish.out / _piece(client, symbol, "funding", 0, Stamps(np.zeros(0, np.int64), np.zeros(0))).place
    known = read_stamps(place).times if place.exists() else np.zeros(0, np.int64)
    got = Got(symbol, "funding", place)
    until = wish.until_ms if wish.until_ms is not None else 2**53
    for first, end in _spans(known, wish.since_ms, until, 1):
        stamps = await fetch_stamps(client, market, first, end - 1)
        if len(stamps.times):
            write(join([_piece(client, symbol, "funding", 0, stamps)], wish.out, fresh=False))
            got.rows += len(stamps.times)
    return got


def described(got: Got, timeframe: str) -> dict[str, Any]:
    """One file as a JSON object."""
    return {
        "symbol": got.symbol, "kind": got.kind, "timeframe": name(milliseconds(timeframe)) if got.kind != "funding" else "",
        "file": str(got.path), "new_rows": got.rows, "bad_rows": got.bad_rows, "holes": got.holes,
    }  # fmt: skip
