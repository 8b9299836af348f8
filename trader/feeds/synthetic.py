"""A seeded synthetic market as a feed: for the quick start, for tests and for what needs endless candles.

It says "synthetic" wherever it is shown: nothing earned on it is evidence about real markets. Blocks are generated as
they are asked for; frame n is a pure function of (terms, seed, n, symbols, base timeframe), the same for any block size
and after a resume, which generates from frame 0 again (about a microsecond a market and frame). The true regime of
each frame and what its state lets expect are for evaluation (`truth`); frames do not carry them.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trader.core.rows import Phase, Received
from trader.core.timeframes import name, offset
from trader.core.types import CLOSE, OPEN, Block, Incident, Instrument, UserError
from trader.feeds.catalogue import canonical_symbol
from trader.feeds.instruments import TradingTerms, instruments_for
from trader.feeds.synthetic_market import FIRST_VARIANCE, MISSING, STATE_FIELDS, generate
from trader.feeds.synthetic_modes import SyntheticTerms, rules_of, shapes_of_day

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

DEFAULT_SYMBOLS: Final = ("BTC/USDT", "ETH/USDT", "SOL/USDT")
DEFAULT_START_MS: Final = 1_704_067_200_000
"""2024-01-01 00:00 UTC, a Monday: every timeframe begins a candle there."""
MINIMUM_NOTIONAL: Final = 500_000_000
"""5 of the quote currency, as on Binance's USDT perpetuals."""


SKIPPED: Final = 4096
"""Frames generated at once where they are only passed over."""


@dataclass(frozen=True, slots=True)
class _Coin:
    """First price, decimals of price and quantity, deviation of an hour's return, volume of an ordinary hour."""

    price: float
    decimals: int
    lots: int
    sigma: float
    volume: float


_COINS: Final = {
    "BTC": _Coin(42_000.0, 1, 5, 0.0060, 1_500.0),
    "ETH": _Coin(2_300.0, 2, 4, 0.0075, 20_000.0),
    "SOL": _Coin(100.0, 4, 2, 0.0095, 300_000.0),
}


@dataclass(frozen=True, slots=True)
class Truth:
    """What a synthetic market knows and no agent sees, of T frames and M markets.

    times: int64 [T], opens; all frames, those too in which every market is missing.
    regimes: int8 [T], `regime.Regime` that the candle was made in.
    anchors: float64 [T, M], price to which a range pulls, before the candle.
    expected: float64 [T, M], return of the candle that the state before it lets expect.
    opens, closes: float64 [T, M]; present: bool [T, M].
    rates: float64 [T, M], funding stamped at the open, 0 where there is none.
    """

    times: NDArray[np.int64]
    regimes: NDArray[np.int8]
    anchors: NDArray[np.float64]
    expected: NDArray[np.float64]
    opens: NDArray[np.float64]
    closes: NDArray[np.float64]
    present: NDArray[np.bool_]
    rates: NDArray[np.float64]


@dataclass(slots=True)
class _Made:
    """Frames as generated: times [T], candles [T, M, 5], rates, present, expected, anchors [T, M], labels [T]."""

    times: NDArray[np.int64]
    candles: NDArray[np.float64]
    rates: NDArray[np.float64]
    present: NDArray[np.bool_]
    labels: NDArray[np.int8]
    expected: NDArray[np.float64]
    anchors: NDArray[np.float64]


