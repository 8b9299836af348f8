"""No row dated at or before T depends on a candle after T."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.mark.parametrize("how", ["larger", "shuffled", "removed"])
def test_the_future_changes_no_row_of_the_past(make_block, make_config, run, look_ahead, how):
    rng = np.random.default_rng(5)
    block, config = make_block(), make_config()
    base = run(config, block)[1]
    for frame in rng.integers(401, 1990, 6).tolist():
        other = run(config, look_ahead.changed_after(block, frame, how, rng))[1]
        look_ahead.assert_same_past(base, other, int(block.times[frame]), decisions=how == "larger")


def test_the_sweep_finds_a_planted_look_ahead(make_block, make_config, run, look_ahead, monkeypatch):
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
    caught = 0
    for frame in range(420, 1400, 70):
        changed = look_ahead.changed_after(block, frame, "larger", np.random.default_rng(0))
        other = run(config, changed)[1]
        try:
            look_ahead.assert_same_past(base, other, int(block.times[frame]), decisions=True)
        except AssertionError:
            caught += 1
    assert caught > 0
