"""Running, resuming and verifying a session: the store, the feed and the engine put together.

Start and recovery are one path: a run continues from its newest good checkpoint through its own journal, with the
writer comparing what is in SQL already, and from there through the feed; a new run merely has neither.
Commits happen after each block and mean nothing else. A verification is the same path over the whole journal.
"""

from __future__ import annotations

import json
import platform as machine
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog

from agents.genome import NAMES as GENE_NAMES
from trader import __version__
from trader.core import wall
from trader.core.config import Config, MonitorConfig, canonical_json, config_hash, from_json
from trader.core.money import to_amount
from trader.core.rows import Phase
from trader.core.timeframes import milliseconds
from trader.core.types import Block, SurroundingsError, UserError
from trader.feeds.exchange import LOOK_SECONDS, LiveFeed
from trader.session.composition import archetypes_by_number, archetypes_of, market_vectors, policies_on
from trader.session.engine import Engine
from trader.session.feeds import make_feed, opening_lines
from trader.session.funnel import STAGES
from trader.session.grants import RULES
from trader.session.monitor import Monitor
from trader.session.rehearsal import rehearse
from trader.session.summary import Progress, StopFlag, Summary, Verification, summarise
from trader.store import checkpoint
from trader.store.comparison import Difference
from trader.store.digest import combine
from trader.store.records import FINISHED, STOPPED, Cursor, RunHeader, RunRow
from trader.store.store import Store, open_store, persistent

if TYPE_CHECKING:
    from trader.core.types import Instrument
    from trader.feeds.base import Feed
    from trader.store.memory import MemoryStore, MemoryWriter
    from trader.store.writer import Writer

__all__ = ["Progress", "StopFlag", "Summary", "Verification", "resume_session", "run_session", "verify_run"]

BLOCK_FRAMES: Final = 512
"""Frames read and committed at once in a replay; a longer block saves nothing (docs/benchmarks.md)."""

Report = Callable[[Progress], None] | None

log = structlog.get_logger("session")


def run_session(
    config: Config,
    *,
    url: str,
    data: tuple[str, ...] = (),
    progress: Report = None,
    stop: StopFlag | None = None,
    tell: Callable[[str], None] | None = None,
    feed: Feed | None = None,
) -> Summary:
    """Run a new session to its end.

    Args:
        config: validated configuration.
        url: database URL or path, or "memory".
        data: files or folders of candles that replace `feed.data` if any are given.
        progress: called after every block.
        stop: its flag is looked at after every block.
        tell: called with each line that a replay says about its data before it starts.
        feed: what `make_feed` made of the config already; it is closed at the end.

    Raises:
        UserError: data or database that cannot be used; nothing was written.
        SurroundingsError: disk or database failed after retries; everything committed is safe.
    """
    if data:
        config = config.model_copy(update={"feed": config.feed.model_copy(update={"data": tuple(data)})})
    stop = stop or StopFlag()
    if feed is None:
        feed = make_feed(config, lambda: stop.requested)
    try:
        archetypes_of(config)
        market_vectors(config, feed.instruments)
        if isinstance(feed, LiveFeed):
            feed.connect()
        if tell is not None:
            for line in opening_lines(config, feed):
                tell(line)
        store = open_store(url, create=True)
        try:
            run = store.create_run(_header(config, feed))
            with _telling_how_to_resume(run):
                return _begin(config, feed, store, run, stop, progress)
        finally:
            store.close()
    finally:
        feed.close()


def _begin(
    config: Config, feed: Feed, store: Store | MemoryStore, run: int, stop: StopFlag, progress: Report
) -> Summary:
    """From the run's row to its end."""
    row = store.resolve(run)
    folder = _checkpoint_folder(store, run)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
    with store.locked(run):
        return _Session(config, feed.instruments, store, row, store.writer(run), stop, progress).drive(feed)


def resume_session(run: str | int, *, url: str, progress: Report = None, stop: StopFlag | None = None) -> Summary:
    """Continue a stopped or killed run to its end; a finished one only tells its summary again.

    Raises:
        UserError: no such run, or its data is not where it was.
        SurroundingsError: as in `run_session`.
        Difference: the journal no longer gives the rows that were committed (another version, or a changed table).
    """
    stop = stop or StopFlag()
    store = open_store(url, create=False)
    try:
        row = store.resolve(run)
        if row.status == FINISHED and row.summary:
            return Summary(json.loads(row.summary), {})
        config = from_json(row.config)
        with store.locked(row.run), _telling_how_to_resume(row.run):
            feed = make_feed(config, lambda: stop.requested)
            try:
                check_same_data(feed, row, store.instruments(row.run))
                session = _recovered(config, persistent(store), row, stop, progress)
                store.update_run(row.run, status="running")
                return session.drive(feed)
            finally:
                feed.close()
    finally:
        store.close()


