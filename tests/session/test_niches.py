"""Islands, behaviour and the archive in a session: they act, say so, survive a checkpoint, and off is never touched."""

from __future__ import annotations

import json

import numpy as np
import pytest

from trader.core.rows import Operator
from trader.session import niches

ON = (
    "population.islands=3",
    "population.grid=3",
    "levels.evolution.migration_every=2",
    "levels.evolution.archived=0.5",
)


@pytest.fixture(scope="module")
def whole(make_block, make_config, run):
    return run(make_config(*ON), make_block())


def details(rows):
    return [json.loads(row[7]) for row in rows.rows("level") if row[2] == "evolution"]


def births(rows):
    return {row[2]: (row[3], row[4], row[5]) for row in rows.rows("birth")}


def test_every_generation_says_what_its_niches_did(whole):
    told = [detail["niches"] for detail in details(whole[1])]
    assert all(len(one["islands"]) == 3 for one in told)
    assert sum(one["migrated"] for one in told) > 0
    assert all((one["migrated"] == 0) or number % 2 == 0 for number, one in enumerate(told, 1))
    assert max(one["archive"] for one in told) > 5
    assert sum(one["reborn"] for one in told) > 0


def test_agents_of_the_archive_are_born_again_with_their_genes(whole):
    rows = whole[1].rows("birth")
    genes = {row[2]: (row[6], row[-1]) for row in rows}
    dead = {row[1]: row[0] for row in whole[1].rows("death").tolist()}
    again = [row for row in rows if row[5] == int(Operator.ARCHIVED)]
    assert again
    assert dead
    for row in again:
        assert genes[row[2]] == genes[row[3]]


def test_parents_of_a_child_live_on_one_island(whole, make_block, make_config, run, monkeypatch):
    seen = []
    enrol = niches.Niches.enrol

    def watched(self, newborn):
        pairs = newborn.parent_b >= 0
        seen.append((self._islands_of(newborn.parent_a[pairs]) == self._islands_of(newborn.parent_b[pairs])).all())
        enrol(self, newborn)
        first = pairs & (newborn.operator == int(Operator.CROSSOVER))
        seen.append((self._islands_of(newborn.agent[first]) == self._islands_of(newborn.parent_a[first])).all())

    monkeypatch.setattr(niches.Niches, "enrol", watched)
    assert run(make_config(*ON), make_block())[1].same_as(whole[1]) is None
    assert len(seen) > 10
    assert all(seen)


@pytest.mark.parametrize("cut", [555, 901, 1_333])
def test_killed_and_restored_it_is_the_same_session(cut, whole, make_block, make_config, run, go_on):
    config, block = make_config(*ON), make_block()
    first, rows = run(config, block[0:cut], finish=False)
    go_on(first, rows, block, cut)
    assert whole[1].same_as(rows) is None


def test_other_threads_are_the_same_session(whole, make_block, make_config, run):
    other = run(make_config(*ON, "engine.threads=2"), make_block())[1]
    assert whole[1].same_as(other) is None


def test_off_it_is_never_touched(make_block, make_config, run, monkeypatch):
    plain = run(make_config(), make_block(frames=1200))[1]

    def never(*args, **kwargs):
        raise AssertionError("niches are off and were touched")

    for name in ("__init__", "begin", "culled", "niches", "born", "enrol", "told", "state", "restore"):
        monkeypatch.setattr(niches.Niches, name, never)
    assert plain.same_as(run(make_config(), make_block(frames=1200))[1]) is None
    assert all("niches" not in detail for detail in details(plain))


def test_heritability_is_told_with_what_it_rests_on(whole):
    last = details(whole[1])[-1]["heritability_so_far"]
    assert last["children"] >= 8 * last["generations"] > 0
    assert np.isfinite(last["slope"])
    assert last["standard_error"] > 0
