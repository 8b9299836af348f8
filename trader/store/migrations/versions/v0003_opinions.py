"""The table of what a file of signals says (`feed.signals`)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table and its index by time."""
    op.create_table(
        "opinion",
        *(
            sa.Column(name, sa.BigInteger(), primary_key=name in ("run", "seq"), autoincrement=False, nullable=False)
            for name in ("run", "seq", "market", "ts")
        ),
        sa.Column("value", sa.Double(), nullable=True),
        sqlite_with_rowid=False,
    )
    op.create_index("opinion_by_time", "opinion", ["run", "ts"])


def downgrade() -> None:
    """Is refused like every other step back."""
    raise RuntimeError("a trade database is never taken back to an older schema")
