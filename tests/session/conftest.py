"""A session in memory: made-up candles with holes in, every row out."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from trader.core.config import load
from trader.core.rows import TABLES, OrderKind, Phase, Reject
from trader.core.types import Block, Instrument, LeverageTier
from trader.session.engine import Engine

HOUR = 3_600_000
TIERS = (LeverageTier(0, 500_000, 0, 20),)


@dataclass
class Capture:
    """A sink that keeps every row of every table."""

    numeric: dict[str, list[NDArray[np.int64]]] = field(default_factory=dict)
    text: dict[str, list[tuple]] = field(default_factory=dict)

    def write(self, table, values):
        self.numeric.setdefault(table, []).append(values.copy())

    def write_text(self, table, values):
        self.text.setdefault(table, []).extend(tuple(row) for row in values)

    def rows(self, table):
        if table in self.text:
            return self.text[table]
        parts = self.numeric.get(table)
        return np.concatenate(parts) if parts else np.zeros((0, len(TABLES[table].columns)), np.int64)

    def column(self, table, name):
        return self.rows(table)[:, TABLES[table].position(name)]

    def same_as(self, other):
        names = set(self.numeric) | set(self.text) | set(other.numeric) | set(other.text)
        for name in sorted(names):
            mine, theirs = self.rows(name), other.rows(name)
            if len(mine) != len(theirs) or not np.array_equal(np.asarray(mine), np.asarray(theirs)):
                return name
        return None


def made_up_candles(frames, markets, seed, volume=2e4, missing=0.0003, step=0.006):
    """Random walks with fat tails, volume in tens of thousands, and holes."""
    rng = np.random.default_rng(seed)
    returns = rng.standard_t(3, size=(frames, markets)) * step
    close = 100.0 * np.exp(np.cumsum(returns, axis=0)) * (1 + np.arange(markets))
    opened = np.vstack([close[:1], close[:-1]])
    high = np.maximum(opened, close) * (1 + np.abs(rng.normal(size=close.shape)) * step / 3)
    low = np.minimum(opened, close) * (1 - np.abs(rng.normal(size=close.shape)) * step / 3)
    amount = np.round(volume * np.exp(rng.normal(size=close.shape)), 3)
    candles = np.round(np.stack([opened, high, low, close, amount], axis=2), 6)
    candles[..., 1] = candles[..., :4].max(axis=2)
    candles[..., 2] = candles[..., :4].min(axis=2)
    present = rng.uniform(size=(frames, markets)) >= missing
    present[~present.any(axis=1), 0] = True
    candles[~present] = np.nan
    return candles, present


def made_up_block(frames=2000, markets=2, seed=1, warmup=400, funding=True, **options):
    candles, present = made_up_candles(frames, markets, seed, **options)
    times = 1_600_000_000_000 // HOUR * HOUR + np.arange(frames) * HOUR
    rate = np.full((frames, markets), np.nan)
    if funding:
        rate[(times // HOUR) % 8 == 0] = 0.0001
    phase = np.where(np.arange(frames) < warmup, int(Phase.WARMUP), int(Phase.REPLAY))
    return Block(
        times, candles, present, rate, np.full((frames, markets), np.nan), np.zeros((frames, markets), np.int64),
        phase.astype(np.int64),
    )  # fmt: skip


def small_config(*sets, size=120):
    base = [
        'feed.kind="synthetic"', 'feed.timeframes=["1h", "2h"]', f"population.size={size}", "engine.threads=1",
        "levels.evolution.every=100", "levels.pool.every=30", "session.seed=3",
    ]  # fmt: skip
    return load(None, [*base, *sets])


def run_session(config, block, cuts=(), perpetual=True, finish=True):
    """Run a block through an engine, cut at the given frames; returns (engine, rows)."""
    capture = Capture()
    symbols = [f"M{m}/USDT" for m in range(block.candles.shape[1])]
    instruments = tuple(
        Instrument(name, perpetual, taker_fee=50_000, tiers=TIERS if perpetual else ()) for name in symbols
    )
    engine = Engine(config, instruments, capture)
    edges = [0, *cuts, len(block)]
    for first, last in pairwise(edges):
        if last > first:
            engine.advance(block[first:last])
    if finish:
        engine.finish()
    engine.close()
    return engine, capture


def go_on_from_checkpoint(first, rows, block, at):
    """Frames from `at` on by another engine, made from what the first would save (and read again from JSON)."""
    arrays, meta = first.state()
    second = Engine(first.config, first.instruments, rows)
    second.restore(arrays, json.loads(json.dumps(meta)))
    second.advance(block[at : len(block)])
    second.finish()


TIME_COLUMN = {"candle": "ts", "stamp": "ts", "visit": "ts", "opinion": "ts"}


def rows_until(capture, time_ms):
    """Every row dated <= T. `end` exits belong to the end of a session, not to the candle they are dated at."""
    kept = {}
    for name, spec in TABLES.items():
        rows = capture.rows(name)
        if name == "funnel" or len(rows) == 0:
            continue
        at = spec.position(TIME_COLUMN.get(name, "time_ms"))
        if spec.numeric:
            chosen = rows[:, at] <= time_ms
            if name == "exit":
                chosen &= rows[:, spec.position("kind")] != int(OrderKind.END)
            if name == "modification":  # a trial under way is told when the session ends
                chosen &= rows[:, spec.position("kept")] != -1
            if name == "reject":  # what a session's end withdraws belongs to the end
                ended = (rows[:, at] == time_ms) & (rows[:, spec.position("reason")] == int(Reject.WITHDRAWN))
                chosen &= ~ended
            kept[name] = rows[chosen]
        else:
            kept[name] = [row for row in rows if row[at] <= time_ms]
    return kept


def changed_after(block, frame, how, rng):
    candles, present = block.candles.copy(), block.present.copy()
    if how == "removed":
        return block[0 : frame + 1]
    if how == "larger":
        candles[frame + 1 :, :, :4] *= 1.5
    else:
        order = frame + 1 + rng.permutation(len(candles) - frame - 1)
        candles[frame + 1 :], present[frame + 1 :] = candles[order], present[order]
    return replace(block, candles=candles, present=present)


def decided_until(capture, time_ms):
    """Entries decided at or before T, filled or not: an order's row is dated at its fill, one candle later."""
    decided = set()
    for name in ("entry", "reject"):
        spec, rows = TABLES[name], capture.rows(name)
        columns = [spec.position(c) for c in ("agent", "order_id", "side", "decided_ms", "requested_qty")]
        early = rows[rows[:, spec.position("decided_ms")] <= time_ms]
        decided |= {tuple(row) for row in early[:, columns].tolist()}
    return decided


