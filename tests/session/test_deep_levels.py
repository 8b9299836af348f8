"""The sequence model and the nested memory inside a session: same rows for any cutting, no future, nothing when off."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from trader.core.features import FIRST_LEARNED
from trader.core.rows import TABLES, Operator
from trader.session.engine import Engine

DEEP = (
    "levels.hope.enabled=true", "levels.memory.enabled=true", "levels.memory.every=10", "levels.hope.every=20",
    "levels.dqn.enabled=true", "levels.a3c.enabled=true", "levels.ppo.enabled=true", "levels.dqn.every=50",
    "levels.a3c.every=50", "levels.ppo.every=50", "levels.evolution.every=50", "levels.evolution.policy_births=0.6",
)  # fmt: skip
FRAMES = 1100


@pytest.fixture(scope="module")
def config(make_config):
    return make_config(*DEEP)


@pytest.fixture(scope="module")
def block(make_block):
    return make_block(frames=FRAMES, warmup=730)


@pytest.fixture(scope="module")
def whole(run, config, block):
    return run(config, block)[1]


def levels(rows, name):
    return [json.loads(row[7]) for row in rows.rows("level") if row[2] == name]


def test_both_levels_update_and_learn(whole):
    hope, memory = levels(whole, "hope"), levels(whole, "memory")
    assert len(hope) >= 10
    assert len({row["slow_weights"] for row in hope}) == 1, "slow weights are frozen"
    assert sum(row["candles"] for row in hope) > 500
    assert len(memory) >= 30
    assert sum(row["written"] for row in memory) > 50
    assert any("retention" in row for row in memory)


def test_the_end_card_tells_how_many_births_were_decided(run, config, block):
    engine, rows = run(config, block)
    told = next(level for level in engine.levels if level.spec.name == "evolution").card()["births"]
    decided = engine._midwife.decided
    assert told.startswith(f"{sum(decided.values()):,} decided (dqn {decided['dqn']}, ")
    assert sum(decided.values()) >= len(rows.rows("policy"))
    assert min(decided.values()) > 0


def test_policies_decide_births_and_learn_from_them(whole):
    births = whole.rows("policy")
    assert len(births) > 20
    deciders, optimizers, actions = (births[:, TABLES["policy"].position(n)] for n in ("policy", "optimizer", "action"))
    assert set(deciders.tolist()) == {0, 1, 2, 3}, "each policy and the random control"
    assert ((deciders == 3) == (optimizers == 2)).all(), "nobody trains the control"
    assert len(set(actions.tolist())) > 5
    rewards = births[:, TABLES["policy"].position("reward")].view(np.float64)
    assert (np.abs(rewards) <= 1.0).all()
    names = TABLES["birth"].position
    decided = [row for row in whole.rows("birth") if row[names("operator")] == Operator.POLICY]
    assert len(decided) >= (deciders < 3).sum()
    assert all(row[names("parent_a")] == -1 for row in decided)
    assert any(row["births"] and row.get("updates") for row in levels(whole, "dqn"))


def test_a_block_is_the_loop_of_its_candles(whole, run, config, block):
    assert whole.same_as(run(config, block, cuts=range(1, len(block)))[1]) is None


def test_some_cutting_and_threads_change_nothing(whole, run, make_config, block):
    assert whole.same_as(run(make_config(*DEEP, "engine.threads=2"), block, cuts=[5, 731, 732, 950])[1]) is None


@pytest.mark.parametrize("at", [300, 741, 903])
def test_a_restored_checkpoint_goes_on(whole, run, config, block, at, go_on):
    first, rows = run(config, block[0:at], finish=False)
    go_on(first, rows, block, at)
    assert whole.same_as(rows) is None


@pytest.mark.parametrize("how", ["larger", "shuffled", "removed"])
def test_the_future_changes_no_row_of_the_past(whole, run, config, block, look_ahead, how):
    rng = np.random.default_rng(7)
    for frame in rng.integers(740, FRAMES - 10, 3).tolist():
        other = run(config, look_ahead.changed_after(block, frame, how, rng))[1]
        look_ahead.assert_same_past(whole, other, int(block.times[frame]), decisions=how == "larger")


def test_a_longer_warm_up_changes_no_bit_of_what_is_read(config, make_block):
    """The model starts with the last candles before the first decision, whatever came before them."""
    from trader.core.features import FeatureEngine
    from trader.session.sequence import SequenceLevel

    block = make_block(frames=1500, warmup=1400, missing=0.0)
    read = []
    for first in (0, 500):
        level, engine = (
            SequenceLevel(config, ("M0/USDT", "M1/USDT")),
            FeatureEngine(2, 3_600_000, (3_600_000, 7_200_000)),
        )
        for part, warming in ((block[first:1400], True), (block[1400:1500], False)):
            features = engine.update(part)
            reading = level.read(part, features, warming=warming)
        read.append((reading.embedding, features.features[..., FIRST_LEARNED:]))
    np.testing.assert_array_equal(read[0][0], read[1][0])
    np.testing.assert_array_equal(read[0][1], read[1][1])
    assert read[0][0].any()


def test_a_silent_trigger_is_the_frozen_net(make_config, run, block):
    """Above 1 the trigger never fires: what is in force errs exactly as the frozen net does."""
    silent = run(make_config(*DEEP, "levels.hope.trigger_threshold=1.5"), block)[1]
    rows = levels(silent, "hope")
    assert all(row["opened"] == 0 and row["candles_in_force"] == 0 for row in rows)
    assert all(row[4] == row[5] for row in silent.rows("level") if row[2] == "hope")


def test_recall_never_knows_a_trade_before_its_close(run, config, block, monkeypatch):
    from memory import NestedMemory
    from memory.mixture import SIMILARITY, TIME
    from trader.session.recollection import MemoryLevel

    now = {}
    honest_write, honest_read, honest_outcomes = NestedMemory.write, NestedMemory.read_many, MemoryLevel._outcomes
    written, read, recalled, closes = [], [], [], []

    def write(self, key, value, time, context=None, **more):
        written.append((now["frame"], time))
        honest_write(self, key, value, time, context, **more)

    def read_many(self, queries, k=8, at=None):
        read.append(self._clock)
        summaries, traces = honest_read(self, queries, k, at)
        experiences = traces[:, :2]  # of the working and the episodic store
        if now["deciding"]:  # not the look back at what is retained
            known = experiences[experiences[..., SIMILARITY] > -np.inf][:, TIME]
            recalled.extend((now["first"], time) for time in known)
        return summaries, traces

    def outcomes(self):
        now["deciding"] = False
        closes.extend((now["frame"], closed) for *_, closed in self._closed)
        return honest_outcomes(self)

    advance = Engine._run_piece

    def piece(self, part):
        now["first"], now["frame"], now["deciding"] = int(part.times[0]), int(part.times[-1]), True
        read.clear()
        advance(self, part)
        assert all(known < now["first"] for known in read[:1]), "what is recalled was known before the piece"

    monkeypatch.setattr(NestedMemory, "write", write)
    monkeypatch.setattr(NestedMemory, "read_many", read_many)
    monkeypatch.setattr(MemoryLevel, "_outcomes", outcomes)
    monkeypatch.setattr(Engine, "_run_piece", piece)
    run(config, block)
    assert written
    assert all(time <= frame for frame, time in written)
    assert len(closes) > 50
    assert all(closed <= frame for frame, closed in closes), "a trade is delivered after its close"
    assert len(recalled) > 1000
    assert all(known < first for first, known in recalled), "what is recalled was delivered before"


def test_off_is_the_system_without_them(make_config, run, block, monkeypatch):
    plain = run(make_config(), block)[1]

    for name in ("trader.session.sequence", "trader.session.recollection", "trader.session.births.midwife"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(Engine, "_read", lambda *_a, **_k: None)
    assert plain.same_as(run(make_config(), block)[1]) is None
    assert not levels(plain, "hope")


def test_memory_works_without_the_model(make_config, run, block):
    rows = run(make_config("levels.memory.enabled=true", "levels.memory.every=10"), block)[1]
    assert not levels(rows, "hope")
    assert sum(row["written"] for row in levels(rows, "memory")) > 50
