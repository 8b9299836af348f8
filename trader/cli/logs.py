"""Log lines on stderr, as structured key=value lines with a UTC time; `--quiet` keeps warnings and errors."""

from __future__ import annotations

import logging
import sys
from typing import TextIO, cast


class _Stderr:
    """What is stderr at the moment a line is written: tests and programs that embed this one replace it."""

    @staticmethod
    def write(text: str) -> int:
        return sys.stderr.write(text)

    @staticmethod
    def flush() -> None:
        sys.stderr.flush()


def configure_logs(*, quiet: bool) -> None:
    """Send every structlog logger of the process to stderr."""
    import structlog

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING if quiet else logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, _Stderr())),
        cache_logger_on_first_use=False,
    )
