"""From a run in the database to its report: reads the views, asks the config, and hands arrays to `trader.report`.

Only what is committed is looked at, so a report of a running session can be made at any time, beside it.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trader.core.config import from_json
from trader.core.errors import UserError
from trader.core.money import AMOUNT_SCALE, decimal_text
from trader.report.baselines import Market
from trader.report.document import Recorded, build
from trader.report.result import Report
from trader.report.series import EquityCurve
from trader.report.twins import EVOLVING
from trader.session.path_error import RULES, path_error_bar
from trader.store.building import Condition
from trader.store.columns import equity_span, read_columns
from trader.store.records import FINISHED
from trader.store.store import open_store, persistent
from trader.store.trials import on_same_data, source_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from trader.core.config import Config
    from trader.store.records import RunRow
    from trader.store.store import Store

TRADE_COLUMNS: Final = (
    "trade", "agent", "archetype", "symbol", "timeframe", "side", "leverage", "qty", "confidence", "score", "regime", "entry_ms",
    "entry_price",    "exit_ms", "exit_reason", "gross_pnl", "slippage", "fees", "funding", "pnl", "return_on_margin", "funded",
)  # fmt: skip
CONTROL_OPERATORS: Final = ("frozen", "random")
"""Values of `v_agent.operator` that name a control group."""

NOTICE_SECONDS: Final = 5.0
"""Re-runs that are expected to take longer are announced."""

SUMMARY_KEYS: Final = (
    "run", "status", "feed", "seed", "config_hash", "candles", "decisions", "orders", "trades", "agents", "generations",
    "equity_start", "equity_end", "max_drawdown", "wall_s", "agent_candles_per_s", "digest", "db",
)  # fmt: skip


def run_summary(store: Store, row: RunRow) -> dict[str, Any]:
    """The run summary of the contract: the stored one, or for a run without (still running, killed) from its row.

    Of such a run, what only its process knew (decisions, orders, wall time) is None.
    """
    stored = json.loads(row.summary) if row.summary else {}
    summary = {name: stored.get(name) for name in SUMMARY_KEYS}
    for name in ("run", "status", "feed", "seed", "config_hash", "candles", "digest"):
        summary[name] = getattr(row, name)
    summary |= {"equity_start": decimal_text(row.equity_start), "equity_end": decimal_text(row.equity_end)}
    return summary | {"db": store.url}


def report_run(
    run: str | int, *, url: str, paths: bool = False, tell: Callable[[str], None] | None = None
) -> Report:  # fmt: skip
    """The report of a run of the database at `url`.

    Args:
        run: number, name or `latest`.
        url: database URL or path.
        paths: re-run the journal under every rule for the way inside a candle.
        tell: called with a line before something that takes longer than a few seconds.

    Raises:
        UserError: no such database or run, or nothing was committed yet.
    """
    with open_store(url, create=False, read_only=True) as store:
        kept = persistent(store)
        row = kept.resolve(run)
        found = recorded(kept, row)
    if not paths:
        return Report(build(replace(found, paths_told="not computed (--paths does)")))
    if tell is not None and (seconds := _expected_seconds(found.summary)) > NOTICE_SECONDS:
        tell(
            f"re-running the journal under every rule for the way inside a candle, about {seconds:.0f} s; --no-paths skips it"
        )
    bar = path_error_bar(row.run, url=url)
    return Report(
        build(replace(found, paths=bar, paths_told=_paths_told(bar, from_json(row.config).exchange.path, found)))
    )


def _expected_seconds(summary: Mapping[str, Any]) -> float:
    """What the run took, once for each rule."""
    return float(summary["wall_s"] or 0.0) * len(RULES)


def _paths_told(bar: Mapping[str, Mapping[str, float | int]], own: str, found: Recorded) -> str:
    """Whose rule the run had, how far results lie apart, and whether its own came out again."""
    returns = [float(figures["total_return"]) for figures in bar.values()]
    told = f"the run's rule is {own}; results lie {max(returns) - min(returns):.2%} of the capital apart"
    again = float(bar[own]["equity_end"]) if own in bar else float(found.curve.equity[-1])
    if abs(again - float(found.summary["equity_end"])) > 1e-6 * found.curve.start:
        told += "; this version of the program gives another result than the stored one under the run's own rule"
    return told


def recorded(store: Store, row: RunRow) -> Recorded:
    """Everything a report of the run needs, but the error bar over paths.

    Raises:
        UserError: the run has not committed a single frame yet.
    """
    config = from_json(row.config)
    curve, reserved = _equity(store, row)
    agents = read_columns(store, "v_agent", row.run, ("agent", "operator", "born_ms", "died_ms", "symbol"))
    count, told = trials(store, row)
    paid, taken = _insurance(store, row.run)
    return Recorded(
        summary=run_summary(store, row),
        currency=config.pool.currency,
        curve=curve,
        reserved=reserved,
        trades=read_columns(store, "v_trade", row.run, TRADE_COLUMNS),
        fills=read_columns(store, "v_fill", row.run, ("time_ms", "trade", "price", "qty")),
        agents=agents,
        funnel=read_columns(store, "v_funnel", row.run, ("stage", "count")),
        level=read_columns(store, "v_level", row.run, ("level", "kept", "detail")),
        modification=read_columns(store, "v_modification", row.run, ("trial", "expected", "realised", "kept")),
        markets=_markets(store, row, config),
        groups=_groups(agents),
        trials=count,
        trials_told=told,
        taker_fee=config.exchange.fees.taker,
        half_spread=config.exchange.slippage,
        agents_at_once=config.population.size,
        insurance_paid=paid,
        liquidation_fees=taken,
        notes=_notes(row),
    )


def _equity(store: Store, row: RunRow) -> tuple[EquityCurve, NDArray[np.float64]]:
    """The pool's equity curve, and its margins at each frame."""
    columns = read_columns(store, "v_equity", row.run, ("time_ms", "reserved", "equity"))
    if not len(columns["time_ms"]):
        raise UserError(
            f"run {row.run} ({row.status}): nothing to report, it has not committed a frame after its warm-up yet"
        )
    start = row.equity_start / AMOUNT_SCALE
    return EquityCurve(columns["time_ms"], columns["equity"], start, row.base_ms), columns["reserved"]


