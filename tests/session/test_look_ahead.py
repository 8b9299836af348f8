"""No row dated at or before T depends on a candle after T."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from trader.core.rows import TABLES, OrderKind

TIME_COLUMN = {"candle": "ts", "stamp": "ts"}


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


@pytest.mark.parametrize("how", ["larger", "shuffled", "removed"])
def test_the_future_changes_no_row_of_the_past(make_block, make_config, run, how):
    rng = np.random.default_rng(5)
    block, config = make_block(), make_config()
    base = run(config, block)[1]
    for frame in rng.integers(401, 1990, 6).tolist():
        other = run(config, changed_after(block, frame, how, rng))[1]
        assert_same_past(base, other, int(block.times[frame]), decisions=how == "larger")


def test_the_sweep_finds_a_planted_look_ahead(make_block, make_config, run, monkeypatch):
    """A kernel that decides on the next candle's features is caught."""
    from trader.core import features

    honest = features.FeatureEngine.update

    def peeking(self, block):
        out = honest(self, block)
        out.features[:-1] = out.features[1:].copy()
        return out

    monkeypatch.setattr(features.FeatureEngine, "update", peeking)
    block, config = make_block(), make_config()
    base = run(config, block)[1]
    frames = range(420, 1400, 70)
    with pytest.raises(AssertionError):
        for frame in frames:
            changed = changed_after(block, frame, "larger", np.random.default_rng(0))
            assert_same_past(base, run(config, changed)[1], int(block.times[frame]), decisions=True)
