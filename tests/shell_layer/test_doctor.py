"""The doctor's questions to the outside: an exchange that answers, and how far the clocks are apart."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from trader.cli import doctor
from trader.core import wall


@contextmanager
def exchange(body: bytes, date: str | None = None):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response_only(200)
            if date:
                self.send_header("Date", date)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Be silent."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/time"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(("ahead_ms", "fine"), [(0, True), (60_000, False), (-60_000, False)])
def test_the_clock_is_compared_with_the_exchange(ahead_ms, fine):
    body = json.dumps({"serverTime": wall.now_ms() + ahead_ms}).encode()
    with exchange(body) as address:
        reached, clock = doctor._exchange(address)
    assert reached.ok
    assert clock.ok is fine
    assert not clock.fatal
    if not fine:
        assert abs(int(clock.detail.split()[0]) + ahead_ms) < 5_000


def test_an_answer_that_is_no_json_is_dated_by_its_header():
    with exchange(b"<html>", "Sat, 18 Nov 2023 12:00:00 GMT") as address:
        _, clock = doctor._exchange(address)
    assert not clock.ok
    assert int(clock.detail.split()[0]) == pytest.approx(wall.now_ms() - 1_700_308_800_000, abs=60_000)


def test_an_answer_without_a_time_is_no_answer():
    with exchange(b"[]") as address:
        reached, clock = doctor._exchange(address)
    assert not reached.ok
    assert "without a time" in reached.detail
    assert "not compared" in clock.detail


def test_an_answer_that_drips_is_not_waited_for(monkeypatch):
    """Each byte comes in time, the whole never would."""
    import socket
    import time

    monkeypatch.setattr(doctor, "WHOLE_ANSWER_S", 0.6)
    server = socket.create_server(("127.0.0.1", 0))
    done = threading.Event()

    def drip():
        connection, _ = server.accept()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not done.wait(0.05):
            connection.sendall(b" ")
        connection.close()

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    begun = time.monotonic()
    reached, clock = doctor._exchange(f"http://127.0.0.1:{server.getsockname()[1]}/time")
    done.set()
    thread.join()
    server.close()
    assert time.monotonic() - begun < 3
    assert (reached.ok, reached.fatal, clock.ok) == (False, False, True)
    assert "no whole answer" in reached.detail


def test_what_is_no_http_is_told():
    import socket

    server = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=lambda: server.accept()[0].sendall(b"SSH-2.0-nothing\r\n"), daemon=True)
    thread.start()
    reached, _ = doctor._exchange(f"http://127.0.0.1:{server.getsockname()[1]}/time")
    server.close()
    assert not reached.ok


def test_processors_and_torch_are_told_without_loading_torch():
    import sys

    before = set(sys.modules)
    assert "usable" in doctor._cores().detail
    assert doctor._torch().ok
    assert "torch" not in set(sys.modules) - before


def test_an_older_schema_is_told_with_the_command_that_helps(tmp_path):
    import sqlite3

    from trader.store.store import open_store

    path = tmp_path / "old.db"
    open_store(str(path), create=True).close()
    assert "schema" in doctor._database(str(path)).detail
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    assert not doctor._database(str(path)).ok


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(doctor, "PACKAGES", ("no-such-package-at-all",))
    found = doctor._versions()[-1]
    assert (found.ok, found.fatal) == (False, True)
    assert "make setup" in found.detail


def test_free_disk_is_measured_where_the_database_will_lie(tmp_path, monkeypatch):
    found = doctor._disk(f"sqlite:///{tmp_path}/a/b/c.db")
    assert str(tmp_path) in found.detail
    monkeypatch.setattr(doctor, "SMALLEST_FREE_BYTES", 10**18)
    assert not doctor._disk(f"sqlite:///{tmp_path}/a.db").ok


@pytest.mark.postgres
def test_a_server_is_reached(postgres_url):
    assert doctor._database(postgres_url).ok
