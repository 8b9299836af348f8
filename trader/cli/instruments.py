"""`trader data instruments`: a dated table of ticks, lots, minima, fees and leverage tiers, from files or an exchange."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trader.cli import options
from trader.cli.output import write_json

Sources = Annotated[
    list[Path] | None,
    typer.Option(
        "--from", metavar="FILE",
        help="What ccxt's load_markets or fetch_leverage_tiers returned, as JSON, or a CSV symbol table; repeatable, later "
        "files win. Without it the exchange is asked.",
        show_default=False,
    ),
]  # fmt: skip
Exchange = Annotated[str, typer.Option(metavar="ID", help="The exchange, ccxt's id.")]
Quote = Annotated[
    str | None, typer.Option(metavar="CURRENCY", help="Only symbols quoted in it.", show_default=False)
]  # fmt: skip
Symbols = Annotated[
    list[str] | None,
    typer.Option("--symbol", metavar="BASE/QUOTE", help="Only this symbol; repeatable.", show_default=False),
]
Least = Annotated[
    str | None,
    typer.Option(
        "--minimum-notional", metavar="AMOUNT", help="Of perpetuals of which no source tells one, in the quote currency.",
        show_default=False,
    ),
]  # fmt: skip
Date = Annotated[
    str | None,
    typer.Option(metavar="YYYY-MM-DD", help="The date the table carries; default: today, UTC.", show_default=False),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="Where it goes; default: data/instruments/ID.json.", show_default=False),
]


def instruments(
    sources: Sources = None, exchange: Exchange = "binance", quote: Quote = None, symbol: Symbols = None, date: Date = None,
    minimum_notional: Least = None, out: Out = None, as_json: options.Json = False, quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Write a table of instruments for exchange.instruments (see docs/exchange.md)."""
    from trader.core import wall
    from trader.core.types import UserError
    from trader.feeds.catalogue import canonical_symbol
    from trader.feeds.instrument_sources import ask, chosen, merged, read_source, with_least_notional
    from trader.feeds.instrument_table import as_text, number, valid_date

    told = valid_date(date, "--date") if date else wall.utc_text()[:10]
    tables = [read_source(path, exchange) for path in sources] if sources else [ask(exchange)]
    names = tuple(path.name for path in sources) if sources else (f"{exchange}, through ccxt",)
    symbols = tuple(canonical_symbol(one) for one in symbol or ())
    table = chosen(merged(tables, exchange, told, names), quote=quote, symbols=symbols)
    if minimum_notional is not None:
        least = number(minimum_notional, "--minimum-notional")
        if least < 0:
            raise UserError(f"--minimum-notional: {minimum_notional} must not be below 0")
        table = with_least_notional(table, least)
    if not table.spot and not table.swap:
        raise UserError(f"{', '.join(names)}: no symbol of {exchange} whose tick and lot are known is left")
    path = out or Path("data/instruments") / f"{exchange}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(as_text(table), "utf-8")
    except OSError as error:
        raise UserError(f"--out {path}: cannot be written: {error.strerror}") from error
    tiers = sum(bool(one.tiers) for one in table.swap.values())
    if as_json:
        write_json({
            "file": str(path), "exchange": exchange, "date": told, "spot": len(table.spot), "swap": len(table.swap),
            "with_tiers": tiers,
        })  # fmt: skip
    elif not quiet:
        typer.echo(
            f"{exchange}, {told}: {len(table.spot)} spot markets, {len(table.swap)} perpetuals ({tiers} with tiers) -> {path}"
        )