def _recovered(config: Config, store: Store, row: RunRow, stop: StopFlag, progress: Report) -> _Session:
    """What the run was at its last commit: from its newest good checkpoint; where that was made by another version and
    does not fit this one, from the beginning of its journal."""

    def at_start() -> _Session:
        writer = store.writer(row.run, compare_until=store.committed(row.run))
        return _Session(config, store.instruments(row.run), store, row, writer, stop, progress)

    session = at_start()
    try:
        session.restore_checkpoint()
    except (KeyError, ValueError, TypeError, IndexError) as error:
        what = f"{type(error).__name__}: {error}"
        log.warning("checkpoint does not fit: the journal is replayed from its beginning", run=row.run, error=what)
        session.close()
        session = at_start()
    session.replay_journal()
    return session


def verify_run(run: str | int, *, url: str, progress: Report = None) -> Verification:
    """Replay a run's own journal and compare every row of every table, and the digest, with what is stored."""
    store = open_store(url, create=False, read_only=True)
    try:
        row = store.resolve(run)
        config = from_json(row.config)
        writer = store.writer(row.run, compare_until=store.committed(row.run), verify=True)
        config = config.model_copy(update={"monitor": MonitorConfig()})  # the session itself may hold the port
        session = _Session(config, store.instruments(row.run), store, row, writer, StopFlag(), progress)
        try:
            session.replay_journal()
            if row.status == FINISHED:
                session.engine.finish()
                session.commit(final=True)
            writer.finish_comparison()
            if row.digest is not None and row.digest != combine(writer.digests()):
                return Verification(identical=False, first_difference={"table": "run", "column": "digest"})
        except Difference as difference:
            return Verification(identical=False, first_difference=difference.as_dict())
        finally:
            session.close()
        return Verification(identical=True)
    finally:
        store.close()


@contextmanager
def _telling_how_to_resume(run: int) -> Iterator[None]:
    """What ends a session from outside also says how to go on: whatever it was, all that was committed is safe.

    Raises:
        SurroundingsError: instead of itself, of an OSError, of a MemoryError and of what a MemoryError led to.
    """
    try:
        yield
    except Exception as error:
        fault = _fault_of_surroundings(error)
        if fault is None:
            raise
        what = str(fault) if isinstance(fault, SurroundingsError) else f"{type(fault).__name__}: {fault}".rstrip(": ")
        raise SurroundingsError(f"{what}; what was committed is safe, go on with: trader resume {run}") from error


def _fault_of_surroundings(error: BaseException) -> BaseException | None:
    """The error itself, or the MemoryError it came of: where memory has ended, whoever cleans up may fail otherwise.

    zipfile, for one, closes an archive it could not write and then says that its file is closed.
    """
    if isinstance(error, (SurroundingsError, OSError)):
        return error
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, MemoryError):
        seen = seen.__cause__ or seen.__context__
    return seen


