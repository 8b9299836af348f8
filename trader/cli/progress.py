"""Progress of a session: a bar on a terminal, a plain log line every ten seconds elsewhere, nothing when quiet."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from trader.core.wall import seconds

SECONDS_BETWEEN_LINES: Final = 10.0


class Progress(Protocol):
    """What the session reports after a block. equity in 1e-8 of the pool's currency, time_ms of the last candle."""

    @property
    def frames_done(self) -> int:
        """Frames taken in so far."""

    @property
    def frames_total(self) -> int | None:
        """Frames there will be, if that is known."""

    @property
    def trades(self) -> int:
        """Trades closed so far."""

    @property
    def equity(self) -> int:
        """Equity of the pool."""

    @property
    def time_ms(self) -> int:
        """Open of the last candle."""

    @property
    def waiting_s(self) -> float | None:
        """Live: seconds to the close of the candle in progress."""

    @property
    def next_updates(self) -> tuple[tuple[str, int], ...]:
        """Live: every level and the candles until it acts."""


Report = Callable[[Progress], None]


@contextmanager
def progress_report(*, quiet: bool) -> Iterator[Report | None]:
    """The function to call after each block; None when nobody wants to see it."""
    if quiet:
        yield None
    elif sys.stderr.isatty():
        with _bar() as report:
            yield report
    else:
        yield _lines()


@contextmanager
def _bar() -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("candles"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)

        def report(progress: Progress) -> None:
            bar.update(task, total=progress.frames_total, completed=progress.frames_done, description=_told(progress))

        yield report


def _lines() -> Report:
    import structlog

    log = structlog.get_logger()
    last = seconds()

    def report(progress: Progress) -> None:
        nonlocal last
        now = seconds()
        if now - last >= SECONDS_BETWEEN_LINES:
            last = now
            countdown = {"next": waiting} if (waiting := _countdown(progress)) else {}
            log.info(
                "progress", frames=progress.frames_done, of=progress.frames_total, trades=progress.trades,
                equity=f"{progress.equity / 1e8:.2f}", **countdown,
            )  # fmt: skip

    return report


def _told(progress: Progress) -> str:
    told = f"{progress.trades} trades, equity {progress.equity / 1e8:,.2f}"
    return ", ".join(part for part in (told, _countdown(progress)) if part)


def _countdown(progress: Progress) -> str:
    """Live: when the next candle closes, and when each level acts next."""
    if not progress.next_updates and progress.waiting_s is None:
        return ""
    candle = "" if progress.waiting_s is None else f"candle in {progress.waiting_s:.0f} s"
    levels = (f"{level} in {candles} candles" for level, candles in progress.next_updates)
    return ", ".join(part for part in (candle, *levels) if part)
