"""The values that pass between the session and the store: header of a run, its row, the cursor of a commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trader.core.types import Instrument

RUNNING, FINISHED, STOPPED, FAILED = "running", "finished", "stopped", "failed"
STATUSES = (RUNNING, FINISHED, STOPPED, FAILED)


@dataclass(frozen=True, slots=True)
class RunHeader:
    """What is known of a run before its first candle.

    config: canonical JSON; platform: JSON; started_utc: wall time as text, given by the caller, never in the digest;
    equity_start: 1e-8; instruments in the session's order; names: kind (archetype, rule, stage, niche) to code to text,
    beyond the codes of `trader.core.rows`, which every run gets.
    """

    name: str
    feed: str
    seed: int
    config: str
    config_hash: str
    code_version: str
    platform: str
    started_utc: str
    base_ms: int
    equity_start: int
    instruments: tuple[Instrument, ...]
    names: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    parent_run: int | None = None


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a commit stands, never going back: its time and, at one time, its frame or any other rising number.

    candles: rows of `candle` so far; equity in 1e-8.
    """

    frame: int
    time_ms: int
    candles: int
    equity: int


@dataclass(frozen=True, slots=True)
class RunRow:
    """One row of `run`. cursor_frame and cursor_ms are None before the first commit; JSON columns are text."""

    run: int
    parent_run: int | None
    name: str
    status: str
    feed: str
    seed: int
    config: str
    config_hash: str
    code_version: str
    platform: str
    started_utc: str
    base_ms: int
    commits: int
    cursor_frame: int | None
    cursor_ms: int | None
    candles: int
    equity_start: int
    equity_end: int
    digest: str | None
    digests: str | None
    summary: str | None
