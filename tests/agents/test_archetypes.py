"""One battery for every archetype, found in its folder; and adding one is adding one file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import agents.archetypes as folder
from agents.archetypes import discovered
from agents.genome import GENES, from_unit
from agents.layout import BINS
from agents.market_agents import pack, score_block
from agents.population import _newborn_arrays, founders
from trader.core.features import FEATURES

HOUR = 3_600_000
NAMES = sorted(discovered())


def market(n=300, archetypes=3, seed=0):
    roster = founders(seed, n, 1, 1, np.arange(archetypes), 0)
    roster = roster.take(roster.order())
    arrays = _newborn_arrays(roster, (HOUR,))
    return roster, pack(roster.archetype, roster.timeframe, (HOUR,), arrays, np.full((archetypes, BINS), np.nan))


def features(rows=400, seed=0):
    rng = np.random.default_rng(seed)
    return np.clip(rng.normal(size=(rows, len(FEATURES))) * 1.5, -8, 8).astype(np.float32)


@pytest.mark.parametrize("name", NAMES)
class TestEvery:
    """What every trading idea must do."""

    def test_is_documented(self, name):
        module = __import__(f"agents.archetypes.{name}", fromlist=["x"])
        assert len(module.__doc__) > 200
        assert discovered()[name].meaning

    def test_block_equals_scalar_and_is_finite(self, name):
        archetype = discovered()[name]
        genes = np.ascontiguousarray(
            from_unit(np.random.default_rng(1).uniform(size=(40, len(GENES)))).T, dtype=np.float32
        )
        rows, values = np.array([0, 3, 7]), features(10)
        scores = np.full((10, 40), np.float32(99))
        archetype.ideas(values, rows, genes, scores, 5, 35)
        assert np.isfinite(scores).all()
        for r in rows:
            for j in range(5, 35):
                assert scores[r, j] == np.float32(archetype.idea.py_func(values[r], genes, j))
        assert (scores[[1, 2, 4], :] == 99).all()
        assert (scores[:, :5] == 99).all()

    def test_asks_for_both_sides_and_is_unit_scale(self, name):
        archetype = discovered()[name]
        genes = np.ascontiguousarray(
            from_unit(np.random.default_rng(2).uniform(size=(60, len(GENES)))).T, dtype=np.float32
        )
        scores = np.zeros((400, 60), np.float32)
        archetype.ideas(features(), np.arange(400), genes, scores, 0, 60)
        assert (scores > 0.2).mean() > 0.03
        assert (scores < -0.2).mean() > 0.03
        assert 0.1 < np.abs(scores).mean() < 3

    def test_extreme_features_stay_finite(self, name):
        archetype = discovered()[name]
        genes = np.ascontiguousarray(
            from_unit(np.random.default_rng(3).uniform(size=(20, len(GENES)))).T, dtype=np.float32
        )
        scores = np.zeros((3, 20), np.float32)
        values = np.stack([np.full(len(FEATURES), v, np.float32) for v in (-8, 0, 8)])
        archetype.ideas(values, np.arange(3), genes, scores, 0, 20)
        assert np.isfinite(scores).all()


def test_scores_are_bounded_and_invalid_rows_wake_nobody():
    _, agents = market()
    values = features()[:, None, :]
    closed, valid = np.ones((400, 1), bool), np.ones((400, 1), bool)
    closed[5] = False
    valid[7] = False
    scores = np.full((400, 300), np.float32(5))
    score_block(agents, tuple(discovered().values()), values, closed, valid, np.ones((400, 1), np.int8), scores)
    assert np.isnan(scores[7]).all()
    assert (scores[5] == 5).all()
    used = np.delete(scores, [5, 7], axis=0)
    assert (np.abs(used) < 1).all()
    assert (np.abs(used) > 0.3).mean() > 0.05


def test_scores_do_not_depend_on_the_rest_of_the_population():
    roster, agents = market()
    some = np.sort(np.random.default_rng(0).choice(300, 100, replace=False))
    part = roster.take(some)
    arrays = _newborn_arrays(part, (HOUR,))
    fewer = pack(part.archetype, part.timeframe, (HOUR,), arrays, np.full((3, BINS), np.nan))
    yes, regime = np.ones((400, 1), bool), np.full((400, 1), 2, np.int8)
    out = [np.zeros((400, 300), np.float32), np.zeros((400, 100), np.float32)]
    for group, scores in zip((agents, fewer), out, strict=True):
        score_block(group, tuple(discovered().values()), features()[:, None, :], yes, yes, regime, scores)
    np.testing.assert_array_equal(out[0][:, some], out[1])


def test_adding_an_archetype_is_adding_a_file(tmp_path, monkeypatch):
    source = Path(folder.__file__).parent / "trend.py"
    (tmp_path / "always_long.py").write_text(
        source.read_text().replace("follows established trends", "dropped in by a test")
    )
    monkeypatch.setattr(folder, "__path__", [*folder.__path__, str(tmp_path)])
    discovered.cache_clear()
    try:
        found = discovered()
        assert found["always_long"].meaning.startswith("dropped in")
        assert set(NAMES) < set(found)
        assert list(found) == sorted(found)
    finally:
        discovered.cache_clear()
