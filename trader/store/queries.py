"""The named read-only queries behind `trader db`, used alike by shell, web and docs.

A listing is a view with filters, an order and a limit (`trader.store.building` writes the SQL); its columns are the
view's. `runs` shows the run summaries of the contract.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, Final, NamedTuple

from trader.core.types import UserError
from trader.store.building import Condition, build, fetch
from trader.store.export import export_views
from trader.store.listings import LISTINGS, RUN_COLUMNS, Listing
from trader.store.records import RunRow
from trader.store.sql import read_only_sql
from trader.store.store import AnyStore, Store, persistent
from trader.store.views import all_views

DEFAULT_LIMIT: Final = 100

sql = read_only_sql
export = export_views


class Rows(NamedTuple):
    """Answer of a query: column names, and rows of plain Python values in their order."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


def listing(
    store: AnyStore,
    name: str,
    run: int | None = None,
    *,
    symbol: str | None = None,
    agent: int | None = None,
    side: str | None = None,
    since: int | None = None,
    until: int | None = None,
    limit: int = DEFAULT_LIMIT,
    sort: str | None = None,
) -> Rows:
    """One listing of `trader db` (names: `listings.LISTINGS` and `runs`).

    since (inclusive) and until (exclusive) in ms UTC; limit 0: all rows; sort: a column, `-column` downwards.

    Raises:
        UserError: unknown listing, a filter it does not have, or an unknown column to sort by.
    """
    if limit < 0:
        raise UserError(f"--limit: 0 (all) or more, not {limit}")
    store = persistent(store)
    if name == "runs":
        return _runs(store, limit, sort)
    found = LISTINGS.get(name)
    if found is None:
        raise UserError(f"listing {name!r}: unknown; there are runs, {', '.join(LISTINGS)}")
    assert run is not None, "every listing but `runs` is of one run"
    view = all_views(store.database.dialect)[found.view]
    conditions = _conditions(name, found, symbol, agent, side, since, until)
    if name == "lineage" and agent is not None:
        conditions = [c for c in conditions if c.target != "agent"]
        family = ancestors(store, run, agent)
        conditions.append(Condition("agent", "IN", f"({', '.join(map(str, family))})"))
    text, values = build(view, run, conditions, sort=sort, limit=limit, newest_first=found.newest_first)
    with store.database.reading() as connection:
        return Rows(
            view.names, [row for batch in fetch(store.database, connection, view, text, values) for row in batch]
        )


def _conditions(
    name: str,
    found: Listing,
    symbol: str | None,
    agent: int | None,
    side: str | None,
    since: int | None,
    until: int | None,
) -> list[Condition]:
    """The filters as conditions.

    Raises:
        UserError: the listing does not have the filter, or the side is none.
    """
    result = []
    for option, value, has in (
        ("--symbol", symbol, found.symbol),
        ("--agent", agent, found.agent),
        ("--side", side, bool(found.sides)),
        ("--since", since, bool(found.time)),
        ("--until", until, bool(found.time)),
    ):
        if value is not None and not has:
            raise UserError(f"{option}: `db {name}` has no such filter")
    if symbol is not None:
        result.append(Condition("symbol", "=", symbol.partition(":")[0]))
    if agent is not None:
        result.append(Condition("agent", "=", int(agent)))
    if side is not None:
        if side not in found.sides:
            raise UserError(f"--side: {' or '.join(found.sides)} in `db {name}`, not {side!r}")
        result.append(Condition("side", "=", side))
    if since is not None:
        result.append(Condition(found.time, ">=", int(since)))
    if until is not None:
        result.append(Condition(found.time, "<", int(until)))
    return result


def ancestors(store: Store, run: int, agent: int) -> list[int]:
    """An agent and all it descends from, ascending.

    Raises:
        UserError: there is no such agent.
    """
    mark = store.database.mark
    text = (
        f"WITH RECURSIVE family(agent) AS (SELECT agent FROM birth WHERE run = {mark} AND agent = {mark}"  # noqa: S608
        " UNION SELECT p.agent FROM family f JOIN birth b ON b.agent = f.agent"
        " JOIN birth p ON p.run = b.run AND (p.agent = b.parent_a OR p.agent = b.parent_b)"
        f" WHERE b.run = {mark}) SELECT agent FROM family ORDER BY agent"
    )
    with store.database.reading() as connection:
        family = [int(row[0]) for row in connection.exec_driver_sql(text, (run, agent, run))]
    if not family:
        raise UserError(f"--agent: run {run} has no agent {agent}")
    return family


def _runs(store: Store, limit: int, sort: str | None) -> Rows:
    """The runs with their summaries, newest first."""
    found = [_run_values(row, store.url) for row in reversed(store.runs())]
    if sort is not None:
        name = sort.removeprefix("-")
        if name not in RUN_COLUMNS:
            raise UserError(f"--sort: no such column; there are {', '.join(RUN_COLUMNS)}")
        known = [row for row in found if row[name] is not None]
        known.sort(key=lambda row: _sort_key(name, row[name]), reverse=sort.startswith("-"))
        found = known + [row for row in found if row[name] is None]
    shown = found[:limit] if limit else found
    return Rows(RUN_COLUMNS, [tuple(row[name] for name in RUN_COLUMNS) for row in shown])


def _sort_key(name: str, value: Any) -> Any:
    return Decimal(value) if name.startswith("equity") else value


def _run_values(row: RunRow, url: str) -> dict[str, Any]:
    """Columns of `db runs`: what the session summed up, and the row itself, which is always current."""
    summary = json.loads(row.summary) if row.summary else {}
    values: dict[str, Any] = {name: summary.get(name) for name in RUN_COLUMNS}
    for name in ("run", "name", "parent_run", "status", "feed", "seed", "config_hash", "candles", "digest"):
        values[name] = getattr(row, name)
    values |= {"code_version": row.code_version, "platform": row.platform, "started_utc": row.started_utc, "db": url}
    return values | {"equity_start": decimal_text(row.equity_start), "equity_end": decimal_text(row.equity_end)}


def decimal_text(amount: int) -> str:
    """An amount in 1e-8 as exact decimal text (as `trader.core.money`, which a listing need not load)."""
    whole, part = divmod(abs(amount), 10**8)
    return f"{'-' if amount < 0 else ''}{whole}.{part:08d}"
