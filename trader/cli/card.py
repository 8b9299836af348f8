"""The end card: what happened, under which assumptions, and what to type next; on one screen, in plain words."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trader.core.config import Config

_AMOUNT = re.compile(r"-?\d+\.\d{8}")
MARKETS = {
    "synthetic": "a made-up market: no price here was ever traded",
    "replay": "history from files; its holes stay holes",
    "live": "candles of an exchange as they closed; no order was placed anywhere",
}


def end_card(summary: Mapping[str, Any], figures: Mapping[str, Any], config: Config | None) -> str:
    """The card as text. `summary` has the keys of the contract's run summary, `figures` what the session adds to it."""
    lines = ["", *_result(summary, config)]
    lines += [f"  {name:<12}{_figure(value)}" for name, value in figures.items()]
    if config is not None:
        lines += ["", "Assumptions", *(f"  {line}" for line in assumptions(config))]
    lines += ["", *_next(summary), ""]
    return "\n".join(lines)


def _result(summary: Mapping[str, Any], config: Config | None) -> list[str]:
    start, end = float(summary["equity_start"]), float(summary["equity_end"])
    currency = config.pool.currency if config else ""
    change = end / start - 1 if start else 0.0
    fall = f"largest drawdown {summary['max_drawdown']:.2%}"
    speed = f"{summary['agent_candles_per_s']:,.0f} agent-candles a second"
    rows = (
        ("equity", f"{start:,.2f} -> {end:,.2f} {currency} ({change:+.2%}), {fall}"),
        ("trades", f"{summary['trades']:,} closed; {summary['orders']:,} orders, {summary['decisions']:,} decisions"),
        ("population", f"{summary['agents']:,} agents lived, {summary['generations']:,} generations"),
        ("speed", f"{summary['candles']:,} candles in {summary['wall_s']:.1f} s, {speed}"),
        ("record", f"{summary['db']}, digest {str(summary['digest'])[:16]}"),
    )
    head = f"Run {summary['run']} {summary['status']}: {MARKETS.get(summary['feed'], summary['feed'])}."
    return [head, *(f"  {name:<12}{text}" for name, text in rows)]


def assumptions(config: Config) -> list[str]:
    """The four lines without which no result means anything."""
    exchange, pool = config.exchange, config.pool
    swap = exchange.market_type == "swap"
    kind = "perpetuals: long and short, isolated margin, leverage" if swap else "spot: long only, no leverage"
    share = f"at most {exchange.participation:.0%} of a candle's volume for all agents together"
    funding = ", funding at its stamps" if swap and exchange.funding else ""
    cost = f"{exchange.fees.taker:.3%} fee and {exchange.slippage:.3%} half spread a fill"
    money = f"{pool.capital:,.0f} {pool.currency} shared by {config.population.size:,} agents"
    return [
        f"1 Market  {_market(config)} (seed {config.session.seed}); {kind}.",
        f"2 Fills   decided at a close, filled from the next open on, {share}.",
        f"3 Costs   {cost}, impact that grows with the population's demand{funding}.",
        f"4 Money   paper only: {money}; one run is an anecdote, no evidence of skill.",
    ]


def _market(config: Config) -> str:
    """What the candles are; of a made-up market also what is in it."""
    planted = {"planted": ", with an edge planted in it", "null": ", without any edge: a martingale"}
    more = planted.get(config.feed.synthetic.mode, "") if config.feed.kind == "synthetic" else ""
    return MARKETS[config.feed.kind] + more


def _next(summary: Mapping[str, Any]) -> list[str]:
    if summary["db"] == "memory":
        return ["Nothing was stored (memory)."]
    program, run = program_name(), summary["run"]
    lines = [
        ("db trades latest --sort -pnl --limit 10", "the best trades"),
        ("db agents latest --limit 10", "who traded, with which genes"),
        (f"verify {run}", "replay the run's own journal and compare every row"),
        ("run configs/quickstart.toml --set session.seed=1", "the same on another made-up market"),
    ]
    if summary["status"] == "stopped":
        lines.insert(0, (f"resume {run}", "go on where it stopped"))
    return ["Next", *(f"  {program} {command:<52}{meaning}" for command, meaning in lines)]


def program_name() -> str:
    """What to type for this program here: `trader` if the shell finds it, else the path it was started with."""
    if shutil.which("trader"):
        return "trader"
    started = Path(sys.argv[0])
    return str(started) if started.name == "trader" else "python -m trader"


def _figure(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, str) and _AMOUNT.fullmatch(value):
        return f"{float(value):,.2f}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_figure(inner)}" for name, inner in value.items())
    return str(value)
