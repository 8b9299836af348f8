"""`trader run`, `replay`, `resume` and `verify`: sessions, and the proof that a session's record is right."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trader.cli import options
from trader.cli.output import write_json
from trader.cli.progress import progress_report

if TYPE_CHECKING:
    from trader.core.config import Config

Start = Annotated[
    str | None, typer.Option(metavar="T", help="First candle (inclusive), ISO or ms, UTC.", show_default=False)
]
End = Annotated[str | None, typer.Option(metavar="T", help="End (exclusive), ISO or ms, UTC.", show_default=False)]
Data = Annotated[
    list[Path] | None,
    typer.Option(metavar="PATH", help="File or folder of candles; repeatable.", show_default=False),
]


def run(
    config: options.ConfigFile, sets: options.Sets = None, db: options.Database = None,
    as_json: options.Json = False, quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Run a paper-trading session; the config names the feed."""
    _session(config, list(sets or ()), {}, db, as_json=as_json, quiet=quiet)


def replay(
    config: options.ConfigFile, data: Data = None, start: Start = None, end: End = None, sets: options.Sets = None,
    db: options.Database = None, as_json: options.Json = False, quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Run the same session over history: files, or folders of them."""
    given: dict[str, object] = {"feed.kind": "replay"}
    if data:
        given["feed.data"] = [str(path) for path in data]
    if start is not None:
        given["feed.start"] = start
    if end is not None:
        given["feed.end"] = end
    _session(config, list(sets or ()), given, db, as_json=as_json, quiet=quiet)


def _session(
    path: Path, sets: list[str], given: dict[str, object], db: str | None, *, as_json: bool, quiet: bool
) -> None:
    from trader.core.config import load

    config = load(path, sets, given)
    url = options.database_url(db, config.store.url)

    def start(report: Any, flag: Any) -> Any:
        from trader.session.feeds import make_feed

        feed = make_feed(config, lambda: flag.requested)  # data that is wrong is told before the rest is imported
        from trader.session.api import run_session

        tell = None if quiet else partial(typer.echo, err=True)
        return run_session(config, url=url, progress=report, stop=flag, tell=tell, feed=feed)

    _follow(start, config, as_json=as_json, quiet=quiet)


def resume(
    run: options.Run, db: options.Database = None, as_json: options.Json = False, quiet: options.Quiet = False
) -> None:
    """Continue a stopped or killed run."""
    url = options.database_url(db)

    def start(report: Any, flag: Any) -> Any:
        from trader.session.api import resume_session

        return resume_session(run, url=url, progress=report, stop=flag)

    _follow(start, None, as_json=as_json, quiet=quiet)


def _follow(start: Any, config: Config | None, *, as_json: bool, quiet: bool) -> None:
    """Let the session run with progress and signals, then tell how it went."""
    from trader.cli.card import end_card
    from trader.cli.logs import configure_logs
    from trader.cli.signals import stopping
    from trader.session.summary import StopFlag

    configure_logs(quiet=quiet)
    flag = StopFlag()
    with stopping(flag), progress_report(quiet=quiet) as report:
        summary = start(report, flag)
    if as_json:
        write_json(summary.as_dict())
    elif not quiet:
        typer.echo(end_card(summary.as_dict(), summary.card(), config))


def verify(
    run: options.Run, db: options.Database = None, as_json: options.Json = False, quiet: options.Quiet = False
) -> None:
    """Replay the run's own journal and compare every table: exit 0 if identical, else 1 and the first difference."""
    from trader.cli.logs import configure_logs
    from trader.session.api import verify_run

    configure_logs(quiet=quiet)
    with progress_report(quiet=quiet) as report:
        result = verify_run(run, url=options.database_url(db), progress=report)
    if as_json:
        write_json({"identical": result.identical, "first_difference": result.first_difference})
    elif result.identical:
        typer.echo("identical: every table of the run came out of its journal again, byte for byte")
    else:
        told = ", ".join(f"{name} {value}" for name, value in (result.first_difference or {}).items())
        typer.echo(f"different: {told}")
    if not result.identical:
        raise typer.Exit(1)
