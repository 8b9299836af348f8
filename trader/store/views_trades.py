"""v_trade, v_position, v_order, v_fill: the wide rows of entries and exits, joined and unpacked.

An exit order that the liquidity cap cut is carried on under its number, so its fills (`partial` rows and the closing
`exit` row) are one row of v_order. A fill's fee includes the liquidation fee: the fees of a trade's fills add up to
the fees of the trade. mae and mfe are the worst and best price while the trade was open, as signed fractions of the
entry price in the direction of the trade (-0.02: two percent against it).
"""

from __future__ import annotations

from trader.core.rows import Limit, OrderKind, Phase, Regime, Reject
from trader.store.expressions import INTEGER, NUMBER, TEXT, Column, Dialect, Part, View, instrument_join, name_join

_ENTRY_OF = "JOIN entry e ON e.run = {0}.run AND e.seq = {0}.entry_seq"
_SIDE = "CASE e.side WHEN 1 THEN 'long' ELSE 'short' END"
_OPENS = "CASE {0}.side WHEN 1 THEN 'buy' ELSE 'sell' END"
_CLOSES = "CASE e.side WHEN 1 THEN 'sell' ELSE 'buy' END"


def trade(d: Dialect) -> View:
    """Closed trades, one row each: the exit joined with its entry."""
    weighted = _weighted_price(d)
    columns = (
        d.integer("run", "x.run"),
        d.integer("trade", "x.trade"),
        d.integer("agent", "x.agent"),
        d.named("archetype", "a", "e.archetype"),
        d.text("symbol", "i.symbol"),
        d.timeframe("timeframe", "e.timeframe"),
        d.text("side", _SIDE),
        d.number("leverage", d.scaled("e.leverage", 2)),
        d.quantity("qty", "x.trade_qty"),
        d.amount("margin", "x.margin"),
        *d.time("decided_ms", "e.decided_ms"),
        d.number("confidence", d.scaled("e.confidence", 2)),
        d.code("regime", "e.regime", Regime),
        *d.time("entry_ms", "e.time_ms"),
        d.price("entry_price", "e.price"),
        *d.time("exit_ms", "x.time_ms"),
        d.number("exit_price", weighted),
        d.code("exit_reason", "x.kind", OrderKind),
        d.amount("gross_pnl", "x.trade_gross"),
        d.amount("slippage", "x.slippage"),
        d.amount("fees", "x.trade_fees"),
        d.amount("funding", "x.trade_funding"),
        d.amount("pnl", "x.trade_pnl"),
        d.ratio("return_on_margin", "x.trade_pnl", "x.margin"),
        d.ratio("mae", "CASE e.side WHEN 1 THEN x.lowest - e.price ELSE e.price - x.highest END", "e.price"),
        d.ratio("mfe", "CASE e.side WHEN 1 THEN x.highest - e.price ELSE e.price - x.lowest END", "e.price"),
        d.code("phase", "e.phase", Phase),
        d.integer("funded", "x.funded"),
        d.number("score", d.scaled("NULLIF(e.score, -1)", 2)),
    )
    source = " ".join(
        ("exit x", _ENTRY_OF.format("x"), instrument_join("x"), name_join("a", "archetype", "e.run", "e.archetype"))
    )
    return View("v_trade", (Part(columns, source, "", "x.run", "x.seq"),))


def _weighted_price(d: Dialect) -> str:
    """Quantity-weighted exit price; of a single fill its price as it stands."""
    value, quantity = d.scaled("x.trade_value", 8), d.quantity_of("x.trade_qty")
    return f"CASE WHEN x.qty = x.trade_qty THEN {d.price_of('x.price')} ELSE ({value}) / NULLIF({quantity}, 0) END"


def position(d: Dialect) -> View:
    """Open positions as they stood at the last commit."""
    columns = (
        d.integer("run", "p.run"),
        d.integer("agent", "p.agent"),
        d.text("symbol", "i.symbol"),
        d.text("side", "CASE p.side WHEN 1 THEN 'long' ELSE 'short' END"),
        d.quantity("qty", "p.qty"),
        d.number("leverage", d.scaled("p.leverage", 2)),
        d.price("entry_price", "p.entry_price"),
        d.price("mark", "p.mark"),
        d.price("stop", "NULLIF(p.stop, 0)"),
        d.price("take", "NULLIF(p.take, 0)"),
        d.price("liquidation_price", "NULLIF(p.liquidation_price, 0)"),
        d.amount("margin", "p.margin"),
        d.amount("unrealised", "p.unrealised"),
    )
    return View("v_position", (Part(columns, f"position p {instrument_join('p')}", "", "p.run", "p.agent"),))


def order(d: Dialect) -> View:
    """Every order: entries, refused and unfilled ones, exits."""
    return View("v_order", (_entry_orders(d), _rejected_orders(d), _exit_orders(d), _open_exit_orders(d)))