class _Session:
    """An engine, its writer and its checkpoints."""

    def __init__(
        self, config: Config, instruments: tuple[Instrument, ...], store: Store | MemoryStore, row: RunRow,
        writer: Writer | MemoryWriter, stop: StopFlag, progress: Report,
    ) -> None:  # fmt: skip
        self.config = config
        self.engine = Engine(config, instruments, writer)
        self._store = store
        self._row = row
        self._writer = writer
        self._stop = stop
        self._progress = progress
        self._folder = _checkpoint_folder(store, row.run)
        self._saved = 0
        self._total: int | None = None
        self._monitor = Monitor(config.monitor, row.run)

    def drive(self, feed: Feed) -> Summary:
        """Take in what the feed has after the last frame taken in, to the end, and tell what came of it."""
        rehearse(self.config)
        started = wall.seconds()
        self._total = feed.describe().get("frames")
        after = self.engine.counts.last_ms if self.engine.counts.taken else None
        live = isinstance(feed, LiveFeed)
        if isinstance(feed, LiveFeed):
            feed.warming = self.engine.counts.frames == 0
            feed.on_wait = self._waiting
        finished = True
        for block in self._limited(self._paced(feed, after)):
            self._writer.incidents(block.incidents)
            self.engine.advance(block)
            self.commit()
            self._save_checkpoint()
            self._monitor.incidents(block.incidents)
            self._monitor.figures(self._figures())
            if self._stop.requested:
                finished = False
                break
        if live and not self._limit_reached():
            finished = False  # a living market has no end: its blocks end because a stop was asked for
        if finished:
            self.engine.finish()
            self.commit(final=True)
        summary = self._summarise(FINISHED if finished else STOPPED, wall.seconds() - started)
        self._store.update_run(
            self._row.run, status=str(summary.values["status"]), equity_end=self.engine.equity(),
            digests=self._writer.digests(), summary=summary.as_dict(),
        )  # fmt: skip
        self._monitor.figures(self._figures(), running=False)
        self._monitor.post("end", summary.as_dict())
        self.close()
        return summary

    def _figures(self) -> dict[str, float]:
        """What the monitor shows."""
        counts = self.engine.counts
        return {
            "candles_total": counts.candles, "frames_total": counts.frames, "trades_total": counts.trades,
            "orders_total": counts.orders, "equity": self.engine.equity() / 1e8 if counts.frames else 0.0,
            "drawdown_max": counts.deepest, "last_candle_seconds": counts.last_ms / 1000,
        }  # fmt: skip

    def _paced(self, feed: Feed, after: int | None) -> Iterator[Block]:
        """The feed's blocks; with `feed.speed` the warm-up at once, then one frame at a time, not faster than told."""
        speed = self.config.feed.speed
        if feed.kind == "live" or speed == 0:
            yield from feed.blocks(BLOCK_FRAMES, after)
            return
        pause_s = feed.base_ms / 1000 / speed
        for block in feed.blocks(BLOCK_FRAMES, after):
            warming = int((block.phase == int(Phase.WARMUP)).sum())
            if warming:
                yield block[:warming]
            for frame in range(warming, len(block)):
                yield block[frame : frame + 1]
                until = wall.seconds() + pause_s
                while not self._stop.requested and (left := until - wall.seconds()) > 0:
                    time.sleep(min(left, LOOK_SECONDS))

    def _limited(self, blocks: Iterator[Block]) -> Iterator[Block]:
        """Blocks up to `session.candles` frames after the warm-up."""
        limit = self.config.session.candles
        while not self._limit_reached() and (block := next(blocks, None)) is not None:
            if limit is None:
                yield block
                continue
            counted = (block.phase != 0).cumsum()
            yield block[: int((counted <= limit - self.engine.frame).sum())]

    def _limit_reached(self) -> bool:
        limit = self.config.session.candles
        return limit is not None and self.engine.frame >= limit

    def _waiting(self, seconds: float | None) -> None:
        """Tell a watcher how long the candle in progress lasts, and when each level acts next."""
        if self._progress is None:
            return
        counts, frame = self.engine.counts, self.engine.frame
        updates = tuple((level.spec.name, level.spec.every - frame % level.spec.every) for level in self.engine.levels)
        equity = self.engine.equity() if counts.frames else self._row.equity_start
        self._progress(Progress(counts.taken, self._total, counts.trades, equity, counts.last_ms, seconds, updates))

    def restore_checkpoint(self) -> None:
        """Become what the newest good checkpoint of this run tells, if there is one."""
        saved = None
        if self._folder is not None and self._row.cursor_frame is not None:
            saved = checkpoint.load_newest(self._folder, until=self._row.cursor_frame)
        if saved is not None:
            for damage in saved.damaged:
                log.warning("checkpoint passed over", run=self._row.run, damage=damage)
            if saved.meta["identity"] == _identity(self._row):
                self.engine.restore(_under("engine.", saved.arrays), saved.meta["engine"])
                self._writer.restore(_under("writer.", saved.arrays))
                self._saved = self.engine.counts.taken

    def replay_journal(self) -> None:
        """Take in the journal after the last frame taken in; the writer compares."""
        after = self.engine.counts.last_ms if self.engine.counts.taken else None
        for block in self._store.journal(self._row.run, after, BLOCK_FRAMES):
            self.engine.advance(block)
            self.commit()

    def commit(self, *, final: bool = False) -> None:
        """Commit what the engine wrote. The cursor counts frames taken in, and the end of a session as one more."""
        counts = self.engine.counts
        equity = self.engine.equity() if counts.frames else self._row.equity_start
        self._writer.positions(self.engine.positions())
        self._writer.commit(Cursor(counts.taken + int(final), counts.last_ms, counts.candles, equity))
        if self._progress is not None:
            self._progress(Progress(counts.taken, self._total, counts.trades, equity, counts.last_ms))

    def _save_checkpoint(self) -> None:
        taken = self.engine.counts.taken
        every = self.config.session.checkpoint_every
        if self._folder is None or taken // every == self._saved // every:
            return
        arrays, meta = self.engine.state()
        everything = {f"engine.{name}": value for name, value in arrays.items()}
        everything |= {f"writer.{name}": value for name, value in self._writer.state().items()}
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.save(
            self._folder, taken, everything, {"engine": meta, "identity": _identity(self._row)},
            keep_every=self.config.session.checkpoint_keep,
        )  # fmt: skip
        self._saved = taken

    def _summarise(self, status: str, wall_s: float) -> Summary:
        row = self._row
        header = {
            "run": row.run,
            "feed": row.feed,
            "seed": row.seed,
            "config_hash": row.config_hash,
            "equity_start": row.equity_start,
        }
        return summarise(
            self.engine, header, status=status, wall_s=wall_s, digest=self._writer.digest(), db=self._store.url
        )

    def close(self) -> None:
        """End the engine's threads and the writer's connection."""
        self._monitor.close()
        self.engine.close()
        self._writer.close()


