"""A thread begins or is refused: a start that finds no memory must not wait for ever."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from trader.core import threads
from trader.core.errors import SurroundingsError

UNDER_A_LIMIT = """
import resource, threading
from pathlib import Path
from trader.core import threads
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + {spare}, taken + {spare}))
hoard = []
try:
    while True:
        hoard.append(bytes(4096))  # the allocator's own pieces are used up too
except MemoryError:
    pass
if {freed}:
    hoard.clear()
try:
    threads.start(threading.Thread(target=lambda: None)).join()
    print("ran")
except MemoryError:
    print("refused")
"""


def test_a_started_thread_runs():
    ran = threading.Event()
    threads.start(threading.Thread(target=ran.set)).join(10)
    assert ran.is_set()


@pytest.mark.parametrize(("spare", "freed", "expected"), [(0, False, "refused"), (64 << 20, True, "ran")])
def test_a_thread_without_memory_is_refused(spare, freed, expected):
    script = UNDER_A_LIMIT.format(spare=spare, freed=freed)
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert ended.stdout == f"{expected}\n", ended.stderr


def test_every_thread_of_a_pool_runs_already():
    before = threading.active_count()
    with threads.thread_pool(3) as pool:
        assert threading.active_count() == before + 3
        assert sorted(pool.map(abs, (-1, -2, -3, -4))) == [1, 2, 3, 4]


def test_a_pool_without_memory_is_refused(monkeypatch):
    monkeypatch.setattr(threads, "STACK_BYTES", 1 << 60)
    with pytest.raises(MemoryError):
        threads.thread_pool(2)


class Refusing(threading.Thread):
    """The system lets the first begin only."""

    begun = 0

    def start(self):
        type(self).begun += 1
        if type(self).begun > 1:
            raise RuntimeError("can't start new thread")
        super().start()


def test_what_the_system_refuses_is_a_fault_of_the_surroundings(monkeypatch):
    monkeypatch.setattr(Refusing, "begun", 1)
    with pytest.raises(SurroundingsError, match="can't start new thread"):
        threads.start(Refusing(target=lambda: None))


def test_a_pool_of_which_one_thread_is_refused_ends(monkeypatch):
    monkeypatch.setattr(Refusing, "begun", 0)
    monkeypatch.setattr(threading, "Thread", Refusing)
    before = threading.active_count()
    with pytest.raises(SurroundingsError):
        threads.thread_pool(2)
    assert Refusing.begun == 2
    for thread in threading.enumerate()[before:]:
        thread.join(10)
    assert threading.active_count() == before
