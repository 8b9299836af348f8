"""The report as text for people: one table of figures, then what they rest on, then where they come from.

Every ratio stands beside its interval and the number of trials; percentages are of the pool's capital.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

PERCENT: Final = ("total_return", "annual_return", "volatility", "max_drawdown")
FIGURES: Final = (
    ("total_return", "total return"),
    ("annual_return", "annual return"),
    ("volatility", "volatility a year"),
    ("sharpe", "Sharpe ratio"),
    ("sortino", "Sortino ratio"),
    ("calmar", "Calmar ratio"),
    ("max_drawdown", "max drawdown"),
    ("longest_drawdown_days", "longest below peak"),
)
NAMES: Final = {
    "cash": "cash",
    "buy_and_hold": "buy and hold",
    "buy_and_hold_same_exposure": "same, our exposure",
    "frozen": "frozen twins",
    "random": "random twins",
}


def card(report: Mapping[str, Any]) -> str:
    """The whole card."""
    parts = [
        _head(report), _figures(report), _against(report), _trading(report), _paths(report), _placebos(report),
        *_breakdowns(report),
        _trades(report), _funnel(report), _levels(report), _modifier(report), _notes(report),
    ]  # fmt: skip
    return "\n\n".join("\n".join(lines) for lines in parts if lines) + "\n"


def _head(report: Mapping[str, Any]) -> list[str]:
    run, period = report["run"], report["period"]
    step = {86_400_000: "day", 3_600_000: "hour"}.get(period["step_ms"], f"{period['step_ms'] // 60_000} minutes")
    length = f"{period['days']:.1f} days"
    world = " (a made-up market: no price here was ever traded)" if run["feed"] == "synthetic" else ""
    return [
        f"Report of run {run['run']} ({run['status']}), {run['feed']}{world}, seed {run['seed']}",
        (
            f"  {_utc(period['start_ms'])} to {_utc(period['end_ms'])} UTC, {length}; ratios from {period['returns']} returns"
            f" of one {step} each"
        ),
        f"  equity {float(run['equity_start']):,.2f} -> {float(run['equity_end']):,.2f} {report['currency']}",
    ]


def _figures(report: Mapping[str, Any]) -> list[str]:
    found, baselines = report["intervals"], report["baselines"]
    table = [("", "this run", "95 % interval", *(NAMES[name] for name in baselines))]
    for key, name in FIGURES:
        values = [report["performance"][key], *(figures[key] for figures in baselines.values())]
        shown = [_value(key, value) for value in values]
        table.append((name, shown[0], _range(key, found.get(key)), *shown[1:]))
    return [*_columns(table), *(f"  {line}" for line in _skill(report))]


def _skill(report: Mapping[str, Any]) -> list[str]:
    """No Sharpe ratio without the number of trials."""
    trials = report["trials"]
    count = trials["count"]
    told = f"trials: {count} ({trials['told']})"
    if not math.isfinite(trials["probability"]):
        return [told]
    without = f"the best of {count} without any skill would show a Sharpe ratio of about {trials['best_of_chance']:.2f}"
    return [told + "; " + without, f"probability that the true ratio is above that: {trials['probability']:.0%}"]


def _against(report: Mapping[str, Any]) -> list[str]:
    table: list[tuple[str, ...]] = [
        ("This run minus", "annual return", "95 % interval", "Sharpe ratio", "95 % interval")
    ]
    for name, figures in report["baselines"].items():
        gap = figures.get("run_minus_this")
        if gap:
            cells = [
                cell
                for key in ("annual_return", "sharpe")
                for cell in (_value(key, gap[key]["value"]), _range(key, gap[key]["interval"]))
            ]
            table.append((f"  {NAMES[name]}", *cells))
    lines = _columns(table, indent="") if len(table) > 1 else []
    return [*lines, *_twins(report["twins"])]


def _twins(groups: Mapping[str, Any] | None) -> list[str]:
    if groups is None:
        return ["  twins: no controls in this run (population.controls)"]
    lines = []
    for name, group in groups.items():
        if name == "evolving":
            continue
        gap, interval = group["evolving_minus_this"], _range("annual_return", group["interval"])
        lines.append(
            f"  selection: evolving agents minus {NAMES[name]} ({group['agents']:,} agents): {_percent(gap)} of an"
            f" agent's share a year {interval}"
        )
    return lines


def _trading(report: Mapping[str, Any]) -> list[str]:
    trading, costs, currency = report["trading"], report["costs"], report["currency"]
    won = f"win rate {_percent(trading['win_rate'])}, profit factor {_number(trading['profit_factor'])}"
    mean = f"mean return on margin {_percent(trading['mean_return_on_margin'])}"
    shadows = f", {trading['shadow_trades']:,} by shadows (no capital)" if trading["shadow_trades"] else ""
    share = costs["share_of_result_before_costs"]
    of = f", {share:.0%} of the result before costs" if math.isfinite(share) else ""
    return [
        "Trading",
        f"  {trading['trades']:,} trades{shadows}; {won}, {mean}, held {trading['mean_holding_days']:.2f} days on average"
        if trading["trades"]
        else f"  no closed trades{shadows}",
        (
            f"  turnover {_number(trading['turnover'])} x equity a year; exposure {_percent(trading['exposure'])} of equity,"
            f" margin {_percent(trading['margin_use'])}; in the market {_percent(trading['time_in_market'])} of the time"
        ),
        (
            f"  costs {costs['total']:,.2f} {currency} (fees {costs['fees']:,.2f}, slippage {costs['slippage']:,.2f},"
            f" funding {-costs['funding']:,.2f}){of}"
        ),
        (
            f"  liquidations {trading['liquidations']:,}; insurance paid {costs['insurance_paid']:,.2f} for shortfalls,"
            f" took {costs['liquidation_fees']:,.2f} in liquidation fees"
        ),
        *_confidence(report["calibration"]),
    ]


def _confidence(found: Mapping[str, Any]) -> list[str]:
    """How far the probabilities told with each trade can be believed."""
    if not found["cases"]:
        return []
    believed = f"calibration error {found['error']:.3f}, Brier score {found['brier']:.3f}"
    return [
        f"  confidence of {found['cases']:,} trades: {believed} (always saying {found['rate']:.0%}: {found['brier_of_rate']:.3f})"
    ]


def _paths(report: Mapping[str, Any]) -> list[str]:
    """Equity at the end under each rule for the way inside a candle: the error bar of candles as data."""
    paths = report["paths"]
    if not paths:
        return [f"Inside the candle: {report['paths_told']}"] if report["paths_told"] else []
    table = [("Inside the candle", "total return", "max drawdown", "trades")]
    for rule, figures in paths.items():
        table.append(
            (
                f"  {rule}",
                _percent(figures["total_return"]),
                _percent(figures["max_drawdown"]),
                f"{figures['trades']:,}",
            )
        )
    lines = _columns(table, indent="")
    return [*lines, f"  {report['paths_told']}"] if report["paths_told"] else lines


def _placebos(report: Mapping[str, Any]) -> list[str]:
    """The whole session on histories without structure."""
    found = report.get("placebos")
    if not found:
        return []
    low, high = min(found["total_returns"]), max(found["total_returns"])
    return [
        f"Placebos: {found['told']}",
        f"  total return {_percent(found['total_return'])}; theirs {_percent(low)} to {_percent(high)}, p {found['p_value']:.3f}",
    ]


def _breakdowns(report: Mapping[str, Any]) -> Iterable[list[str]]:
    for name, rows in report["breakdown"].items():
        if not rows:
            continue
        table = [
            (f"By {name.replace('_', ' ')}", "trades", "win rate", "factor", "on margin", "fees", "funding", "profit")
        ]
        table += [
            (
                f"  {row[name]}", f"{row['trades']:,}", _percent(row["win_rate"]), _number(row["profit_factor"]),
                _percent(row["mean_return_on_margin"]), f"{row['fees']:,.2f}", f"{row['funding']:,.2f}",
                f"{row['pnl']:,.2f}",
            )
            for row in rows
        ]  # fmt: skip
        yield _columns(table, indent="")


def _trades(report: Mapping[str, Any]) -> list[str]:
    if not report["trades"]["best"]:
        return []
    names = ("agent", "archetype", "market", "", "side", "entry", "exit", "by", "on margin", "profit")
    table: list[tuple[str, ...]] = []
    for kind, rows in report["trades"].items():
        table.append((f"{kind.capitalize()} trades", *names) if not table else (f"{kind.capitalize()} trades",))
        table += [
            (
                f"  {row['trade']}", str(row["agent"]), row["archetype"], row["symbol"], row["timeframe"], row["side"],
                _utc(row["entry_ms"]), _utc(row["exit_ms"]), row["exit_reason"], _percent(row["return_on_margin"]),
                f"{row['pnl']:,.2f}",
            )
            for row in rows
        ]  # fmt: skip
    width = len(names) + 1
    return _columns([(*row, *[""] * (width - len(row))) for row in table], indent="")


def _funnel(report: Mapping[str, Any]) -> list[str]:
    if not report["funnel"]:
        return []
    stages = ", ".join(f"{row['stage'].replace('_', ' ')} {row['count']:,}" for row in report["funnel"])
    return ["Why something traded or did not (decisions by stage)", f"  {stages}"]


def _levels(report: Mapping[str, Any]) -> list[str]:
    """Updates of every level, and heritability."""
    found = report["levels"]
    if not found["updates"]:
        return []
    lines = [
        "Levels (updates)",
        "  " + ", ".join(f"{name} {one['updates']:,}" for name, one in found["updates"].items()),
    ]
    kept = (found["evolution"] or {}).get("heritability")
    if kept and kept["slope"] is not None:
        lines.append(
            f"  heritability {kept['slope']:+.2f} ± {kept['standard_error']:.2f}: what {kept['children']} children kept of what"
            " their parents promised, out of sample"
        )
    if niches := (found["evolution"] or {}).get("niches"):
        lines.append(
            "  niches at the end: "
            + ", ".join(
                f"{name.replace('_', ' ')} {value:.4f}"
                if isinstance(value, float)
                else f"{name.replace('_', ' ')} {value}"
                for name, value in niches.items()
            )
        )
    return lines


def _modifier(report: Mapping[str, Any]) -> list[str]:
    """Expected against realised advantage of the self-modifier's trials, with a bar for each fifth."""
    found = report["levels"]["modifier"]
    if found is None:
        return []
    head = (
        f"Self-modifier: {found['adopted']} adopted, {found['kept']} kept, {found['rolled_back']} rolled back,"
        f" {found['under_way']} under way at the end"
    )
    values = [abs(part["realised"]) for part in found["fifths"]]
    widest = max([value for value in values if math.isfinite(value)], default=0.0)
    table: list[tuple[str, ...]] = [("by expected advantage", "trials", "expected", "realised", "± error")]
    table += [
        (
            f"fifth {number}", str(part["trials"]), f"{part['expected']:+.4%}", f"{part['realised']:+.4%}",
            f"{part['standard_error']:.4%}" if math.isfinite(part["standard_error"]) else "-",
        )
        for number, part in enumerate(found["fifths"], 1)
    ]  # fmt: skip
    plot = ["", *(_bar(part["realised"], widest) for part in found["fifths"])]
    return [head, *(f"{line}  {bar}".rstrip() for line, bar in zip(_columns(table), plot, strict=True))]


