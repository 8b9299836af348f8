"""Kraken (spot) and Bybit (linear perpetuals) as their documents describe them: markets, candles, kline streams.

Only the forms differ from the fake Binance: the truth, the clock and the faults of streams are its own. Recorded from
https://docs.kraken.com/api-reference/market-data, .../spot-websocket-v2/ohlc and
https://bybit-exchange.github.io/docs/v5/market/instrument, .../market/kline, .../websocket/public/kline.
"""

from __future__ import annotations

import datetime as dt
import json

from aiohttp import web

from tests.live.fake_exchange import FakeExchange


def iso(ms):
    return dt.datetime.fromtimestamp(ms / 1000, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.000000000Z")


class FakeKraken(FakeExchange):
    """Own names of markets, times in seconds, `since` exclusive, at most 720 candles, no flag on a closed candle."""

    name = "kraken"

    @property
    def urls(self):
        return {"public": f"http://127.0.0.1:{self.port}", "ws.publicV2": f"ws://127.0.0.1:{self.port}/ws/v2"}

    def _routes(self, router):
        router.add_get("/0/public/AssetPairs", self._pairs)
        router.add_get("/0/public/OHLC", self._ohlc)

    @staticmethod
    def _own(market):
        base, quote = market.symbol.split("/")
        return f"X{'XBT' if base == 'BTC' else base}Z{quote}"

    async def _pairs(self, _):
        result = {}
        for market in self.markets.values():
            base, quote = market.symbol.split("/")
            own = "XBT" if base == "BTC" else base
            result[self._own(market)] = {
                "altname": f"{own}{quote}", "wsname": f"{own}/{quote}", "aclass_base": "currency", "base": f"X{own}",
                "aclass_quote": "currency", "quote": f"Z{quote}", "lot": "unit", "cost_decimals": 5, "pair_decimals": 1,
                "lot_decimals": 8, "lot_multiplier": 1, "leverage_buy": [2, 3], "leverage_sell": [2, 3],
                "fees": [[0, 0.4], [10_000, 0.35]], "fees_maker": [[0, 0.25], [10_000, 0.2]], "fee_volume_currency": "ZUSD",
                "margin_call": 80, "margin_stop": 40, "ordermin": "0.00005", "costmin": "0.5", "tick_size": "0.1",
                "status": "online",
            }  # fmt: skip
        return web.json_response({"error": [], "result": result})

    async def _ohlc(self, request):
        market = next((m for m in self.markets.values() if self._own(m) == request.query["pair"]), None)
        if market is None:
            return web.json_response({"error": ["EQuery:Unknown asset pair"]})
        since = int(request.query.get("since", 0)) * 1000
        first = max(market.first_ms, self.now_ms // market.base_ms * market.base_ms - 719 * market.base_ms)
        rows = []
        for ts in range(first, self.now_ms + 1, market.base_ms):
            row = market.aggregate(ts, market.base_ms, self.now_ms, self.fraction or 0.05)
            if ts > since and row is not None:
                opened, high, low, close, volume = row
                rows.append([ts // 1000, opened, high, low, close, close, volume, 7])
        last = rows[-2][0] if len(rows) > 1 else 0
        return web.json_response({"error": [], "result": {self._own(market): rows, "last": last}})

    async def _subscribe(self, socket, message):
        if message.get("method") == "subscribe":
            wanted = message["params"]
            self._sockets[socket] |= {symbol.replace("/", "") for symbol in wanted["symbol"]}
            answer = {
                "method": "subscribe", "success": True, "req_id": message.get("req_id"),
                "result": {"channel": "ohlc", "interval": wanted["interval"], "snapshot": True, "symbol": wanted["symbol"][0]},
            }  # fmt: skip
            await self._send(socket, json.dumps(answer))
            self._begin()

    async def _broadcast(self, market, frame):
        k = frame["k"]
        begin, end = k["t"], k["t"] + market.base_ms
        data = {
            "symbol": market.symbol, "open": float(k["o"]), "high": float(k["h"]), "low": float(k["l"]),
            "close": float(k["c"]), "trades": 7, "volume": float(k["v"]), "vwap": float(k["c"]),
            "interval_begin": iso(begin), "interval": 1, "timestamp": iso(end),
        }  # fmt: skip
        await super()._broadcast(market, {"channel": "ohlc", "type": "update", "timestamp": iso(begin), "data": [data]})


class FakeBybit(FakeExchange):
    """Candles newest first, `start` inclusive, at most 1000, a `confirm` flag on a closed candle."""

    name = "bybit"

    @property
    def urls(self):
        base = f"127.0.0.1:{self.port}"
        return {"public": f"http://{base}", "ws.public.linear": f"ws://{base}/ws/v5/public/linear"}

    def _routes(self, router):
        router.add_get("/v5/market/instruments-info", self._instruments)
        router.add_get("/v5/market/kline", self._kline)

    @staticmethod
    def _answer(**result):
        return web.json_response({"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": 1})

    async def _instruments(self, request):
        assert request.query["category"] == "linear"
        listed = []
        for market in self.markets.values() if "status" not in request.query else ():
            base, quote = market.symbol.split("/")
            listed.append({
                "symbol": market.id, "contractType": "LinearPerpetual", "status": "Trading", "baseCoin": base,
                "quoteCoin": quote, "launchTime": "1585526400000", "deliveryTime": "0", "deliveryFeeRate": "",
                "priceScale": "2", "leverageFilter": {"minLeverage": "1", "maxLeverage": "100.00", "leverageStep": "0.01"},
                "priceFilter": {"minPrice": "0.10", "maxPrice": "1999999.80", "tickSize": "0.10"},
                "lotSizeFilter": {"maxOrderQty": "1190.000", "minOrderQty": "0.001", "qtyStep": "0.001",
                                  "postOnlyMaxOrderQty": "1190.000", "minNotionalValue": "5"},
                "unifiedMarginTrade": True, "fundingInterval": 480, "settleCoin": quote,
            })  # fmt: skip
        return self._answer(category="linear", list=listed, nextPageCursor="")

    async def _kline(self, request):
        query = request.query
        market = self.markets.get(query["symbol"])
        if market is None:
            return web.json_response(
                {"retCode": 10001, "retMsg": "params error: Symbol Invalid", "result": {}, "time": 1}
            )
        limit = min(int(query.get("limit", 200)), 1000)
        newest = self.now_ms // market.base_ms * market.base_ms
        first = int(query["start"]) if "start" in query else newest - (limit - 1) * market.base_ms
        rows = []
        for ts in range(max(first, market.first_ms), newest + 1, market.base_ms):
            row = market.aggregate(ts, market.base_ms, self.now_ms, self.fraction or 0.05)
            if row is not None and len(rows) < limit:
                rows.append([str(ts), *row, "0"])
        return self._answer(symbol=market.id, category="linear", list=rows[::-1])

    async def _subscribe(self, socket, message):
        if message.get("op") == "subscribe":
            self._sockets[socket] |= {topic.rpartition(".")[2] for topic in message["args"]}
            await self._send(socket, json.dumps({
                "success": True, "ret_msg": "", "conn_id": "1", "req_id": message.get("req_id"), "op": "subscribe",
            }))  # fmt: skip
            self._begin()

    async def _broadcast(self, market, frame):
        k = frame["k"]
        data = {
            "start": k["t"], "end": k["t"] + market.base_ms - 1, "interval": "1", "open": k["o"], "close": k["c"],
            "high": k["h"], "low": k["l"], "volume": k["v"], "turnover": "0", "confirm": k["x"], "timestamp": k["t"] + 1,
        }  # fmt: skip
        await super()._broadcast(
            market, {"topic": f"kline.1.{market.id}", "type": "snapshot", "ts": k["t"] + 1, "data": [data]}
        )
