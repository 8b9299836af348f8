"""Funding of perpetuals from an exchange: which stamps belong to which closed candles, and their mark prices.

The rule is that of files (`trader.feeds.funding`): a stamp belongs to the candle whose open is nearest within five
seconds, else to the first candle after it. Stamps stand at full hours, so only candles with an hour between them and
the one before are asked for. The mark price is the open of the hour's mark candle.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final

import numpy as np

from trader.core.timeframes import HOUR_MS
from trader.core.types import UserError
from trader.feeds.candle_rules import problem
from trader.feeds.exchange_client import ExchangeClient
from trader.feeds.files import Candles, Stamps
from trader.feeds.follower import Closed
from trader.feeds.funding import TOLERANCE_MS, join

PAGE: Final = 1000
LARGEST_RATE: Final = 1.0
"""A funding rate is a fraction; exchanges cap it at a few percent."""
LATE_ATTEMPTS: Final = 5
"""Questions for a stamp that was announced and is not in the history yet."""


class ExchangeFunding:
    """Stamps of one market. market: ccxt's spelling; note takes (kind, time_ms, detail)."""

    def __init__(self, client: ExchangeClient, market: str, note: Callable[[str, int, str], None]) -> None:
        self._client = client
        self._market = market
        self._note = note
        self._announced: int | None = None

    async def stamp(self, closed: list[Closed], before_ms: int) -> list[Closed]:
        """The same candles with their stamps; `before_ms` is the open of the candle before them."""
        first, last = before_ms + TOLERANCE_MS + 1, closed[-1].ts + TOLERANCE_MS
        if last // HOUR_MS == (first - 2 * TOLERANCE_MS) // HOUR_MS:
            return closed
        stamps = await self._stamps(first, last)
        if not len(stamps.times):
            return closed
        marks = await self._marks(int(stamps.times[0]), int(stamps.times[-1]))
        times = np.array([candle.ts for candle in closed], np.int64)
        inside = stamps.times >= first
        rates, prices = join(times, Stamps(stamps.times[inside], stamps.rates[inside]), [marks])
        return [
            replace(candle, rate=float(rate), mark=float(mark))
            for candle, rate, mark in zip(closed, rates, prices, strict=True)
        ]

    async def _stamps(self, first_ms: int, last_ms: int) -> Stamps:
        """Stamps in [first, last]; one that was announced for this span is waited for."""
        for _ in range(LATE_ATTEMPTS):
            stamps = await fetch_stamps(self._client, self._market, first_ms, last_ms)
            due = self._announced
            if due is None or not first_ms <= due + TOLERANCE_MS <= last_ms + TOLERANCE_MS:
                break
            if len(stamps.times) and int(stamps.times[-1]) >= due - TOLERANCE_MS:
                break
            await asyncio.sleep(self._client.access.first_pause)
        else:
            self._note("funding_missing", due or last_ms, "the announced funding is not in the exchange's history")
        self._announced = await self._next()
        return stamps

    async def _next(self) -> int | None:
        """When the exchange will stamp next, if it tells."""
        if not self._client.rest.has.get("fetchFundingRate"):
            return None
        told = await self._client.ask(lambda: self._client.rest.fetch_funding_rate(self._market))
        moment = told.get("nextFundingTimestamp") or told.get("fundingTimestamp") if isinstance(told, dict) else None
        return moment if isinstance(moment, int) else None

    async def _marks(self, first_ms: int, last_ms: int) -> Candles:
        """Mark candles of an hour that cover the stamps."""
        rest = self._client.rest
        if not rest.has.get("fetchMarkOHLCV"):
            return Candles(np.zeros(0, np.int64), np.zeros((0, 5)))
        found: dict[int, Any] = {}
        since = (first_ms + TOLERANCE_MS) // HOUR_MS * HOUR_MS
        while since <= last_ms:
            answer = await self._client.ask(
                partial(rest.fetch_ohlcv, self._market, "1h", since, PAGE, {"price": "mark"})
            )
            fresh = {row[0]: tuple(row[1:5]) for row in answer if _is_mark(row)}
            if not fresh:
                break
            found |= fresh
            since = max(fresh) + HOUR_MS
        times = np.array(sorted(time for time in found if time <= last_ms + TOLERANCE_MS), np.int64)
        values = np.array([(*found[int(time)], 0.0) for time in times], np.float64).reshape(len(times), 5)
        return Candles(times, values)


def _is_mark(row: Any) -> bool:
    """A mark candle: no volume."""
    return isinstance(row, list) and len(row) >= 5 and not problem(row[0], (*row[1:5], 0.0), HOUR_MS)


async def fetch_stamps(client: ExchangeClient, market: str, first_ms: int, last_ms: int) -> Stamps:
    """Every funding stamp in [first, last], in pages.

    Raises:
        UserError: the exchange has no history of funding.
    """
    rest = client.rest
    if not rest.has.get("fetchFundingRateHistory"):
        raise UserError(f"exchange.funding: {client.access.exchange} has no history of funding; set it to false")
    found: dict[int, float] = {}
    since = first_ms
    while since <= last_ms:
        answer = await client.ask(partial(rest.fetch_funding_rate_history, market, since, PAGE))
        fresh = {row["timestamp"]: float(row["fundingRate"]) for row in answer if _is_stamp(row)}
        later = [time for time in fresh if time >= since]
        if not later:
            break
        found |= fresh
        since = max(later) + 1
        if len(answer) < 2:
            break
    times = np.array(sorted(time for time in found if first_ms <= time <= last_ms), np.int64)
    return Stamps(times, np.array([found[int(time)] for time in times], np.float64))


def _is_stamp(row: Any) -> bool:
    if not isinstance(row, dict) or not isinstance(row.get("timestamp"), int):
        return False
    rate = row.get("fundingRate")
    return isinstance(rate, (int, float)) and math.isfinite(rate) and abs(rate) <= LARGEST_RATE
