"""Where the trade database lies: the one rule for the command line and for Python."""

from __future__ import annotations

import os
from typing import Final

DEFAULT_DATABASE: Final = "sqlite:///data/runs/trader.db"
DATABASE_VARIABLE: Final = "TRADER_DB"


def database_url(option: str | None, configured: str | None = None) -> str:
    """URL of the trade database: `--db`, else the config's `store.url`, else $TRADER_DB, else the default file."""
    return option or configured or os.environ.get(DATABASE_VARIABLE) or DEFAULT_DATABASE
