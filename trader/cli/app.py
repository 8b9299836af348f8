"""The command tree. Importing it imports Typer and nothing heavier: each command imports what it needs when it runs."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

from trader.cli import configs, db, doctor, runs

app = typer.Typer(
    help="Paper trading by a population that learns at several nested levels; everything it does is in SQL.",
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(program_version())
        raise typer.Exit


def program_version() -> str:
    """Version of the installed distribution; `unknown` where the code runs without being installed."""
    try:
        return version("nested-trader")
    except PackageNotFoundError:
        return "unknown"


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take options that stand before a command."""


for command in (runs.run, runs.replay, runs.resume, runs.verify):
    app.command()(command)
app.add_typer(db.app, name="db")
app.add_typer(configs.app, name="config")
app.command(name="doctor")(doctor.doctor)
