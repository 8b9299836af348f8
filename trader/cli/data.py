"""`trader data`: any market data file into the candle store, what is there, and whether it keeps the rules."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from trader.cli import options
from trader.cli.download import download
from trader.cli.instruments import instruments
from trader.cli.output import write_json, write_rows

app = typer.Typer(rich_markup_mode=None, help="Bring market data into the candle store; list and check what is there.")
app.command()(download)

STORE = Path("data/candles")

Files = Annotated[
    list[Path],
    typer.Argument(metavar="FILE...", help="CSV, JSON, feather, Parquet; plain, gzip or zip.", show_default=False),
]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="The candle store to write into.")]
Symbols = Annotated[
    list[str] | None,
    typer.Option(
        "--symbol", metavar="BASE/QUOTE", help="The file's symbol; repeatable: those of a wide file.",
        show_default=False,
    ),
]  # fmt: skip
Timeframe = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Length of the candles; default: the step of the rows.", show_default=False),
]
Venue = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="The venue's folder, a ccxt id; default: what the file's name tells, else 'imported'.",
        show_default=False,
    ),
]  # fmt: skip
Zone = Annotated[
    str | None,
    typer.Option(
        "--tz", metavar="ZONE", help="Zone of dates that name none: UTC (default), EST, +02:00, America/New_York.",
        show_default=False,
    ),
]  # fmt: skip
Columns = Annotated[
    str | None,
    typer.Option(
        metavar="LIST", help="Columns by position, as ts,volume,open,high,low,close; '-' is ignored.",
        show_default=False,
    ),
]  # fmt: skip
VolumeColumn = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="The column of the volume in the base currency; 'none': the file has none.",
        show_default=False,
    ),
]  # fmt: skip
DateFormat = Annotated[
    str | None,
    typer.Option(metavar="FORM", help="strptime form of the dates, as '%d/%m/%Y %H:%M'.", show_default=False),
]
Quote = Annotated[
    str | None, typer.Option(metavar="CURRENCY", help="Quote currency of a wide file's symbols.", show_default=False)
]
Kind = Annotated[
    str | None,
    typer.Option(metavar="KIND", help="candles, mark or funding; default: what the file tells.", show_default=False),
]
Replace = Annotated[bool, typer.Option("--replace", help="Replace files of the store instead of joining with them.")]
Places = Annotated[
    list[Path] | None,
    typer.Argument(metavar="PATH", help="Files or folders; default: data/candles.", show_default=False),
]


@app.command(name="import")
def import_(
    files: Files, out: Out = STORE, symbol: Symbols = None, timeframe: Timeframe = None, venue: Venue = None,
    tz: Zone = None, columns: Columns = None, volume_column: VolumeColumn = None, date_format: DateFormat = None,
    quote: Quote = None, kind: Kind = None, replace: Replace = False, as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Bring data files of any form into the candle store, or refuse them and write nothing (see docs/importing.md)."""
    from trader.feeds.importers import Options, read_pieces
    from trader.feeds.importing.store import join, write

    order = None if columns is None else tuple(word.strip().lower() for word in columns.split(","))
    told = Options(tuple(symbol or ()), timeframe, venue, tz, order, volume_column, date_format, quote, kind)
    pieces = [piece for file in files for piece in read_pieces(file, told)]
    joined = join(pieces, out, fresh=replace)
    write(joined)
    if as_json:
        write_json({"files": [_as_object(piece, out, joined) for piece in pieces]})
    elif not quiet:
        for piece in pieces:
            _tell(piece, out)


def _as_object(piece: Any, out: Path, joined: dict[Path, Any]) -> dict[str, object]:
    path = out / piece.place
    times = piece.content.times
    return {
        "source": piece.source, "file": str(path), "venue": piece.venue, "symbol": piece.symbol, "kind": piece.kind,
        "timeframe": _timeframe(piece.length_ms), "rows": len(times), "first_ms": int(times[0]),
        "last_ms": int(times[-1]), "first_utc": _utc(times[0]), "last_utc": _utc(times[-1]), "holes": _holes(piece),
        "times": piece.times, "notes": list(piece.notes), "stored_rows": len(joined[path].content.times),
    }  # fmt: skip


def _tell(piece: Any, out: Path) -> None:
    times = piece.content.times
    what = " ".join(word for word in (piece.symbol, _timeframe(piece.length_ms), piece.kind) if word)
    typer.echo(
        f"{what}: {len(times)} rows, {_utc(times[0])} to {_utc(times[-1])} UTC, {_holes(piece)} holes, {piece.times}"
        f" -> {out / piece.place}"
    )
    for note in piece.notes:
        typer.echo(f"  {note}")


def _holes(piece: Any) -> int:
    import numpy as np

    return int((np.diff(piece.content.times) > piece.length_ms).sum()) if piece.length_ms else 0


def _timeframe(length_ms: int) -> str:
    from trader.core.timeframes import name

    return name(length_ms) if length_ms else ""


def _utc(moment_ms: int) -> str:
    moment = datetime.fromtimestamp(int(moment_ms) / 1000, UTC)
    return moment.strftime("%Y-%m-%d %H:%M")


@app.command()
def check(path: Places = None, as_json: options.Json = False, quiet: options.Quiet = False) -> None:
    """Look for holes, duplicates and bad rows in the candle store: exit 0, or 1 if there is a duplicate or bad row."""
    from trader.feeds.importing.inspection import inspect

    reports = inspect(tuple(path or (STORE,)))
    ok = all(report.ok for report in reports)
    columns = (
        "ok", "venue", "symbol", "timeframe", "kind", "rows", "first", "last", "holes", "missing", "duplicates", "bad_rows",
        "first_bad", "path",
    )  # fmt: skip
    if as_json:
        write_json({"ok": ok, "files": [_report(report) for report in reports]})
    elif not quiet:
        objects = [_report(report) for report in reports]
        write_rows(columns, [[_plain(one.get(column)) for column in columns] for one in objects], as_json=False)
    if not ok:
        raise typer.Exit(1)


app.command()(instruments)


def _plain(value: object) -> object:
    return {True: "ok", False: "BAD"}[value] if isinstance(value, bool) else value


def _report(report: Any) -> dict[str, object]:
    return {
        "path": str(report.path), "venue": report.venue, "symbol": report.symbol, "timeframe": report.timeframe,
        "kind": report.kind, "rows": report.rows, "first_ms": report.first_ms, "last_ms": report.last_ms,
        "first": _utc(report.first_ms) if report.rows else None, "last": _utc(report.last_ms) if report.rows else None,
        "holes": report.holes, "missing": report.missing, "duplicates": report.duplicates, "bad_rows": report.bad_rows,
        "first_bad": report.first_bad or None, "ok": report.ok,
    }  # fmt: skip


@app.command(name="list")
def list_(path: Places = None, as_json: options.Json = False, quiet: options.Quiet = False) -> None:
    """List what is in the candle store: venue, symbol, timeframe, rows and span."""
    from trader.feeds.importing.inspection import inspect

    columns = ("venue", "symbol", "timeframe", "kind", "rows", "first", "last", "holes", "missing", "path")
    rows = [[_report(report)[column] for column in columns] for report in inspect(tuple(path or (STORE,)))]
    if as_json or not quiet:
        write_rows(columns, rows, as_json=as_json)
