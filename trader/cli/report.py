"""`trader report`: what a run was worth, as a card for people or as one JSON document."""

from __future__ import annotations

import typer

from trader.cli import options
from trader.cli.output import write_json


def report(
    run: options.LatestRun = "latest", db: options.Database = None, as_json: options.Json = False,
    _quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Tell what a run was worth: figures with intervals, against cash, buy and hold and control agents."""
    from trader.session.reporting import report_run

    found = report_run(run, url=options.database_url(db))
    if as_json:
        write_json(found.as_dict())
    else:
        typer.echo(str(found), nl=False)
