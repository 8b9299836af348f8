"""The truth behind the fake exchange: made-up candles of a market, known in full before the clock starts.

A candle is a row of decimal texts as an exchange sends them; the clients' floats come from the same texts. A candle in
progress is told by its first `fraction`: same open, another high, low, close and volume than in the end, so that a
client that takes a candle in progress for a closed one is always found out.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
FUNDING_MS = 8 * HOUR_MS


@dataclass
class FakeMarket:
    """One symbol: `history` candles before the clock starts and `future` after it. Row i opens at first_ms + i * base."""

    symbol: str = "BTC/USDT"
    seed: int = 1
    start_ms: int = 1_767_225_600_000 + 7 * HOUR_MS
    base_ms: int = MINUTE_MS
    history: int = 400
    future: int = 700
    price: float = 100.0
    missing: frozenset[int] = frozenset()
    rows: list[tuple[str, ...]] = field(default_factory=list)
    restated: dict[int, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self):
        rng = np.random.default_rng(self.seed)
        count = self.history + self.future
        close = self.price * np.exp(np.cumsum(rng.standard_t(4, count) * 0.002))
        opened = np.concatenate([[self.price], close[:-1]])
        high = np.maximum(opened, close) * (1 + np.abs(rng.normal(size=count)) * 0.001)
        low = np.minimum(opened, close) * (1 - np.abs(rng.normal(size=count)) * 0.001)
        volume = 5000 * np.exp(rng.normal(size=count))
        self.rows = [
            (f"{o:.4f}", f"{h:.4f}", f"{w:.4f}", f"{c:.4f}", f"{v:.3f}")
            for o, h, w, c, v in zip(opened, high, low, close, volume, strict=True)
        ]

    @property
    def id(self) -> str:
        """The exchange's own name of the symbol."""
        return self.symbol.replace("/", "")

    @property
    def first_ms(self) -> int:
        return self.start_ms - self.history * self.base_ms

    def index(self, ts: int) -> int:
        return (ts - self.first_ms) // self.base_ms

    def row(self, ts: int) -> tuple[str, ...] | None:
        """What the exchange says now about a closed candle; None if there is none (a minute without trades)."""
        i = self.index(ts)
        if not 0 <= i < len(self.rows) or i in self.missing:
            return None
        return self.restated.get(ts, self.rows[i])

    def truth(self, ts: int) -> tuple[float, ...]:
        """The candle as it closed."""
        return tuple(float(text) for text in self.rows[self.index(ts)])

    def partial(self, ts: int, fraction: float) -> tuple[str, ...] | None:
        """The candle in progress, `fraction` of it over."""
        whole = self.row(ts)
        if whole is None:
            return None
        o, h, w, c, v = (float(text) for text in whole)
        close = o + (c - o) * fraction * 0.9
        high, low = max(o, close) + (h - max(o, c)) * fraction * 0.5, min(o, close) - (min(o, c) - w) * fraction * 0.5
        return (
            f"{o:.4f}",
            f"{max(high, o, close):.4f}",
            f"{min(low, o, close):.4f}",
            f"{close:.4f}",
            f"{v * fraction:.3f}",
        )

    def restate(self, ts: int) -> tuple[str, ...]:
        """Another close and volume for a candle that was closed already."""
        o, h, w, c, v = (float(text) for text in self.rows[self.index(ts)])
        close = min(max(c * 1.0007, w), h)
        self.restated[ts] = (f"{o:.4f}", f"{h:.4f}", f"{w:.4f}", f"{close:.4f}", f"{v * 1.5:.3f}")
        return self.restated[ts]

    def aggregate(self, ts: int, length_ms: int, now_ms: int, fraction: float) -> tuple[str, ...] | None:
        """A longer candle that opens at ts, made of the base candles that exist at `now_ms`."""
        parts = []
        for open_ms in range(ts, min(ts + length_ms, now_ms + 1), self.base_ms):
            row = self.partial(open_ms, fraction) if open_ms + self.base_ms > now_ms else self.row(open_ms)
            if row is not None:
                parts.append(row)
        if not parts:
            return None
        if len(parts) == 1:
            return parts[0]
        numbers = [[float(text) for text in part] for part in parts]
        return (
            parts[0][0], f"{max(n[1] for n in numbers):.4f}", f"{min(n[2] for n in numbers):.4f}", parts[-1][3],
            f"{sum(n[4] for n in numbers):.3f}",
        )  # fmt: skip

    def mark_open(self, ts: int) -> float:
        """Mark price at a moment: a little beside the candle's open."""
        return round(float(self.rows[max(0, self.index(ts))][0]) * 1.0002, 4)

    def stamps(self, since_ms: int, until_ms: int) -> list[tuple[int, float]]:
        """Funding stamps in [since, until]: every eight hours, a few ms late, rate from the hour."""
        first = -(-(since_ms - 7) // FUNDING_MS) * FUNDING_MS
        stamps = [
            (ts + 3, round(0.0001 * (1 + ts // FUNDING_MS % 5), 6)) for ts in range(first, until_ms + 1, FUNDING_MS)
        ]
        return [(ts, rate) for ts, rate in stamps if since_ms <= ts <= until_ms and ts >= self.first_ms]
