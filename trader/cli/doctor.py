"""`trader doctor`: can this machine run the platform? Versions, processors, torch, database, free disk, clock, exchange.

Nothing here waits for long: the exchange gets five seconds in all (name, connection and answer), a database server
three. Being offline is reported and never an error, because replay and synthetic sessions need no network.
"""

from __future__ import annotations

import json
import shutil
import sys
import threading
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

import trader
from trader.cli import options
from trader.cli.output import write_json
from trader.core import threads
from trader.core.errors import SurroundingsError, UserError

PACKAGES: Final = (
    "numpy", "numba", "pandas", "pyarrow", "pydantic", "sqlalchemy", "alembic", "ccxt", "torch",
    "gymnasium", "river", "typer", "rich", "structlog",
)  # fmt: skip
EXCHANGE_TIME: Final = "https://api.binance.com/api/v3/time"
"""Public and unsigned; answers {"serverTime": ms}."""
TIMEOUT_S: Final = 3.0
"""Of one wait for a connection or for bytes."""
WHOLE_ANSWER_S: Final = 5.0
"""Of the whole question to the exchange: neither a name server nor an answer that drips can make it longer."""
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
    """Check versions, processors, torch, database, free disk, clock and the exchange; exit 3 if sessions cannot run."""
    url = options.database_url(db)
    findings = [*_versions(), _cores(), _torch(), _database(url), _disk(url), *_exchange(address)]
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


def _cores() -> Finding:
    """Processors this process may use, which is the default of `engine.threads`."""
    from trader.core.config import usable_processors

    usable = usable_processors()
    return Finding("processors", usable >= 1, f"{usable} usable (the default of engine.threads)", fatal=False)


def _torch() -> Finding:
    """Which build of torch is installed, without loading it; only the learning libraries need it."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version("torch")
    except PackageNotFoundError:
        return Finding("torch build", False, "not installed: make setup")
    build = found.partition("+")[2]
    kind = {"cpu": "CPU build", "": "build of the package index (on Linux often the large CUDA one)"}.get(build, build)
    return Finding("torch build", True, f"{found}: {kind}; sessions use the CPU", fatal=False)


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
    from trader.store.schema import HEAD
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
    return Finding("database", True, f"{shown}: {runs} runs, schema {HEAD}")


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
    if not address.startswith(("http://", "https://")):
        raise UserError(f"--exchange: {address!r} is no address: it starts with http:// or https://")
    heard: list[_Answer | Exception] = []
    asking = threading.Thread(target=_ask, args=(address, heard), daemon=True, name="doctor-exchange")
    threads.start(asking)
    asking.join(WHOLE_ANSWER_S)
    answer = heard[0] if heard else TimeoutError(f"no whole answer within {WHOLE_ANSWER_S:.0f} s")
    if isinstance(answer, Exception):
        offline = f"{address}: {answer} (replay and synthetic sessions do not need it)"
        return [
            Finding("exchange", False, offline, fatal=False),
            Finding("clock", True, "not compared: no exchange within reach", fatal=False),
        ]
    reached = Finding("exchange", True, f"{address}: answered in {answer.after - answer.before} ms", fatal=False)
    difference = (answer.before + answer.after) // 2 - answer.told
    fine = abs(difference) <= LARGEST_CLOCK_DIFFERENCE_MS
    return [reached, Finding("clock", fine, f"{difference:+d} ms against the exchange", fatal=False)]


@dataclass(frozen=True, slots=True)
class _Answer:
    """The exchange's time, and this machine's before and after the question; ms."""

    told: int
    before: int
    after: int


def _ask(address: str, heard: list[_Answer | Exception]) -> None:
    """Ask once; what came of it is the one element of `heard`."""
    import urllib.request
    from http.client import HTTPException

    from trader.core.wall import now_ms

    before = now_ms()
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT_S) as answer:  # noqa: S310  # nosec B310 - checked above
            told = _server_time(answer.read(65_536), answer.headers.get("Date"))
    except (OSError, ValueError, HTTPException) as error:
        heard.append(error)
        return
    heard.append(_Answer(told, before, now_ms()))


def _server_time(body: bytes, date: str | None) -> int:
    """The exchange's time in ms: `serverTime` of a JSON answer, else the HTTP date."""
    from email.utils import parsedate_to_datetime

    try:
        return int(json.loads(body)["serverTime"])
    except (ValueError, KeyError, TypeError):
        if date is None:
            raise ValueError("an answer without a time") from None
        return int(parsedate_to_datetime(date).timestamp() * 1000)
