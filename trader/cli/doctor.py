"""`trader doctor`: can this machine run the platform? Versions, database, free disk, clock, exchange.

Nothing here waits for long: the exchange gets three seconds, and being offline is reported, not an error, because
replay and synthetic sessions need no network.
"""

from __future__ import annotations

import json
import shutil
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

import trader
from trader.cli import options
from trader.cli.output import write_json
from trader.core.errors import SurroundingsError, UserError

PACKAGES: Final = (
    "numpy", "numba", "pandas", "pyarrow", "pydantic", "sqlalchemy", "alembic", "ccxt", "torch",
    "gymnasium", "river", "typer", "rich", "structlog",
)  # fmt: skip
EXCHANGE_TIME: Final = "https://api.binance.com/api/v3/time"
"""Public and unsigned; answers {"serverTime": ms}."""
TIMEOUT_S: Final = 3.0
LARGEST_CLOCK_DIFFERENCE_MS: Final = 2_000
SMALLEST_FREE_BYTES: Final = 1_000_000_000
"""A year of hourly candles with a thousand agents writes about half of this."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. `fatal` says whether sessions need it."""

    name: str
    ok: bool
    detail: str
    fatal: bool = True


def doctor(
    db: options.Database = None,
    address: Annotated[
        str, typer.Option("--exchange", metavar="URL", help="Address that tells the exchange's time.")
    ] = EXCHANGE_TIME,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Check versions, database, free disk, clock and the way to the exchange; exit 3 if sessions cannot run."""
    url = options.database_url(db)
    findings = [*_versions(), _database(url), _disk(url), *_exchange(address)]
    ok = all(finding.ok for finding in findings if finding.fatal)
    if as_json:
        shown = [{"name": f.name, "ok": f.ok, "fatal": f.fatal, "detail": f.detail} for f in findings]
        write_json({"ok": ok, "checks": shown})
    elif not quiet:
        for finding in findings:
            word = "ok" if finding.ok else "FAIL" if finding.fatal else "note"
            typer.echo(f"{word:<6}{finding.name:<18}{finding.detail}")
    if not ok:
        raise SurroundingsError("doctor: a check that sessions need has failed (see above); nothing was changed")


def _versions() -> list[Finding]:
    """Python and the installed packages."""
    from importlib.metadata import PackageNotFoundError, version

    python = ".".join(str(part) for part in sys.version_info[:3])
    findings = [
        Finding("python", sys.version_info >= (3, 11), f"{python} ({sys.executable})"),
        Finding("nested-trader", True, f"{trader.__version__} ({Path(__file__).resolve().parents[2]})"),
    ]
    for name in PACKAGES:
        try:
            findings.append(Finding(name, True, version(name)))
        except PackageNotFoundError:
            findings.append(Finding(name, False, "not installed: make setup"))
    return findings


def _answers(url: str) -> str:
    """Empty if something listens where a server's URL points, else why not: the store itself would try for a minute."""
    import socket
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    if not parts.hostname:
        return ""
    try:
        socket.create_connection((parts.hostname, parts.port or 5432), TIMEOUT_S).close()
    except OSError as error:
        return str(error)
    return ""


def _database(url: str) -> Finding:
    """Whether the trade database can be read. One that does not exist yet is fine: a session makes it."""
    from trader.store.database import Database, locate
    from trader.store.schema import version as schema_version
    from trader.store.store import open_store

    location = locate(url)
    shown = location.shown
    begins = Finding("database", True, f"{shown}: made when a session begins")
    if location.dialect == "memory" or (location.path is not None and not location.path.exists()):
        return begins
    if location.path is None and (reason := _answers(location.url)):
        return Finding("database", False, f"{shown}: {reason}")
    try:
        with closing(Database(location, read_only=True)) as database, database.reading() as connection:
            if schema_version(connection) is None:
                return begins
        with closing(open_store(url, create=False, read_only=True)) as store:
            runs = len(store.runs())
    except (UserError, SurroundingsError) as error:
        return Finding("database", False, str(error))
    return Finding("database", True, f"{shown}: {runs} runs")


def _disk(url: str) -> Finding:
    """Free space where the database lies, or will lie."""
    from trader.store.database import locate

    file = locate(url).path
    place = (file.parent if file else Path.cwd()).absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    return Finding("free disk", free >= SMALLEST_FREE_BYTES, f"{free / 1e9:.1f} GB in {place}")


def _exchange(address: str) -> list[Finding]:
    """Whether the exchange answers, and how far this machine's clock is from it; both only live sessions need."""
    import urllib.request

    from trader.core.wall import now_ms

    if not address.startswith(("http://", "https://")):
        raise UserError(f"--exchange: {address!r} is no address: it starts with http:// or https://")
    before = now_ms()
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT_S) as answer:  # noqa: S310 - the scheme is checked above
            told = _server_time(answer.read(65_536), answer.headers.get("Date"))
    except (OSError, ValueError) as error:
        return [
            Finding(
                "exchange", False, f"{address}: {error} (replay and synthetic sessions do not need it)", fatal=False
            ),
            Finding("clock", True, "not compared: no exchange within reach", fatal=False),
        ]
    after = now_ms()
    reached = Finding("exchange", True, f"{address}: answered in {after - before} ms", fatal=False)
    difference = (before + after) // 2 - told
    fine = abs(difference) <= LARGEST_CLOCK_DIFFERENCE_MS
    return [reached, Finding("clock", fine, f"{difference:+d} ms against the exchange", fatal=False)]


def _server_time(body: bytes, date: str | None) -> int:
    """The exchange's time in ms: `serverTime` of a JSON answer, else the HTTP date."""
    from email.utils import parsedate_to_datetime

    try:
        return int(json.loads(body)["serverTime"])
    except (ValueError, KeyError, TypeError):
        if date is None:
            raise ValueError("an answer without a time") from None
        return int(parsedate_to_datetime(date).timestamp() * 1000)
