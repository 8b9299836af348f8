"""The registry of trials. The runs that are there already were looks at data too, so they are counted."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def _column(
    name: str, kind: type[sa.types.TypeEngine[Any]], *, key: bool = False, null: bool = False
) -> sa.Column[Any]:
    return sa.Column(name, kind(), primary_key=key, autoincrement=False, nullable=null)


def upgrade() -> None:
    """Make the table and put every run into it, each as its own data: what it read is not looked at again."""
    table = op.create_table(
        "trial",
        _column("fingerprint", sa.Text, key=True),
        _column("config_hash", sa.Text, key=True),
        _column("purpose", sa.Text, key=True),
        _column("run", sa.BigInteger, null=True),
        _column("feed", sa.Text),
        _column("source", sa.Text),
        _column("markets", sa.Text),
        _column("timeframes", sa.Text),
        _column("base_ms", sa.BigInteger),
        _column("first_ms", sa.BigInteger, null=True),
        _column("last_ms", sa.BigInteger, null=True),
        _column("content", sa.Text),
        _column("seed", sa.BigInteger),
        _column("sharpe", sa.Double, null=True),
        _column("repeats", sa.BigInteger),
        _column("started_utc", sa.Text),
        sqlite_with_rowid=False,
    )
    op.create_index("trial_by_run", "trial", ["run"])
    connection = op.get_bind()
    runs = connection.execute(sa.text("SELECT run, feed, seed, config, config_hash, base_ms, started_utc FROM run"))
    for run in runs.mappings().all():
        symbols = sa.text("SELECT symbol FROM instrument WHERE run = :run ORDER BY symbol")
        span = sa.text("SELECT MIN(time_ms) AS first_ms, MAX(time_ms) AS last_ms FROM equity WHERE run = :run")
        values = {name: run[name] for name in ("run", "feed", "seed", "config_hash", "base_ms", "started_utc")}
        values |= dict(connection.execute(span, {"run": run["run"]}).mappings().one())
        markets = [str(row[0]) for row in connection.execute(symbols, {"run": run["run"]})]
        feed = _feed_of(run["config"])
        made_up = f"made up from seed {run['seed']}: {json.dumps(feed.get('synthetic'), sort_keys=True)}"
        values |= {
            "fingerprint": f"run {run['run']}",
            "purpose": "run",
            "source": made_up if run["feed"] == "synthetic" else "history",
            "markets": json.dumps(markets),
            "timeframes": json.dumps(feed.get("timeframes", [])),
            "content": "",
            "repeats": 1,
        }
        connection.execute(table.insert().values(values))


def _feed_of(config: str) -> dict[str, Any]:
    """The table `feed` of a stored config; empty where there is none."""
    tree = json.loads(config)
    return dict(tree.get("feed", {})) if isinstance(tree, dict) else {}


def downgrade() -> None:
    """Is refused like every other step back."""
    raise RuntimeError("a trade database is never taken back to an older schema")
