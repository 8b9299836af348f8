"""The door to an exchange: ccxt's public calls, asked one at a time, patiently and without any credential.

`ask` repeats a call with exponential pauses for as long as it takes (or a bounded number of times), never while the
exchange has told us to stay away (429, 418 and every answer with Retry-After; a stream is not dialled then either).
The library is a stranger's code in front of a stranger's server: its classes are extended here so that no request can
be signed and no frame can end its receiving loop.
"""

from __future__ import annotations

import asyncio
import difflib
import email.utils
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, TypeVar

import structlog

from trader.core.types import SurroundingsError, UserError
from trader.feeds.frame_flags import Told, told

log = structlog.get_logger("exchange")

START_ATTEMPTS: Final = 7
"""Attempts before a session or a download begins: with pauses of 1, 2, 4, … seconds about a minute."""
BAN_WITHOUT_WORD: Final = {429: 10.0, 418: 120.0}
"""Seconds to stay away when the answer does not say: two minutes is Binance's shortest ban."""
LONGEST_PAUSE: Final = 60.0
DIAL_SECONDS: Final = 5.0
"""Longest time that a dial holds requests back."""
ALTERNATIVES: Final = {"spot": "kraken", "swap": "bybit"}
"""Exchanges of the same kind, named where one refuses a region: tested with their own forms of answers and frames."""
_TYPED_MARKETS: Final = {"binance", "binanceus", "binanceusdm", "bybit"}
"""Exchanges that can be asked for the markets of one type alone."""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Access:
    """How an exchange is reached. urls: dotted path under ccxt's `urls.api` to address; options: ccxt's."""

    exchange: str = "binance"
    market_type: str = "spot"
    urls: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    stall_seconds: float = 60.0

    @property
    def first_pause(self) -> float:
        """Seconds before the first repetition."""
        return min(1.0, self.stall_seconds / 4)

    @property
    def longest_pause(self) -> float:
        """Seconds between repetitions in the end."""
        return min(LONGEST_PAUSE, max(self.stall_seconds, self.first_pause))


def exchange_class(name: str, *, stream: bool) -> Any:
    """The library's class of an exchange, made harmless.

    Raises:
        UserError: ccxt knows no such exchange.
    """
    import ccxt

    if name not in ccxt.exchanges:
        near = difflib.get_close_matches(name, ccxt.exchanges, 1, 0.6)
        raise UserError(
            f"exchange.id: {name!r} is no exchange of ccxt" + (f"; did you mean {near[0]}?" if near else "")
        )
    return _harmless(name, stream)


@cache
def _harmless(name: str, stream: bool) -> Any:
    import ccxt.async_support
    import ccxt.pro

    from trader.feeds.exchange_answers import bounded

    source: Any = ccxt.pro if stream and hasattr(ccxt.pro, name) else ccxt.async_support
    parent = getattr(source, name)

    class Harmless(parent):  # type: ignore[misc,valid-type]
        """Public calls only; remembers the last answer; a bad frame is told and not raised."""

        on_candle: Callable[[Told], None] | None = None
        on_trouble: Callable[[str], None] | None = None
        session: Any
        last_status = 0
        last_headers: Mapping[str, str] = {}

        def open(self, lazy: bool = False) -> None:
            """Connections as the library makes them, with bounded answers."""
            fresh = self.own_session and self.session is None
            super().open(lazy)
            if fresh and self.session is not None:
                self.session = bounded(self.session, trust_env=self.aiohttp_trust_env)

        def check_required_credentials(self, error: bool = True) -> Any:
            """Every signed call passes here first; without `error` it is only a question."""
            if not error:
                return False
            raise ccxt.NotSupported(f"{name}: no signed request ever leaves this platform")

        def on_rest_response(self, code: int, reason: Any, url: Any, method: Any, headers: Any, *rest: Any) -> Any:
            """Status and headers of the answer, which the library's exceptions do not carry."""
            self.last_status, self.last_headers = code, headers
            return super().on_rest_response(code, reason, url, method, headers, *rest)

        def handle_message(self, client: Any, message: Any) -> None:
            """An exception here would silently end the library's receiving loop."""
            try:
                if self.on_candle is not None:
                    for candle in told(name, message):
                        self.on_candle(candle)
                super().handle_message(client, message)
            except Exception as error:  # noqa: BLE001 - whatever a stranger's frame breaks
                if self.on_trouble is not None:
                    self.on_trouble(f"{type(error).__name__}: {error}"[:200])

    Harmless.__name__ = name
    return Harmless