def _order_columns(d: Dialect, alias: str, **own: str) -> tuple[Column, ...]:
    """Columns of v_order; `own` replaces what does not stand in the row under the column's name."""

    def of(name: str) -> str:
        return own.get(name, f"{alias}.{name}")

    return (
        d.integer("run", of("run")),
        d.integer("order_id", of("order_id")),
        d.integer("trade", of("trade")),
        d.integer("agent", of("agent")),
        d.text("symbol", "i.symbol"),
        d.text("side", of("side")),
        d.text("kind", of("kind")),
        *d.time("decided_ms", of("decided_ms")),
        d.quantity("requested_qty", of("requested_qty")),
        d.quantity("qty", of("qty")),
        d.code("limited_by", of("limited_by"), Limit),
        d.text("status", of("status")),
        d.text("reason", own.get("reason", d.nothing(TEXT))),
    )


def _entry_orders(d: Dialect) -> Part:
    columns = _order_columns(
        d,
        "e",
        side=_OPENS.format("e"),
        kind="'entry'",
        status="CASE WHEN e.qty < e.requested_qty THEN 'partial' ELSE 'filled' END",
    )
    return Part(columns, f"entry e {instrument_join('e')}", "e.funded = 1", "e.run", "e.seq")


def _rejected_orders(d: Dialect) -> Part:
    limits = {Reject.PARTICIPATION: Limit.PARTICIPATION, Reject.NO_VOLUME: Limit.NO_VOLUME, Reject.MARGIN: Limit.MARGIN}
    cases = " ".join(f"WHEN {int(reason)} THEN {int(limit)}" for reason, limit in limits.items())
    columns = _order_columns(
        d,
        "j",
        trade=d.nothing(INTEGER),
        side=_OPENS.format("j"),
        kind="'entry'",
        qty="0",
        limited_by=f"(CASE j.reason {cases} ELSE 0 END)",
        status="CASE j.sent WHEN 1 THEN 'unfilled' ELSE 'rejected' END",
        reason=d.code_of("j.reason", Reject),
    )
    return Part(columns, f"reject j {instrument_join('j')}", "j.funded = 1", "j.run", "j.seq")


def _exit_orders(d: Dialect) -> Part:
    earlier = (
        "FROM partial p WHERE x.qty <> x.trade_qty AND p.run = x.run AND p.trade = x.trade AND p.order_id = x.order_id"
    )
    columns = _order_columns(
        d,
        "x",
        side=_CLOSES,
        kind=d.code_of("x.kind", OrderKind),
        decided_ms=f"COALESCE((SELECT MIN(p.decided_ms) {earlier}), x.decided_ms)",
        requested_qty=d.greatest("x.requested_qty", f"COALESCE((SELECT MAX(p.requested_qty) {earlier}), 0)"),
        qty=f"x.qty + COALESCE((SELECT SUM(p.qty) {earlier}), 0)",
        limited_by=f"COALESCE((SELECT MAX(p.limited_by) {earlier}), x.limited_by)",
        status="'filled'",
    )
    source = f"exit x {_ENTRY_OF.format('x')} {instrument_join('x')}"
    return Part(columns, source, "x.funded = 1", "x.run", "x.seq")


def _open_exit_orders(d: Dialect) -> Part:
    """Exit orders with fills, but not the last one: still carried on, or overtaken by another exit."""
    same = "FROM partial q WHERE q.run = p.run AND q.trade = p.trade AND q.order_id = p.order_id"
    columns = _order_columns(
        d,
        "p",
        side=_CLOSES,
        kind=d.code_of("p.kind", OrderKind),
        requested_qty=f"(SELECT MAX(q.requested_qty) {same})",
        qty=f"(SELECT SUM(q.qty) {same})",
        limited_by=f"(SELECT MAX(q.limited_by) {same})",
        status="'partial'",
    )
    where = (
        f"p.funded = 1 AND p.seq = (SELECT MIN(q.seq) {same}) AND NOT EXISTS"  # noqa: S608 - our names
        " (SELECT 1 FROM exit x WHERE x.run = p.run AND x.order_id = p.order_id AND x.qty <> x.trade_qty)"
    )
    source = f"partial p {_ENTRY_OF.format('p')} {instrument_join('p')}"
    return Part(columns, source, where, "p.run", "p.seq")


def fill(d: Dialect) -> View:
    """Every fill of funded agents. A limit entry that rested is a maker; all else takes."""

    def part(table: str, alias: str, fee: str, liquidity: str = "'taker'") -> Part:
        columns = (
            d.integer("run", f"{alias}.run"),
            d.integer("fill", f"{alias}.fill"),
            d.integer("order_id", f"{alias}.order_id"),
            d.integer("trade", f"{alias}.trade"),
            d.integer("agent", f"{alias}.agent"),
            d.text("symbol", "i.symbol"),
            *d.time("time_ms", f"{alias}.time_ms"),
            d.price("price", f"{alias}.price"),
            d.quantity("qty", f"{alias}.qty"),
            d.amount("fee", fee),
            d.text("liquidity", liquidity),
        )
        source = f"{table} {alias} {instrument_join(alias)}"
        return Part(columns, source, f"{alias}.funded = 1", f"{alias}.run", f"{alias}.seq")

    parts = (
        part("entry", "e", "e.fee", "CASE WHEN e.maker = 1 THEN 'maker' ELSE 'taker' END"),
        part("exit", "x", "x.fee + x.liquidation_fee"),
        part("partial", "p", "p.fee"),
    )
    assert all(column.kind in {INTEGER, NUMBER, TEXT} for column in parts[0].columns), "kinds are those three"
    return View("v_fill", parts)
