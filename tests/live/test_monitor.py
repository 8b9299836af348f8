"""Figures for Prometheus and the webhook: right, off by default, and never in the session's way."""

from __future__ import annotations

import http.server
import json
import threading
import time
import urllib.request

import pytest

from trader.core.config import MonitorConfig, config_hash, load
from trader.core.types import Incident, UserError
from trader.session.monitor import Monitor

FIGURES = {"candles_total": 7, "equity": 1_000_000.25}


@pytest.fixture
def receiver():
    got = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hook", got
    server.shutdown()
    server.server_close()


def test_the_file_and_the_port_tell_the_same(tmp_path):
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as probe:
        port = probe.server_port
    monitor = Monitor(MonitorConfig(metrics_file=str(tmp_path / "trader.prom"), metrics_port=port), 3)
    monitor.incidents([Incident(5, 'ga"p', "BTC/USDT", "x")])
    monitor.figures(FIGURES)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        served = answer.read()
    assert served == (tmp_path / "trader.prom").read_bytes()
    assert b'trader_equity{run="3"} 1000000.25\n' in served
    assert b'trader_incidents_total{run="3",kind="ga\\"p"} 1\n' in served
    monitor.figures(FIGURES, running=False)
    assert b'trader_running{run="3"} 0\n' in (tmp_path / "trader.prom").read_bytes()
    with pytest.raises(UserError, match="metrics_port"):
        Monitor(MonitorConfig(metrics_port=port), 4)
    monitor.close()


def test_incidents_and_the_end_are_posted(receiver):
    address, got = receiver
    monitor = Monitor(MonitorConfig(webhook=address), 3)
    monitor.incidents([Incident(5, "gap", "BTC/USDT", "2 candles"), Incident(6, "breaker", "", "fell")])
    monitor.post("end", {"status": "finished"})
    monitor.close()
    assert [message["event"] for message in got] == ["incident", "breaker", "end"]
    assert got[0] == {
        "event": "incident",
        "run": 3,
        "kind": "gap",
        "symbol": "BTC/USDT",
        "time_ms": 5,
        "detail": "2 candles",
    }


def test_a_dead_receiver_holds_nothing_up():
    monitor = Monitor(MonitorConfig(webhook="http://127.0.0.1:1/"), 3)
    started = time.monotonic()
    for n in range(3000):
        monitor.incidents([Incident(n, "gap", "BTC/USDT", "x")])
    assert time.monotonic() - started < 60
    monitor.close()


def test_off_by_default_and_outside_the_hash():
    plain, watched = (
        load(None, ["feed.kind=synthetic"]),
        load(None, ["feed.kind=synthetic", "monitor.metrics_port=9000"]),
    )
    assert plain.monitor == MonitorConfig()
    assert config_hash(plain) == config_hash(watched)
    with pytest.raises(UserError, match="http"):
        load(None, ["feed.kind=synthetic", "monitor.webhook=ws://127.0.0.1:1"])
