"""The platform from Python: run, replay, open a run of the database, and look at it as pandas data frames.

    from trader import replay, open_run
    r = replay("configs/perp-replay.toml", data="candles/", set={"population.size": 300})
    r = open_run("latest")
    r.trades.groupby("archetype").pnl.sum()
    print(r.report())

Everything goes through the same functions as the commands, so the same config, seed and candles give the same rows.
Mistakes in what is given are `UserError`s with the line that the command line prints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from trader.core.config import Config, load
from trader.core.config_file import parse_set
from trader.core.config_values import as_time_ms
from trader.core.errors import UserError
from trader.session.places import database_url
from trader.store.store import open_store, persistent

if TYPE_CHECKING:
    import pandas as pd

    from trader.report.result import Report
    from trader.store.records import RunRow

Source = str | Path | Config
Sets = Mapping[str, object] | Sequence[str]
Moment = str | int | date
"""ISO text, ms UTC, or a date, datetime or pandas Timestamp (without a zone: UTC)."""


def run(config: Source, *, set: Sets = (), db: str | None = None) -> Run:  # noqa: A002 - the command's --set
    """Run a session to its end, as `trader run`.

    Args:
        config: a TOML file, or a `Config` (`trader.core.config.load`).
        set: keys to replace: a mapping of dotted key to value, or texts as after `--set`.
        db: database URL or path; default: the config's `store.url`, else $TRADER_DB, else data/runs/trader.db.

    Raises:
        UserError: config, data or database that cannot be used; nothing was written.
        SurroundingsError: disk or database failed after retries; everything committed is safe.
    """
    return _run(config, set, {}, db)


def replay(
    config: Source,
    *,
    data: str | Path | Sequence[str | Path] = (),
    start: Moment | None = None,
    end: Moment | None = None,
    set: Sets = (),  # noqa: A002 - the command's --set
    db: str | None = None,
) -> Run:
    """Run the same session over history, as `trader replay`.

    Args:
        config: a TOML file, or a `Config`.
        data: a file or folder of candles, or several; default: the config's `feed.data`.
        start: first candle (inclusive).
        end: end (exclusive).
        set: keys to replace, as in `run`.
        db: database URL or path, as in `run`.

    Raises:
        UserError: config, data or database that cannot be used; nothing was written.
        SurroundingsError: disk or database failed after retries; everything committed is safe.
    """
    paths = [data] if isinstance(data, str | Path) else list(data)
    given: dict[str, object] = {"feed.kind": "replay"}
    if paths:
        given["feed.data"] = [str(path) for path in paths]
    span = {"feed.start": start, "feed.end": end}
    given |= {name: moment for name, moment in span.items() if moment is not None}
    return _run(config, set, given, db)


def open_run(run: str | int = "latest", *, db: str | None = None) -> Run:
    """A run of the database by number, name, or `latest`.

    Raises:
        UserError: no such database or run.
    """
    url = database_url(db)
    with open_store(url, create=False, read_only=True) as store:
        return Run(url, persistent(store).resolve(run).run)


def _run(source: Source, sets: Sets, given: Mapping[str, object], db: str | None) -> Run:
    from trader.session.api import run_session

    config = _config(source, sets, given)
    url = database_url(db, config.store.url)
    if url == "memory":
        raise UserError('db "memory": keeps nothing that a Run could show; name a file')
    summary = run_session(config, url=url, data=config.feed.data)
    return Run(url, int(summary.as_dict()["run"]))


def _config(source: Source, sets: Sets, given: Mapping[str, object]) -> Config:
    """The config with `sets` and then `given` put over it."""
    changes: dict[str, object] = {}
    if isinstance(source, Config):
        changes |= dict(_leaves(source, ""))
    if isinstance(sets, Mapping):
        changes |= sets
    else:
        if isinstance(sets, str):
            raise UserError("set: a mapping, or a list of texts dotted.key=value, not one text")
        changes |= {".".join(key): value for key, value in map(parse_set, sets)}
    return load(None if isinstance(source, Config) else source, (), {**changes, **given})


def _leaves(section: BaseModel, above: str) -> Sequence[tuple[str, object]]:
    """Dotted keys and values of a config, without those that are not set."""
    found: list[tuple[str, object]] = []
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            found += _leaves(value, f"{above}{name}.")
        elif value is not None:
            found.append((f"{above}{name}", value))
    return found


class Run:
    """A run of the database. Data frames have the columns of the views (docs/sql.md) and a UTC index.

    A frame is read when it is first asked for and kept; `refresh()` forgets what was read, for a run that goes on.
    """

    def __init__(self, url: str, number: int) -> None:
        self._url = url
        self._number = number
        self._frames: dict[str, pd.DataFrame] = {}

    @property
    def id(self) -> int:
        """The run's number."""
        return self._number

    @property
    def db(self) -> str:
        """Where its database lies."""
        return self._url

    @property
    def summary(self) -> dict[str, Any]:
        """The run summary, as `--json` of `trader run`; amounts are decimal text."""
        from trader.session.reporting import run_summary

        with open_store(self._url, create=False, read_only=True) as store:
            kept = persistent(store)
            return run_summary(kept, kept.resolve(self._number))

    @property
    def config(self) -> Config:
        """The config it ran with."""
        from trader.core.config import from_json

        return from_json(self._row().config)

    def frame(self, name: str) -> pd.DataFrame:
        """A listing of `trader db` as a data frame: trades, orders, ..., whole and in order of time.

        Raises:
            UserError: there is no such listing.
        """
        if name not in self._frames:
            from trader.session.frames import NAMES, frame

            if name not in NAMES:
                raise UserError(f"frame {name!r}: there are {', '.join(NAMES)}")
            with open_store(self._url, create=False, read_only=True) as store:
                kept = persistent(store)
                self._frames[name] = frame(kept, kept.resolve(self._number), name)
        return self._frames[name]

    def refresh(self) -> Run:
        """Forget the frames that were read."""
        self._frames.clear()
        return self

    @property
    def trades(self) -> pd.DataFrame:
        """Closed trades (v_trade), by exit."""
        return self.frame("trades")

    @property
    def equity(self) -> pd.DataFrame:
        """The pool after every frame (v_equity), by time."""
        return self.frame("equity")

    @property
    def agents(self) -> pd.DataFrame:
        """Agents, living and dead (v_agent), by birth."""
        return self.frame("agents")

    @property
    def orders(self) -> pd.DataFrame:
        """Orders, refused ones too (v_order), by decision."""
        return self.frame("orders")

    @property
    def fills(self) -> pd.DataFrame:
        """Fills (v_fill), by time."""
        return self.frame("fills")

    @property
    def positions(self) -> pd.DataFrame:
        """Open positions (v_position), as of the last commit."""
        return self.frame("positions")

    @property
    def candles(self) -> pd.DataFrame:
        """The journal (v_candle), by open time."""
        return self.frame("candles")

    @property
    def funding(self) -> pd.DataFrame:
        """Funding stamps (v_funding), by time."""
        return self.frame("funding")

    @property
    def fitness(self) -> pd.DataFrame:
        """Judgements of natural selection (v_fitness), by the generation's time."""
        return self.frame("fitness")

    @property
    def levels(self) -> pd.DataFrame:
        """Updates of the learning levels (v_level), by time."""
        return self.frame("levels")

    @property
    def ledger(self) -> pd.DataFrame:
        """Transfers between accounts (v_transfer), by time."""
        return self.frame("ledger")

    @property
    def allocations(self) -> pd.DataFrame:
        """Grants and recalls (v_allocation), by time."""
        return self.frame("allocations")

    @property
    def funnel(self) -> pd.DataFrame:
        """What became of every decision (v_funnel), as of the end."""
        return self.frame("funnel")

    @property
    def incidents(self) -> pd.DataFrame:
        """What the feed and the platform noticed (v_incident), by time."""
        return self.frame("incidents")

    def report(self) -> Report:
        """The report (docs/report.md): `print` it, or take figures out of it.

        Raises:
            UserError: nothing was committed yet.
        """
        from trader.session.reporting import report_run

        return report_run(self._number, url=self._url)

    def why(self, agent: int, at: Moment | None = None) -> str:
        """What an agent was, had, held and ordered around a moment (default: the end), as text.

        Raises:
            UserError: the run has no such agent, or `at` is no time.
        """
        from trader.session.why import explain

        try:
            moment = as_time_ms(at)
        except ValueError as error:
            raise UserError(f"at: {error}") from None
        assert moment is None or isinstance(moment, int), "a time is ms or nothing"
        with open_store(self._url, create=False, read_only=True) as store:
            kept = persistent(store)
            return explain(kept, kept.resolve(self._number), int(agent), moment)

    def _row(self) -> RunRow:
        with open_store(self._url, create=False, read_only=True) as store:
            return persistent(store).resolve(self._number)

    def __repr__(self) -> str:
        row = self._row()
        return f"<Run {row.run} {row.name!r}: {row.status}, {row.feed}, seed {row.seed}, {row.candles:,} candles>"
