"""Where a result comes from: closed trades by archetype, market, timeframe, side, regime and reason of the exit."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from trader.report.metrics import Columns, trading

GROUPS: Final = {
    "archetype": "archetype",
    "symbol": "symbol",
    "timeframe": "timeframe",
    "side": "side",
    "regime": "regime",
    "exit_reason": "exit_reason",
}
"""Name of each breakdown and the column of v_trade behind it."""

SHOWN: Final = ("trades", "win_rate", "profit_factor", "mean_return_on_margin", "fees", "slippage", "funding", "pnl")

TRADE: Final = (
    "trade", "agent", "archetype", "symbol", "timeframe", "side", "leverage", "entry_ms", "exit_ms", "exit_reason", "fees",
    "funding", "pnl", "return_on_margin",
)  # fmt: skip
"""What is told of a single trade."""


def breakdown(trades: Columns, column: str) -> list[dict[str, Any]]:
    """One row per value of `column`, the largest profit first; ties in the order of the value."""
    names = np.asarray(trades[column]).astype(str)
    rows = []
    for value in sorted(set(names.tolist())):
        chosen = names == value
        figures = trading({name: np.asarray(values)[chosen] for name, values in trades.items()})
        rows.append({column: value, **{name: figures[name] for name in SHOWN}})
    return sorted(rows, key=lambda row: -float(row["pnl"]))


def extremes(trades: Columns, count: int = 5) -> dict[str, list[dict[str, Any]]]:
    """The best and the worst trades by profit; equal ones by their number."""
    order = np.lexsort((np.asarray(trades["trade"]), -np.asarray(trades["pnl"], np.float64)))
    return {
        "best": [_trade(trades, place) for place in order[:count].tolist()],
        "worst": [_trade(trades, place) for place in order[::-1][:count].tolist()],
    }


def _trade(trades: Columns, place: int) -> dict[str, Any]:
    row = {}
    for name in TRADE:
        value = trades[name][place]
        row[name] = value.item() if isinstance(value, np.generic) else value
    return row
