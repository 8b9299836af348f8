"""A seeded synthetic market as a feed: for the quick start, for tests and for what needs endless candles.

It says "synthetic" wherever it is shown: nothing earned on it is evidence about real markets. Blocks are generated as
they are asked for; frame n is a pure function of (seed, n, symbols, base timeframe), the same for any block size and
after a resume, which generates from frame 0 again (about a microsecond a market and frame).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trader.core.rows import Phase, Received, Regime
from trader.core.timeframes import name, offset
from trader.core.types import Block, Instrument, UserError
from trader.feeds.catalogue import canonical_symbol
from trader.feeds.instruments import TradingTerms, instruments_for
from trader.feeds.synthetic_market import AVERAGE, PRICE, VARIANCE, generate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

DEFAULT_SYMBOLS: Final = ("BTC/USDT", "ETH/USDT", "SOL/USDT")
DEFAULT_START_MS: Final = 1_704_067_200_000
"""2024-01-01 00:00 UTC, a Monday: every timeframe begins a candle there."""
MINIMUM_NOTIONAL: Final = 500_000_000
"""5 of the quote currency, as on Binance's USDT perpetuals."""


@dataclass(frozen=True, slots=True)
class _Coin:
    """First price, decimals of price and quantity, deviation of an hour's return, common weight, volume of an hour."""

    price: float
    decimals: int
    lots: int
    sigma: float
    beta: float
    volume: float


_COINS: Final = {
    "BTC": _Coin(42_000.0, 1, 5, 0.0060, 0.85, 1_500.0),
    "ETH": _Coin(2_300.0, 2, 4, 0.0075, 0.85, 20_000.0),
    "SOL": _Coin(100.0, 3, 2, 0.0110, 0.75, 300_000.0),
}


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

    Raises:
        UserError: a symbol is misspelled or quoted in another currency, or end is not after start.
    """

    kind = "synthetic"

    def __init__(
        self, *, symbols: tuple[str, ...] | None, base_ms: int, seed: int, quote: str = "USDT",
        start_ms: int | None = None, end_ms: int | None = None, warmup: int = 0, terms: TradingTerms | None = None,
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

    def blocks(self, size: int, after_ms: int | None = None) -> Iterator[Block]:
        """Blocks of at most `size` frames with open times > `after_ms`, warm-up first; endless without an end."""
        if size < 1:
            raise ValueError(f"block size must be >= 1, not {size}")
        zero_ms = self.start_ms - self.warmup * self.base_ms
        params, state, regime = self._fresh()
        first = 0 if after_ms is None else max((after_ms - zero_ms) // self.base_ms + 1, 0)
        for skipped in range(0, first, 4096):
            self._generate(skipped, min(4096, first - skipped), zero_ms, params, state, regime)
        while True:
            count = size
            if self.end_ms is not None:
                left = -(-(self.end_ms - zero_ms) // self.base_ms) - first
                count = min(size, left)
            if count <= 0:
                return
            candles, rates = self._generate(first, count, zero_ms, params, state, regime)
            yield self._block(zero_ms + np.arange(first, first + count, dtype=np.int64) * self.base_ms, candles, rates)
            first += count

    def _fresh(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        """Parameters [M, 6], state before frame 0 [M, 3], regime [1]."""
        params = np.array(
            [
                (
                    round(coin.price * 10**coin.decimals),
                    10**coin.decimals,
                    coin.sigma,
                    coin.beta,
                    coin.volume,
                    10**coin.lots,
                )
                for coin in self._coins
            ],
            np.float64,
        )
        state = np.empty((len(self._coins), 3))
        state[:, PRICE] = state[:, AVERAGE] = params[:, 0]
        state[:, VARIANCE] = 1.0
        return params, state, np.array([int(Regime.RANGE)], np.int64)

    def _generate(
        self, first: int, count: int, zero_ms: int, params: Any, state: Any, regime: Any
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        candles = np.empty((count, len(self.symbols), 5))
        rates = np.empty((count, len(self.symbols)))
        generate(self.seed, first, zero_ms, self.base_ms, params, state, regime, candles, rates)
        return candles, rates

    def _block(self, times: NDArray[np.int64], candles: NDArray[np.float64], rates: NDArray[np.float64]) -> Block:
        shape = (len(times), len(self.symbols))
        if self._terms.market_type != "swap":
            rates = np.full(shape, np.nan)
        marks = np.where(np.isnan(rates), np.nan, candles[:, :, 0])
        phase = np.where(times < self.start_ms, int(Phase.WARMUP), int(Phase.REPLAY)).astype(np.int64)
        received = np.full(shape, int(Received.FILE), np.int64)
        arrays = (times, candles, np.ones(shape, np.bool_), rates, marks, received, phase)
        for array in arrays:
            array.flags.writeable = False
        return Block(*arrays)

    def describe(self) -> dict[str, Any]:
        """Span and step; there are no files, no rows to count and no holes."""
        return {
            "kind": self.kind,
            "step": name(self.base_ms),
            "first_ms": self.start_ms - self.warmup * self.base_ms,
            "end_ms": self.end_ms,
            "warmup_frames": self.warmup,
            "zone": "UTC",
            "seed": self.seed,
            "symbols": {symbol: {"holes": 0, "missing": 0} for symbol in self.symbols},
        }

    def close(self) -> None:
        """Nothing is held open."""


def _coin(symbol: str) -> _Coin:
    """A known coin, or one whose price, volatility and turnover follow from its name."""
    base = symbol.partition("/")[0]
    if base in _COINS:
        return _COINS[base]
    code = zlib.crc32(base.encode())
    price = float((1, 2, 5)[code % 3] * 10 ** (code // 3 % 4))
    decimals = 5 - len(str(int(price)))
    sigma = 0.007 + 0.0005 * (code // 12 % 12)
    return _Coin(price, decimals, 3, sigma, 0.6 + 0.02 * (code // 144 % 10), round(30_000_000.0 / price, 3))
