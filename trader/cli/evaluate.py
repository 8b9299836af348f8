"""`trader evaluate`: does any of it work, and how do you know?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trader.cli import options
from trader.cli.output import write_json
from trader.cli.progress import progress_report
from trader.cli.runs import Data, End, Start

if TYPE_CHECKING:
    from collections.abc import Callable

    from trader.core.config import Config
    from trader.lab.sessions import Wishes

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
    from trader.lab.evaluate import evaluate as evaluated
    from trader.lab.evaluation_card import card

    tree = _config(config, data, start, end, sets)
    document = _followed(evaluated, tree, keep, options.database_url(db, tree.store.url), open_holdout, quiet=quiet)
    _tell(document, card, as_json=as_json)
    if not document["audit"]["ok"]:
        raise typer.Exit(1)


def ablate(
    config: options.ConfigFile, data: Data = None, start: Start = None, end: End = None, sets: options.Sets = None,
    keep: Folder = Path("data/evaluations"), db: options.Database = None, as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Tell what each level is worth and what it costs: the session without each of them, on the same candles and seeds."""
    from trader.lab.ablate import ablate as ablated
    from trader.lab.ablate import table

    tree = _config(config, data, start, end, sets)
    document = _followed(ablated, tree, keep, options.database_url(db, tree.store.url), quiet=quiet)
    _tell(document, table, as_json=as_json)


def _config(
    file: Path, data: list[Path] | None, start: str | None, end: str | None, sets: list[str] | None
) -> Config:  # fmt: skip
    from trader.core.config import load

    given: dict[str, object] = {"feed.start": start, "feed.end": end}
    if data:
        given |= {"feed.kind": "replay", "feed.data": [str(path) for path in data]}
    return load(file, list(sets or ()), {name: value for name, value in given.items() if value is not None})


def _followed(
    work: Callable[[Config, Wishes], dict[str, Any]], config: Config, keep: Path, url: str, open_holdout: bool = False,
    *, quiet: bool,
) -> dict[str, Any]:  # fmt: skip
    """Do it with progress and signals; Ctrl-C ends it with what is finished kept, exit code 0."""
    from trader.cli.logs import configure_logs
    from trader.cli.signals import stopping
    from trader.lab.sessions import Wishes
    from trader.lab.simulation import Stopped
    from trader.session.summary import StopFlag

    configure_logs(quiet=True)  # what single sessions have to tell is nobody's question here
    flag = StopFlag()
    try:
        with stopping(flag), progress_report(quiet=quiet) as report:
            return work(config, Wishes(url, keep, open_holdout, report, flag))
    except Stopped:
        typer.echo(f"stopped; finished sessions are in {keep}, and the same command goes on with them", err=True)
        raise typer.Exit(0) from None


def _tell(document: dict[str, Any], text: Callable[[dict[str, Any]], str], *, as_json: bool) -> None:
    if as_json:
        write_json(document)
    else:
        typer.echo(text(document), nl=False)
