"""One market followed live: from frames of a stream and answers of REST to closed candles, each once, in order.

A candle is closed when the exchange's own flag says so, or when an answer of REST holds a later one; never by a clock.
Whatever is missing between the last closed candle and the newest one seen is fetched by REST, in pages. A hole is
believed only after `AGREEING` answers in a row that have a later candle and not this one; short, empty and unreadable
answers prove nothing. A price far from the last close must be told as often. A closed candle that comes again with
other values is a revision: told, and never merged. Silence longer than `stall_seconds` means a new connection.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from trader.core.rows import Received
from trader.core.types import UserError
from trader.feeds.candle_rules import SPIKE, Row, is_spike, problem
from trader.feeds.exchange_client import ExchangeClient
from trader.feeds.frame_flags import Told

AGREEING: Final = 3
"""Like answers before an unlikely thing is believed."""
PAGE: Final = 1000
"""Candles asked for at once: what the large exchanges give at most."""
REMEMBERED: Final = 2000
"""Closed candles kept to recognise revisions."""


@dataclass(frozen=True, slots=True)
class Closed:
    """A closed candle: open time, values, how it came, and the funding stamped at its open (NaN where none)."""

    ts: int
    row: Row
    received: Received
    rate: float = float("nan")
    mark: float = float("nan")


Stamper = Callable[[list[Closed], int], Awaitable[list[Closed]]]
"""Adds funding to closed candles; the number is the open of the candle before them."""


class Follower:
    """Follow one market.

    Args:
        client: the exchange.
        symbol: BASE/QUOTE; market: ccxt's spelling.
        timeframe: the base timeframe; base_ms: its length.
        last_ms: open of the last candle that is settled already; the next one is wanted.
        fresh: no candle of this market is known yet, so history may begin later than asked for.
        confirm: `flag` or `rest` (every candle is confirmed by REST).
        deliver: takes closed candles, in order.
        note: takes (kind, time_ms, detail) of incidents.
        frontier: newest closed candle of any market.
        stamp: adds funding, or None.
        silent: called with True when this market gives no candles any more while others do, False when it does again.
    """

    def __init__(
        self, client: ExchangeClient, symbol: str, market: str, timeframe: str, base_ms: int, last_ms: int, *,
        fresh: bool, confirm: str, deliver: Callable[[list[Closed]], None], note: Callable[[str, int, str], None],
        frontier: Callable[[], int], silent: Callable[[bool], None], stamp: Stamper | None = None,
    ) -> None:  # fmt: skip
        self.symbol = symbol
        self._client = client
        self._market = market
        self._timeframe = timeframe
        self._base_ms = base_ms
        self._last = last_ms
        self._fresh = fresh
        self._confirm = confirm
        self._deliver = deliver
        self._note = note
        self._frontier = frontier
        self._silent = silent
        self._is_silent = False
        self._stamp = stamp
        self._stall = client.access.stall_seconds
        self._newest = last_ms + base_ms
        self._finals: dict[int, Row] = {}
        self._accepted: dict[int, Row] = {}
        self._revised: dict[int, Row] = {}
        self._slips: Counter[tuple[int, Row]] = Counter()
        self._claims: Counter[tuple[Any, ...]] = Counter()
        self._doubt = True
        self._wake = asyncio.Event()
        self._pause = client.access.first_pause
        self._silence = 0
        self._closing: set[asyncio.Task[None]] = set()
        self._market_id = str((client.rest.markets or {}).get(market, {}).get("id", ""))

    # --- the loop -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Follow until cancelled."""
        streaming = self._client.has_stream
        watcher: asyncio.Task[None] | None = None
        try:
            while True:
                if streaming and (watcher is None or watcher.done()):
                    watcher = asyncio.create_task(self._watch())
                fresh = self._use_finals()
                if self._behind():
                    fresh += await self._refill()
                if fresh:
                    await self._hand_over(fresh)
                    continue
                if self._behind():
                    await self._rest_a_little()
                    continue
                self._pause = self._client.access.first_pause
                if not await self._woken(self._stall if streaming else self._polling_seconds()):
                    self._doubt = True
                    if streaming and watcher is not None:
                        self._note("stall", self._last, f"no frame for {self._stall:g} s: dialling again")
                        watcher.cancel()
                        await asyncio.gather(watcher, return_exceptions=True)
        finally:
            if watcher is not None:
                watcher.cancel()
                await asyncio.gather(watcher, return_exceptions=True)
            await asyncio.gather(*self._closing, return_exceptions=True)

    def _polling_seconds(self) -> float:
        """Seconds between questions to an exchange without streams."""
        return min(max(self._base_ms / 30_000, 1.0), 10.0)

    async def _woken(self, seconds: float) -> bool:
        """Wait for a frame; False if none came."""
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return False
        self._wake.clear()
        return True

    async def _rest_a_little(self) -> None:
        """A growing pause that the closing frame of the wanted candle cuts short."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._pause
        while (left := until - loop.time()) > 0 and not self._usable_final():
            await self._woken(left)
        self._pause = min(self._pause * 2, self._client.access.longest_pause)

    def _behind(self) -> bool:
        """Whether REST must be asked: a later candle was seen, a closing frame could not be used, or all was silent."""
        return self._doubt or self._newest > self._last + self._base_ms

    async def _hand_over(self, fresh: list[Closed]) -> None:
        before = fresh[0].ts - self._base_ms
        if self._stamp is not None:
            fresh = await self._stamp(fresh, before)
        if self._is_silent:
            self._is_silent = False
            self._silent(False)
        self._silence = 0
        self._deliver(fresh)

    # --- the stream ---------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Dial, watch, and dial again with growing pauses until cancelled."""
        pause = self._client.access.first_pause
        while True:
            stream = self._client.stream(self._market, self._on_candle, self._on_trouble)
            try:
                rows = await self._client.first_rows(stream, self._market, self._timeframe)
                while True:
                    pause = self._client.access.first_pause
                    self._on_rows([tuple(row) for row in rows])
                    rows = await stream.watch_ohlcv(self._market, self._timeframe)
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever the library raises, the answer is a new connection
                self._note("reconnect", self._last, f"{type(error).__name__}: {error}"[:200])
            finally:
                self._dispose(stream)
            self._doubt = True
            self._wake.set()
            await asyncio.sleep(pause)
            pause = min(pause * 2, self._client.access.longest_pause)

    def _dispose(self, stream: Any) -> None:
        """Close a stream aside: a dead connection is not waited for."""

        async def close() -> None:
            try:
                async with asyncio.timeout(5):
                    await stream.close()
            except Exception:  # noqa: BLE001, S110 - it is being thrown away
                pass

        task = asyncio.create_task(close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _on_trouble(self, detail: str) -> None:
        self._note("bad_frame", self._last, detail)
        self._doubt = True
        self._wake.set()

    def _on_rows(self, rows: list[tuple[Any, ...]]) -> None:
        """Rows of the library's cache: they only tell that a candle has begun."""
        for row in rows:
            if len(row) >= 6 and not problem(row[0], row[1:6], self._base_ms):
                self._newest = max(self._newest, int(row[0]))
        self._wake.set()

    def _on_candle(self, candle: Told) -> None:
        """A candle as the exchange itself sent it."""
        name, ts, values, closed = candle
        if not closed or (name and self._market_id and name != self._market_id):
            return
        self._wake.set()
        rule = problem(ts, values, self._base_ms)
        if rule:
            self._note("bad_row", ts if isinstance(ts, int) else self._last, f"stream: {rule}: {values}"[:200])
            self._doubt = True
            return
        row: Row = tuple(float(value) for value in values)  # type: ignore[assignment]
        if ts <= self._last:
            self._compare(ts, row)
        elif ts in self._finals:
            if self._finals[ts] != row:
                self._revise(ts, self._finals[ts], row)
        elif len(self._finals) < REMEMBERED:
            self._finals[ts] = row

    def _usable_final(self) -> Row | None:
        """The next candle as the exchange's flag has closed it, if that is enough."""
        row = self._finals.get(self._last + self._base_ms)
        enough = row is not None and self._confirm == "flag" and not is_spike(row, self._last_close())
        return row if enough else None

    def _use_finals(self) -> list[Closed]:
        """Candles that the exchange's flag has closed, as far as they follow the last one."""
        fresh: list[Closed] = []
        while (row := self._usable_final()) is not None:
            fresh.append(self._accept(self._last + self._base_ms, row, Received.STREAM))
        if self._last + self._base_ms in self._finals:
            self._doubt = True
        return fresh

    # --- REST ---------------------------------------------------------------------------------------------------

    async def _refill(self) -> list[Closed]:
        """Ask once for what follows the last closed candle; closed candles that are believed now."""
        since = max(self._last, 0)  # one candle of overlap shows revisions
        try:
            answer = await self._client.ask(
                lambda: self._client.rest.fetch_ohlcv(self._market, self._timeframe, since, PAGE)
            )
        except UserError as error:
            self._note("delisted", self._last, str(error)[:200])
            self._count_silence()
            return []
        rows = self._valid(answer)
        if not rows:
            self._skip_empty_page(answer)
            return []
        newest = max(rows)
        self._newest = newest
        fresh = self._believe(rows, newest)
        if newest <= self._last + self._base_ms:
            self._doubt = self._unconfirmed(newest)
        if not fresh and newest <= self._last:
            self._count_silence()
        return fresh

    def _unconfirmed(self, newest: int) -> bool:
        """Whether a closing frame waits that REST must confirm."""
        wanted = self._last + self._base_ms
        return wanted in self._finals and newest <= wanted

    def _valid(self, answer: Any) -> dict[int, Row]:
        """The rows of an answer that keep the rules, by time; copies."""
        rows: dict[int, Row] = {}
        bad = ""
        for item in answer if isinstance(answer, list) else ():
            values = tuple(item[1:6]) if isinstance(item, (list, tuple)) else ()
            ts = item[0] if isinstance(item, (list, tuple)) and item else None
            rule = problem(ts, values, self._base_ms)
            if rule:
                bad = bad or f"REST: {rule}: {ts} {values}"
            else:
                rows[int(ts)] = tuple(float(value) for value in values)  # type: ignore[arg-type,assignment]
        if bad:
            self._note("bad_row", self._last, bad[:200])
        return rows

    def _believe(self, rows: dict[int, Row], newest: int) -> list[Closed]:
        """Walk an answer in time: accept what follows, stop at what must be told again."""
        fresh: list[Closed] = []
        for ts in sorted(rows):
            if ts <= self._last:
                self._compare(ts, rows[ts])
                continue
            if ts == newest and ts not in self._finals:
                break  # in progress
            wanted = self._last + self._base_ms
            if ts > wanted and not self._skip_hole(wanted, ts):
                break
            row, received = rows[ts], Received.REST
            if self._confirm == "flag" and ts in self._finals and not is_spike(self._finals[ts], self._last_close()):
                row, received = self._finals[ts], Received.STREAM
            elif ts == newest:
                break  # flagged, but this answer may be older than the flag
            if is_spike(row, self._last_close()) and not self._agreed(("spike", ts, row)):
                break
            self._finals.pop(ts, None)
            fresh.append(self._accept(ts, row, received))
        return fresh

    def _skip_hole(self, wanted: int, ts: int) -> bool:
        """Whether the candles from `wanted` to before `ts` are believed not to exist."""
        if not self._agreed(("hole", wanted)):
            return False
        if not self._fresh:
            self._note("gap", wanted, f"{(ts - wanted) // self._base_ms} candles missing, next at {ts}")
        self._last = ts - self._base_ms
        return True

    def _skip_empty_page(self, answer: Any) -> None:
        """An exchange that answers by windows of time has nothing in this one: look further after like answers."""
        far = self._newest > self._last + PAGE * self._base_ms
        if answer == [] and far and self._agreed(("empty", self._last)):
            if not self._fresh:
                self._note("gap", self._last + self._base_ms, f"{PAGE - 1} candles missing")
            self._last += (PAGE - 1) * self._base_ms

    def _count_silence(self) -> None:
        """Notice that this market has nothing new while others have: after like answers the session goes on without it."""
        if self._frontier() <= self._last + self._base_ms:
            self._silence = 0
            return
        self._silence += 1
        if self._silence >= AGREEING and not self._is_silent:
            self._is_silent = True
            self._note("silent", self._last, "no candles while other markets have them: the session goes on without it")
            self._silent(True)

    def _agreed(self, claim: tuple[Any, ...]) -> bool:
        self._claims[claim] += 1
        return self._claims[claim] >= AGREEING

    # --- candles ------------------------------------------------------------------------------------------------

    def _last_close(self) -> float | None:
        row = self._accepted.get(self._last)
        return None if row is None else row[3]

    def _accept(self, ts: int, row: Row, received: Received) -> Closed:
        self._last = ts
        self._fresh = False
        self._claims.clear()
        self._accepted[ts] = row
        if len(self._accepted) > REMEMBERED:
            del self._accepted[next(iter(self._accepted))]
        self._finals = {time: final for time, final in self._finals.items() if time > ts}
        return Closed(ts, row, received)

    def _compare(self, ts: int, row: Row) -> None:
        known = self._accepted.get(ts)
        if known is not None and known != row:
            self._revise(ts, known, row)

    def _insisted(self, ts: int, row: Row) -> bool:
        """Whether an unlikely row for a candle that had closed otherwise was told several times; a slip is a bad row."""
        self._slips[ts, row] += 1
        if len(self._slips) > REMEMBERED:
            del self._slips[next(iter(self._slips))]
        if self._slips[ts, row] == 1:
            self._note("bad_row", ts, f"more than {SPIKE:g} times off what the candle closed as: {row}"[:200])
        return self._slips[ts, row] >= AGREEING

    def _revise(self, ts: int, known: Row, row: Row) -> None:
        """Tell once that the exchange says something else now about a closed candle."""
        if self._revised.get(ts) == row:
            return
        if is_spike(row, known[3]) and not self._insisted(ts, row):
            return
        self._revised[ts] = row
        if len(self._revised) > REMEMBERED:
            del self._revised[next(iter(self._revised))]
        names = ("open", "high", "low", "close", "volume")
        changes = ", ".join(f"{n} {a!r} -> {b!r}" for n, a, b in zip(names, known, row, strict=True) if a != b)
        self._note("revision", ts, changes)
