"""The command tree. Importing it imports Typer and nothing heavier: each command imports what it needs when it runs."""

from __future__ import annotations

from typing import Annotated

import typer

import trader
from trader.cli import configs, data, db, doctor, evaluate, lab, report, runs

app = typer.Typer(
    help="Paper trading by a population that learns at several nested levels; everything it does is in SQL.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: a quarter of the time, and it can be piped
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(trader.__version__)
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take options that stand before a command."""


for command in (runs.run, runs.replay, runs.resume, runs.verify):
    app.command()(command)
app.command()(report.report)
app.command()(evaluate.evaluate)
app.command()(evaluate.ablate)
app.add_typer(db.app, name="db")
app.add_typer(data.app, name="data")
app.add_typer(configs.app, name="config")
app.add_typer(lab.app, name="lab")
app.command(name="doctor")(doctor.doctor)
