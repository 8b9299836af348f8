"""The exchange as an attacker: huge, packed, deep, endless and redirecting answers cost bounded memory and send us nowhere."""

from __future__ import annotations

import asyncio
import gzip
import threading
import tracemalloc

import pytest
from aiohttp import web

from trader.core.types import SurroundingsError
from trader.feeds import exchange_client
from trader.feeds.exchange_client import Access, ExchangeClient, exchange_class

MB = 1 << 20
BOMB = gzip.compress(b"[" + b"[1]," * (64 * MB) + b"[1]]", 1)


class Hostile:
    """A server that gives every question the same answer, and a second one that nobody may ask."""

    def __init__(self, answer):
        self._answer = answer
        self.asked = self.elsewhere = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _serve(self):
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        runners = []
        for handler in (self._elsewhere, self._here):
            app = web.Application()
            app.router.add_get("/{tail:.*}", handler)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.other, self.port = getattr(self, "port", 0), site._server.sockets[0].getsockname()[1]
            runners.append(runner)
        self._ready.set()
        await self._stop.wait()
        for runner in runners:
            await runner.cleanup()

    async def _here(self, request):
        self.asked += 1
        return await self._answer(request, self)

    async def _elsewhere(self, _):
        self.elsewhere += 1
        return web.json_response([])


async def large(request, _):
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    try:
        for _ in range(100):
            await response.write(b" " * MB)
    except (ConnectionError, asyncio.CancelledError):
        pass
    return response


async def bomb(_, __):
    return web.Response(body=BOMB, headers={"Content-Encoding": "gzip", "Content-Type": "application/json"})


async def deep(_, __):
    return web.Response(text="[" * MB, content_type="application/json")


async def many_rows(_, __):
    return web.Response(text="[" + ",".join(["[1,1,1,1,1,1]"] * (MB // 4)) + "]", content_type="application/json")


async def redirected(_, server):
    raise web.HTTPFound(f"http://127.0.0.1:{server.other}/latest/meta-data")


async def to_a_file(_, __):
    return web.Response(status=302, headers={"Location": "file:///etc/passwd"})


async def infinite_numbers(_, __):
    return web.Response(text='[[1e400,"1e400","NaN","-1e999","0","1"]]', content_type="application/json")


ANSWERS = {
    "large": large, "bomb": bomb, "deep": deep, "many rows": many_rows, "redirected": redirected, "to a file": to_a_file,
    "infinite numbers": infinite_numbers,
}  # fmt: skip


def asked(server):
    """Load the markets of a hostile exchange; peak of Python's own memory in bytes."""

    async def go():
        access = Access("binance", "spot", {"public": f"http://127.0.0.1:{server.port}/api/v3"}, {}, 0.01)
        client = ExchangeClient(access)
        try:
            await client.load()
        finally:
            await client.close()

    exchange_class("binance", stream=True)  # what the library itself needs is not the answer's
    tracemalloc.start()
    try:
        with pytest.raises(SurroundingsError) as refusal:
            asyncio.run(go())
        return tracemalloc.get_traced_memory()[1], str(refusal.value)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ANSWERS)
def test_a_hostile_answer_is_an_error_like_any_other(name, monkeypatch):
    monkeypatch.setattr(exchange_client, "START_ATTEMPTS", 2)
    with Hostile(ANSWERS[name]) as server:
        peak, told = asked(server)
        print(f"{name}: {peak / MB:.0f} MB")
        assert server.asked >= 2
        assert server.elsewhere == 0
        assert "after 2 attempts" in told
        assert len(told) < 500
        assert peak < 100 * MB
