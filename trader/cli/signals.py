"""Ctrl-C and SIGTERM: the first asks the session to finish its candle and commit, the second ends the process at once.

Python runs a signal handler only between two steps of the main thread, which may sit in compiled code for a while; a
second signal must not wait for that. So the interpreter writes each signal's number into a pipe the moment it arrives
(`signal.set_wakeup_fd`) and a small thread counts them there.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from trader.core import threads

STOPPING: Final = (signal.SIGINT, signal.SIGTERM)
KILLED_BY: Final = 128
"""A shell reports a program ended by signal n as 128 + n."""


class StopFlag(Protocol):
    """What the session looks at between two blocks."""

    requested: bool


@contextmanager
def stopping(flag: StopFlag, leave: Callable[[int], object] = os._exit) -> Iterator[None]:
    """Within this, the first signal sets `flag.requested` and the second calls `leave(128 + signal)`."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = {number: signal.signal(number, lambda *_: None) for number in STOPPING}
    wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    watcher = threading.Thread(target=_watch, args=(reader, flag, leave), daemon=True, name="signals")
    threads.start(watcher)
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(writer)
        watcher.join(timeout=1)
        os.close(reader)


def _watch(reader: int, flag: StopFlag, leave: Callable[[int], object]) -> None:
    while received := os.read(reader, 1):
        number = received[0]
        if number not in STOPPING:
            continue
        if flag.requested:
            sys.stderr.write("trader: stopped at once; what was committed is safe: trader resume latest\n")
            sys.stderr.flush()
            leave(KILLED_BY + number)
        else:
            flag.requested = True
            sys.stderr.write("trader: finishing the candle and committing; a second signal stops at once\n")
            sys.stderr.flush()