BAR: Final = 12
"""Characters of the longest bar on either side of the axis."""


def _bar(value: float, widest: float) -> str:
    """A bar to the left (a loss) or right of an axis."""
    size = round(BAR * abs(value) / widest) if widest > 0 and math.isfinite(value) else 0
    left, right = ("#" * size, "") if value < 0 else ("", "#" * size)
    return f"{left:>{BAR}}|{right}"


def _notes(report: Mapping[str, Any]) -> list[str]:
    return ["Notes", *(f"  {note}" for note in report["notes"])] if report["notes"] else []


def _columns(table: Sequence[Sequence[str]], indent: str = "  ") -> list[str]:
    """Rows aligned: the first column to the left, words to the left, figures to the right."""
    widths = [max(len(row[place]) for row in table) for place in range(len(table[0]))]
    lines = []
    for row in table:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append((indent + "  ".join(cells)).rstrip())
    return lines


def _value(key: str, value: float) -> str:
    if key == "longest_drawdown_days":
        return f"{value:.1f} days"
    return _percent(value) if key in PERCENT else _number(value)


def _range(key: str, interval: Sequence[float] | None) -> str:
    if interval is None or not all(math.isfinite(end) for end in interval):
        return "-"
    return f"[{_value(key, interval[0])}, {_value(key, interval[1])}]"


def _percent(value: float) -> str:
    return f"{value:.2%}" if math.isfinite(value) else "-"


def _number(value: float) -> str:
    return f"{value:,.2f}" if math.isfinite(value) else "-"


def _utc(moment_ms: int) -> str:
    return datetime.fromtimestamp(moment_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
