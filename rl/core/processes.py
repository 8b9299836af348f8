"""Worker processes that are spawned, watched and always cleaned up.

Spawn, not fork: torch's autograd threads do not survive a fork. What the user hands in (environments as lambdas)
travels as cloudpickle bytes; nothing is ever read back from a file that way. The parent's `__main__` is hidden while a
child starts, so that a script needs no `if __name__ == "__main__"` guard and is not run again in every child
(cloudpickle sends what is defined in `__main__` by value, so the child does not need it).

Three ways to end, one path: done, a worker died (its traceback or exit code is raised here as `WorkerError`), or an
exception such as KeyboardInterrupt in the parent. Children ignore SIGINT (the parent tells them to stop), leave by
themselves when the parent is gone, and are terminated, then killed, if they do not leave in time.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import traceback
import types
from multiprocessing import connection, parent_process
from typing import TYPE_CHECKING, Any, Self

import cloudpickle  # type: ignore[import-untyped]  # has no annotations
import torch
from torch import multiprocessing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

STOP_SECONDS = 5.0
CONTEXT = multiprocessing.get_context("spawn")


class WorkerError(RuntimeError):
    """A worker process ended before its work was done; the message has its exit code or its traceback."""


class StopWorker(Exception):  # noqa: N818  # not an error: the way out of a worker's loop
    """Raised inside a worker that was told to stop or has lost its parent."""


class WorkerLink:
    """What a worker holds: its end of the pipe and the order to stop."""

    def __init__(self, index: int, pipe: Connection, stop: Any) -> None:
        self.index, self.pipe, self.stop = index, pipe, stop

    def send(self, message: Any) -> None:
        """Plain data to the parent."""
        self.pipe.send(message)

    def check(self) -> None:
        """Raise `StopWorker` if it is time to leave."""
        parent = parent_process()
        if self.stop.is_set() or parent is None or not parent.is_alive():
            raise StopWorker

    def acquire(self, semaphore: Any) -> None:
        """Wait for a semaphore without outliving the parent."""
        while not semaphore.acquire(timeout=0.5):
            self.check()
        self.check()


class WorkerGroup:
    """Processes running `entry(link, *arguments)`; used as a context manager, which guarantees that none stays.

    entry: a module-level function of this package; packed: anything, sent by cloudpickle to every worker; arguments:
    one tuple per worker, sent by torch (shared tensors stay shared).
    """

    def __init__(self, entry: Callable[..., None], packed: Any, arguments: Sequence[tuple[Any, ...]]) -> None:
        self.stop = CONTEXT.Event()
        self.processes: list[BaseProcess] = []
        self.pipes: list[Connection] = []
        self.finished: set[int] = set()
        data = cloudpickle.dumps(packed)
        try:
            with _hidden_main():
                for index, own in enumerate(arguments):
                    ours, theirs = CONTEXT.Pipe(duplex=False)
                    link = WorkerLink(index, theirs, self.stop)
                    process = CONTEXT.Process(target=_run, args=(link, entry, data, own), daemon=True)
                    process.start()
                    theirs.close()
                    self.processes.append(process)
                    self.pipes.append(ours)
        except BaseException:
            self._end()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    @property
    def running(self) -> bool:
        """Whether some worker has not said that it is finished."""
        return len(self.finished) < len(self.processes)

    def messages(self, timeout: float) -> Iterator[tuple[int, Any]]:
        """(worker, message) as they come, within about `timeout` seconds. Raises WorkerError if a worker died."""
        live = [index for index in range(len(self.pipes)) if index not in self.finished]
        sources: dict[Any, int] = {self.pipes[index]: index for index in live}
        sources.update({self.processes[index].sentinel: index for index in live})
        ready = connection.wait(list(sources), timeout)
        for index in sorted({sources[item] for item in ready}):
            yield from self._drain(index)
            if index not in self.finished and not self.processes[index].is_alive():
                yield from self._drain(index)  # what it said last may tell why
                if index not in self.finished:
                    raise WorkerError(f"worker {index} died, exit code {self.processes[index].exitcode}")

    def _drain(self, index: int) -> Iterator[tuple[int, Any]]:
        pipe = self.pipes[index]
        while index not in self.finished:
            try:
                if not pipe.poll():
                    return
                kind, content = pipe.recv()
            except (EOFError, OSError):
                return  # closed by a dying worker: its exit code is looked at next
            if kind == "error":
                raise WorkerError(f"worker {index} failed:\n{content}")
            if kind == "finished":
                self.finished.add(index)
            else:
                yield index, content

    def _end(self) -> None:
        """No child is left when this returns."""
        self.stop.set()
        for step in (None, "terminate", "kill"):
            for process in self.processes:
                if step is not None and process.is_alive():
                    getattr(process, step)()
            for process in self.processes:
                process.join(STOP_SECONDS)
            if not any(process.is_alive() for process in self.processes):
                break
        for pipe in self.pipes:
            pipe.close()


def _run(link: WorkerLink, entry: Callable[..., None], data: bytes, arguments: tuple[Any, ...]) -> None:
    """Body of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    try:
        # made by this worker's own parent a moment ago, and handed over by it alone
        entry(link, cloudpickle.loads(data), *arguments)
        link.pipe.send(("finished", None))
    except StopWorker:
        with contextlib.suppress(OSError):  # the parent may be gone
            link.pipe.send(("finished", None))
    except Exception:  # noqa: BLE001  # handed to the parent, which raises it
        with contextlib.suppress(OSError):
            link.pipe.send(("error", traceback.format_exc()))
        raise SystemExit(1) from None


@contextlib.contextmanager
def _hidden_main() -> Iterator[None]:
    """See the module's docstring."""
    real = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = real
