"""Draws that depend on nothing but their keys; boundaries that depend on nothing but the configuration."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trader.core import rng
from trader.core.clock import Level, LevelClock


def test_a_draw_depends_on_its_keys_only():
    together = rng.uniform(1, 2, 3, np.arange(100), 0)
    apart = np.array([float(rng.uniform(1, 2, 3, item, 0)) for item in range(100)])
    assert np.array_equal(together, apart)
    for other in (rng.uniform(9, 2, 3, np.arange(100), 0), rng.uniform(1, 9, 3, np.arange(100), 0),
                  rng.uniform(1, 2, 9, np.arange(100), 0), rng.uniform(1, 2, 3, np.arange(100), 9)):  # fmt: skip
        assert (other != together).all()


def test_draws_look_uniform_and_normal():
    uniform = rng.uniform(0, 1, 0, np.arange(200_000), 0)
    assert abs(uniform.mean() - 0.5) < 0.003
    assert abs(np.histogram(uniform, 20, (0, 1))[0] / 10_000 - 1).max() < 0.05
    assert abs(np.corrcoef(uniform[:-1], uniform[1:])[0, 1]) < 0.01
    normal = rng.normal(0, 1, 0, np.arange(200_000), 0)
    assert abs(normal.mean()) < 0.01
    assert abs(normal.std() - 1) < 0.01
    assert abs(np.mean(normal**4) - 3) < 0.1


def test_known_bits_never_change():
    """A changed hash would change every stored run."""
    assert int(rng.hash_bits(7, 1, 2, 3, 4)) == 0xA1C36620265C3B0F
    assert rng.integers(7, 1, 0, np.arange(6), 0, 1000).tolist() == [610, 641, 987, 26, 158, 703]


@given(
    periods=st.lists(st.integers(1, 50), min_size=1, max_size=4), start=st.integers(0, 300), length=st.integers(1, 200)
)
def test_boundaries_are_multiples_of_the_periods(periods, start, length):
    clock = LevelClock(tuple(Level(f"level{i}", every) for i, every in enumerate(periods)))
    for frame in range(start, start + length):
        due = {level.name for level in clock.due(frame)}
        assert due == {f"level{i}" for i, every in enumerate(periods) if frame > 0 and frame % every == 0}
    steps = clock.frames_to_boundary(start)
    ahead = next(frame for frame in range(start, start + 100) if clock.is_boundary(frame))
    assert steps == ahead - start + 1


def test_fast_levels_run_first_and_names_are_unique():
    clock = LevelClock((Level("slow", 10), Level("fast", 5)))
    assert [level.name for level in clock.due(10)] == ["fast", "slow"]
    assert clock.due(0) == ()
    assert LevelClock(()).frames_to_boundary(3) is None
    with pytest.raises(ValueError, match="share a name"):
        LevelClock((Level("a", 1), Level("a", 2)))
    with pytest.raises(ValueError, match="at least one frame"):
        Level("a", 0)
