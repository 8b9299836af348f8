"""Options and arguments that several commands share, spelled and explained once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trader.session.places import database_url

__all__ = ["ConfigFile", "Database", "Json", "LatestRun", "Quiet", "Run", "Sets", "database_url"]

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="Config file (TOML).", show_default=False)]
Run = Annotated[str, typer.Argument(metavar="RUN", help="Number or name of a run, or 'latest'.", show_default=False)]
LatestRun = Annotated[str, typer.Argument(metavar="RUN", help="Number or name of a run, or 'latest'.")]
Database = Annotated[
    str | None,
    typer.Option(
        "--db", metavar="URL", help="Trade database; default: $TRADER_DB, else SQLite at data/runs/trader.db.",
        show_default=False,
    ),
]  # fmt: skip
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Replace a key of the config (dotted key, TOML value); repeatable.",
        show_default=False,
    ),
]  # fmt: skip
Json = Annotated[bool, typer.Option("--json", help="Exactly one JSON document on stdout; everything else on stderr.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress, no log lines, no end card.")]
