"""`trader report`: what a run was worth, as a card for people or as one JSON document."""

from __future__ import annotations

from typing import Annotated

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


def report(
    run: options.LatestRun = "latest", paths: Paths = True, db: options.Database = None, as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Tell what a run was worth: figures with intervals, against cash, buy and hold and control agents."""
    from trader.cli.logs import configure_logs
    from trader.session.reporting import report_run

    configure_logs(quiet=True)  # the re-runs of the journal have nothing to tell

    def tell(line: str) -> None:
        if not quiet:
            typer.echo(line, err=True)

    found = report_run(run, url=options.database_url(db), paths=paths, tell=tell)
    if as_json:
        write_json(found.as_dict())
    else:
        typer.echo(str(found), nl=False)
