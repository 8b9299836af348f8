"""`trader evaluate`: does any of it work, and how do you know?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trader.cli import options
from trader.cli.output import write_json
from trader.cli.progress import progress_report
from trader.cli.runs import Data, End, Start

OpenHoldout = Annotated[
    bool, typer.Option("--open-holdout", help="Judge the last part of the history too; every opening is counted.")
]
Folder = Annotated[
    Path,
    typer.Option(
        "--keep", metavar="DIR", help="Where finished sessions are kept: a killed evaluation goes on with them."
    ),
]


def evaluate(
    config: options.ConfigFile, data: Data = None, start: Start = None, end: End = None, sets: options.Sets = None,
    open_holdout: OpenHoldout = False, keep: Folder = Path("data/evaluations"), db: options.Database = None,
    as_json: options.Json = False, quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Judge a config out of sample over history, against rivals, twins and chance; every session counts as a trial.

    Exit code 1 if the session looked ahead.
    """
    from trader.cli.logs import configure_logs
    from trader.cli.signals import stopping
    from trader.core.config import load
    from trader.lab.evaluate import Wishes
    from trader.lab.evaluate import evaluate as evaluated
    from trader.lab.evaluation_card import card
    from trader.lab.simulation import Stopped
    from trader.session.summary import StopFlag

    given: dict[str, object] = {"feed.start": start, "feed.end": end}
    if data:
        given |= {"feed.kind": "replay", "feed.data": [str(path) for path in data]}
    tree = load(config, list(sets or ()), {name: value for name, value in given.items() if value is not None})
    configure_logs(quiet=True)
    flag = StopFlag()
    url = options.database_url(db, tree.store.url)
    try:
        with stopping(flag), progress_report(quiet=quiet) as report:
            document = evaluated(tree, Wishes(url, keep, open_holdout, report, flag))
    except Stopped:
        typer.echo(f"stopped; finished sessions are in {keep}, and the same command goes on with them", err=True)
        return
    if as_json:
        write_json(document)
    else:
        typer.echo(card(document), nl=False)
    if not document["audit"]["ok"]:
        raise typer.Exit(1)