def _under(prefix: str, arrays: dict[str, Any]) -> dict[str, Any]:
    return {name[len(prefix) :]: value for name, value in arrays.items() if name.startswith(prefix)}


def _identity(row: RunRow) -> str:
    """What a checkpoint must belong to: run numbers come again when a database file is deleted."""
    return f"{row.config_hash} {row.started_utc} {row.name}"


def _header(config: Config, feed: Feed) -> RunHeader:
    from agents.plugins import known

    archetypes = dict(enumerate(known(config.population.plugins)))
    started = wall.utc_text()
    return RunHeader(
        name=config.session.name or config.feed.kind,
        feed=config.feed.kind,
        seed=config.session.seed,
        config=canonical_json(config),
        config_hash=config_hash(config),
        code_version=__version__,
        platform=json.dumps(
            {"python": machine.python_version(), "machine": machine.machine(), "system": machine.system()}
        ),
        started_utc=started,
        base_ms=milliseconds(config.feed.base_timeframe),
        equity_start=to_amount(config.pool.capital),
        instruments=feed.instruments,
        names={
            "archetype": archetypes,
            "stage": dict(STAGES),
            "rule": dict(RULES),
            "niche": archetypes,
            "gene": dict(enumerate(GENE_NAMES)),
            **birth_names(config),
        },
    )


def birth_names(config: Config) -> dict[str, dict[int, str]]:
    """Names of the codes in the rows of births decided by policies; none where no policy is on."""
    if not policies_on(config):
        return {}
    from rl.teachers import OPTIMIZERS
    from trader.session.births.midwife import DECIDERS
    from trader.session.births.problem import BirthProblem

    problem = BirthProblem(*archetypes_by_number(config))

    return {
        "policy": dict(enumerate(DECIDERS)),
        "optimizer": dict(enumerate((*OPTIMIZERS, "none"))),
        "action": dict(enumerate(problem.actions)),
    }


def _checkpoint_folder(store: Store | MemoryStore, run: int) -> Path | None:
    """Where a run's checkpoints lie: beside the SQLite file, or under data/runs for a server; none in memory."""
    if not isinstance(store, Store):
        return None
    path = store.database.location.path
    if path is not None:
        return path.parent / "checkpoints" / f"{path.stem}-{run}"
    name = str(store.url).rpartition("/")[2].partition("?")[0] or "server"
    return Path("data") / "runs" / "checkpoints" / f"{name}-{run}"


def check_same_data(feed: Feed, row: RunRow, instruments: tuple[Instrument, ...]) -> None:
    """A resumed run must find the markets it had.

    Raises:
        UserError: the feed has other symbols now.
    """
    now = tuple(item.symbol for item in feed.instruments)
    then = tuple(item.symbol for item in instruments)
    if now != then:
        raise UserError(f"run {row.run}: its data has {', '.join(now)} now, and had {', '.join(then)}")
