"""What a session tells the outside while it runs: figures for Prometheus, and a webhook on what a person should know.

All of it is off by default and none of it can hold the session up or change a row: figures are written beside and
renamed, the port serves the last ones, webhook posts wait in a short queue for a thread of their own and are dropped
(and counted) when the other side does not take them.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog

from trader.core import threads, wall
from trader.core.types import Incident, UserError

if TYPE_CHECKING:
    from trader.core.config import MonitorConfig

SECONDS_BETWEEN_FILES: Final = 1.0
WAITING_POSTS: Final = 1000
POST_ATTEMPTS: Final = 3
POST_SECONDS: Final = 5.0
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

HELP: Final = {
    "candles_total": ("counter", "Candles taken in, warm-up included."),
    "frames_total": ("counter", "Frames taken in after the warm-up."),
    "trades_total": ("counter", "Trades closed."),
    "orders_total": ("counter", "Orders."),
    "equity": ("gauge", "Equity of the pool in its currency."),
    "drawdown_max": ("gauge", "Largest fall of equity from its peak, as a fraction."),
    "last_candle_seconds": ("gauge", "Open of the last candle, seconds since 1970."),
    "incidents_total": ("counter", "Incidents, by kind."),
    "webhook_dropped_total": ("counter", "Webhook posts that could not be delivered."),
    "running": ("gauge", "1 while the session runs, 0 after its end."),
}

log = structlog.get_logger("monitor")


class Monitor:
    """Figures and messages of one run.

    Raises:
        UserError: the port is taken, or the file's folder cannot be written.
    """

    def __init__(self, config: MonitorConfig, run: int) -> None:
        self._config = config
        self._run = run
        self._incidents: Counter[str] = Counter()
        self._dropped = 0
        self._text = b""
        self._written = -SECONDS_BETWEEN_FILES
        self._posts: queue.Queue[dict[str, Any] | None] = queue.Queue(WAITING_POSTS)
        self._sender: threading.Thread | None = None
        self._server: ThreadingHTTPServer | None = None
        if config.webhook is not None:
            self._sender = threading.Thread(target=self._send_all, daemon=True, name="webhook")
            threads.start(self._sender)
        if config.metrics_port is not None:
            self._serve(config.metrics_port)

    def figures(self, values: Mapping[str, float], *, running: bool = True) -> None:
        """Take in new figures (keys of `HELP`)."""
        everything = {**values, "webhook_dropped_total": self._dropped, "running": int(running)}
        self._text = self._rendered(everything).encode()
        now = wall.seconds()
        if self._config.metrics_file is not None and (not running or now - self._written >= SECONDS_BETWEEN_FILES):
            self._written = now
            self._write(Path(self._config.metrics_file))

    def incidents(self, incidents: Iterable[Incident]) -> None:
        """Count incidents, and tell each to the webhook and the log."""
        for incident in incidents:
            self._incidents[incident.kind] += 1
            log.info("incident", kind=incident.kind, symbol=incident.symbol, detail=incident.detail)
            self.post(
                "breaker" if incident.kind == "breaker" else "incident",
                {
                    "kind": incident.kind,
                    "symbol": incident.symbol,
                    "time_ms": incident.time_ms,
                    "detail": incident.detail,
                },
            )

    def post(self, event: str, content: Mapping[str, Any]) -> None:
        """Put a message to the webhook into the queue; never waits."""
        if self._sender is None:
            return
        try:
            self._posts.put_nowait({"event": event, "run": self._run, **content})
        except queue.Full:
            self._dropped += 1

    def close(self) -> None:
        """Let the last messages out, for a moment, and end the port."""
        if self._sender is not None:
            with contextlib.suppress(queue.Full):
                self._posts.put_nowait(None)
            self._sender.join(POST_SECONDS / 2)
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    # --- Prometheus ---------------------------------------------------------------------------------------------

    def _rendered(self, values: Mapping[str, float]) -> str:
        lines = []
        for name, (kind, told) in HELP.items():
            lines += [f"# HELP trader_{name} {told}", f"# TYPE trader_{name} {kind}"]
            if name == "incidents_total":
                lines += [
                    f'trader_incidents_total{{run="{self._run}",kind="{_label(kind_)}"}} {count}'
                    for kind_, count in sorted(self._incidents.items())
                ]
            elif name in values:
                lines.append(f'trader_{name}{{run="{self._run}"}} {values[name]:.17g}')
        return "\n".join(lines) + "\n"

    def _write(self, path: Path) -> None:
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            beside.write_bytes(self._text)
            beside.replace(path)
        except OSError as error:
            log.warning("metrics file", path=str(path), error=error.strerror)

    def _serve(self, port: int) -> None:
        monitor = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = self.path == "/metrics"
                self.send_response(200 if found else 404)
                self.send_header("Content-Type", CONTENT_TYPE)
                self.end_headers()
                self.wfile.write(monitor._text if found else b"only /metrics\n")

            def log_message(self, *_: object) -> None:
                """Say nothing: a scrape is no event."""

        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        except OSError as error:
            raise UserError(f"monitor.metrics_port: {port}: {error.strerror}") from None
        threads.start(threading.Thread(target=self._server.serve_forever, daemon=True, name="metrics"))

    # --- webhook ------------------------------------------------------------------------------------------------

    def _send_all(self) -> None:
        while (message := self._posts.get()) is not None:
            body = json.dumps(message).encode()
            if not any(self._sent(body) for _ in range(POST_ATTEMPTS)):
                if self._dropped == 0:
                    log.warning("webhook", problem="a message was not taken; further ones are only counted")
                self._dropped += 1

    def _sent(self, body: bytes) -> bool:
        assert self._config.webhook is not None
        request = urllib.request.Request(  # noqa: S310 - the config accepts http and https only
            self._config.webhook, data=body, headers={"Content-Type": "application/json"}, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=POST_SECONDS) as answer:  # noqa: S310  # nosec B310 - as above
                return bool(200 <= answer.status < 300)
        except (OSError, ValueError):
            return False


def _label(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
