"""The first schema. Frozen: what it makes never changes, later migrations start from it.

Columns as words: `*` primary key, `:text` and `:float` (else a 64-bit integer), `?` may be NULL.
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES: Final[dict[str, str]] = {
    "allocation": "*run *seq time_ms epoch agent before weight amount score:float? risk:float? rule limited_by",
    "birth": (
        "*run *seq time_ms agent parent_a parent_b operator archetype market timeframe generation frozen genes:text"
    ),
    "candle": (
        "*run *seq frame market ts open:float? high:float? low:float? close:float? volume:float? received revised phase"
    ),
    "death": "*run *seq time_ms agent cause generation fitness:float? trades pnl",
    "entry": (
        "*run *seq time_ms market agent trade order_id fill side archetype timeframe leverage requested_qty "
        "qty price fee margin decided_ms confidence regime stop take limited_by slippage maker funded phase"
    ),
    "equity": "*run *seq frame time_ms cash reserved unrealised equity peak",
    "exit": (
        "*run *seq time_ms market agent trade order_id fill kind decided_ms requested_qty qty price fee gross "
        "limited_by insurance liquidation_fee trade_qty trade_value trade_gross trade_fees trade_funding "
        "trade_pnl margin slippage lowest highest funded entry_seq"
    ),
    "fitness": "*run *seq time_ms agent generation raw:float? shrunk:float? standard_error:float? niche rank fate",
    "funding": "*run *seq time_ms market agent trade amount qty mark rate:float? funded",
    "funnel": "*run *seq market archetype stage count",
    "incident": "*run *time_ms *kind:text *symbol:text *detail:text",
    "instrument": ("*run *market symbol:text price_exponent quantity_exponent price_scale quantity_scale detail:text"),
    "level": "*run *seq time_ms level:text step objective_before:float? objective_after:float? kept detail:text",
    "name": "*run *kind:text *code text:text",
    "partial": (
        "*run *seq time_ms market agent trade order_id fill kind decided_ms requested_qty qty price fee gross "
        "limited_by funded entry_seq"
    ),
    "policy": "*run *seq time_ms birth policy optimizer action value:float? reward:float? agent",
    "position": (
        "*run *agent trade market side leverage qty entry_price mark stop take liquidation_price margin "
        "unrealised funded"
    ),
    "record": "*run *agent trades pnl",
    "reject": "*run *seq time_ms market agent order_id side decided_ms requested_qty reason sent funded",
    "run": (
        "*run parent_run? name:text status:text feed:text seed config:text config_hash:text code_version:text "
        "platform:text started_utc:text base_ms commits cursor_frame? cursor_ms? candles equity_start "
        "equity_end digest:text? digests:text? summary:text?"
    ),
    "stamp": "*run *seq market ts rate:float? mark:float?",
    "visit": "*run *seq ts market visit extreme tied price:float?",
    "transfer": "*run *seq time_ms debit credit amount code agent trade",
}

INDEXES: Final = (
    ("candle_by_time", "candle", "run ts market", True),
    ("partial_by_trade", "partial", "run trade", False),
    ("visit_by_time", "visit", "run ts", False),
    ("birth_by_agent", "birth", "run agent", True),
    ("death_by_agent", "death", "run agent", True),
    ("fitness_by_agent", "fitness", "run agent", False),
)


def _column(word: str, table: str) -> sa.Column[Any]:
    name, _, kind = word.strip("*?").partition(":")
    types: dict[str, sa.types.TypeEngine[Any]] = {"text": sa.Text(), "float": sa.Double(), "": sa.BigInteger()}
    if table == "run" and name == "run":
        return sa.Column(name, sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True)
    key = word.startswith("*")
    return sa.Column(name, types[kind], primary_key=key, autoincrement=False, nullable=word.endswith("?") and not key)


def upgrade() -> None:
    """Make every table and index."""
    for table, words in TABLES.items():
        columns = [_column(word, table) for word in words.split()]
        op.create_table(table, *columns, sqlite_with_rowid=table == "run", sqlite_autoincrement=table == "run")
    for name, table, columns_of, unique in INDEXES:
        op.create_index(name, table, columns_of.split(), unique=unique)
    in_parts = sa.text("qty != trade_qty")
    op.create_index(
        "exit_in_parts", "exit", ["run", "order_id"], unique=True, sqlite_where=in_parts, postgresql_where=in_parts
    )


def downgrade() -> None:
    """There is nothing below the first schema."""
    raise RuntimeError("a trade database is never taken back to an older schema")
