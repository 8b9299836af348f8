"""Log lines on stderr with a UTC time: key=value, or one JSON object a line with TRADER_LOGS=json.

`--quiet` keeps warnings and errors.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Any, Final, TextIO, cast

from trader.core.errors import UserError

FORMAT_VARIABLE: Final = "TRADER_LOGS"


class _Stderr:
    """What is stderr at the moment a line is written: tests and programs that embed this one replace it."""

    @staticmethod
    def write(text: str) -> int:
        return sys.stderr.write(text)

    @staticmethod
    def flush() -> None:
        sys.stderr.flush()


def configure_logs(*, quiet: bool) -> None:
    """Send every structlog logger of the process to stderr.

    Raises:
        UserError: TRADER_LOGS is neither `text` nor `json`.
    """
    import structlog

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _renderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING if quiet else logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, _Stderr())),
        cache_logger_on_first_use=False,
    )


def _renderer() -> Any:
    import structlog

    form = os.environ.get(FORMAT_VARIABLE) or "text"
    if form not in {"text", "json"}:
        raise UserError(f"{FORMAT_VARIABLE}: text or json, not {form!r}")
    if form == "json":
        return structlog.processors.JSONRenderer(sort_keys=True)
    return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
