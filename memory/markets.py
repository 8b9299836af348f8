"""Synthetic two-asset markets with hidden regimes, and the 24 causal features HOPE was trained on.

A market is a target and a leader. One bar later the target's return is predictable by
    r[t+1] = σ_t (own · r̃[t] + lead · l̃[t] + trend · m̃[t] + volume · ṽ[t] + ε),   ε ~ t(5) of unit variance,
where r̃, l̃ are the last returns, m̃ the last eight bars' sum and ṽ the bar's surplus volume, in units of their own scale.
A *regime* is (own, lead, trend, volatility, correlation, volume); regimes last `shortest` bars plus a geometric time.
Random regimes never use `volume`: it is kept for the planted kind "novel", a dependence no predictor was trained on.
`planted` makes one known switch of a named kind in the middle. Because the mean is known, so is the oracle's error.

Shapes: T bars; candles [T, 6] = open, high, low, close, volume, leader close; features [T, 24]; `mean`, `scale` [T] are
the conditional mean and scale of r[t+1] given everything up to t. Column 0 of the features is the target's log return.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pathlib import Path

Array = NDArray[np.float64]
Kind = Literal["volatility", "trend", "correlation", "novel", "none"]

FEATURES = 24
KINDS: tuple[Kind, ...] = ("volatility", "trend", "correlation")
_BASE_SCALE = 0.006  # an hourly crypto return's standard deviation


@dataclass(frozen=True, slots=True)
class Regime:
    """Coefficients of one hidden regime: own, lead and trend predictability, volatility multiple, correlation."""

    own: float
    lead: float
    trend: float
    volatility: float = 1.0
    correlation: float = 0.6
    volume: float = 0.0

    def row(self) -> list[float]:
        """The regime as numbers, in field order."""
        return [self.own, self.lead, self.trend, self.volatility, self.correlation, self.volume]


@dataclass(frozen=True, slots=True)
class Market:
    """One simulated market: candles [T, 6], features [T, 24], mean [T], scale [T], switches (bar indices)."""

    candles: Array
    features: Array
    mean: Array
    scale: Array
    switches: tuple[int, ...]


def random_regime(rng: np.random.Generator) -> Regime:
    """Draw a regime: each coefficient is off half of the time, so that a predictor is never always useful."""
    own, lead = (rng.uniform(-0.45, 0.45) * (rng.random() < 0.7) for _ in range(2))
    trend = rng.uniform(-0.3, 0.3) * (rng.random() < 0.5)
    return Regime(own, lead, trend, float(rng.choice([0.5, 1.0, 2.0])), float(rng.uniform(0.0, 0.8)))


def regime_market(rng: np.random.Generator, bars: int, shortest: int = 150, mean_extra: int = 300) -> Market:
    """A market of `bars` bars whose regimes change at random, hidden times."""
    rows = np.empty((bars, 6))
    switches = []
    t = 0
    while t < bars:
        length = shortest + int(rng.geometric(1.0 / mean_extra))
        rows[t : t + length] = random_regime(rng).row()
        t += length
        if t < bars:
            switches.append(t)
    return _simulate(rng, rows, tuple(switches))


def planted(rng: np.random.Generator, kind: Kind, bars: int, at: int) -> Market:
    """A market with exactly one switch, at bar `at`: volatility doubles, the trend flips, the
    correlation with the leader breaks (lead and co-movement change sign), or a novel dependence replaces the old one.

    With kind "none" nothing changes (for false alarms). Raises ValueError when `at` lies outside the market.
    """
    if not 0 < at < bars:
        raise ValueError(f"the switch must lie inside the market: at={at}, bars={bars}")
    before = Regime(0.25, 0.0, 0.15) if kind in ("trend", "volatility", "novel") else Regime(0.0, 0.4, 0.0, 1.0, 0.6)
    if kind == "none":
        before = Regime(0.25, 0.0, 0.15) if rng.random() < 0.5 else Regime(0.0, 0.4, 0.0, 1.0, 0.6)
    after = {
        "volatility": Regime(before.own, before.lead, before.trend, 2.0, before.correlation),
        "trend": Regime(-before.own, before.lead, -before.trend, 1.0, before.correlation),
        "correlation": Regime(0.0, -0.4, 0.0, 1.0, -0.6),
        "novel": Regime(0.0, 0.0, 0.0, 1.0, before.correlation, 0.4),
        "none": before,
    }[kind]
    rows = np.empty((bars, 6))
    rows[:at] = before.row()
    rows[at:] = after.row()
    return _simulate(rng, rows, () if kind == "none" else (at,))


def _simulate(rng: np.random.Generator, rows: Array, switches: tuple[int, ...]) -> Market:
    """Turn regimes per bar [T, 6] and fresh noise into a market."""
    bars = len(rows)
    noise = rng.standard_t(5, size=(bars, 2)) / np.sqrt(5.0 / 3.0)
    shape = rng.exponential(size=(bars, 3))
    candles, mean, scale = _walk(rows, noise, shape)
    return Market(candles, features(candles), mean, scale, switches)


@njit(cache=True)
def _walk(rows: Array, noise: Array, shape: Array) -> tuple[Array, Array, Array]:
    """The recursion of the module's formula. Mean and scale at t belong to the return of bar t + 1."""
    bars = len(rows)
    candles = np.empty((bars, 6))
    mean, scale = np.empty(bars), np.empty(bars)
    own = np.zeros(bars)
    last_own, last_lead, trend, surplus = 0.0, 0.0, 0.0, 0.0
    close, leader = 100.0, 50.0
    for t in range(bars):
        a, c, m, vol, rho = rows[t, 0], rows[t, 1], rows[t, 2], rows[t, 3], rows[t, 4]
        sigma = _BASE_SCALE * vol
        drift = a * last_own + c * last_lead + m * trend + rows[t, 5] * surplus
        drift = min(max(drift, -2.0), 2.0)
        if t > 0:
            mean[t - 1], scale[t - 1] = sigma * drift, sigma
        lead_noise = noise[t, 1]
        common = rho * lead_noise + np.sqrt(max(1.0 - rho * rho, 0.0)) * noise[t, 0]
        step = drift + common
        opened = close
        close = opened * np.exp(sigma * step)
        leader = leader * np.exp(sigma * lead_noise)
        high = max(opened, close) * np.exp(0.4 * sigma * shape[t, 0])
        low = min(opened, close) * np.exp(-0.4 * sigma * shape[t, 1])
        candles[t, 0], candles[t, 1], candles[t, 2], candles[t, 3] = opened, high, low, close
        candles[t, 4] = (0.2 + shape[t, 2]) * (1.0 + abs(step)) * vol
        candles[t, 5] = leader
        own[t] = min(max(step, -4.0), 4.0)
        last_own, last_lead = own[t], min(max(lead_noise, -4.0), 4.0)
        surplus = min(shape[t, 2] - 1.0, 3.0)
        trend = 0.0
        for back in range(max(0, t - 7), t + 1):
            trend += own[back] / np.sqrt(8.0)
    mean[bars - 1], scale[bars - 1] = 0.0, scale[max(bars - 2, 0)]
    return candles, mean, scale


