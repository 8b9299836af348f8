"""Kinds of values that stand in a config: times, symbols, timeframes, counts and fractions, each checked in one place.

Times become int ms UTC, symbols lose the settlement suffix (`BTC/USDT:USDT` is `BTC/USDT`), timeframes are the names of
`trader.core.timeframes`. Numbers are strict: `true` is no count and `"5"` is no number. Every rule is a `ValueError`
whose text is the rule; `trader.core.config` puts file and key before it.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, Strict

from trader.core.errors import UserError
from trader.core.files import read_file
from trader.core.timeframes import milliseconds

INT64_MAX: Final = 2**63 - 1
LARGEST_COUNT: Final = 10**9
LARGEST_CAPITAL: Final = 1e10
"""In the pool's currency: 1e18 units of 1e-8, a quarter of what the integer arithmetic accepts (2^62)."""
LARGEST_TIME_MS: Final = 253_402_300_799_999
"""The last millisecond of the year 9999."""

_SYMBOL = re.compile(r"(?P<base>[^\s/:\\.][^\s/:\\]*)/(?P<quote>[^\s/:\\.][^\s/:\\]*)(:(?P<settle>[^\s/:\\]+))?")
_RUN_NAME = re.compile(r"[A-Za-z_][\w.\-]{0,63}", re.ASCII)


def as_time_ms(value: object) -> object:
    """Time as int ms UTC, from int ms, ISO text or a TOML date; a time without a zone is UTC. Other kinds pass through.

    Raises:
        ValueError: text that is no ISO time, or a time outside the years 1970 to 9999.
    """
    if isinstance(value, str):
        if value.isdigit() and value.isascii() and len(value) <= len(str(LARGEST_TIME_MS)):
            return int(value)
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(f"{value!r} is no time: write 2023-11-18, 2023-11-18T09:00:00Z or ms since 1970") from None
    if isinstance(value, date):
        moment = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day, tzinfo=UTC)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
        return (delta.days * 86_400 + delta.seconds) * 1000 + delta.microseconds // 1000
    return value


def as_symbol(value: object) -> object:
    """BASE/QUOTE in its one spelling; `BASE/QUOTE:QUOTE` is accepted, another settlement currency is not.

    Raises:
        ValueError: text that is no BASE/QUOTE, or a contract that is not settled in its quote currency.
    """
    if not isinstance(value, str):
        return value
    match = _SYMBOL.fullmatch(value)
    if match is None:
        raise ValueError(f"{value!r} is no symbol: write BASE/QUOTE, for example BTC/USDT")
    if match["settle"] not in (None, match["quote"]):
        raise ValueError(
            f"{value!r} is settled in {match['settle']}: only linear contracts (BASE/QUOTE:QUOTE) trade here"
        )
    return f"{match['base']}/{match['quote']}"


def as_timeframe(value: object) -> object:
    """Name of a timeframe.

    Raises:
        ValueError: text that names no known timeframe.
    """
    if isinstance(value, str):
        try:
            milliseconds(value)
        except UserError as error:
            raise ValueError(str(error)) from None
    return value


def as_run_name(value: object) -> object:
    """Name of a run: it must not look like a run's number or like `latest`, which name runs too.

    Raises:
        ValueError: text that breaks the rule.
    """
    if isinstance(value, str) and (value == "latest" or not _RUN_NAME.fullmatch(value)):
        raise ValueError(
            f"{value!r} is no run name: a letter, then at most 63 of letters, digits, '.', '_' and '-'; not 'latest'"
        )
    return value


def as_web_address(value: object) -> object:
    """Address of a public endpoint, without a user or password in it.

    Raises:
        ValueError: another scheme, or an address that carries credentials.
    """
    if isinstance(value, str):
        if not value.startswith(("http://", "https://", "ws://", "wss://")):
            raise ValueError(f"{value!r} is no address: it starts with http://, https://, ws:// or wss://")
        if "@" in value.split("://", 1)[1].split("/", 1)[0]:
            raise ValueError("an address must not carry credentials: this platform cannot place a real order")
    return value


def as_json_value(value: object) -> object:
    """What JSON can hold and give back unchanged: nothing that is not finite, no dates, whole numbers of any size.

    Raises:
        ValueError: anything else, however deep it stands.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"must be a finite number, not {value}")
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ValueError(f"a name must be text, not {key!r}")  # noqa: TRY004 (of which pydantic makes one line)
            as_json_value(item)
    elif isinstance(value, list | tuple):
        for item in value:
            as_json_value(item)
    elif value is not None and not isinstance(value, bool | int | float | str):
        raise ValueError(f"{value!r} is neither a number, text, true or false, a list nor a table")
    return value


FILE_MARK: Final = "#sha256="
"""Between the path of a file that a session reads and the hash of what is in it."""


def as_plugin(value: object) -> object:
    """Path of a Python file, made absolute, with the hash of what is in it: `/path/idea.py#sha256=…`.

    A value that carries a hash already is left alone: it tells what a run used, wherever the file is now.

    Raises:
        ValueError: there is no such file.
    """
    if isinstance(value, str) and FILE_MARK not in value and Path(value).suffix != ".py":
        raise ValueError(f"{value!r} is no Python file: its name must end in .py")
    return as_marked_file(value)


def as_marked_file(value: object) -> object:
    """Path of a file, made absolute, with the hash of what is in it: `/path/signals.csv#sha256=…`.

    A value that carries a hash already is left alone.

    Raises:
        ValueError: there is no such file.
    """
    if not isinstance(value, str) or FILE_MARK in value:
        return value
    path = Path(value)
    try:
        digest = hashlib.sha256(read_file(path)).hexdigest()
    except OSError as error:
        raise ValueError(f"{value}: {error.strerror or error}") from None
    return f"{path.resolve()}{FILE_MARK}{digest}"


def split_marked(value: str) -> tuple[str, str]:
    """Path and hash (empty if there is none) of a marked file's text."""
    path, _, digest = value.partition(FILE_MARK)
    return path, digest


Count = Annotated[int, Strict(), Field(ge=1, le=LARGEST_COUNT)]
Amount = Annotated[int, Strict(), Field(ge=0, le=LARGEST_COUNT)]
Seed = Annotated[int, Strict(), Field(ge=0, le=INT64_MAX)]
Flag = Annotated[bool, Strict()]
Fraction = Annotated[float, Strict(), Field(ge=0, le=1, allow_inf_nan=False)]
Text = Annotated[str, Strict(), Field(min_length=1, max_length=4096)]
TimeMs = Annotated[int, Strict(), Field(ge=0, le=LARGEST_TIME_MS), BeforeValidator(as_time_ms)]
Symbol = Annotated[str, Strict(), BeforeValidator(as_symbol)]
Timeframe = Annotated[str, Strict(), BeforeValidator(as_timeframe)]
JsonValue = Annotated[Any, AfterValidator(as_json_value)]
Plugin = Annotated[str, Strict(), Field(min_length=1, max_length=4096), AfterValidator(as_plugin)]
MarkedFile = Annotated[str, Strict(), Field(min_length=1, max_length=4096), AfterValidator(as_marked_file)]
RunName = Annotated[str, Strict(), BeforeValidator(as_run_name)]
WebAddress = Annotated[str, Strict(), BeforeValidator(as_web_address)]
