"""One battery for every level, found by asking a session for its levels: registration, clock, off, state, determinism."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from trader.core.config_levels import LevelsConfig
from trader.core.types import Instrument
from trader.session.engine import Engine

NAMES = sorted(LevelsConfig.model_fields)
POLICIES = ("dqn", "a3c", "ppo")
ON = (
    *(f"levels.{name}.enabled=true" for name in NAMES), "levels.hope.every=40", "levels.memory.every=20",
    *(f"levels.{name}.every=60" for name in POLICIES),
)  # fmt: skip
SYMBOLS = ("M0/USDT", "M1/USDT")


@pytest.fixture(scope="module", name="make_config")
def every_level_on(make_config):
    """Sessions of this battery have every level there is."""

    def config(*sets):
        return make_config(*ON, *sets)

    return config


def all_levels(config):
    instruments = tuple(Instrument(name, perpetual=True, taker_fee=50_000) for name in SYMBOLS)
    return Engine(config, instruments, SimpleNamespace(write=None, write_text=None)).levels


@pytest.fixture(scope="module")
def whole(make_block, make_config, run):
    return run(make_config(), make_block())


def test_every_key_under_levels_is_a_level(make_config):
    assert sorted(level.spec.name for level in all_levels(make_config())) == NAMES


@pytest.mark.parametrize("name", NAMES)
class TestEvery:
    """What every level must do."""

    def test_registers_what_it_owns(self, name, make_config):
        spec = next(level.spec for level in all_levels(make_config()) if level.spec.name == name)
        for part in (spec.parameters, spec.context_flow, spec.objective, spec.update_rule):
            assert len(part) > 10
        assert spec.every == getattr(make_config().levels, name).every

    def test_acts_on_its_clock_and_leaves_a_row_each_time(self, name, whole, make_config, make_block):
        engine, rows = whole
        every = getattr(make_config().levels, name).every
        times = [row[1] for row in rows.rows("level") if row[2] == name]
        first = int((make_block().phase == 0).sum())
        due = range(every, engine.frame, every)
        assert times == [int(make_block().times[first + frame]) for frame in due]
        steps = [row[3] for row in rows.rows("level") if row[2] == name]
        assert steps == list(range(1, len(steps) + 1))
        for row in rows.rows("level"):
            assert json.loads(row[7]) is not None

    def test_switched_off_it_leaves_no_trace_and_is_never_touched(
        self, name, make_block, make_config, run, monkeypatch
    ):
        # the three policies are one class: it is untouched when all of them are off
        off = [f"levels.{other}.enabled=false" for other in (POLICIES if name in POLICIES else (name,))]
        plain = run(make_config(*off), make_block(frames=1200))[1]
        assert name not in {row[2] for row in plain.rows("level")}
        kind = type(next(level for level in all_levels(make_config()) if level.spec.name == name))

        def never(*args, **kwargs):
            raise AssertionError(f"{name} is off and was touched")

        for method in ("__init__", "update", "state", "restore"):
            monkeypatch.setattr(kind, method, never)
        assert plain.same_as(run(make_config(*off), make_block(frames=1200))[1]) is None

    def test_its_state_survives_a_checkpoint_between_two_updates(self, name, whole, make_block, make_config, run):
        block, config = make_block(), make_config()
        every = getattr(config.levels, name).every
        at = int((block.phase == 0).sum()) + 5 * every + every // 2
        first, rows = run(config, block[0:at], finish=False)
        level = next(level for level in first.levels if level.spec.name == name)
        before = {key: np.copy(value) for key, value in level.state().items()}
        arrays, meta = first.state()
        after = level.state()
        assert list(after) == list(before)
        for key, values in before.items():
            np.testing.assert_array_equal(after[key], values)
        second = Engine(config, first.instruments, rows)
        second.restore(arrays, json.loads(json.dumps(meta)))
        second.advance(block[at : len(block)])
        second.finish()
        assert whole[1].same_as(rows) is None

    def test_another_period_is_another_session(self, name, whole, make_block, make_config, run):
        other = run(make_config(f"levels.{name}.every=77"), make_block())[1]
        assert whole[1].same_as(other) is not None


def test_newborns_get_capital_and_the_dead_give_theirs_back(whole):
    engine, rows = whole
    deaths = rows.column("death", "agent").tolist()
    assert len(deaths) > 20
    granted = {}
    for agent, amount in zip(rows.column("allocation", "agent"), rows.column("allocation", "amount"), strict=True):
        granted.setdefault(int(agent), []).append(int(amount))
    assert all(granted[agent][-1] < 0 or sum(granted[agent]) == 0 for agent in deaths if agent in granted)
    born = [row[2] for row in rows.rows("birth") if row[9] > 0]
    assert born
    assert all(granted[agent][0] > 0 for agent in born if agent in granted)
    assert sum(agent in granted for agent in born) > 0.9 * len(born)
    living = set(engine.books.population.roster.agent.tolist())
    assert living.isdisjoint(deaths)
    assert len(living) >= 120
