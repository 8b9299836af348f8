"""Why an agent did what it did, or nothing, told from its rows around a moment: as text, for people.

What an agent is (idea, habitat, genes, family), what it had (capital), what it held, its orders and refusals before and
after the moment, its last trades, how natural selection judged it, and how far the decisions of agents like it got.
Nothing is computed anew: what does not stand in a row is not told.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trader.core.errors import UserError
from trader.store.building import Condition
from trader.store.columns import read_columns
from trader.store.expressions import INTEGER, Column

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from trader.store.records import RunRow
    from trader.store.store import Store

    Rows = dict[str, NDArray[Any]]

SHOWN: Final = 5
"""So many orders before and after the moment, and trades before it."""

TOLD: Final = (
    "confidence_threshold", "patience", "aggression", "holding_candles", "cooldown_candles", "position_size_base",
    "leverage_cap", "stop_atr", "take_atr", "trailing_atr", "entry_limit_atr", "long_bias", "short_bias",
)  # fmt: skip
"""Genes that say when and how much it trades; all of them stand in `v_agent.genes`."""


def explain(store: Store, row: RunRow, agent: int, at_ms: int | None = None) -> str:
    """The story of an agent around `at_ms` (ms UTC; None: the run's last frame).

    Raises:
        UserError: the run has no such agent, or nothing was committed yet.
    """
    if row.cursor_ms is None:
        raise UserError(f"run {row.run}: nothing was committed yet")
    moment = row.cursor_ms + row.base_ms if at_ms is None else at_ms
    found = _of(store, row, "v_agent", agent)
    if not len(found["agent"]):
        raise UserError(f"agent {agent}: run {row.run} has none; `trader db agents {row.run}` lists them")
    return "\n".join(_lines(store, row, {name: values[0] for name, values in found.items()}, moment)) + "\n"


def _lines(store: Store, row: RunRow, agent: dict[str, Any], moment: int) -> Iterator[str]:
    number = int(agent["agent"])
    yield f"Agent {number} of run {row.run} at {_utc(moment)} UTC"
    yield f"  is      {agent['archetype']}, trades {agent['symbol']} on {agent['timeframe']}; {_life(agent, moment)}"
    yield f"  genes   {_genes(agent['genes'])}"
    yield from _judgement(_of(store, row, "v_fitness", number, extra=[Column("time_ms", INTEGER, "f.time_ms")]), moment)
    yield from _capital(_of(store, row, "v_allocation", number), moment)
    trades, orders = _of(store, row, "v_trade", number), _of(store, row, "v_order", number)
    yield from _position(trades, orders, moment)
    yield from _orders(orders, moment)
    yield from _trades(trades, moment)
    yield from _funnel(read_columns(store, "v_funnel", row.run), str(agent["archetype"]), str(agent["symbol"]))


def _of(store: Store, row: RunRow, view: str, agent: int, extra: list[Column] | None = None) -> Rows:
    return read_columns(store, view, row.run, conditions=[Condition("agent", "=", agent)], extra=extra or [])


def _life(agent: dict[str, Any], moment: int) -> str:
    born, died = int(agent["born_ms"]), agent["died_ms"]
    parents = [int(agent[name]) for name in ("parent_a", "parent_b") if np.isfinite(float(agent[name]))]
    family = f" of {' and '.join(map(str, parents))}" if parents else ""
    text = f"born {_utc(born)} in generation {int(agent['generation'])} ({agent['operator']}{family})"
    if np.isfinite(float(died)):
        text += f", died {_utc(int(died))} ({agent['cause']})"
        text += ": it was dead already" if moment >= int(died) else ""
    return text + (": it was not born yet" if moment < born else "")


def _genes(text: str) -> str:
    genes = json.loads(text)
    return ", ".join(f"{name} {genes[name]:.3g}" for name in TOLD if isinstance(genes.get(name), int | float))


def _judgement(rows: Rows, moment: int) -> Iterator[str]:
    before = np.flatnonzero(rows["time_ms"] <= moment)
    if not len(before):
        yield "  judged  not yet"
        return
    last = before[-1]
    raw, shrunk, error = (float(rows[name][last]) for name in ("raw", "shrunk", "standard_error"))
    yield (
        f"  judged  generation {int(rows['generation'][last])}: fitness {shrunk:.4g} (raw {raw:.4g}, standard error"
        f" {error:.4g}), rank {int(rows['rank'][last])}, {rows['fate'][last]}"
    )


def _capital(rows: Rows, moment: int) -> Iterator[str]:
    before = np.flatnonzero(rows["time_ms"] <= moment)
    if not len(before):
        yield "  capital none granted up to then: without a grant an agent trades nothing of the pool's"
        return
    last = before[-1]
    had, amount = float(rows["before"][last]), float(rows["amount"][last])
    yield (
        f"  capital {had + amount:,.2f} after the last allocation, {_utc(int(rows['time_ms'][last]))}:"
        f" {amount:+,.2f} by rule {rows['rule'][last]}, limited by {rows['limited_by'][last]}"
    )


def _position(trades: Rows, orders: Rows, moment: int) -> Iterator[str]:
    held = np.flatnonzero((trades["entry_ms"] < moment) & (trades["exit_ms"] >= moment))
    if len(held):
        place = held[0]
        yield (
            f"  holds   {trades['side'][place]} {trades['qty'][place]:.8g} at {trades['entry_price'][place]:.8g} since"
            f" {_utc(int(trades['entry_ms'][place]))} with leverage {trades['leverage'][place]:.3g}; closed"
            f" {_utc(int(trades['exit_ms'][place]))} by {trades['exit_reason'][place]}, profit {trades['pnl'][place]:,.2f}"
        )
        return
    entries = (orders["kind"] == "entry") & np.isin(orders["status"], ("filled", "partial"))
    still = entries & (orders["decided_ms"] < moment) & ~np.isin(_filled(orders["trade"]), trades["trade"])
    if still.any():
        place = np.flatnonzero(still)[-1]
        yield f"  holds   a position decided {_utc(int(orders['decided_ms'][place]))}, open at the run's last commit"
        return
    yield "  holds   nothing: an entry needs a score beyond its threshold, the pause over, and cash"


def _filled(values: NDArray[Any]) -> NDArray[np.int64]:
    """Trade numbers, -1 for none."""
    numbers = np.asarray(values, np.float64)
    return np.where(np.isfinite(numbers), numbers, -1).astype(np.int64)


def _orders(rows: Rows, moment: int) -> Iterator[str]:
    order = np.argsort(rows["decided_ms"], kind="stable")
    early = [place for place in order.tolist() if rows["decided_ms"][place] < moment]
    late = [place for place in order.tolist() if rows["decided_ms"][place] >= moment]
    yield f"  orders before ({len(early)})" if early else "  orders before: none"
    yield from (f"    {_order(rows, place)}" for place in early[-SHOWN:])
    yield f"  orders from then on ({len(late)})" if late else "  orders from then on: none"
    yield from (f"    {_order(rows, place)}" for place in late[:SHOWN])


def _order(rows: Rows, place: int) -> str:
    reason = rows["reason"][place]
    limit = rows["limited_by"][place]
    return (
        f"{_utc(int(rows['decided_ms'][place]))}  {rows['kind'][place]:<11} {rows['side'][place]:<4}"
        f" {rows['requested_qty'][place]:.8g}: {rows['status'][place]}"
        + (f", {reason}" if reason else "")
        + (f", limited by {limit}" if limit not in (None, "none") else "")
    )


def _trades(rows: Rows, moment: int) -> Iterator[str]:
    done = np.flatnonzero(rows["exit_ms"] < moment)
    pnl = float(rows["pnl"][done].sum())
    yield f"  trades closed before ({len(done)}, together {pnl:,.2f})" if len(done) else "  trades closed before: none"
    for place in done[-SHOWN:].tolist():
        yield (
            f"    {_utc(int(rows['entry_ms'][place]))} to {_utc(int(rows['exit_ms'][place]))}  {rows['side'][place]:<5}"
            f" {rows['regime'][place]:<8} {rows['exit_reason'][place]:<11} {rows['pnl'][place]:,.2f}"
        )


def _funnel(rows: Rows, archetype: str, symbol: str) -> Iterator[str]:
    alike = (rows["archetype"] == archetype) & (rows["symbol"] == symbol)
    if alike.any():
        stages = [f"{stage} {count:,}" for stage, count in zip(rows["stage"][alike], rows["count"][alike], strict=True)]
        yield f"  {archetype} agents on {symbol}, whole run: {', '.join(stages)}"


def _utc(moment_ms: int) -> str:
    return datetime.fromtimestamp(moment_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
