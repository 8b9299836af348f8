"""The base tables as SQLAlchemy Core tables, made from `trader.core.rows`, and the store's own tables beside them.

Every base table has the primary key (run, seq) and holds exact integers; floats are the journal's prices and measured
quantities, NULL where not finite. On SQLite the tables are WITHOUT ROWID: rows arrive in key order, so the one B-tree
grows at its right edge and a second one for the key is saved (2.1 against 2.7 microseconds a 28-column row).
The store's own tables: `run` (header, cursor, summary), `instrument`, `name` (codes to text), `position` (snapshot of
the open positions at the last commit), `record` (sums per agent), `incident`, `trial`. What the store adds is derived from the
rows and never in the digest.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Double, Index, Integer, MetaData, Table, Text

from trader.core import rows

metadata = MetaData()

KEY = BigInteger().with_variant(Integer(), "sqlite")
LINKED: Final = ("exit", "partial")
"""Tables whose rows get `entry_seq`, the `seq` of their trade's entry: joins go by primary key. An index by trade would
be written at a thousand places in every commit, one for each agent, and cost more than the rows themselves."""

LATER: Final = {("entry", "score"): "-1"}
"""Columns that came later, and what older rows have in them."""

_TYPES = {rows.INTEGER: BigInteger, rows.FLOAT: Double, rows.TEXT: Text}


def _base_table(spec: rows.TableSpec) -> Table:
    """A base table of `rows.TABLES` with `run` in front."""
    columns = [
        Column(
            column.name,
            _TYPES[column.kind](),
            primary_key=column.name == "seq",
            autoincrement=False,
            nullable=column.kind == rows.FLOAT,
            server_default=LATER.get((spec.name, column.name)),
        )
        for column in spec.columns
    ]
    linked = [Column("entry_seq", BigInteger(), nullable=False)] if spec.name in LINKED else []
    return Table(
        spec.name,
        metadata,
        Column("run", BigInteger(), primary_key=True, autoincrement=False, nullable=False),
        *columns,
        *linked,
        sqlite_with_rowid=False,
    )


BASE: Final[dict[str, Table]] = {name: _base_table(spec) for name, spec in rows.TABLES.items()}

RUN: Final = Table(
    "run",
    metadata,
    Column("run", KEY, primary_key=True),
    Column("parent_run", BigInteger()),
    Column("name", Text(), nullable=False),
    Column("status", Text(), nullable=False),
    Column("feed", Text(), nullable=False),
    Column("seed", BigInteger(), nullable=False),
    Column("config", Text(), nullable=False),
    Column("config_hash", Text(), nullable=False),
    Column("code_version", Text(), nullable=False),
    Column("platform", Text(), nullable=False),
    Column("started_utc", Text(), nullable=False),
    Column("base_ms", BigInteger(), nullable=False),
    Column("commits", BigInteger(), nullable=False),
    Column("cursor_frame", BigInteger()),
    Column("cursor_ms", BigInteger()),
    Column("candles", BigInteger(), nullable=False),
    Column("equity_start", BigInteger(), nullable=False),
    Column("equity_end", BigInteger(), nullable=False),
    Column("digest", Text()),
    Column("digests", Text()),
    Column("summary", Text()),
    sqlite_autoincrement=True,
)
"""One row a run. `commits` counts the writer's transactions: after a lost connection it tells whether one arrived."""

INSTRUMENT: Final = Table(
    "instrument",
    metadata,
    Column("run", BigInteger(), primary_key=True, autoincrement=False),
    Column("market", BigInteger(), primary_key=True, autoincrement=False),
    Column("symbol", Text(), nullable=False),
    Column("price_exponent", BigInteger(), nullable=False),
    Column("quantity_exponent", BigInteger(), nullable=False),
    Column("price_scale", BigInteger(), nullable=False),
    Column("quantity_scale", BigInteger(), nullable=False),
    Column("detail", Text(), nullable=False),
    sqlite_with_rowid=False,
)
"""The session's markets in its order; scales are 10^exponent; detail is the whole instrument as canonical JSON."""

