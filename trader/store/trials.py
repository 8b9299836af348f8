"""The registry of trials: every session that looked at data, so that the best of many is judged as the best of many.

A trial is keyed by its data (the fingerprint: markets, timeframes, span and the hash of the candles' content), its config
and its purpose; doing exactly the same again teaches nothing new and only raises `repeats`. A run is entered when its row
is made, under the fingerprint `run N`, and gets the true one when it ends; killed in between it still counts. The
registry is no part of a run: it is in no digest, and deleting a run does not make its look at the data undone.

Purposes: `run` (run, replay and their resumption), `evaluate` (a session of an evaluation), `control` (a twin, other
costs or another path in an evaluation), `holdout` (an opening of a hold-out).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, RowMapping, select

from trader.store.database import SQLITE
from trader.store.tables import BASE, TRIAL

if TYPE_CHECKING:
    from trader.store.records import RunHeader
    from trader.store.store import Store

RUN, EVALUATE, CONTROL, HOLDOUT = "run", "evaluate", "control", "holdout"
PURPOSES: Final = (RUN, EVALUATE, CONTROL, HOLDOUT)
HISTORY: Final = "history"
"""Source of candles that were traded somewhere: the same hour of a market is the same data, whatever the file."""


@dataclass(frozen=True, slots=True)
class Data:
    """What a session looks at. span: open times of the first and the last traded frame, ms; content: hash of the candles."""

    feed: str
    source: str
    markets: tuple[str, ...]
    timeframes: tuple[str, ...]
    base_ms: int
    span: tuple[int, int]
    content: str

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of all of it."""
        return fingerprint(self.source, self.markets, self.timeframes, self.base_ms, self.span, self.content)


def fingerprint(
    source: str, markets: Sequence[str], timeframes: Sequence[str], base_ms: int, span: tuple[int, int], content: str
) -> str:
    """SHA-256 (hex) of what identifies data."""
    parts = [source, sorted(markets), list(timeframes), base_ms, list(span), content]
    return hashlib.sha256(json.dumps(parts, separators=(",", ":")).encode()).hexdigest()


def source_of(feed: str, seed: int, settings: Mapping[str, Any]) -> str:
    """Where candles come from: history, or one made-up market. settings: the config's table `feed`."""
    if feed != "synthetic":
        return HISTORY
    return f"made up from seed {seed}: {json.dumps(settings.get('synthetic'), sort_keys=True)}"


def begin(connection: Connection, run: int, header: RunHeader) -> None:
    """Enter a run that begins, in the transaction that makes its row."""
    tree = json.loads(header.config)
    feed = tree.get("feed", {}) if isinstance(tree, dict) else {}
    values = {
        "fingerprint": _provisional(run),
        "config_hash": header.config_hash,
        "purpose": RUN,
        "run": run,
        "feed": header.feed,
        "source": source_of(header.feed, header.seed, feed),
        "markets": json.dumps(sorted(item.symbol for item in header.instruments)),
        "timeframes": json.dumps(feed.get("timeframes", [])),
        "base_ms": header.base_ms,
        "first_ms": None,
        "last_ms": None,
        "content": "",
        "seed": header.seed,
        "sharpe": None,
        "repeats": 1,
        "started_utc": header.started_utc,
    }
    connection.execute(TRIAL.insert().values(values))


def settle(connection: Connection, run: int, content: str) -> None:
    """Give a run that ends (or stops) its fingerprint. content: digest of its candles."""
    found = connection.execute(TRIAL.select().where(TRIAL.c.run == run)).mappings().first()
    equity = BASE["equity"].c
    first, last = (
        connection.execute(select(equity.time_ms).where(equity.run == run).order_by(order).limit(1)).scalar()
        for order in (equity.seq, equity.seq.desc())
    )
    if found is None or first is None or last is None:
        return
    values = {**found, "first_ms": first, "last_ms": last, "content": content, "repeats": 1}
    values["fingerprint"] = fingerprint(
        found["source"],
        json.loads(found["markets"]),
        json.loads(found["timeframes"]),
        found["base_ms"],
        (first, last),
        content,
    )
    if found["repeats"] == 1:  # its own row so far: provisional, or that of the shorter run it was when it stopped
        connection.execute(TRIAL.delete().where(TRIAL.c.run == run))
    _enter(connection, values)


def register(
    store: Store,
    data: Data,
    *,
    config_hash: str,
    purpose: str,
    seed: int,
    started_utc: str,
    sharpe: float | None = None,
) -> None:
    """Enter a session that leaves no run. sharpe: its ratio of a step, not annual, if it is known."""
    assert purpose in PURPOSES, f"unknown purpose {purpose}"
    values = {
        "fingerprint": data.fingerprint,
        "config_hash": config_hash,
        "purpose": purpose,
        "run": None,
        "feed": data.feed,
        "source": data.source,
        "markets": json.dumps(sorted(data.markets)),
        "timeframes": json.dumps(list(data.timeframes)),
        "base_ms": data.base_ms,
        "first_ms": data.span[0],
        "last_ms": data.span[1],
        "content": data.content,
        "seed": seed,
        "sharpe": sharpe,
        "repeats": 1,
        "started_utc": started_utc,
    }
    with store.database.transaction() as connection:
        _enter(connection, values)


def _enter(connection: Connection, values: dict[str, Any]) -> None:
    """Insert a trial, or count its repetition; the first run that was this trial keeps its name on it."""
    if connection.dialect.name == SQLITE:
        from sqlalchemy.dialects.sqlite import insert
    else:
        from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment]
    statement = insert(TRIAL).values(values)
    statement = statement.on_conflict_do_update(
        index_elements=["fingerprint", "config_hash", "purpose"], set_={"repeats": TRIAL.c.repeats + 1}
    )
    connection.execute(statement)


@dataclass(frozen=True, slots=True)
class Trials:
    """Trials on one stretch of data: how many different configs, their known Sharpe ratios of a step, and how often a
    hold-out of it was opened."""

    count: int
    sharpes: tuple[float, ...]
    holdouts: int


def on_same_data(store: Store, source: str, markets: Sequence[str], span: tuple[int, int]) -> Trials:
    """Every trial with the source and a market in common and an overlap in time; one that was killed before it told its
    span counts as well."""
    query = TRIAL.select().where(TRIAL.c.source == source).order_by(TRIAL.c.fingerprint, TRIAL.c.config_hash)
    with store.database.reading() as connection:
        rows = connection.execute(query).mappings().all()
    wanted = set(markets)
    alike = [row for row in rows if wanted & set(json.loads(row["markets"])) and _overlaps(row, span)]
    looks = [row for row in alike if row["purpose"] != HOLDOUT]
    sharpes = [float(row["sharpe"]) for row in looks if row["purpose"] == EVALUATE and row["sharpe"] is not None]
    return Trials(
        len({row["config_hash"] for row in looks}),
        tuple(sharpes),
        sum(row["repeats"] for row in alike if row["purpose"] == HOLDOUT),
    )


def _overlaps(row: RowMapping, span: tuple[int, int]) -> bool:
    return row["first_ms"] is None or (row["first_ms"] <= span[1] and span[0] <= row["last_ms"])


def _provisional(run: int) -> str:
    return f"run {run}"
