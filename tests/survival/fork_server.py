"""One process that has everything loaded and forks a child for each command: a session in a tenth of a second.

Every child is a process of its own that ends by `os._exit`, so it can be killed, fail, run out of disk and be compared
like a program started from a shell; only the seconds of importing are saved. Requests come as JSON lines on stdin:

    words    arguments of `trader`
    out      path; the child's stdout and stderr go to `out` and `out`.err
    env      environment variables of the child
    cwd      its working directory; umask
    io       [folder, k, errno, bytes]: the k-th file operation below the folder fails (`failing_io.c`), with errno 0 it is
             the last; the disk has so many bytes (-1: no end)
    sql      [k, "error" | "die" | "lost" | "unheard"]: the k-th statement or commit fails (`failing_sql`)
    size     largest file in bytes (RLIMIT_FSIZE)
    memory   further bytes of address space from here on (RLIMIT_AS)
    pages    largest database in pages (SQLite's own limit)
    patience seconds to wait for another process's lock
    deadline seconds after which a child that has not ended tells where it stands and ends with exit status 1, `DEADLINE` if
             not given: one that hangs is a finding, not the end of all tests after it

Answers are two JSON lines: {"pid": n} at once, and after another line of input {"code": n} when it has ended (minus the
signal that ended it). The
numbers of operations a child passed stand in `out`.seen.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import gc
import json
import os
import resource
import signal
import sys
import tempfile
import traceback
from pathlib import Path

from tests.survival import failing_sql

DEADLINE = 300


def load() -> None:
    """Import and compile what sessions need by running one, stopped half-way and resumed."""
    from tests.survival.survival_support import EVERY_LEVEL, SHORT
    from trader.__main__ import main
    from trader.feeds.exchange_client import exchange_class

    exchange_class("binance", stream=True)
    text = SHORT
    if os.environ.get("SURVIVAL_TORCH"):
        import torch

        torch.set_num_threads(1)
        text = EVERY_LEVEL
    with tempfile.TemporaryDirectory() as folder:
        config, database = f"{folder}/short.toml", f"{folder}/a.db"
        Path(config).write_text(text)
        with contextlib.redirect_stdout(sys.stderr):
            assert main(["run", config, "--db", database, "--json", "--quiet"]) == 0
            assert main(["verify", "latest", "--db", database, "--json", "--quiet"]) == 0
    gc.freeze()


def limited(request) -> None:
    if "size" in request:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as Python itself does: the write fails instead
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["size"], request["size"]))
    if "memory" in request:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + request["memory"]
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def child(request) -> None:
    for handle, path in ((1, request["out"]), (2, request["out"] + ".err")):
        file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        os.dup2(file, handle)
        os.close(file)
    os.environ.update(request.get("env", {}))
    os.chdir(request.get("cwd", "."))
    os.umask(request.get("umask", 0o022))
    code = 70
    faulthandler.dump_traceback_later(request.get("deadline", DEADLINE), exit=True, file=2)
    disk = ctypes.CDLL(None) if "io" in request else None
    try:
        from trader.__main__ import main

        limited(request)
        if "patience" in request:
            from trader.store.store import open_store

            open_store.__kwdefaults__["lock_seconds"] = request["patience"]
        if "pages" in request:
            failing_sql.limit_pages(request["pages"])
        counter = failing_sql.arm(*request["sql"]) if "sql" in request else None
        if disk is not None:
            folder, k, errno, space = request["io"]
            disk.failing_io_arm(folder.encode(), ctypes.c_long(k), errno, ctypes.c_longlong(space))
        code = main(request["words"])
        sys.stdout.flush()
        if disk is not None:
            disk.failing_io_seen.restype = ctypes.c_long
        seen = {"io": disk.failing_io_seen() if disk else 0, "sql": counter[0] if counter else 0}
        Path(request["out"] + ".seen").write_text(json.dumps(seen))
    except BaseException:  # noqa: BLE001 - nothing may return into the server's loop
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def serve() -> None:
    load()
    sys.stdout.write('{"ready": true}\n')
    sys.stdout.flush()
    while line := sys.stdin.readline():
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            child(request)
        sys.stdout.write(json.dumps({"pid": pid}) + "\n")
        sys.stdout.flush()
        sys.stdin.readline()  # not before: until it is waited for, its number belongs to nobody else
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(json.dumps({"code": os.waitstatus_to_exitcode(status)}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
