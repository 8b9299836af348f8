"""${message}

Frozen once released: what it makes never changes.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    """${message}"""
    ${upgrades if upgrades else "raise NotImplementedError"}


def downgrade() -> None:
    """A trade database is never taken back to an older schema."""
    raise RuntimeError("a trade database is never taken back to an older schema")
