"""Log lines on stderr, as structured key=value lines with a UTC time; `--quiet` keeps warnings and errors."""

from __future__ import annotations

import logging
import sys


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
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
