"""Candles of a living exchange as a feed: warm-up history first, then what was missed, then each candle as it closes.

The followers of all markets live in one event loop in a thread of their own and put closed candles into a queue. The
session takes frames out: a frame is complete when every market has settled its time (a market that has fallen silent
is left out until it speaks again). "Now" is what the exchange's candles say; this machine's clock decides nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from trader.core import threads
from trader.core.rows import Phase
from trader.core.timeframes import name
from trader.core.types import Block, Incident, Instrument, SurroundingsError, UserError
from trader.core.wall import seconds
from trader.feeds.candle_rules import problem
from trader.feeds.exchange_client import START_ATTEMPTS, Access, ExchangeClient
from trader.feeds.exchange_funding import ExchangeFunding
from trader.feeds.follower import Closed, Follower
from trader.feeds.instruments import TradingTerms, instruments_for

LOOK_SECONDS: Final = 0.1
"""How often a waiting session looks at its stop flag."""
CLOSE_SECONDS: Final = 3.0
"""Longest wait for connections to close: a signal must end a session within five seconds."""


@dataclass(frozen=True, slots=True)
class _Silence:
    """A market leaves the frames (on) or comes back."""

    market: int
    on: bool


@dataclass(frozen=True, slots=True)
class _Candles:
    """Closed candles of one market, in order."""

    market: int
    closed: tuple[Closed, ...]


@dataclass(frozen=True, slots=True)
class _End:
    """The followers have ended: by this error."""

    error: BaseException


class LiveFeed:
    """An exchange as a feed. The first call of `blocks` connects.

    Args:
        access: how the exchange is reached.
        symbols: the markets, BASE/QUOTE.
        base_ms: length of a frame.
        warmup: closed candles of history before the first live one.
        confirm: `flag` or `rest`.
        terms: fees and tiers.
        funding: take funding stamps of perpetuals.
        stopped: asked while waiting; True ends the iteration.

    Raises:
        UserError: an unknown exchange or no symbols.
    """

    kind = "live"

    def __init__(
        self, access: Access, *, symbols: tuple[str, ...] | None, base_ms: int, warmup: int, confirm: str,
        terms: TradingTerms, funding: bool, stopped: Callable[[], bool],
    ) -> None:  # fmt: skip
        if not symbols:
            raise UserError("feed.symbols: a live session needs at least one market, for example BTC/USDT")
        self.symbols = tuple(sorted(symbols))
        self.instruments: tuple[Instrument, ...] = instruments_for(self.symbols, terms)
        self.base_ms = base_ms
        self.on_wait: Callable[[float | None], None] | None = None
        self.warming = False
        self._access = access
        self._warmup = warmup
        self._confirm = confirm
        self._funding = funding and access.market_type == "swap"
        self._stopped = stopped
        self._queue: queue.SimpleQueue[_Candles | _Silence | _End] = queue.SimpleQueue()
        self._incidents: queue.SimpleQueue[Incident] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[None] | None = None
        self._connected = threading.Event()
        self._failed: BaseException | None = None
        self._live_from = 0
        self._resumed = False
        self._closed_at: float | None = None
        self._pending: list[deque[Closed]] = [deque() for _ in self.symbols]
        self._settled = [-1] * len(self.symbols)
        self._absent: set[int] = set()
        self._frontier: dict[int, int] = {}
        self._told = -1

    # --- the session's side -------------------------------------------------------------------------------------

    def connect(self, after_ms: int | None = None) -> None:
        """Reach the exchange, look up the markets and begin to follow them; candles after `after_ms`, or the warm-up.

        Raises:
            UserError: the exchange does not have a market or timeframe.
            SurroundingsError: it cannot be reached after bounded attempts, or refuses this region.
        """
        if self._thread is not None:
            return
        self._resumed = after_ms is not None
        self._told = -1 if after_ms is None else after_ms
        self._thread = threading.Thread(target=self._run, args=(after_ms,), daemon=True, name="exchange")
        threads.start(self._thread)
        while not self._connected.wait(LOOK_SECONDS):
            if self._stopped():
                return
        if self._failed is not None:
            raise self._failed

    def blocks(self, size: int, after_ms: int | None = None) -> Iterator[Block]:
        """Frames as they close: history in blocks of at most `size`, live ones one at a time; ends when stopped."""
        if size < 1:
            raise ValueError(f"block size must be >= 1, not {size}")
        self.connect(after_ms)
        while not self._stopped():
            times = self._ready(size)
            if times:
                yield self._block(times)
            else:
                self._take_in()

    def _take_in(self) -> None:
        """Wait a moment for what the followers say."""
        try:
            item = self._queue.get(timeout=LOOK_SECONDS)
        except queue.Empty:
            if self.on_wait is not None:
                self.on_wait(self.seconds_to_close())
            return
        while True:
            self._take(item)
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return

    def _take(self, item: _Candles | _Silence | _End) -> None:
        if isinstance(item, _End):
            raise item.error
        if isinstance(item, _Silence):
            (self._absent.add if item.on else self._absent.discard)(item.market)
            return
        for closed in item.closed:
            if closed.ts <= self._told:
                self._note(item.market, "late", closed.ts, "came after its frame was told: left out")
                continue
            self._pending[item.market].append(closed)
        self._settled[item.market] = max(self._settled[item.market], item.closed[-1].ts)

    def _ready(self, size: int) -> list[int]:
        """Opens of the next frames that are complete: up to `size` of one phase, or one live frame."""
        present = [m for m in range(len(self.symbols)) if m not in self._absent]
        horizon = min((self._settled[m] for m in present), default=max(self._settled))
        times = sorted({closed.ts for market in self._pending for closed in market if closed.ts <= horizon})
        if not times:
            return []
        first = self._phase(times[0])
        if first == Phase.LIVE:
            return times[:1]
        return [ts for ts in times[:size] if self._phase(ts) == first]

    def _phase(self, ts: int) -> Phase:
        if ts >= self._live_from:
            return Phase.LIVE
        return Phase.WARMUP if self.warming or not self._resumed else Phase.OFFLINE

    def _block(self, times: list[int]) -> Block:
        shape = (len(times), len(self.symbols))
        candles = np.full((*shape, 5), np.nan)
        present = np.zeros(shape, np.bool_)
        rate, mark = np.full(shape, np.nan), np.full(shape, np.nan)
        received = np.zeros(shape, np.int64)
        place = {ts: t for t, ts in enumerate(times)}
        for m, pending in enumerate(self._pending):
            while pending and pending[0].ts <= times[-1]:
                closed = pending.popleft()
                t = place[closed.ts]
                candles[t, m], present[t, m], received[t, m] = closed.row, True, int(closed.received)
                rate[t, m], mark[t, m] = closed.rate, closed.mark
        phase = np.array([int(self._phase(ts)) for ts in times], np.int64)
        self._told = times[-1]
        incidents = []
        while not self._incidents.empty():
            incidents.append(self._incidents.get())
        arrays = (np.array(times, np.int64), candles, present, rate, mark, received, phase)
        for array in arrays:
            array.flags.writeable = False
        return Block(*arrays, incidents=tuple(incidents))

    def seconds_to_close(self) -> float | None:
        """Seconds until the candle in progress closes, by the exchange's last word; None if not known yet."""
        if self._closed_at is None:
            return None
        length = self.base_ms / 1000
        return max(0.0, length - (seconds() - self._closed_at))

    def describe(self) -> dict[str, Any]:
        """Exchange and step; a living market has no end."""
        return {
            "kind": self.kind,
            "exchange": self._access.exchange,
            "market_type": self._access.market_type,
            "step": name(self.base_ms),
            "zone": "UTC",
            "symbols": {symbol: {} for symbol in self.symbols},
        }

    def close(self) -> None:
        """End the followers and their connections."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        if self._loop is not None and self._main is not None and not self._loop.is_closed():
            with contextlib.suppress(RuntimeError):  # the loop has ended just now
                self._loop.call_soon_threadsafe(self._main.cancel)
        thread.join(CLOSE_SECONDS)

    # --- the followers' side ------------------------------------------------------------------------------------

    def _note(self, market: int, kind: str, time_ms: int, detail: str) -> None:
        self._incidents.put(Incident(max(time_ms, 0), kind, self.symbols[market] if market >= 0 else "", detail))

    def _run(self, after_ms: int | None) -> None:
        try:
            asyncio.run(self._follow(after_ms))
        except asyncio.CancelledError:
            pass  # that is how the session stops it
        except BaseException as error:  # noqa: BLE001 - it is told to the session's thread, which raises it
            self._failed = error
            self._queue.put(_End(error))
        finally:
            self._connected.set()

    async def _follow(self, after_ms: int | None) -> None:
        self._loop, self._main = asyncio.get_running_loop(), asyncio.current_task()
        self._loop.set_exception_handler(lambda *_: None)  # the library leaves futures behind when it is closed
        client = ExchangeClient(self._access, lambda kind, detail: self._note(-1, kind, max(self._told, 0), detail))
        try:
            await client.load()
            followers = await self._followers(client, after_ms)
            self._connected.set()
            async with asyncio.TaskGroup() as group:
                for follower in followers:
                    group.create_task(follower.run())
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            await client.close()

    async def _followers(self, client: ExchangeClient, after_ms: int | None) -> list[Follower]:
        """One follower a market, from the warm-up or the last known candle on."""
        timeframe = client.timeframe(name(self.base_ms))
        markets = [client.market(symbol) for symbol in self.symbols]
        newest = [await self._newest(client, market, timeframe) for market in markets]
        self._live_from = max(newest)
        last = after_ms if after_ms is not None else self._live_from - (self._warmup + 1) * self.base_ms
        return [
            self._follower(client, m, market, timeframe, last, after_ms is None) for m, market in enumerate(markets)
        ]

    async def _newest(self, client: ExchangeClient, market: str, timeframe: str) -> int:
        """Open of the candle in progress.

        Raises:
            SurroundingsError: the exchange gives no usable candles.
        """
        for _ in range(START_ATTEMPTS):
            answer = await client.ask(
                lambda: client.rest.fetch_ohlcv(market, timeframe, None, 5), attempts=START_ATTEMPTS
            )
            good = [row[0] for row in answer or () if row and not problem(row[0], row[1:6], self.base_ms)]
            if good:
                return int(max(good))
            await asyncio.sleep(client.access.first_pause)
        raise SurroundingsError(f"exchange {self._access.exchange}: no usable candles of {market}")

    def _follower(
        self, client: ExchangeClient, m: int, market: str, timeframe: str, last: int, fresh: bool
    ) -> Follower:
        def note(kind: str, time_ms: int, detail: str) -> None:
            self._note(m, kind, time_ms, detail)

        def deliver(closed: list[Closed]) -> None:
            self._frontier[m] = closed[-1].ts
            self._closed_at = seconds()
            self._queue.put(_Candles(m, tuple(closed)))

        stamp = ExchangeFunding(client, market, note).stamp if self._funding else None
        return Follower(
            client, self.symbols[m], market, timeframe, self.base_ms, last, fresh=fresh, confirm=self._confirm,
            deliver=deliver, note=note, frontier=lambda: max(self._frontier.values(), default=0),
            silent=lambda on: self._queue.put(_Silence(m, on)), stamp=stamp,
        )  # fmt: skip
