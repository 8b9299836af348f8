"""`trader data download`: history of an exchange into the candle store, with a progress bar, resumable."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from trader.cli import options
from trader.cli.output import write_json
from trader.core.errors import UserError

Symbols = Annotated[
    list[str], typer.Option("--symbol", metavar="BASE/QUOTE", help="Market; repeatable.", show_default=False)
]
Exchange = Annotated[str, typer.Option(metavar="ID", help="The exchange, as ccxt names it.")]
MarketType = Annotated[str, typer.Option("--market-type", metavar="TYPE", help="spot or swap (linear perpetuals).")]
Timeframe = Annotated[str, typer.Option(metavar="NAME", help="Length of the candles.")]
Since = Annotated[
    str,
    typer.Option(
        "--since", "--start", metavar="T", help="First candle (inclusive), ISO or ms, UTC.", show_default=False
    ),
]
Until = Annotated[
    str | None,
    typer.Option(
        "--until", "--end", metavar="T", help="End (exclusive), ISO or ms, UTC; default: the newest closed candle.",
        show_default=False,
    ),
]  # fmt: skip
Urls = Annotated[
    list[str] | None,
    typer.Option(
        "--url", metavar="PATH=ADDRESS", help="Replace a public address of the exchange, as in exchange.urls; repeatable.",
        show_default=False,
    ),
]  # fmt: skip
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="The candle store to write into.")]


def download(
    symbol: Symbols, since: Since, until: Until = None, exchange: Exchange = "binance", market_type: MarketType = "spot",
    timeframe: Timeframe = "1h", url: Urls = None, out: Out = Path("data/candles"), as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Download candles (of perpetuals also mark candles and funding); what the store has is not asked for again."""
    from trader.cli.logs import configure_logs
    from trader.core.config_values import as_symbol, as_web_address
    from trader.core.timeframes import milliseconds
    from trader.feeds.download import Wish, described
    from trader.feeds.download import download as fetch
    from trader.feeds.exchange_client import Access

    configure_logs(quiet=quiet)
    if market_type not in {"spot", "swap"}:
        raise UserError(f"--market-type: {market_type!r}: write spot or swap")
    milliseconds(timeframe)
    addresses = {}
    for text in url or ():
        path, equals, address = text.partition("=")
        if not equals:
            raise UserError(f"--url: {text!r}: write PATH=ADDRESS, as public=http://127.0.0.1:8080/api/v3")
        addresses[path] = str(_checked("--url", as_web_address, address))
    symbols = tuple(dict.fromkeys(str(_checked("--symbol", as_symbol, text)) for text in symbol))
    first = _moment("--since", since)
    end = None if until is None else _moment("--until", until)
    if end is not None and end <= first:
        raise UserError("--until: must lie after --since")
    wish = Wish(symbols, timeframe, first, end, out)
    with _progress(quiet=quiet) as tell:
        files = fetch(Access(exchange, market_type, addresses, {}, 10.0), wish, tell)
    if as_json:
        write_json({"files": [described(got, timeframe) for got in files]})
    elif not quiet:
        for got in files:
            typer.echo(
                f"{got.symbol} {got.kind}: {got.rows} new rows, {got.holes} holes, {got.bad_rows} bad rows -> {got.path}"
            )


def _checked(option: str, rule: Callable[[object], object], value: str) -> object:
    try:
        return rule(value)
    except ValueError as error:
        raise UserError(f"{option}: {error}") from None


def _moment(option: str, text: str) -> int:
    from trader.core.config_values import LARGEST_TIME_MS, as_time_ms

    moment = _checked(option, as_time_ms, text)
    if not isinstance(moment, int) or not 0 <= moment <= LARGEST_TIME_MS:
        raise UserError(f"{option}: {text!r} is no time between the years 1970 and 9999")
    return moment


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[str, str, int, int], None] | None]:
    """A bar on a terminal, nothing when quiet, else a line each tenth of a file."""
    if quiet:
        yield None
        return
    if not sys.stderr.isatty():
        yield _lines()
        return
    from rich.console import Console
    from rich.progress import Progress, TaskID

    with Progress(console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def tell(symbol: str, kind: str, done: int, total: int) -> None:
            label = f"{symbol} {kind}"
            if label not in tasks:
                tasks[label] = bar.add_task(label)
            bar.update(tasks[label], completed=done, total=total)

        yield tell


def _lines() -> Callable[[str, str, int, int], None]:
    told: dict[str, int] = {}

    def tell(symbol: str, kind: str, done: int, total: int) -> None:
        label, tenth = f"{symbol} {kind}", 10 * done // max(total, 1)
        if told.get(label) != tenth:
            told[label] = tenth
            typer.echo(f"{label}: {done} of {total}", err=True)

    return tell
