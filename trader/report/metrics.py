"""Performance figures from equally spaced returns, and trading figures from closed trades.

Ratios are annual, without a risk-free rate: Sharpe (1966) mean ÷ standard deviation (ddof 1), Sortino and Price (1994)
mean ÷ downside deviation below zero, Calmar (Young 1991) annual return ÷ largest drawdown; the mean is the arithmetic
one of simple returns. All of them accept returns [..., n] and work along the last axis, so that the bootstrap computes
thousands of replications at once. What cannot be computed is NaN, never a made-up number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trader.report.series import YEAR_MS, EquityCurve

Floats = NDArray[np.float64]
Columns = Mapping[str, NDArray[Any]]
"""Columns of a view by name, all of one length."""


def _ratio(above: Floats, below: Floats) -> Floats:
    """Above ÷ below, NaN where below is zero (or so small that it is only rounding)."""
    safe = np.where(np.abs(below) > 1e-15, below, np.nan)
    return np.asarray(above / safe)


def sharpe(returns: Floats, per_year: float) -> Floats:
    """Annual Sharpe ratio; NaN below two returns or without variation."""
    if returns.shape[-1] < 2:
        return np.full(returns.shape[:-1], np.nan)
    return _ratio(returns.mean(-1), returns.std(-1, ddof=1)) * np.sqrt(per_year)


def sortino(returns: Floats, per_year: float) -> Floats:
    """Annual Sortino ratio; NaN where no return is negative."""
    if returns.shape[-1] < 2:
        return np.full(returns.shape[:-1], np.nan)
    downside = np.sqrt(np.mean(np.minimum(returns, 0.0) ** 2, axis=-1))
    return _ratio(returns.mean(-1), downside) * np.sqrt(per_year)


def volatility(returns: Floats, per_year: float) -> Floats:
    """Annual standard deviation."""
    if returns.shape[-1] < 2:
        return np.full(returns.shape[:-1], np.nan)
    return np.asarray(returns.std(-1, ddof=1) * np.sqrt(per_year))


def annual_return(returns: Floats, per_year: float) -> Floats:
    """Geometric return of a year."""
    if returns.shape[-1] < 1:
        return np.full(returns.shape[:-1], np.nan)
    return np.asarray(np.expm1(np.log1p(returns).mean(-1) * per_year))


def largest_drawdown(values: Floats) -> Floats:
    """Largest fall from a running peak, as a fraction of the peak; values [..., n] begin with the start."""
    peak = np.maximum.accumulate(values, axis=-1)
    return np.asarray(np.max((peak - values) / peak, axis=-1))


def drawdown_of_returns(returns: Floats) -> Floats:
    """Largest drawdown of the wealth that the returns make, seen at the steps only."""
    wealth = np.cumprod(1.0 + returns, axis=-1)
    return largest_drawdown(np.concatenate((np.ones((*returns.shape[:-1], 1)), wealth), axis=-1))


def statistics(returns: Floats, per_year: float) -> dict[str, Floats]:
    """Every ratio that the bootstrap gives an interval for, by its key in the report."""
    yearly = annual_return(returns, per_year)
    total = np.expm1(np.log1p(returns).sum(-1))
    drawdown = drawdown_of_returns(returns) if returns.shape[-1] else np.full(returns.shape[:-1], np.nan)
    return {
        "total_return": np.asarray(total),
        "annual_return": yearly,
        "volatility": volatility(returns, per_year),
        "sharpe": sharpe(returns, per_year),
        "sortino": sortino(returns, per_year),
        "calmar": _ratio(yearly, drawdown),
        "step_drawdown": drawdown,
    }


@dataclass(frozen=True, slots=True)
class Fall:
    """The largest drawdown: its depth as a fraction, and how long equity stayed below a peak at most, in days."""

    depth: float
    longest_days: float


def fall_of(curve: EquityCurve) -> Fall:
    """Largest drawdown over all frames, and the longest time under water."""
    values = np.concatenate(([curve.start], curve.equity))
    times = np.concatenate(([curve.begin_ms], curve.open_ms + curve.base_ms))
    peak = np.maximum.accumulate(values)
    at_peak = np.where(values >= peak, times, 0)
    since = times - np.maximum.accumulate(at_peak)
    return Fall(float(largest_drawdown(values)), float(since.max()) / 86_400_000)


def performance(curve: EquityCurve, returns: Floats, per_year: float) -> dict[str, float]:
    """The figures of one equity curve; `returns` are its equal steps."""
    fall = fall_of(curve)
    figures = {name: float(value) for name, value in statistics(returns, per_year).items()}
    del figures["step_drawdown"]
    figures["calmar"] = figures["annual_return"] / fall.depth if fall.depth > 0 else float("nan")
    return {
        **figures,
        "total_return": float(curve.equity[-1] / curve.start - 1),
        "max_drawdown": fall.depth,
        "longest_drawdown_days": fall.longest_days,
    }


def trading(trades: Columns) -> dict[str, float | int]:
    """Figures of closed trades; columns as v_trade's. Amounts in the pool's currency."""
    pnl = np.asarray(trades["pnl"], np.float64)
    won, lost = pnl[pnl > 0].sum(), -pnl[pnl < 0].sum()
    days = (np.asarray(trades["exit_ms"], np.float64) - np.asarray(trades["entry_ms"], np.float64)) / 86_400_000
    return {
        "trades": len(pnl),
        "win_rate": _mean(pnl > 0),
        "profit_factor": float(won / lost) if lost > 0 else float("nan"),
        "mean_pnl": _mean(pnl),
        "mean_return_on_margin": _mean(trades["return_on_margin"]),
        "mean_holding_days": _mean(days),
        "gross_pnl": _sum(trades["gross_pnl"]),
        "pnl": float(pnl.sum()),
        "fees": _sum(trades["fees"]),
        "slippage": _sum(trades["slippage"]),
        "funding": _sum(trades["funding"]),
        "liquidations": int(np.count_nonzero(np.asarray(trades["exit_reason"]) == "liquidation")),
    }


def activity(curve: EquityCurve, reserved: Floats, fills: Columns, trades: Columns) -> dict[str, float]:
    """How much was traded and held: turnover a year, mean gross exposure, margin in use, time in the market.

    fills: columns time_ms, price, qty, trade, in time order; a trade without a row in `trades` is open and counted to
    the end with its first fill. Turnover counts both sides; exposure is notional at entry ÷ mean equity, over time.
    """
    equity = float(np.mean(curve.equity))
    notional = np.asarray(fills["price"], np.float64) * np.asarray(fills["qty"], np.float64)
    held = np.asarray(trades["qty"], np.float64) * np.asarray(trades["entry_price"], np.float64)
    length = np.asarray(trades["exit_ms"], np.float64) - np.asarray(trades["entry_ms"], np.float64) + curve.base_ms
    opened, first = np.unique(np.asarray(fills["trade"]), return_index=True)
    still = first[~np.isin(opened, np.asarray(trades["trade"]))]
    rest = curve.end_ms - np.asarray(fills["time_ms"], np.float64)[still]
    area = float((held * length).sum() + (notional[still] * rest).sum())
    if equity <= 0:
        return dict.fromkeys(("turnover", "exposure", "margin_use", "time_in_market"), float("nan"))
    return {
        "turnover": float(notional.sum()) / equity / (curve.span_ms / YEAR_MS),
        "exposure": area / curve.span_ms / equity,
        "margin_use": float(np.mean(reserved / curve.equity)),
        "time_in_market": float(np.mean(reserved > 0)),
    }


def _mean(values: NDArray[Any]) -> float:
    found = np.asarray(values, np.float64)
    return float(np.nanmean(found)) if np.isfinite(found).any() else float("nan")


def _sum(values: NDArray[Any]) -> float:
    return float(np.asarray(values, np.float64).sum())
