"""What a session tells when it ends, and while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trader.core.money import decimal_text
from trader.session.funnel import card_lines
from trader.store.records import FINISHED

if TYPE_CHECKING:
    from trader.session.engine import Engine


@dataclass(slots=True)
class StopFlag:
    """Set `requested` to let a session end after the block it is in, with everything committed."""

    requested: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """After each block, and live while waiting. equity in 1e-8, time_ms the open of the last candle; live: seconds to the
    close of the candle in progress (None: not known), and for each level the candles until it acts (fast to slow)."""

    frames_done: int
    frames_total: int | None
    trades: int
    equity: int
    time_ms: int
    waiting_s: float | None = None
    next_updates: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Verification:
    """Whether a run's tables came out of its journal again, and the first row that did not."""

    identical: bool
    first_difference: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """The run summary of the contract, and figures for the end card."""

    values: dict[str, Any]
    figures: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """The contract's keys; amounts as decimal text."""
        return dict(self.values)

    def card(self) -> dict[str, Any]:
        """Further figures for the end card, in plain words."""
        return dict(self.figures)


def summarise(engine: Engine, header: dict[str, Any], *, status: str, wall_s: float, digest: str, db: str) -> Summary:
    """Summary of an engine's session. `header` has run, feed, seed and config_hash."""
    counts = engine.counts
    books = engine.books
    equity = engine.equity() if counts.frames else header["equity_start"]
    values = {
        "run": header["run"],
        "status": status,
        "feed": header["feed"],
        "seed": header["seed"],
        "config_hash": header["config_hash"],
        "candles": counts.candles,
        "decisions": engine.decisions(),
        "orders": engine.orders(),
        "trades": counts.trades,
        "agents": books.population.next_agent,
        "generations": books.generation,
        "equity_start": decimal_text(header["equity_start"]),
        "equity_end": decimal_text(equity),
        "max_drawdown": counts.deepest,
        "wall_s": round(wall_s, 3),
        "agent_candles_per_s": round(counts.agent_candles / wall_s) if wall_s > 0 else 0,
        "digest": digest,
        "db": db,
    }
    accounts = books.ledger.accounts
    figures = {
        "fees": decimal_text(accounts.get("fees", 0)),
        "funding": decimal_text(accounts.get("funding", 0)),
        "insurance": decimal_text(accounts.get("insurance", 0)),
    }
    if counts.shadow_trades:
        figures["shadows"] = f"{counts.shadow_trades:,} of the closed trades were shadows', on virtual accounts"
    if status == FINISHED:
        figures |= card_lines(books.funnel.totals())
    for level in engine.levels:
        figures |= getattr(level, "card", dict)()
    return Summary(values, figures)