class SyntheticFeed:
    """The synthetic market as a feed.

    Args:
        symbols: BASE/QUOTE; None: DEFAULT_SYMBOLS. Names beyond those get a price and a volatility from their name.
        base_ms: length of a frame.
        seed: non-negative.
        quote: the pool's currency; other symbols are refused.
        start_ms: open of the first traded frame, moved to the next grid point; None: DEFAULT_START_MS.
        end_ms: open before which the feed ends, exclusive; None: endless.
        warmup: frames before start, told with phase WARMUP.
        terms: market type (`swap`: perpetuals with funding; `spot`: none), fees and tiers; None: swap, its defaults.
        market: mode, schedule, edge, correlation and holes; None: the defaults.

    Raises:
        UserError: a symbol is misspelled or quoted in another currency, or end is not after start.
    """

    kind = "synthetic"

    def __init__(
        self, *, symbols: tuple[str, ...] | None, base_ms: int, seed: int, quote: str = "USDT",
        start_ms: int | None = None, end_ms: int | None = None, warmup: int = 0, terms: TradingTerms | None = None,
        market: SyntheticTerms | None = None,
    ) -> None:  # fmt: skip
        wanted = DEFAULT_SYMBOLS if symbols is None else symbols
        self.symbols: tuple[str, ...] = tuple(sorted({canonical_symbol(symbol) for symbol in wanted}))
        for symbol in self.symbols:
            if symbol.partition("/")[2] != quote:
                raise UserError(f"feed.symbols: {symbol} is not quoted in {quote}, the currency of the pool")
        self.base_ms = base_ms
        self.seed = seed
        shift = offset(base_ms)
        begin = DEFAULT_START_MS if start_ms is None else start_ms
        self.start_ms = -(-(begin - shift) // base_ms) * base_ms + shift
        if end_ms is not None and end_ms <= self.start_ms:
            raise UserError(f"feed.start ({self.start_ms}) must be before feed.end ({end_ms})")
        self.end_ms = end_ms
        self.warmup = warmup
        self.market = market or SyntheticTerms()
        self.rules = rules_of(self.market)
        self._shapes = shapes_of_day(base_ms)
        self._coins = tuple(_coin(symbol) for symbol in self.symbols)
        self._terms = terms or TradingTerms("swap")
        plain = instruments_for(self.symbols, self._terms)
        self.instruments: tuple[Instrument, ...] = tuple(
            replace(
                instrument, tick=10 ** (8 - coin.decimals), lot=10 ** (8 - coin.lots),
                minimum_quantity=10 ** (8 - coin.lots), minimum_notional=MINIMUM_NOTIONAL, source="synthetic",
            )
            for instrument, coin in zip(plain, self._coins, strict=True)
        )  # fmt: skip

    @property
    def sigmas(self) -> NDArray[np.float64]:
        """Ordinary standard deviation of an hour's shock, by market [M]."""
        return np.array([coin.sigma for coin in self._coins])

    def blocks(self, size: int, after_ms: int | None = None) -> Iterator[Block]:
        """Blocks of at most `size` frames with open times > `after_ms`, warm-up first; endless without an end."""
        if size < 1:
            raise ValueError(f"block size must be >= 1, not {size}")
        source = _Source(self, self._parameters(), self._shapes)
        first = 0 if after_ms is None else max((after_ms - self._zero_ms) // self.base_ms + 1, 0)
        while source.frame < first:
            source.next(min(SKIPPED, first - source.frame))
        while True:
            count = size
            if self.end_ms is not None:
                count = min(size, -(-(self.end_ms - self._zero_ms) // self.base_ms) - source.frame)
            if count <= 0:
                return
            block = self._block(source.next(count), source)
            if len(block):
                yield block

    def truth(self, frames: int | None = None) -> Truth:
        """What the market knows of its first `frames` traded frames; None: to the end. For evaluation only.

        Raises:
            ValueError: no number of frames, and no end.
        """
        if frames is None:
            if self.end_ms is None:
                raise ValueError("an endless market needs a number of frames")
            frames = -(-(self.end_ms - self.start_ms) // self.base_ms)
        source = _Source(self, self._parameters(), self._shapes)
        while source.frame < self.warmup:
            source.next(min(SKIPPED, self.warmup - source.frame))
        made = source.next(frames)
        return Truth(
            made.times, made.labels, made.anchors, made.expected, made.candles[:, :, OPEN].copy(),
            made.candles[:, :, CLOSE].copy(), made.present, np.nan_to_num(made.rates * self._funded),
        )  # fmt: skip

    @property
    def _zero_ms(self) -> int:
        return self.start_ms - self.warmup * self.base_ms

    @property
    def _funded(self) -> float:
        return 1.0 if self._terms.market_type == "swap" else 0.0

    def _parameters(self) -> NDArray[np.float64]:
        """Parameters [M, 5] of `generate`."""
        rows = [
            (round(c.price * 10**c.decimals), 10**c.decimals, c.sigma, c.volume, 10**c.lots) for c in self._coins
        ]  # fmt: skip
        return np.array(rows, np.float64)

    def _block(self, made: _Made, source: _Source) -> Block:
        """Frames in which at least one market is present; what is missing is NaN, and told when it ends."""
        incidents = source.holes(made)
        kept = made.present.any(axis=1)
        times, present = made.times[kept], made.present[kept]
        candles = np.where(present[:, :, None], made.candles[kept], np.nan)
        rates = np.where(present & (self._funded > 0), made.rates[kept], np.nan)
        marks = np.where(np.isnan(rates), np.nan, candles[:, :, OPEN])
        phase = np.where(times < self.start_ms, int(Phase.WARMUP), int(Phase.REPLAY)).astype(np.int64)
        received = np.full(present.shape, int(Received.FILE), np.int64)
        arrays = (times, candles, present, rates, marks, received, phase)
        for array in arrays:
            array.flags.writeable = False
        return Block(*arrays, incidents=incidents)

    def describe(self) -> dict[str, Any]:
        """Span and step, and what is planted; there are no files and no rows to count."""
        return {
            "kind": self.kind,
            "mode": self.market.mode,
            "step": name(self.base_ms),
            "first_ms": self._zero_ms,
            "end_ms": self.end_ms,
            "warmup_frames": self.warmup,
            "zone": "UTC",
            "seed": self.seed,
            "holes": self.market.holes,
            "symbols": list(self.symbols),
        }

    def close(self) -> None:
        """Nothing is held open."""


class _Source:
    """The market's state on its way through the frames; `frame` is the number of the next one."""

    def __init__(
        self, feed: SyntheticFeed, params: NDArray[np.float64],
        shapes: tuple[NDArray[np.float64], NDArray[np.float64]],
    ) -> None:  # fmt: skip
        self.frame = 0
        self._feed = feed
        self._params = params
        self._shapes = shapes
        markets = len(params)
        self._state = np.ones((markets, STATE_FIELDS))
        self._state[:, :FIRST_VARIANCE] = params[:, :1]
        self._state[:, MISSING] = 0.0
        self._regime = np.array([feed.rules.first], np.int64)
        self._absent = np.zeros(markets, np.int64)

    def next(self, count: int) -> _Made:
        """The next `count` frames."""
        feed, rules, shape = self._feed, self._feed.rules, (count, len(self._params))
        zero_ms = feed.start_ms - feed.warmup * feed.base_ms
        times = zero_ms + np.arange(self.frame, self.frame + count, dtype=np.int64) * feed.base_ms
        made = _Made(
            times, np.empty((*shape, 5)), np.empty(shape), np.empty(shape, np.bool_), np.empty(count, np.int8),
            np.empty(shape), np.empty(shape),
        )  # fmt: skip
        generate(
            feed.seed, self.frame, feed.warmup, zero_ms, feed.base_ms, self._params, feed.market.correlation,
            feed.market.holes, feed.market.mode != "regimes", rules.home, rules.drift, rules.size, rules.pull,
            rules.mean_hours, rules.chain, rules.schedule, *self._shapes, self._state, self._regime, made.candles,
            made.rates, made.present, made.labels, made.expected, made.anchors,
        )  # fmt: skip
        self.frame += count
        return made

    def holes(self, made: _Made) -> tuple[Incident, ...]:
        """Holes that end in these frames, told with the first candle after them, as a replay tells them."""
        if self._feed.market.holes == 0.0:
            return ()
        step, found = self._feed.base_ms, []
        for m, symbol in enumerate(self._feed.symbols):
            here = np.flatnonzero(made.present[:, m])
            before = np.concatenate(([-1 - self._absent[m]], here[:-1]))
            for t, missing in zip(here, here - before - 1, strict=True):
                if missing:
                    next_ms = int(made.times[t])
                    detail = f"{missing} candles of {name(step)} missing, next at {next_ms}"
                    found.append(Incident(next_ms - int(missing) * step, "gap", symbol, detail))
            self._absent[m] = len(made.times) - 1 - here[-1] if len(here) else self._absent[m] + len(made.times)
        found.sort(key=lambda incident: (incident.time_ms, incident.symbol))
        return tuple(found)


def _coin(symbol: str) -> _Coin:
    """A known coin, or one whose price, volatility and turnover follow from its name."""
    base = symbol.partition("/")[0]
    if base in _COINS:
        return _COINS[base]
    code = zlib.crc32(base.encode())
    price = float((1, 2, 5)[code % 3] * 10 ** (code // 3 % 4))
    decimals = 6 - len(str(int(price)))
    sigma = 0.007 + 0.0005 * (code // 12 % 12)
    return _Coin(price, decimals, 3, sigma, round(30_000_000.0 / price, 3))
