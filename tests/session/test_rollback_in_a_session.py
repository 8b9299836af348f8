"""A market that turns, and a sequence model that modifies itself in it: slow weights stay, and every change can be undone."""

from __future__ import annotations

import json

import numpy as np
import pytest

from memory import layout
from memory.hope import HOPE
from memory.market_stream import STATE, follow
from memory.markets import FEATURES
from trader.lab.history import load_history
from trader.session.engine import Engine
from trader.session.reading import WIDTH


@pytest.fixture(scope="module")
def turned(make_config, capture_class):
    """A session over three turns, and its rows; the trigger is easily set off."""
    config = make_config(
        "feed.symbols=['BTC/USDT', 'ETH/USDT']", "session.candles=1600", "feed.synthetic.mode=planted",
        'feed.synthetic.schedule=[["bull", 400], ["bear", 300]]', "levels.hope.enabled=true", "levels.hope.every=24",
        "levels.hope.trigger_threshold=0.05", size=20,
    )  # fmt: skip
    history, rows = load_history(config), capture_class()
    engine = Engine(config, history.instruments, rows)
    engine.advance(history.block)
    engine.close()
    return engine, [json.loads(row[7]) for row in rows.rows("level") if row[2] == "hope"]


def test_slow_weights_are_the_shipped_ones_however_often_it_modified_itself(turned):
    engine, rows = turned
    assert sum(row["opened"] for row in rows) >= 3
    shipped = HOPE(inputs=FEATURES, width=WIDTH).slow_hash()
    assert {row["slow_weights"] for row in rows} == {shipped[:16]}
    assert engine._sequence.model.slow_hash() == shipped


def test_what_is_rolled_back_is_the_frozen_net_bit_for_bit(turned):
    model = turned[0]._sequence.model
    clock, fast = model._aoff[0], slice(model._aoff[layout.S_FAST], model._aoff[layout.S_STATS])
    stream = next(s for s in range(len(model._aux)) if model._aux[s, clock + layout.ACTIVE] == 1.0)
    generator = np.random.default_rng(1)
    close = 100.0 * np.exp(np.cumsum(0.005 * generator.standard_normal(260)))
    candles = np.column_stack((close, close * 1.001, close * 0.999, close, np.full(260, 1e4)))
    inputs = np.asarray(follow(np.zeros(STATE), candles, close))[200:]
    changed = model.follow(stream, inputs[:3])
    assert changed.prediction.tobytes() != changed.frozen.tobytes()
    assert model.rollback(stream)
    while model.rollback(stream):
        pass
    assert not model._aux[stream, fast].any()
    model.trigger_threshold = 2.0  # and nothing changes again
    undone = model.follow(stream, inputs[3:])
    assert undone.prediction.tobytes() == undone.frozen.tobytes()
