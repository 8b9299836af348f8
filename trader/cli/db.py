"""`trader db`: look into the trade database. Every listing is a view of the store with filters, sorting and a limit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from trader.cli import options
from trader.cli.output import write_json, write_rows
from trader.core.errors import UserError

if TYPE_CHECKING:
    from trader.store.store import AnyStore

app = typer.Typer(rich_markup_mode=None, help="Look into the trade database: listings, SQL, checks, export.")

LISTINGS: Final = {
    "trades": "Closed trades.",
    "positions": "Open positions.",
    "orders": "Orders, also those that were refused or found no liquidity.",
    "fills": "Fills.",
    "funnel": "What became of every decision, counted by stage.",
    "agents": "Agents, with genes and record.",
    "lineage": "Family tree: parents, operator and generation of every agent.",
    "fitness": "What natural selection measured and decided.",
    "ledger": "Transfers between the accounts of the pool.",
    "allocations": "Capital granted and recalled, each with its reason.",
    "levels": "Updates of every learning level.",
    "candles": "The journal: every candle the run acted on.",
    "funding": "Funding rates as the feed delivered them.",
    "equity": "The pool after every frame.",
    "incidents": "What went wrong around the run: holes, bad rows.",
}
"""Listings that take a RUN, with their help; `runs` stands beside them."""

Symbol = Annotated[str | None, typer.Option(metavar="BASE/QUOTE", help="Only this market.", show_default=False)]
Agent = Annotated[int | None, typer.Option(metavar="N", help="Only this agent.", show_default=False)]
Side = Annotated[
    str | None, typer.Option(metavar="SIDE", help="Only this side: long, short, buy or sell.", show_default=False)
]
Since = Annotated[
    str | None, typer.Option(metavar="T", help="From this time on (inclusive), ISO or ms, UTC.", show_default=False)
]
Until = Annotated[
    str | None, typer.Option(metavar="T", help="Up to this time (exclusive), ISO or ms, UTC.", show_default=False)
]
Limit = Annotated[int, typer.Option(metavar="N", min=0, help="At most so many rows; 0: all.")]
Sort = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="Sort by this column; '-COLUMN' downwards.", show_default=False)
]


@contextmanager
def _opened(db: str | None) -> Iterator[AnyStore]:
    """The trade database, open for reading."""
    from trader.store.store import open_store

    store = open_store(options.database_url(db), create=False, read_only=True)
    try:
        yield store
    finally:
        store.close()


@app.command()
def runs(
    limit: Limit = 100, sort: Sort = None, db: options.Database = None, as_json: options.Json = False,
    _quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Runs of the database with their summaries."""
    _list("runs", None, {"limit": limit, "sort": sort}, db, as_json=as_json)


def _listing(name: str, text: str) -> Callable[..., None]:
    """The command of one listing."""

    def command(
        run: options.LatestRun = "latest", symbol: Symbol = None, agent: Agent = None, side: Side = None,
        since: Since = None, until: Until = None, limit: Limit = 100, sort: Sort = None, db: options.Database = None,
        as_json: options.Json = False, _quiet: options.Quiet = False,
    ) -> None:  # fmt: skip
        filters: dict[str, Any] = {
            "symbol": symbol, "agent": agent, "side": side, "since": _time("--since", since),
            "until": _time("--until", until), "limit": limit, "sort": sort,
        }  # fmt: skip
        _list(name, run, filters, db, as_json=as_json)

    command.__doc__ = text
    return command


for _name, _text in LISTINGS.items():
    app.command(name=_name)(_listing(_name, _text))


def _time(option: str, text: str | None) -> int | None:
    from trader.core.config_values import as_time_ms

    try:
        moment = as_time_ms(text)
    except ValueError as error:
        raise UserError(f"{option}: {error}") from None
    assert moment is None or isinstance(moment, int)
    return moment


def _list(name: str, run: str | None, filters: dict[str, Any], db: str | None, *, as_json: bool) -> None:
    from trader.store import queries

    with _opened(db) as store:
        number = None if run is None else store.resolve(run).run
        columns, rows = queries.listing(store, name, number, **filters)
        write_rows(columns, rows, as_json=as_json)


Query = Annotated[
    str, typer.Argument(metavar="SELECT", help="One read-only statement over the views.", show_default=False)
]
RowCap = Annotated[int, typer.Option("--limit", metavar="N", min=1, help="At most so many rows.")]


@app.command()
def sql(
    query: Query, limit: RowCap = 10_000, db: options.Database = None, as_json: options.Json = False,
    _quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Run a read-only SELECT over the views (v_trade, v_order, v_fill, ... see docs/sql.md)."""
    from trader.store import queries

    with _opened(db) as store:
        columns, rows = queries.sql(store, query, limit=limit)
        write_rows(columns, rows, as_json=as_json)


@app.command()
def check(
    run: options.LatestRun = "latest", db: options.Database = None, as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Recompute conservation and references from the rows alone: exit 0 if all hold, else 1."""
    from trader.store.check import check as check_run

    with _opened(db) as store:
        results = check_run(store, store.resolve(run).run)
    ok = all(result.ok for result in results)
    if as_json:
        write_json({"ok": ok, "checks": [{"name": r.name, "ok": r.ok, "detail": r.detail} for r in results]})
    elif not quiet:
        for result in results:
            typer.echo(f"{'ok  ' if result.ok else 'FAIL'}  {result.name:<28}{result.detail}")
    if not ok:
        raise typer.Exit(1)


@app.command()
def export(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write into.", show_default=False)],
    run: options.LatestRun = "latest",
    form: Annotated[str, typer.Option("--format", metavar="FORMAT", help="csv or parquet.")] = "csv",
    db: options.Database = None, as_json: options.Json = False, quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Write every view of a run as files, beside the database, never instead of it."""
    from trader.store import queries

    if form not in ("csv", "parquet"):
        raise UserError(f"--format: csv or parquet, not {form!r}")
    with _opened(db) as store:
        files = queries.export(store, store.resolve(run).run, out, form)
    if as_json:
        write_json({"files": [str(file) for file in files]})
    elif not quiet:
        typer.echo(f"{len(files)} files in {out}")


@app.command()
def migrate(db: options.Database = None, as_json: options.Json = False, quiet: options.Quiet = False) -> None:
    """Bring the database to this version's schema (made anew if there is none)."""
    from trader.store.schema import HEAD
    from trader.store.store import open_store

    store = open_store(options.database_url(db), create=True)
    store.close()
    if as_json:
        write_json({"db": store.url, "revision": HEAD})
    elif not quiet:
        typer.echo(f"{store.url}: schema {HEAD}")
