"""A process that writes the sample run as a session would (used by the crash tests): resumes if there is a run.

python crashing_session.py URL CHECKPOINT_FOLDER FRAMES PAUSE_SECONDS
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tests.store_layer import sample_run
from trader.core.types import UserError
from trader.store import checkpoint
from trader.store.store import open_store


def main(url: str, folder: str, count: str, pause: str) -> None:
    frames = sample_run.make(int(count))
    store = open_store(url, create=True)
    try:
        run = store.resolve("sample").run
    except UserError:
        run = store.create_run(sample_run.header())
    with store.locked(run):
        done = 0
        found = checkpoint.load_newest(Path(folder))
        writer = store.writer(run, compare_until=store.committed(run))
        if found is not None:
            done = found.meta["frames"]
            writer.restore(found.arrays)
        for number, frame in enumerate(frames[done:], start=done + 1):
            sample_run.hand_over(writer, frame)
            writer.commit(frame.cursor)
            if number % 8 == 0:
                checkpoint.save(Path(folder), number, writer.state(), {"frames": number})
            time.sleep(float(pause))
        store.update_run(run, status="stopped", digests=writer.digests())
        print(writer.digest())
        writer.close()
    store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
