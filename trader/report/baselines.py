"""What doing nothing, and what buying everything once, would have made of the same capital over the same candles.

Buy and hold: the capital is divided into equal parts, one a market. A part buys at the open of its market's first
candle, pays the taker fee and half the spread, holds the quantity (no rebalancing, no leverage, no impact), pays or
receives funding where the run charges it, and sells at the market's last close with the same costs. A part whose market
has no candle yet is cash; while a market has a hole it is worth its last close.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trader.report.metrics import Floats
from trader.report.series import EquityCurve


@dataclass(frozen=True, slots=True)
class Market:
    """One market's candles: ts int64 [n] (open time, rising), open and close [n]; its funding stamps [k]."""

    ts: NDArray[np.int64]
    open: Floats
    close: Floats
    stamp_ts: NDArray[np.int64]
    stamp_rate: Floats
    stamp_mark: Floats


def cash(curve: EquityCurve) -> EquityCurve:
    """The start, kept."""
    return EquityCurve(curve.open_ms, np.full(len(curve.open_ms), curve.start), curve.start, curve.base_ms)


def buy_and_hold(
    curve: EquityCurve, markets: list[Market], fee: float, half_spread: float, invested: float = 1.0
) -> EquityCurve:
    """Equity of the equally weighted purchase on the frames of `curve`.

    fee, half_spread: fractions; invested: the part of the capital that buys (the run's own mean exposure makes a baseline
    of equal exposure), the rest stays cash.
    """
    equity = np.full(len(curve.open_ms), curve.start)
    if markets:
        part = curve.start * invested / len(markets)
        equity *= 1 - invested
        for market in markets:
            equity += _part(curve, market, part, fee, half_spread)
    return EquityCurve(curve.open_ms, equity, curve.start, curve.base_ms)


def _part(curve: EquityCurve, market: Market, capital: float, fee: float, half_spread: float) -> Floats:
    """Worth of one market's part at each frame's close, float64 [T]."""
    frames = curve.open_ms
    seen = (market.ts >= frames[0]) & (market.ts <= frames[-1])
    ts, opened, close = market.ts[seen], market.open[seen], market.close[seen]
    worth = np.full(len(frames), capital)
    if not len(ts):
        return worth
    quantity = capital / (opened[0] * (1 + half_spread) * (1 + fee))
    place = np.searchsorted(ts, frames, side="right") - 1
    held = place >= 0
    worth[held] = quantity * close[place[held]]
    worth += _funding(frames, market, int(ts[0]), quantity)
    worth[frames >= ts[-1]] -= quantity * close[-1] * (1 - (1 - half_spread) * (1 - fee))
    return worth


def _funding(frames: NDArray[np.int64], market: Market, bought_ms: int, quantity: float) -> Floats:
    """Funding received (paid: negative) up to and including each frame, for a long position."""
    due = (market.stamp_ts > bought_ms) & np.isfinite(market.stamp_rate)
    stamps, rate, mark = market.stamp_ts[due], market.stamp_rate[due], market.stamp_mark[due]
    before = np.clip(np.searchsorted(market.ts, stamps, side="left") - 1, 0, None)
    price = np.where(np.isfinite(mark), mark, market.close[before])
    total = np.concatenate(([0.0], np.cumsum(-quantity * price * rate)))
    return np.asarray(total[np.searchsorted(stamps, frames, side="right")])
