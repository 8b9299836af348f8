"""`trader report`: what a run was worth, as a card for people or as one JSON document."""

from __future__ import annotations

from typing import Annotated

import typer

from trader.cli import options
from trader.cli.output import write_json

Fast = Annotated[
    bool,
    typer.Option("--fast", help="Leave out the rules for the way inside a candle: each replays the run's journal."),
]


def report(
    run: options.LatestRun = "latest", db: options.Database = None, as_json: options.Json = False,
    fast: Fast = False, _quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Tell what a run was worth: figures with intervals, against cash, buy and hold and control agents."""
    from trader.session.reporting import report_run

    found = report_run(run, url=options.database_url(db), paths=not fast)
    if as_json:
        write_json(found.as_dict())
    else:
        typer.echo(str(found), nl=False)