def assert_same_past(base, other, time_ms, decisions=False):
    if decisions:
        assert decided_until(base, time_ms) == decided_until(other, time_ms)
    mine, theirs = rows_until(base, time_ms), rows_until(other, time_ms)
    for name in sorted(set(mine) | set(theirs)):
        a, b = mine.get(name, []), theirs.get(name, [])
        assert len(a) == len(b), name
        assert len(a) == 0 or np.array_equal(np.asarray(a), np.asarray(b)), name


@pytest.fixture(scope="session")
def look_ahead():
    return SimpleNamespace(changed_after=changed_after, assert_same_past=assert_same_past)


@pytest.fixture(scope="session")
def make_block():
    return made_up_block


@pytest.fixture(scope="session")
def make_config():
    return small_config


@pytest.fixture(scope="session")
def run():
    return run_session


@pytest.fixture(scope="session")
def capture_class():
    return Capture


@pytest.fixture(scope="session")
def go_on():
    return go_on_from_checkpoint


@pytest.fixture(scope="module")
def spot_hours(real_data):
    """Real hourly candles of five spot markets, as one block."""
    from trader.feeds.replay import ReplayFeed  # here: test_rehearsal.py asks what is imported after this file

    feed = ReplayFeed(
        [real_data / "candles" / "roshan7869-algotrading"], exchange_id="binance", market_type="spot", symbols=None,
        base_ms=HOUR, quote="USDT",
    )  # fmt: skip
    return next(iter(feed.blocks(60_000)))
