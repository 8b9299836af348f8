"""v_run, v_candle, v_incident, v_trial: runs, their journal, what the surroundings did, what has been tried on the data."""

from __future__ import annotations

from trader.core.rows import Received
from trader.store.expressions import Dialect, Part, View, instrument_join


def run(d: Dialect) -> View:
    """One row a run."""
    columns = (
        d.integer("run", "r.run"),
        d.integer("parent_run", "r.parent_run"),
        d.text("name", "r.name"),
        d.text("status", "r.status"),
        d.text("feed", "r.feed"),
        d.integer("seed", "r.seed"),
        d.text("config_hash", "r.config_hash"),
        d.text("code_version", "r.code_version"),
        d.text("platform", "r.platform"),
        d.text("started_utc", "r.started_utc"),
        d.integer("candles", "r.candles"),
        d.amount("equity_start", "r.equity_start"),
        d.amount("equity_end", "r.equity_end"),
        d.text("digest", "r.digest"),
    )
    return View("v_run", (Part(columns, "run r", "", "r.run", "r.run"),))


def candle(d: Dialect) -> View:
    """The journal: every accepted candle with the values acted on."""
    columns = (
        d.integer("run", "c.run"),
        d.text("symbol", "i.symbol"),
        d.integer("ts", "c.ts"),
        d.number("open", "c.open"),
        d.number("high", "c.high"),
        d.number("low", "c.low"),
        d.number("close", "c.close"),
        d.number("volume", "c.volume"),
        d.code("received", "c.received", Received),
        d.integer("revised", "c.revised"),
    )
    return View("v_candle", (Part(columns, f"candle c {instrument_join('c')}", "", "c.run", "c.seq"),))


def incident(d: Dialect) -> View:
    """What the feed and the platform noticed."""
    columns = (
        d.integer("run", "n.run"),
        *d.time("time_ms", "n.time_ms"),
        d.text("kind", "n.kind"),
        d.text("symbol", "n.symbol"),
        d.text("detail", "n.detail"),
    )
    return View("v_incident", (Part(columns, "incident n", "", "n.run", "n.time_ms"),))


def trial(d: Dialect) -> View:
    """Every session that looked at data; `run` is NULL where it left no run."""
    columns = (
        d.integer("run", "t.run"),
        d.text("fingerprint", "t.fingerprint"),
        d.text("config_hash", "t.config_hash"),
        d.text("purpose", "t.purpose"),
        d.text("feed", "t.feed"),
        d.text("source", "t.source"),
        d.text("markets", "t.markets"),
        d.text("timeframes", "t.timeframes"),
        d.integer("step", "t.base_ms"),
        *d.time("first_ms", "t.first_ms"),
        *d.time("last_ms", "t.last_ms"),
        d.text("content", "t.content"),
        d.integer("seed", "t.seed"),
        d.number("sharpe", "t.sharpe"),
        d.integer("repeats", "t.repeats"),
        d.text("started_utc", "t.started_utc"),
    )
    return View("v_trial", (Part(columns, "trial t", "", "t.run", "t.fingerprint"),))
