"""Threads that are only started where there is memory for them.

A thread whose very first step finds no memory ends without ever saying that it runs, and `Thread.start` waits for that
word without end (seen in CPython 3.11). Under a memory limit a session would then neither run nor stop. So memory
is asked for before: whoever gets none is told by a MemoryError, as everywhere else.
"""

from __future__ import annotations

import mmap
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from trader.core.errors import SurroundingsError

STACK_BYTES: Final = 8 << 20
"""Address space a thread's stack takes where nothing else was asked for (`ulimit -s`)."""
SPARE_BYTES: Final = 4 << 20
"""What its first steps may need: a few of the allocator's own arenas, of 1 MiB each."""


def ask_for_memory(threads: int = 1) -> None:
    """Make sure that so many threads can begin.

    Raises:
        MemoryError: there is no memory for them.
    """
    wanted = threads * ((threading.stack_size() or STACK_BYTES) + SPARE_BYTES)
    try:
        mmap.mmap(-1, wanted).close()  # a map of its own, as a stack is one; never touched, so it costs no memory
    except (OSError, OverflowError) as error:
        raise MemoryError(f"{wanted} bytes for {threads} threads: {error}") from None


def start(thread: threading.Thread) -> threading.Thread:
    """Start a thread that was not started before; the thread.

    Raises:
        MemoryError: there is no memory for it.
        SurroundingsError: the system allows no further one.
    """
    ask_for_memory()
    try:
        thread.start()
    except RuntimeError as error:
        raise _refused(error) from None
    return thread


def _refused(error: RuntimeError) -> SurroundingsError:
    return SurroundingsError(f"{error}: memory or the number of processes is limited")


def thread_pool(workers: int) -> ThreadPoolExecutor:
    """A pool whose threads all run already: none has to be started later.

    Raises:
        MemoryError: there is no memory for them.
        SurroundingsError: the system does not allow so many.
    """
    ask_for_memory(workers)
    pool = ThreadPoolExecutor(workers)
    together = threading.Barrier(workers)
    try:
        list(pool.map(lambda _: together.wait(), range(workers)))
    except RuntimeError as error:
        together.abort()
        raise _refused(error) from None
    return pool
