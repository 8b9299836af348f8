"""A fake Binance on 127.0.0.1: REST (spot and linear perpetuals) and kline streams at an accelerated clock, with faults.

One thread with its own event loop. The clock starts when every market has its first subscriber (or by `go`). It is the
driver's own: a candle passes in `candle_s` seconds in four steps
of frames, then its final frame (`x: true`). `now_ms` of the market is what the driver has reached. Faults come from a
script (`fault_scripts`) at the candle they name; every request is logged with its time and whether it fell into a ban.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from dataclasses import dataclass, field

from aiohttp import WSMsgType, web

from tests.live.fake_market import FUNDING_MS, FakeMarket
from tests.live.fault_scripts import Fault

STEPS = 3
INTERVALS = {"1m": 60_000, "5m": 300_000, "15m": 900_000, "1h": 3_600_000}


@dataclass
class Request:
    """One request as it came in."""

    at: float
    path: str
    query: dict
    banned: bool
    headers: dict


@dataclass
class Active:
    """Faults that are on: until a candle number, or for a number of answers."""

    until: dict[str, float] = field(default_factory=dict)
    answers: list[Fault] = field(default_factory=list)

    def on(self, kind: str, candle: float) -> bool:
        return self.until.get(kind, -1) > candle


class FakeExchange:
    """Start with `with FakeExchange(markets, faults) as exchange:`; `exchange.urls` goes into `exchange.urls`."""

    def __init__(self, markets, faults=(), *, candle_s=0.04, swap=False, paused=False, live=None):
        self.markets: dict[str, FakeMarket] = {market.id: market for market in markets}
        self.one = markets[0]
        self.candle_s = candle_s
        self.swap = swap
        self.requests: list[Request] = []
        self.dials: list[tuple[float, bool]] = []
        self.bans: list[tuple[float, float]] = []
        self.applied: list[Fault] = []
        self.candles = 0
        self.fraction = 0.0
        self.live = live if live is not None else self.one.future - 5
        self._faults = sorted(faults, key=lambda fault: fault.candle)
        self._active = Active()
        self._held: list[tuple[int, str, dict]] = []
        self._sockets: dict[web.WebSocketResponse, set[str]] = {}
        self._go = threading.Event()
        self._waiting = not paused  # for every market's first subscriber: faults are for somebody to see
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name="fake-exchange")

    # --- life ---------------------------------------------------------------------------------------------------

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(10)

    def go(self):
        """Let the clock run."""
        self._go.set()

    def spoil(self, fault):
        """Spoil the next answers about candles."""
        self._active.answers += [fault] * fault.length

    def halt(self):
        """Stop the clock; the exchange still answers."""
        self._go.clear()

    @property
    def now_ms(self) -> int:
        return self.one.start_ms + int((self.candles + self.fraction) * self.one.base_ms)

    @property
    def open_ms(self) -> int:
        """Open of the candle in progress."""
        return self.one.start_ms + self.candles * self.one.base_ms

    @property
    def urls(self) -> dict[str, str]:
        base, ws = f"http://127.0.0.1:{self.port}", f"ws://127.0.0.1:{self.port}"
        if self.swap:
            return {"fapiPublic": f"{base}/fapi/v1", "ws.linear": f"{ws}/ws"}
        return {"public": f"{base}/api/v3", "ws.spot": f"{ws}/stream/ws"}

    def _run(self):
        asyncio.run(self._serve())

    async def _serve(self):
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        app = web.Application(middlewares=[self._middleware])
        self._routes(app.router)
        app.router.add_get("/{tail:.*ws.*}", self._stream)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]
        driver = asyncio.create_task(self._drive())
        self._ready.set()
        await self._stopping.wait()
        driver.cancel()
        for socket in list(self._sockets):
            await self._abort(socket)
        await runner.cleanup()

    def _routes(self, router):
        """What the exchange answers over REST."""
        for prefix in ("/api/v3", "/fapi/v1"):
            router.add_get(f"{prefix}/ping", self._ping)
            router.add_get(f"{prefix}/time", self._time)
            router.add_get(f"{prefix}/exchangeInfo", self._info)
            router.add_get(f"{prefix}/klines", self._klines)
        router.add_get("/fapi/v1/markPriceKlines", self._klines)
        router.add_get("/fapi/v1/fundingRate", self._funding)
        router.add_get("/fapi/v1/premiumIndex", self._premium)

    # --- the clock ----------------------------------------------------------------------------------------------

    async def _drive(self):
        while self.candles < self.live:
            while not self._go.is_set():  # noqa: ASYNC110 - it is set from another thread
                await asyncio.sleep(0.002)
            await self._begin_faults()
            for step in range(STEPS):
                self.fraction = (step + 0.5) / (STEPS + 1)
                for market in self.markets.values():
                    await self._send_partial(market)
                await asyncio.sleep(self.candle_s / STEPS)
            opened = self.open_ms
            self.candles += 1
            self.fraction = 0.0
            for market in self.markets.values():
                await self._close(market, opened)
            await self._release_held()

    async def _begin_faults(self):
        while self._faults and self._faults[0].candle <= self.candles:
            fault = self._faults.pop(0)
            self.applied.append(fault)
            if fault.kind in {"disconnect", "down"}:
                for socket in list(self._sockets):
                    await self._abort(socket)
            if fault.kind.startswith("rest_"):
                self._active.answers += [fault] * fault.length
            elif fault.kind in {"malformed", "empty_list", "null_kline", "error_frame", "binary"}:
                await self._broadcast_text(JUNK[fault.kind])
            else:
                self._active.until[fault.kind] = self.candles + fault.length

    def _on(self, kind: str) -> bool:
        return self._active.on(kind, self.candles)

    async def _send_partial(self, market):
        row = market.partial(self.open_ms, self.fraction)
        if row is not None and not self._silent():
            frame = self._frame(market, self.open_ms, row, closed=False)
            if self._on("future"):
                frame["k"]["t"] += 60 * market.base_ms
            await self._broadcast(market, frame)

    def _silent(self) -> bool:
        return self._on("stall") or self._on("half_open") or self._on("hole") or self._on("down")

    async def _close(self, market, opened):
        row = market.row(opened)
        number = self.candles - 1
        if (
            row is None
            or self._active.on("no_close", number)
            or any(self._active.on(kind, number) for kind in ("stall", "half_open", "hole", "down"))
        ):
            return
        frame = self._frame(market, opened, row, closed=True)
        if self._active.on("bad_value", number):
            which = number % len(BAD_VALUES)
            frame["k"] |= BAD_VALUES[which](frame["k"])
        if self._active.on("late", number) or self._active.on("out_of_order", number):
            self._held.append((self.candles + 1, market.id, frame))
            return
        await self._broadcast(market, frame)
        if self._active.on("duplicate", number):
            await self._broadcast(market, frame)
        if self._active.on("restated", number):
            self._held.append(
                (self.candles + 1, market.id, self._frame(market, opened, market.restate(opened), closed=True))
            )

    async def _release_held(self):
        due = [held for held in self._held if held[0] <= self.candles]
        self._held = [held for held in self._held if held[0] > self.candles]
        for _, name, frame in due:
            if not self._silent():
                await self._broadcast(self.markets[name], frame)

    def _frame(self, market, ts, row, *, closed):
        skew = 90_000 if self._on("skew") else 0
        return {
            "e": "kline", "E": self.now_ms + skew, "s": market.id,
            "k": {"t": ts, "T": ts + market.base_ms - 1, "s": market.id, "i": "1m", "o": row[0], "h": row[1],
                  "l": row[2], "c": row[3], "v": row[4], "x": closed},
        }  # fmt: skip

    # --- streams ------------------------------------------------------------------------------------------------

    async def _stream(self, request):
        now = time.monotonic()
        self.dials.append((now, self._banned(now)))
        if self._on("down"):
            return web.Response(status=503, text="down")
        if self._banned(now):
            return web.Response(status=429, headers={"Retry-After": "1"})
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self._sockets[socket] = set()
        try:
            async for message in socket:
                if message.type == WSMsgType.TEXT:
                    await self._subscribe(socket, json.loads(message.data))
        finally:
            self._sockets.pop(socket, None)
        return socket

    async def _subscribe(self, socket, message):
        if message.get("method") == "SUBSCRIBE":
            self._sockets[socket] |= {name.split("@")[0].upper() for name in message["params"]}
            await self._send(socket, json.dumps({"result": None, "id": message["id"]}))
            self._begin()

    def _begin(self):
        """Let the clock run once every market has a subscriber."""
        if self._waiting and set(self.markets) <= set().union(*self._sockets.values()):
            self._waiting = False
            self._go.set()

    async def _broadcast(self, market, frame):
        text = json.dumps(frame)
        for socket, names in list(self._sockets.items()):
            if market.id in names:
                await self._send(socket, text)

    async def _broadcast_text(self, text):
        for socket in list(self._sockets):
            await self._send(socket, text)

    async def _send(self, socket, text):
        try:
            await asyncio.wait_for(socket.send_str(text), 1)
        except (ConnectionError, RuntimeError, TimeoutError):
            self._sockets.pop(socket, None)

    async def _abort(self, socket):
        self._sockets.pop(socket, None)
        transport = socket._req.transport if socket._req is not None else None
        if transport is not None:
            transport.abort()
        await asyncio.sleep(0)

    # --- REST ---------------------------------------------------------------------------------------------------

    def _banned(self, now: float) -> bool:
        return any(begin <= now < end for begin, end in self.bans)

    @web.middleware
    async def _middleware(self, request, handler):
        if "ws" in request.path:
            return await handler(request)
        now = time.monotonic()
        banned = self._banned(now)
        self.requests.append(Request(now, request.path, dict(request.query), banned, dict(request.headers)))
        if banned:
            return web.json_response({"code": -1003, "msg": "banned"}, status=418, headers={"Retry-After": "1"})
        if self._on("down"):
            return web.Response(status=503, text="<html>down</html>", content_type="text/html")
        if self._on("abort"):
            request.transport.abort()
            return web.Response()
        if "klines" in request.path.lower() and self._active.answers:
            fault = self._active.answers.pop(0)
            return await self._faulty(request, handler, fault)
        return await handler(request)

    async def _faulty(self, request, handler, fault):
        kind, now = fault.kind, time.monotonic()
        if kind in {"rest_429", "rest_418"}:
            seconds = fault.seconds or 1
            self.bans.append((now, now + seconds))
            status = int(kind[-3:])
            return web.json_response(
                {"code": -1003, "msg": "Too many requests"}, status=status, headers={"Retry-After": str(seconds)}
            )
        if kind == "rest_timeout":
            await asyncio.sleep(fault.seconds or 1)
            return web.Response(status=504)
        if kind == "rest_abort":
            request.transport.abort()
            return web.Response()
        if kind in REST_ANSWERS:
            status, text, content = REST_ANSWERS[kind]
            return web.Response(status=status, text=text, content_type=content)
        answer = await handler(request)
        rows = json.loads(answer.text)
        if kind == "rest_hole" and len(rows) > 2:
            del rows[len(rows) // 2]
        elif kind == "rest_partial" and rows:
            rows = rows[: max(1, len(rows) // 2)]
        elif kind == "rest_bad_row" and rows:
            rows[0][1:6] = ["NaN", "-1", "1e400", "0", "abc"]
        elif kind == "rest_spike" and rows:
            rows[0][1:5] = [str(float(text) * 100) for text in rows[0][1:5]]
        elif kind == "rest_unsorted":
            rows = rows[::-1] + rows[:1]
        return web.json_response(rows)

    async def _ping(self, _):
        return web.json_response({})

    async def _time(self, _):
        skew = 90_000 if self._on("skew") else 0
        return web.json_response({"serverTime": self.now_ms + skew})

    async def _info(self, _):
        return web.json_response(
            {"timezone": "UTC", "serverTime": self.now_ms, "rateLimits": [], "exchangeFilters": [],
             "symbols": [described(market, swap=self.swap) for market in self.markets.values()]}
        )  # fmt: skip

    async def _klines(self, request):
        query = request.query
        market = self.markets.get(query["symbol"])
        if market is None or self._on("delisted"):
            return web.json_response({"code": -1121, "msg": "Invalid symbol."}, status=400)
        length = INTERVALS[query["interval"]]
        limit = min(int(query.get("limit", 500)), 1000)
        now = self.now_ms
        end = min(int(query.get("endTime", now)), now)
        if "startTime" in query:
            first = max(-(-int(query["startTime"]) // length) * length, market.first_ms)
            opens = range(first, end + 1, length)
        else:
            last = end // length * length
            opens = range(max(last - (limit - 1) * length, market.first_ms), last + 1, length)
        rows = []
        for ts in opens:
            if len(rows) == limit:
                break
            row = market.aggregate(ts, length, now, self.fraction or 0.05)
            if row is not None and "markPrice" in request.path:
                row = (
                    f"{market.mark_open(ts)}",
                    f"{float(row[1]) * 1.01:.4f}",
                    f"{float(row[2]) * 0.99:.4f}",
                    row[3],
                    "0",
                )
            if row is not None:
                rows.append([ts, *row, ts + length - 1, "0", 1, "0", "0", "0"])
        return web.json_response(rows)

    async def _funding(self, request):
        market = self.markets[request.query["symbol"]]
        since = int(request.query.get("startTime", market.first_ms))
        until = min(int(request.query.get("endTime", self.now_ms)), self.now_ms)
        limit = int(request.query.get("limit", 100))
        return web.json_response([
            {"symbol": market.id, "fundingTime": ts, "fundingRate": str(rate), "markPrice": str(market.mark_open(ts))}
            for ts, rate in market.stamps(since, until)[:limit]
        ])  # fmt: skip

    async def _premium(self, request):
        market = self.markets[request.query["symbol"]]
        following = (self.now_ms // FUNDING_MS + 1) * FUNDING_MS
        return web.json_response({
            "symbol": market.id, "markPrice": "1", "indexPrice": "1", "estimatedSettlePrice": "1", "interestRate": "0",
            "lastFundingRate": "0.0001", "nextFundingTime": following, "time": self.now_ms,
        })  # fmt: skip


def described(market, *, swap):
    """A symbol in `exchangeInfo`."""
    base, quote = market.symbol.split("/")
    common = {
        "symbol": market.id, "status": "TRADING", "baseAsset": base, "quoteAsset": quote, "baseAssetPrecision": 8,
        "quotePrecision": 8, "orderTypes": ["LIMIT", "MARKET"], "permissions": [], "permissionSets": [["SPOT"]],
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000", "tickSize": "0.01"},
            {"filterType": "LOT_SIZE", "minQty": "0.00001", "maxQty": "9000", "stepSize": "0.00001"},
            {"filterType": "NOTIONAL", "minNotional": "5"},
        ],
    }  # fmt: skip
    if swap:
        return common | {
            "pair": market.id, "contractType": "PERPETUAL", "deliveryDate": 4_133_404_800_000, "onboardDate": 1,
            "marginAsset": quote, "pricePrecision": 2, "quantityPrecision": 3, "underlyingType": "COIN",
        }  # fmt: skip
    return common | {"isSpotTradingAllowed": True, "isMarginTradingAllowed": False, "quoteAssetPrecision": 8}


JUNK = {
    "malformed": '{"e":"kline","E":1767225600000,"s":"BTCUSDT","k":{"t":17672',
    "empty_list": "[]",
    "null_kline": '{"e":"kline","E":1767225600000,"s":"BTCUSDT","k":null}',
    "error_frame": '{"error":{"code":500,"msg":"Internal error"},"id":1}',
    "binary": "\u0000\u0001",
}
BAD_VALUES = (
    lambda k: {"c": "NaN"},
    lambda k: {"c": "-5", "l": "-6"},
    lambda k: {"h": k["l"], "l": k["h"]},
    lambda k: {name: str(float(k[name]) * 100) for name in "ohlc"},
    lambda k: {"v": "abc"},
    lambda k: {"h": "1e400"},
    lambda k: {"t": k["t"] + 17},
    lambda k: {"c": "0", "l": "0"},
)
REST_ANSWERS = {
    "rest_html": (200, "<html><body>please wait</body></html>", "text/html"),
    "rest_cut": (200, '[[1767225600000,"1.0","1.1","0.9"', "application/json"),
    "rest_empty": (200, "[]", "application/json"),
    "rest_nothing": (200, "", "application/json"),
    "rest_500": (500, '{"code":-1000,"msg":"An unknown error occurred"}', "application/json"),
    "rest_400": (400, '{"code":-1000,"msg":"An unknown error occurred"}', "application/json"),
    "rest_502": (502, "<html>bad gateway</html>", "text/html"),
    "rest_503": (503, '{"code":-1001,"msg":"Internal error; unable to process your request"}', "application/json"),
    "rest_maintenance": (503, '{"code":-1016,"msg":"This service is no longer available."}', "application/json"),
    "rest_403": (403, "<html>forbidden</html>", "text/html"),
    "rest_451": (451, '{"code":0,"msg":"Service unavailable from a restricted location"}', "application/json"),
    "rest_huge": (200, "[" + "[1767225600000]," * 200_000 + "[1]]", "application/json"),
    "rest_deep": (200, "[" * 50_000 + "]" * 50_000, "application/json"),
}
