"""Placebos keep what a market is made of, and nothing of its order."""

from __future__ import annotations

import json

import numpy as np
import pytest

from trader.core.errors import UserError
from trader.core.types import CLOSE, HIGH, LOW, OPEN, VOLUME
from trader.lab.history import load_history
from trader.lab.placebos import BLOCK, placebos, shuffled, surrogate
from trader.session.api import run_session


@pytest.fixture(scope="module")
def pair(small_config):
    config = small_config('feed.symbols=["BTC/USDT", "ETH/USDT"]', "session.candles=2000", "feed.synthetic.holes=0.003")
    history = load_history(config)
    return history, surrogate(history, 3, 1)


def moves(history):
    closes = history.marks()
    return np.log(closes[1:] / closes[:-1])


def test_same_moves_in_another_order_and_the_same_end(pair):
    history, other = pair
    assert np.allclose(history.marks()[-1], other.marks()[-1], rtol=1e-9)
    assert not np.allclose(history.marks()[1000], other.marks()[1000], rtol=1e-3)
    assert np.array_equal(history.block.times, other.block.times)
    assert history.block.present.sum() == other.block.present.sum()
    assert np.array_equal(
        history.block.candles[: history.warmup], other.block.candles[: history.warmup], equal_nan=True
    )
    mine, theirs = (np.corrcoef(moves(each).T)[0, 1] for each in pair)
    assert mine == pytest.approx(theirs, abs=0.02)


def test_candles_are_sound_and_trade_the_same_value(pair):
    for history in pair:
        candles = history.block.candles[history.block.present]
        assert (candles[:, HIGH] >= candles[:, [OPEN, CLOSE, LOW]].max(axis=1)).all()
        assert (candles[:, LOW] <= candles[:, [OPEN, CLOSE, HIGH]].min(axis=1)).all()
        assert (candles > 0).all()
    mine, theirs = (np.nansum(each.block.candles[:, :, VOLUME] * each.block.candles[:, :, CLOSE]) for each in pair)
    assert mine == pytest.approx(theirs, rel=1e-9)


def test_clustering_stays_within_a_block_and_order_goes():
    """Loud and quiet stretches of a block each, with a trend in them: after shuffling the size still clusters, and of the
    trend only what a block is worth on average is left, wherever in the block two neighbours stood before."""
    generator = np.random.default_rng(1)
    count = 200 * BLOCK
    loud = np.repeat(generator.permutation(200) % 2, BLOCK) * 4.0 + 1.0
    trend = np.convolve(generator.normal(size=count), np.ones(5), mode="same") * loud
    again = trend[shuffled(count, 1, 1, 0)]

    def follows(values):
        return np.corrcoef(values[:-1], values[1:])[0, 1]

    moving = np.maximum(1.0 - np.abs(np.subtract.outer(np.arange(BLOCK), np.arange(BLOCK))) / 5, 0.0)
    left = (moving.sum() - BLOCK) / (BLOCK * (BLOCK - 1))
    assert follows(trend) > 0.7
    assert left < 0.1
    assert abs(follows(again) - left) < 0.05
    assert follows(np.abs(again)) > 0.2


def test_every_frame_once_and_every_number_another():
    first, second = shuffled(500, 7, 1, 0), shuffled(500, 7, 2, 0)
    assert sorted(first.tolist()) == list(range(500))
    assert (first != second).any()
    assert np.array_equal(first, shuffled(500, 7, 1, 0))


def test_no_market_trades_before_it_began(pair):
    history, _ = pair
    candles = history.block.candles.copy()
    began = history.warmup + 700
    candles[:began, 1] = np.nan
    late = history.__class__(
        history.kind, history.source, history.base_ms, history.instruments,
        history.block.__class__(**{
            **{name: getattr(history.block, name) for name in history.block.__dataclass_fields__},
            "candles": candles, "present": np.isfinite(candles[:, :, CLOSE]),
        }),
    )  # fmt: skip
    other = surrogate(late, 1, 1)
    listed = int(np.argmax(late.block.present[:, 1]))
    assert not other.block.present[:listed, 1].any()
    assert np.array_equal(other.block.candles[listed, 1], candles[listed, 1])


def test_of_a_run(small_config, tmp_path):
    url = str(tmp_path / "a.db")
    config = small_config("session.candles=600", "population.size=30")
    summary = run_session(config, url=url)
    found = placebos("latest", 4, url=url)
    end = float(summary.values["equity_end"]) / float(summary.values["equity_start"]) - 1
    assert found["total_return"] == pytest.approx(end, abs=1e-3)  # but for what closing the last positions cost
    assert len(set(found["total_returns"])) == 4
    assert found["resolution"] == pytest.approx(0.2)
    above = sum(value >= found["total_return"] for value in found["total_returns"])
    assert found["p_value"] == pytest.approx((1 + above) / 5)
    assert found == placebos("latest", 4, url=url)
    run_session(small_config("session.candles=60"), url=url)
    with pytest.raises(UserError, match="too few for placebos"):
        placebos("latest", 4, url=url)


def test_command_line(small_config, tmp_path, capsys):
    from trader.__main__ import main

    url = str(tmp_path / "a.db")
    run_session(small_config("session.candles=600", "population.size=30"), url=url)
    capsys.readouterr()
    assert main(["report", "--placebos", "3", "--no-paths", "--db", url, "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["placebos"]["count"] == 3
    assert main(["report", "--placebos", "3", "--no-paths", "--db", url, "--quiet"]) == 0
    assert "of its own 3 placebos" in capsys.readouterr().out