@njit(cache=True)
def features(candles: Array) -> Array:
    """Candles [T, 6] to features [T, 24]; row t uses rows up to t only.

    0 return; 1 leader return; 2 their difference; 3 |return|; 4 range; 5 place of the close in the range; 6 change of
    log volume; 7-11 returns over 2, 4, 8, 16, 32 bars; 12 leader over 8; 13-15 log of the 8-, 32-, 128-bar scale;
    16 log ratio of the 8- and 128-bar scale; 17 |leader return|; 18 distance from the 20-bar mean in deviations;
    19 relative strength over 14; 20 fall from the 64-bar high; 21 signed volume; 22 co-movement over 32; 23 body over
    range. Logs of scales are relative to the first bars', prices enter as ratios only.
    """
    bars = len(candles)
    out = np.zeros((bars, FEATURES))
    logs = np.log(candles[:, 3])
    leads = np.log(candles[:, 5])
    volume = np.log(np.maximum(candles[:, 4], 1e-12))
    fast, middle, slow, up, down, co = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    lead_scale = 0.0
    for t in range(bars):
        o, h, low, c = candles[t, 0], candles[t, 1], candles[t, 2], candles[t, 3]
        r = logs[t] - logs[t - 1] if t > 0 else np.log(c / o)
        g = leads[t] - leads[t - 1] if t > 0 else 0.0
        rate = 1.0 / (t + 1.0)
        fast += max(rate, 1.0 / 8) * (r * r - fast)
        middle += max(rate, 1.0 / 32) * (r * r - middle)
        slow += max(rate, 1.0 / 128) * (r * r - slow)
        lead_scale += max(rate, 1.0 / 128) * (g * g - lead_scale)
        up += (max(r, 0.0) - up) / 14.0
        down += (max(-r, 0.0) - down) / 14.0
        product = r * g / (np.sqrt(slow * lead_scale) + 1e-12)
        co += (min(max(product, -4.0), 4.0) - co) / 32.0
        span = np.log(h / low)
        row = out[t]
        row[0], row[1], row[2], row[3], row[4] = r, g, r - g, abs(r), span
        row[5] = (c - low) / (h - low) - 0.5 if h > low else 0.0
        row[6] = volume[t] - volume[t - 1] if t > 0 else 0.0
        for i in range(5):
            row[7 + i] = logs[t] - logs[max(0, t - 2 ** (i + 1))]
        row[12] = leads[t] - leads[max(0, t - 8)]
        row[13], row[14] = 0.5 * np.log(fast + 1e-12), 0.5 * np.log(middle + 1e-12)
        row[15] = 0.5 * np.log(slow + 1e-12)
        row[16], row[17] = row[13] - row[15], abs(g)
        window = logs[max(0, t - 19) : t + 1]
        row[18] = (logs[t] - window.mean()) / (window.std() + 1e-6)
        row[19] = (up - down) / (up + down + 1e-12)
        row[20] = logs[t] - logs[max(0, t - 63) : t + 1].max()
        row[21] = np.sign(r) * (volume[t] - volume[max(0, t - 31) : t + 1].mean())
        row[22] = co
        row[23] = abs(np.log(c / o)) / (span + 1e-12)
    return out


def candle_features(path: Path, leader: Path | None = None) -> Array:
    """Features [T, 24] of a candle file (Parquet with open, high, low, close, volume), the leader's close from another.

    Without a leader, or on bars the leader lacks, the leader's column is the market's own close.
    """
    import pandas as pd

    frame = pd.read_parquet(path)
    lead = frame["close"]
    if leader is not None:
        other = pd.read_parquet(leader).set_index("ts")["close"]
        lead = other.reindex(frame["ts"]).ffill().fillna(frame["close"].iloc[0]).set_axis(frame.index)
    columns = [frame[name] for name in ("open", "high", "low", "close", "volume")]
    return features(np.column_stack([*columns, lead]).astype(np.float64))