class ExchangeClient:
    """One exchange. All its methods belong to one event loop; `close` it there."""

    def __init__(self, access: Access, note: Callable[[str, str], None] | None = None) -> None:
        self.access = access
        self._note = note or (lambda _kind, _detail: None)
        self._kind = exchange_class(access.exchange, stream=True)
        self._rest = self._make(self._kind)
        self._gate = asyncio.Lock()
        self._away_until = 0.0

    def _make(self, kind: Any) -> Any:
        access = self.access
        made = kind({"enableRateLimit": True, "timeout": int(min(max(access.stall_seconds, 2.0), 10.0) * 1000)})
        made.options["defaultType"] = "swap" if access.market_type == "swap" else "spot"
        if access.exchange in _TYPED_MARKETS:
            made.options["fetchMarkets"] = {"types": ["linear" if access.market_type == "swap" else "spot"]}
        made.options.update(access.options)
        made.has["fetchCurrencies"] = False  # signed on some exchanges, and not needed
        for path, address in access.urls.items():
            _place(made.urls["api"], path, address)
        return made

    @property
    def rest(self) -> Any:
        """The library's object for REST; call it through `ask`."""
        return self._rest

    async def load(self) -> None:
        """Learn the markets.

        Raises:
            SurroundingsError: no usable answer after bounded attempts.
        """

        async def markets() -> None:
            if not await self._rest.load_markets(reload=True):
                raise ValueError("an answer without any market")

        await self.ask(markets, attempts=START_ATTEMPTS)

    def market(self, symbol: str) -> str:
        """The library's spelling of BASE/QUOTE.

        Raises:
            UserError: the exchange does not trade it, or not as this market type.
        """
        wanted = f"{symbol}:{symbol.partition('/')[2]}" if self.access.market_type == "swap" else symbol
        markets = self._rest.markets or {}
        if wanted not in markets:
            near = difflib.get_close_matches(wanted, markets, 1, 0.6)
            hint = f"; did you mean {near[0].partition(':')[0]}?" if near else ""
            raise UserError(
                f"feed.symbols: {self.access.exchange} has no {self.access.market_type} market {symbol}{hint}"
            )
        return wanted

    def timeframe(self, name: str) -> str:
        """The timeframe, if the exchange has candles of it.

        Raises:
            UserError: it has none.
        """
        known = self._rest.timeframes or {}
        if not self._rest.has.get("fetchOHLCV") or (known and name not in known):
            have = ", ".join(known) or "none"
            raise UserError(f"feed.base_timeframe: {self.access.exchange} has no candles of {name} (it has {have})")
        return name

    @property
    def has_stream(self) -> bool:
        """Whether the exchange pushes candles."""
        import ccxt.pro

        kind = getattr(ccxt.pro, self.access.exchange, None)
        return kind is not None and bool(kind().has.get("watchOHLCV"))

    def stream(self, symbol: str, on_candle: Callable[[Told], None], on_trouble: Callable[[str], None]) -> Any:
        """A new stream client for one market (ccxt's spelling), with only that market loaded. Close it."""
        made = self._make(exchange_class(self.access.exchange, stream=True))
        made.set_markets([self._rest.markets[symbol]])
        made.on_candle, made.on_trouble = on_candle, on_trouble
        made.newUpdates = True
        return made

    async def wait_until_welcome(self) -> None:
        """Wait while the exchange wants us to stay away."""
        while (left := self._away_until - time.monotonic()) > 0:  # noqa: ASYNC110 - it may be told to stay away longer meanwhile
            await asyncio.sleep(left)

    async def first_rows(self, stream: Any, symbol: str, timeframe: str) -> Any:
        """Dial and wait for the first rows. No request goes out while the dial does, so that no dial crosses an answer
        that forbids it."""
        async with self._gate:
            await self.wait_until_welcome()
            watching = asyncio.ensure_future(stream.watch_ohlcv(symbol, timeframe))
            try:
                until = time.monotonic() + DIAL_SECONDS
                while not watching.done() and not _is_connected(stream) and time.monotonic() < until:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                watching.cancel()
                raise
        return await watching

    async def ask(self, call: Callable[[], Awaitable[Result]], *, attempts: int | None = None) -> Result:
        """The answer to a call, however long it takes; with `attempts`, SurroundingsError after so many failures.

        Raises:
            UserError: the exchange does not know the symbol.
            SurroundingsError: refused for this region, or attempts are used up.
        """
        import ccxt

        pause = self.access.first_pause
        tried = 0
        while True:
            async with self._gate:
                await self.wait_until_welcome()
                self._rest.last_status, self._rest.last_headers = 0, {}
                try:
                    return await call()
                except ccxt.BadSymbol as error:
                    raise UserError(f"{self.access.exchange}: {_short(error)}") from error
                except (
                    ccxt.BaseError,
                    OSError,
                    ValueError,
                    TypeError,
                    KeyError,
                    AttributeError,
                    RecursionError,
                ) as error:
                    trouble = _short(error)
                    self._judge(error)
            tried += 1
            if attempts is not None and tried >= attempts:
                raise SurroundingsError(
                    f"exchange {self.access.exchange}: no usable answer after {tried} attempts: {trouble}"
                )
            await asyncio.sleep(pause)
            pause = min(pause * 2, self.access.longest_pause)

    def _judge(self, error: Exception) -> None:
        """What a failed call means for the next one.

        Raises:
            SurroundingsError: this region is refused: waiting does not help.
        """
        status, headers = self._rest.last_status, self._rest.last_headers
        if status == 451:
            other = ALTERNATIVES[self.access.market_type]
            raise SurroundingsError(
                f"exchange {self.access.exchange} refuses this region (HTTP 451); another exchange: "
                f"exchange.id = {other!r}"
            ) from error
        seconds = _retry_after(headers)
        if seconds is None and status in BAN_WITHOUT_WORD:
            seconds = BAN_WITHOUT_WORD[status]
        if seconds is not None:
            self._away_until = max(self._away_until, time.monotonic() + seconds)
            self._note("rate_limit", f"HTTP {status}: no request for {seconds:g} s")
        else:
            self._note("exchange_error", f"HTTP {status or '-'}: {_short(error)}")
        log.warning("exchange", status=status, error=_short(error), away_s=seconds)

    async def close(self) -> None:
        """Close the connections."""
        await self._rest.close()


def _is_connected(stream: Any) -> bool:
    return any(client.isConnected for client in stream.clients.values())


def _place(tree: Any, dotted: str, address: str) -> None:
    """Put an address at a dotted path of ccxt's `urls.api`.

    Raises:
        UserError: there is no such path.
    """
    *above, last = dotted.split(".")
    here = tree
    for name in above:
        here = here.get(name) if isinstance(here, dict) else None
    if not isinstance(here, dict) or last not in here:
        raise UserError(f"exchange.urls: {dotted!r} is no address of this exchange; it has {', '.join(_paths(tree))}")
    here[last] = address


def _paths(tree: Any, above: str = "") -> list[str]:
    if not isinstance(tree, dict):
        return [above.rstrip(".")]
    return [path for name, inner in tree.items() for path in _paths(inner, f"{above}{name}.")]


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that an answer asks for: a number, or a date against the answer's own date."""
    lower = {name.lower(): value for name, value in headers.items()}
    text = lower.get("retry-after")
    if text is None:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        try:
            until = email.utils.parsedate_to_datetime(text)
            return max(0.0, (until - email.utils.parsedate_to_datetime(lower["date"])).total_seconds())
        except (ValueError, TypeError, KeyError):
            return None


def _short(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
