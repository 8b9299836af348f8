"""Thousands of live candles: memory, open files, threads and tasks stay where they were after the warm-up tenth.

The session and the fake exchange share this process, so the figures are those of both together.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.live.fake_exchange import FakeExchange
from tests.live.fake_market import FakeMarket
from tests.live.live_support import live_config, query
from trader.session import api

PAGE = os.sysconf("SC_PAGE_SIZE")
SAMPLE_EVERY = 50


def resident() -> int:
    """Bytes of memory in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


class Samples:
    """What the process holds, after every so many candles."""

    def __init__(self, feeds):
        self._feeds = feeds
        self._count = 0
        self.rows = []

    def __call__(self, progress):
        if progress.waiting_s is not None:
            return
        self._count += 1
        if self._count % SAMPLE_EVERY:
            return
        tasks = sum(len(asyncio.all_tasks(feed._loop)) for feed in self._feeds)
        self.rows.append((resident(), len(os.listdir("/proc/self/fd")), threading.active_count(), tasks))  # noqa: PTH208


def soaked(tmp_path, monkeypatch, candles, candle_s):
    feeds, make = [], api.make_feed

    def kept(*words):
        feeds.append(make(*words))
        return feeds[-1]

    monkeypatch.setattr(api, "make_feed", kept)
    market = FakeMarket(seed=3, history=400, future=candles + 200)
    database = tmp_path / "soak.db"
    with FakeExchange([market], candle_s=candle_s, live=candles + 150) as exchange:
        config = live_config(
            exchange, session__candles=candles, session__checkpoint_every=200, levels__evolution__every=240,
            exchange__stall_seconds=2.0, population__size=100,
        )  # fmt: skip
        samples = Samples(feeds)
        gc.collect()
        summary = api.run_session(config, url=str(database), progress=samples).as_dict()
    assert summary["candles"] == candles + 300
    rows = query(database, "SELECT ts, close FROM v_candle ORDER BY ts")
    assert [value for _, value in rows] == [market.truth(ts)[3] for ts, _ in rows]
    return summary, np.array(samples.rows), database.stat().st_size / summary["candles"]


def assert_steady(samples, candles, grown):
    """After the first tenth: memory, files, threads and tasks."""
    after = samples[len(samples) // 10 :]
    first, last = np.median(after[: len(after) // 5, 0]), np.median(after[-len(after) // 5 :, 0])
    print(
        f"{candles} candles: {first / 1e6:.1f} MB after a tenth, {last / 1e6:.1f} MB at the end "
        f"({last / first - 1:+.2%}); files {after[:, 1].min()} to {after[:, 1].max()}, threads {after[:, 2].min()} to "
        f"{after[:, 2].max()}, tasks {after[:, 3].min()} to {after[:, 3].max()}; {grown:.0f} bytes of database a candle"
    )
    assert last <= first * 1.05
    for column in (1, 2, 3):
        begin, end = (np.median(part[:, column]) for part in (after[: len(after) // 5], after[-len(after) // 5 :]))
        assert end <= begin
        assert after[:, column].max() <= begin + 3  # a file or task that is open at the moment


LONG = pytest.param(1_000_000, marks=[pytest.mark.nightly, pytest.mark.timeout(0)])


@pytest.mark.parametrize("candles", [10_000, LONG])
def test_soak(tmp_path, monkeypatch, candles):
    summary, samples, grown = soaked(tmp_path, monkeypatch, candles, candle_s=0.004)
    assert summary["trades"] > candles // 100
    assert_steady(samples, candles, grown)
