"""What each listing of `trader db` shows: its view, the columns its filters act on, and its order.

The words a person types become bound parameters; columns come from this table and from the view, never from input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SIDES: Final = ("long", "short")
ORDER_SIDES: Final = ("buy", "sell")


@dataclass(frozen=True, slots=True)
class Listing:
    """One listing. time: the column (or, in braces, the expression) of --since and --until, "" if it has none.

    sides: what --side may be, empty if the listing has no side; newest_first: the order without --sort.
    """

    view: str
    time: str = ""
    symbol: bool = False
    agent: bool = False
    sides: tuple[str, ...] = ()
    newest_first: bool = True


LISTINGS: Final[dict[str, Listing]] = {
    "trades": Listing("v_trade", "exit_ms", symbol=True, agent=True, sides=SIDES),
    "positions": Listing("v_position", symbol=True, agent=True, sides=SIDES, newest_first=False),
    "orders": Listing("v_order", "decided_ms", symbol=True, agent=True, sides=ORDER_SIDES),
    "fills": Listing("v_fill", "time_ms", symbol=True, agent=True),
    "funnel": Listing("v_funnel", symbol=True, newest_first=False),
    "agents": Listing("v_agent", "born_ms", symbol=True, agent=True, newest_first=False),
    "lineage": Listing("v_agent", "born_ms", symbol=True, agent=True, newest_first=False),
    "fitness": Listing("v_fitness", "{f.time_ms}", agent=True),
    "ledger": Listing("v_transfer", "time_ms", agent=True),
    "allocations": Listing("v_allocation", "time_ms", agent=True),
    "levels": Listing("v_level", "time_ms"),
    "modifications": Listing("v_modification", "time_ms", agent=True),
    "bandits": Listing("v_bandit", "time_ms"),
    "policies": Listing("v_policy", "time_ms", agent=True),
    "candles": Listing("v_candle", "ts", symbol=True),
    "funding": Listing("v_funding", "ts", symbol=True),
    "incidents": Listing("v_incident", "time_ms", symbol=True),
    "equity": Listing("v_equity", "time_ms"),
}

RUN_COLUMNS: Final = (
    "run", "name", "parent_run", "status", "feed", "seed", "config_hash", "candles", "decisions", "orders", "trades",
    "agents", "generations", "equity_start", "equity_end", "max_drawdown", "wall_s", "agent_candles_per_s", "digest",
    "db", "code_version", "platform", "started_utc",
)  # fmt: skip
"""Columns of `db runs`: the run summary of the contract, and what else stands in v_run."""
