"""Changes of genes that were tried, bandits' tickets, and the score beside the confidence it was told as."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLES: Final[dict[str, str]] = {
    "modification": (
        "*run *seq time_ms agent trigger gene before:float? after:float? confidence_before:float? "
        "confidence_after:float? expected:float? realised:float? kept adopted_ms trial"
    ),
    "bandit": (
        "*run *seq time_ms timeframe regime parameter arm:float? propensity:float? ticket agent trade reward:float? "
        "mean:float? effective_n:float? decided_ms"
    ),
}


def _column(word: str) -> sa.Column[Any]:
    name, _, kind = word.strip("*?").partition(":")
    types: dict[str, sa.types.TypeEngine[Any]] = {"text": sa.Text(), "float": sa.Double(), "": sa.BigInteger()}
    key = word.startswith("*")
    return sa.Column(name, types[kind], primary_key=key, autoincrement=False, nullable=word.endswith("?") and not key)


def upgrade() -> None:
    """Make both tables; of entries that are there already the score is not known (-1)."""
    for table, words in TABLES.items():
        op.create_table(table, *(_column(word) for word in words.split()), sqlite_with_rowid=False)
    op.create_index("modification_by_agent", "modification", ["run", "agent"])
    op.add_column("entry", sa.Column("score", sa.BigInteger(), nullable=False, server_default="-1"))


def downgrade() -> None:
    """An older version cannot read what this one writes."""
    raise RuntimeError("a trade database is never taken back to an older schema")
