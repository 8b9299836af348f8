"""Same config, seed and candles: the same rows, for any cutting, number of threads, and after a restored checkpoint."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trader.core.config_levels import LevelsConfig
from trader.core.rows import TABLES, OrderKind
from trader.core.types import Instrument
from trader.session.engine import Engine


@pytest.fixture(scope="module")
def whole(make_block, make_config, run):
    return run(make_config(), make_block())[1]


def test_the_session_under_test_does_something(whole):
    assert len(whole.rows("entry")) > 200
    assert len(whole.rows("exit")) == len(whole.rows("entry"))
    kinds = set(whole.column("exit", "kind").tolist())
    assert {OrderKind.STOP, OrderKind.TAKE, OrderKind.SIGNAL, OrderKind.TIME, OrderKind.CULL, OrderKind.END} <= kinds
    assert len(whole.rows("funding")) > 50
    assert len(whole.rows("birth")) > 120
    assert len(whole.rows("death")) > 0
    assert len(whole.rows("level")) > 30


def test_twice_the_same(whole, make_block, make_config, run):
    assert whole.same_as(run(make_config(), make_block())[1]) is None


def test_another_seed_is_another_session(whole, make_block, make_config, run):
    assert whole.same_as(run(make_config("session.seed=4"), make_block())[1]) == "allocation"


def test_threads_change_nothing(whole, make_block, make_config, run):
    assert whole.same_as(run(make_config("engine.threads=2"), make_block())[1]) is None


def test_a_block_is_the_loop_of_its_candles(whole, make_block, make_config, run):
    block = make_block()
    assert whole.same_as(run(make_config(), block, cuts=range(1, len(block)))[1]) is None


@settings(max_examples=8, deadline=None)
@given(cuts=st.sets(st.integers(1, 1999), max_size=12))
def test_any_cutting_gives_the_same_rows(whole, make_block, make_config, run, cuts):
    assert whole.same_as(run(make_config(), make_block(), cuts=sorted(cuts))[1]) is None


@settings(max_examples=8, deadline=None)
@given(at=st.integers(1, 1999))
def test_a_restored_checkpoint_goes_on_as_if_nothing_had_happened(
    whole, make_block, make_config, run, capture_class, at
):
    block, config = make_block(), make_config()
    first, rows = run(config, block[0:at], finish=False)
    arrays, meta = first.state()
    before = {name: value.copy() for name, value in arrays.items()}
    second = Engine(config, first.instruments, rows)
    second.restore(arrays, json.loads(json.dumps(meta)))
    second.advance(block[at : len(block)])
    second.finish()
    assert whole.same_as(rows) is None
    for name, value in before.items():
        np.testing.assert_array_equal(arrays[name], value, err_msg=f"saving is a pure read, {name} changed")


def test_levels_off_is_the_system_without_them(make_block, make_config, run, monkeypatch):
    off = [f"levels.{name}.enabled=false" for name in LevelsConfig.model_fields]
    rows = run(make_config(*off), make_block())[1]

    def never(*args, **kwargs):
        raise AssertionError("a level that is switched off was touched")

    monkeypatch.setattr("trader.session.selection.SelectionLevel.update", never)
    monkeypatch.setattr("trader.session.selection.SelectionLevel.__init__", never)
    monkeypatch.setattr("trader.session.grants.GrantLevel.update", never)
    monkeypatch.setattr("trader.session.grants.GrantLevel.__init__", never)
    for level in ("bandits.BanditLevel", "calibration.CalibrationLevel", "modifier.SelfModifierLevel"):
        monkeypatch.setattr(f"trader.session.{level}.__init__", never)
    assert rows.same_as(run(make_config(*off), make_block())[1]) is None
    assert len(rows.rows("level")) == 0
    assert len(rows.rows("allocation")) == 120


def test_rows_of_one_market_do_not_depend_on_another(make_block, make_config, run):
    """Between boundaries markets never meet: a change in one changes no trade of the other without levels."""
    off = [f"levels.{name}.enabled=false" for name in LevelsConfig.model_fields]
    block = make_block()
    candles = block.candles.copy()
    candles[700:, 1, :4] *= 1.01
    changed = replace(block, candles=candles)
    trades = [run(make_config(*off), b)[1] for b in (block, changed)]
    kept = [t.rows("entry")[t.column("entry", "market") == 0][:, 1:] for t in trades]
    assert len(kept[0]) > 50
    assert np.array_equal(*kept)
    others = [t.rows("entry")[t.column("entry", "market") == 1][:, 1:] for t in trades]
    assert not np.array_equal(*others)


def test_spot_never_goes_short_and_never_borrows(make_block, make_config, run):
    rows = run(make_config('exchange.market_type="spot"'), make_block(funding=False), perpetual=False)[1]
    assert len(rows.rows("entry")) > 50
    assert set(rows.column("entry", "side").tolist()) == {1}
    assert set(rows.column("entry", "leverage").tolist()) == {100}


def test_sequence_numbers_rise_without_holes(whole):
    event = np.concatenate(
        [
            np.asarray(whole.rows(name))[:, 0]
            for name, spec in TABLES.items()
            if spec.sequence == "event" and len(whole.rows(name))
        ]
    )
    assert sorted(event.tolist()) == list(range(1, len(event) + 1))


def test_instruments_are_known_by_symbol(make_config, capture_class):
    engine = Engine(make_config(), (Instrument("A/USDT", perpetual=True),), capture_class())
    assert engine.books.symbols == ("A/USDT",)