NAME: Final = Table(
    "name",
    metadata,
    Column("run", BigInteger(), primary_key=True, autoincrement=False),
    Column("kind", Text(), primary_key=True),
    Column("code", BigInteger(), primary_key=True, autoincrement=False),
    Column("text", Text(), nullable=False),
    sqlite_with_rowid=False,
)
"""What the codes of a run mean: those of `trader.core.rows` and the session's own (archetype, rule, stage, niche)."""

POSITION_COLUMNS: Final = (
    "agent", "trade", "market", "side", "leverage", "qty", "entry_price", "mark", "stop", "take", "liquidation_price",
    "margin", "unrealised", "funded",
)  # fmt: skip
"""One open position, all int64, units as in `rows.ENTRY`; stop, take and liquidation_price 0 if there is none;
margin is what is left in the agent's margin account."""

POSITION: Final = Table(
    "position",
    metadata,
    Column("run", BigInteger(), primary_key=True, autoincrement=False),
    Column("agent", BigInteger(), primary_key=True, autoincrement=False),
    *(Column(name, BigInteger(), nullable=False) for name in POSITION_COLUMNS[1:]),
    sqlite_with_rowid=False,
)

RECORD: Final = Table(
    "record",
    metadata,
    Column("run", BigInteger(), primary_key=True, autoincrement=False),
    Column("agent", BigInteger(), primary_key=True, autoincrement=False),
    Column("trades", BigInteger(), nullable=False),
    Column("pnl", BigInteger(), nullable=False),
    sqlite_with_rowid=False,
)
"""Closed trades and their summed result per agent, kept up by the writer so that no listing adds up a million exits."""

INCIDENT: Final = Table(
    "incident",
    metadata,
    Column("run", BigInteger(), primary_key=True, autoincrement=False),
    Column("time_ms", BigInteger(), primary_key=True, autoincrement=False),
    Column("kind", Text(), primary_key=True),
    Column("symbol", Text(), primary_key=True),
    Column("detail", Text(), primary_key=True),
    sqlite_with_rowid=False,
)
"""Keyed by content, so that telling the same incident twice (a resume) leaves one row."""

TRIAL: Final = Table(
    "trial",
    metadata,
    Column("fingerprint", Text(), primary_key=True),
    Column("config_hash", Text(), primary_key=True),
    Column("purpose", Text(), primary_key=True),
    Column("run", BigInteger()),
    Column("feed", Text(), nullable=False),
    Column("source", Text(), nullable=False),
    Column("markets", Text(), nullable=False),
    Column("timeframes", Text(), nullable=False),
    Column("base_ms", BigInteger(), nullable=False),
    Column("first_ms", BigInteger()),
    Column("last_ms", BigInteger()),
    Column("content", Text(), nullable=False),
    Column("seed", BigInteger(), nullable=False),
    Column("sharpe", Double()),
    Column("repeats", BigInteger(), nullable=False),
    Column("started_utc", Text(), nullable=False),
    sqlite_with_rowid=False,
)
"""The registry of trials (`trader.store.trials`); of all runs together, in no digest, and kept when a run is deleted."""

Index("trial_by_run", TRIAL.c.run)
Index("candle_by_time", BASE["candle"].c.run, BASE["candle"].c.ts, BASE["candle"].c.market, unique=True)
_EXIT = BASE["exit"].c
_IN_PARTS = _EXIT.qty != _EXIT.trade_qty
Index("exit_in_parts", _EXIT.run, _EXIT.order_id, unique=True, sqlite_where=_IN_PARTS, postgresql_where=_IN_PARTS)
Index("partial_by_trade", BASE["partial"].c.run, BASE["partial"].c.trade)
Index("opinion_by_time", BASE["opinion"].c.run, BASE["opinion"].c.ts)
Index("visit_by_time", BASE["visit"].c.run, BASE["visit"].c.ts)
Index("birth_by_agent", BASE["birth"].c.run, BASE["birth"].c.agent, unique=True)
Index("death_by_agent", BASE["death"].c.run, BASE["death"].c.agent, unique=True)
Index("modification_by_agent", BASE["modification"].c.run, BASE["modification"].c.agent)
Index("fitness_by_agent", BASE["fitness"].c.run, BASE["fitness"].c.agent)