def _markets(store: Store, row: RunRow, config: Config) -> dict[str, Market]:
    """Candles of every market, and its funding stamps where the run charges them."""
    candles = read_columns(store, "v_candle", row.run, ("symbol", "ts", "open", "close"))
    charged = config.exchange.market_type == "swap" and config.exchange.funding
    stamps = read_columns(store, "v_funding", row.run, ("symbol", "ts", "rate", "mark")) if charged else None
    markets = {}
    for instrument in store.instruments(row.run):
        own = candles["symbol"] == instrument.symbol
        paid = stamps["symbol"] == instrument.symbol if stamps else None
        ts, rate, mark = (
            (stamps[name][paid] for name in ("ts", "rate", "mark"))
            if stamps
            else (np.zeros(0, np.int64), np.zeros(0), np.zeros(0))
        )
        markets[instrument.symbol] = Market(
            candles["ts"][own], candles["open"][own], candles["close"][own], ts, rate, mark
        )
    return markets


def _groups(agents: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.int64]]:
    """Agents by group: those of each control group, and all others as `evolving`; empty without controls."""
    operator = agents["operator"]
    groups = {name: agents["agent"][operator == name] for name in CONTROL_OPERATORS if (operator == name).any()}
    if not groups:
        return {}
    others = ~np.isin(operator.astype(str), CONTROL_OPERATORS)
    return {EVOLVING: agents["agent"][others], **groups}


def _insurance(store: Store, run: int) -> tuple[float, float]:
    """What the insurance account paid for shortfalls, and the liquidation fees it took."""
    only = Condition("code", "IN", "('insurance', 'liquidation')")
    columns = read_columns(store, "v_transfer", run, ("debit", "amount", "code"), conditions=[only])
    paid = columns["debit"] == "insurance"
    return float(columns["amount"][paid].sum()), float(columns["amount"][~paid].sum())


def trials(store: Store, row: RunRow) -> tuple[int, str]:
    """How many configs were tried on the same data (this one among them), and the rule by which they count.

    From the registry (`trader.store.trials`), which knows also the sessions that left no run and runs that were deleted.
    The same data: the same source (history, or one made-up market), a market in common and an overlap in time.
    """
    source = source_of(row.feed, row.seed, json.loads(row.config).get("feed", {}))
    markets = [instrument.symbol for instrument in store.instruments(row.run)]
    found = on_same_data(store, source, markets, equity_span(store, row.run))
    return max(found.count, 1), "configs tried on this data: a market and a stretch of time in common (v_trial)"


def _notes(row: RunRow) -> list[str]:
    if row.status == FINISHED:
        return []
    return [f"the run is {row.status}: this is what it had committed, open positions at their last mark"]
