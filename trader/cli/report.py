"""`trader report`: what a run was worth, as a card for people or as one JSON document."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from trader.cli import options
from trader.cli.output import write_json

Paths = Annotated[
    bool,
    typer.Option(
        "--paths/--no-paths",
        help="Re-run the journal under every rule for the way inside a candle: how much of the result hangs on it.",
    ),
]
Placebos = Annotated[
    int,
    typer.Option(
        metavar="K", min=0, help="Repeat the whole session on K histories with its volatility and without its order."
    ),
]


def report(
    run: options.LatestRun = "latest", paths: Paths = True, placebos: Placebos = 0, db: options.Database = None,
    as_json: options.Json = False, quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Tell what a run was worth: figures with intervals, against cash, buy and hold and control agents."""
    from trader.cli.logs import configure_logs
    from trader.session.reporting import report_run

    configure_logs(quiet=True)  # the re-runs of the journal have nothing to tell

    def tell(line: str) -> None:
        if not quiet:
            typer.echo(line, err=True)

    url = options.database_url(db)
    found = report_run(run, url=url, paths=paths, tell=tell)
    if placebos:
        found.document["placebos"] = _placebos(run, placebos, url, quiet=quiet)
    if as_json:
        write_json(found.as_dict())
    else:
        typer.echo(str(found), nl=False)


def _placebos(run: str, count: int, url: str, *, quiet: bool) -> dict[str, Any]:
    """What the laboratory says; Ctrl-C ends it with nothing told."""
    from trader.cli.progress import progress_report
    from trader.cli.signals import stopping
    from trader.lab.placebos import placebos
    from trader.lab.simulation import Stopped
    from trader.session.summary import StopFlag

    flag = StopFlag()
    try:
        with stopping(flag), progress_report(quiet=quiet) as progress:
            return placebos(run, count, url=url, progress=progress, stop=flag)
    except Stopped:
        typer.echo("stopped: placebos are told only when all of them are done", err=True)
        raise typer.Exit(0) from None
