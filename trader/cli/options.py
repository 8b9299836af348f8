"""Options and arguments that several commands share, spelled and explained once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

import typer

DEFAULT_DATABASE: Final = "sqlite:///data/runs/trader.db"
DATABASE_VARIABLE: Final = "TRADER_DB"

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


def database_url(option: str | None, configured: str | None = None) -> str:
    """URL of the trade database: `--db`, else the config's `store.url`, else $TRADER_DB, else the default file."""
    return option or configured or os.environ.get(DATABASE_VARIABLE) or DEFAULT_DATABASE
