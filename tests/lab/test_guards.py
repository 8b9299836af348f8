"""What `trader evaluate` must catch: leaks, noise, an edge that was only there in sample; and what it must find."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from trader.core import rng
from trader.core.config import load
from trader.core.features import FEATURES, FeatureEngine
from trader.core.types import VOLUME, Block
from trader.feeds.synthetic_oracle import oracle_positions, outcome
from trader.lab import evaluate as module
from trader.lab import judgement, sessions, stats
from trader.lab.audit import audit
from trader.lab.history import filled, load_history
from trader.lab.sessions import Wishes
from trader.lab.windows import Split, Window, grid
from trader.report.series import EquityCurve
from trader.session.feeds import synthetic_feed

QUICK = (
    "evaluation.costs=[1.0]", "evaluation.draws=100", "engine.threads=1", "levels.evolution.every=720",
    'feed.kind="synthetic"',
)  # fmt: skip


def config_of(*sets):
    return load(None, [*QUICK, *sets])


# --- leaks -------------------------------------------------------------------------------------------------------------


def next_return(self, block):
    """A test double of the feature engine that shows the next candle's return where it is known: inside a block."""
    out = HONEST(self, block)
    closes = filled(block.candles[:, :, 3])
    column = FEATURES.index("return_1")
    out.features[:-1, :, :, column] = 1000.0 * (closes[1:] / closes[:-1] - 1.0)[:, :, None]
    return out


def whole_block(self, block):
    """A deliberate bug: features divided by their largest size in the block, as if scaled on all the data."""
    out = HONEST(self, block)
    largest = np.abs(out.features).max(axis=0, keepdims=True)
    np.divide(out.features, np.where(largest > 0, largest, 1.0), out=out.features)
    return out


HONEST = FeatureEngine.update


@pytest.mark.parametrize("leak", [next_return, whole_block])
def test_a_leak_is_caught_and_nothing_else_is_told(leak, small_config, evaluated, monkeypatch):
    monkeypatch.setattr(FeatureEngine, "update", leak)
    found = evaluated(small_config("session.candles=1500", "evaluation.costs=[1.0]", "evaluation.seeds=1"))
    assert found["verdict"].startswith("Invalid: something looked ahead")
    assert not found["audit"]["ok"]
    assert not found["significant"]


def test_an_honest_session_passes_with_every_level_on(small_config):
    config = small_config(
        "session.candles=900", "levels.hope.enabled=true", "levels.memory.enabled=true", "levels.ppo.enabled=true"
    )
    assert audit(config, load_history(config), moments=6).differences == ()


def test_the_command_ends_with_code_1_where_something_looked_ahead(small_config, tmp_path, monkeypatch, capsys):
    from trader.__main__ import main

    monkeypatch.setattr(FeatureEngine, "update", next_return)
    file = tmp_path / "c.toml"
    file.write_text('[session]\ncandles = 1200\n[feed]\nkind = "synthetic"\nsymbols = ["BTC/USDT"]\n[population]\nsize = 50\n'
                    "[evaluation]\nseeds = 1\ncosts = [1.0]\n")  # fmt: skip
    words = ["evaluate", str(file), "--db", str(tmp_path / "t.db"), "--keep", str(tmp_path / "kept"), "--quiet"]
    assert main(words) == 1
    assert capsys.readouterr().out.startswith("Invalid")


PEEK = """
import numpy as np
from trader.core.features import FEATURES
MEANING = "buys when the volume says that the next candle rises"
VOLUME = FEATURES.index("relative_volume")


def idea(features, genes):
    return np.sign(features[VOLUME]), abs(features[VOLUME])
"""


def test_a_plugin_that_reads_a_doctored_column_is_caught(small_config, evaluated, tmp_path):
    """Candles whose volume is thrice as high before a rise, and an idea that knows it: code without fault, files with one."""
    made = load_history(small_config("session.candles=3000"))
    candles = made.block.candles[:, 0].copy()
    rises = np.append(candles[1:, 3] > candles[:-1, 3], False)
    candles[:, VOLUME] = 1000.0 * np.where(rises, 3.0, 1.0)
    folder = tmp_path / "binanceusdm" / "BTC-USDT"
    folder.mkdir(parents=True)
    columns = dict(zip(("open", "high", "low", "close", "volume"), candles.T, strict=True))
    pd.DataFrame({"ts": made.block.times, **columns}).to_parquet(folder / "1h.parquet", index=False)
    (tmp_path / "peek.py").write_text(PEEK)
    found = evaluated(small_config(
        'feed.kind="replay"', f'feed.data=["{tmp_path / "binanceusdm"}"]', f'population.plugins=["{tmp_path / "peek.py"}"]',
        'population.archetypes=["peek"]', "evaluation.costs=[1.0]", "evaluation.seeds=1",
    ))  # fmt: skip
    assert found["verdict"].startswith("Invalid: something looked ahead (relative_volume of BTC/USDT 1h")
    assert found["out_of_sample"]["annual_return"] > 0  # that is what it would have told
    assert not found["significant"]


# --- an edge that is there, and noise ------------------------------------------------------------------------------------


def planted(seed, *sets):
    return config_of('feed.synthetic.mode="planted"', f"session.seed={seed}", *sets)


def test_a_planted_edge_is_found(evaluated):
    """Fifteen months to learn in, then out of sample: shown, above both twins, and the oracle's share is told."""
    found = evaluated(planted(7, "feed.synthetic.edge=2.0", "session.candles=20000", "population.size=200",
                              "evaluation.seeds=1"))  # fmt: skip
    assert found["verdict"].startswith("Shown on a made-up market")
    assert found["significant"]
    assert found["spa_p"] < 0.01
    assert found["dsr"] > 0.95
    assert found["oracle"]["share"] > 0.05
    assert found["oracle"]["oracle"] > 0


def test_a_strategy_that_takes_sixty_per_cent_of_the_oracles_trades_is_reported_with_exactly_their_profit():
    """The oracle's trades, six of ten, known in advance: what is reported is their profit to the last digit."""
    config = planted(7, "session.candles=6000")
    feed = synthetic_feed(config)
    cost = config.exchange.fees.taker + config.exchange.slippage
    truth = feed.truth(6000)
    decided = oracle_positions(feed, truth, cost)
    trade = np.cumsum(np.diff(decided, axis=0, prepend=0.0) != 0, axis=0) * 10 + np.arange(decided.shape[1])
    taken = np.where(np.isin(trade, np.unique(trade)[rng.uniform(1, 1, 0, np.unique(trade), 0) < 0.6]), decided, 0.0)
    known = outcome(truth, taken, cost)
    profit = (known.gross - known.costs).mean(axis=1)
    assert 0.3 < known.profit / outcome(truth, decided, cost).profit < 0.9
    equity = 1e6 * (1.0 + np.cumsum(profit))
    curve = EquityCurve(truth.times, equity, 1e6, feed.base_ms)
    train = Window(int(truth.times[0]), int(truth.times[2400]))
    steps = grid(
        curve, Split(train, (Window(int(truth.times[2400]), int(truth.times[-1]) + feed.base_ms),), 0, capped=False)
    )
    nothing = np.zeros((1, len(steps.test), 2))
    series = judgement.Series(
        steps=steps, population=steps.returns(curve)[None, :], archetypes=nothing, names=("a", "b"), twins={}, costs={},
        paths={}, rivals={}, random=nothing[:, :, 0], block=None,
    )  # fmt: skip
    found = judgement.out_of_sample(series)
    inside = (truth.times >= steps.points[:-1][steps.test][0]) & (truth.times < steps.points[1:][steps.test][-1])
    before = 1.0 + profit[: np.flatnonzero(inside)[0]].sum()
    assert found["total_return"] == pytest.approx(profit[inside].sum() / before, rel=1e-9)
    assert judgement.tests(series)["cash"]["p_value"] < 0.05
    assert float(stats.deflated_sharpe(series.headline, 20)) > 0.95


def null(seed, *sets):
    return config_of('feed.synthetic.mode="null"', f"session.seed={seed}", *sets)


@pytest.mark.parametrize("seed", [1, 2])
def test_noise_is_not_significant(seed, evaluated):
    found = evaluated(null(seed, "session.candles=4000", "population.size=100", "evaluation.seeds=2"))
    assert found["verdict"].startswith("Not shown on a made-up market")
    assert not found["significant"]


FREE = ("exchange.fees={maker=0.0,taker=0.0}", "exchange.slippage=0.0", "exchange.impact=0.0")
"""Without costs a population does not lose by trading, so chance has its fair share of profits."""


@pytest.mark.nightly
@pytest.mark.parametrize("costs", [(), FREE])
def test_noise_twenty_times(costs, tmp_path):
    """At most one of twenty null markets is significant at 5 % after Holm, by SPA alone; none by all conditions."""
    documents = []
    for seed in range(200, 220):
        config = null(seed, "session.candles=8000", "evaluation.seeds=3", *costs)
        documents.append(module.evaluate(config, Wishes(str(tmp_path / "t.db"), tmp_path / "kept")))
    p = stats.holm(np.array([document["spa_p"] for document in documents]))
    print("SPA p of 20 null markets:", sorted(round(document["spa_p"], 3) for document in documents))
    assert (p < 0.05).sum() <= 1
    assert sum(document["significant"] for document in documents) == 0


@pytest.mark.nightly
def test_a_planted_edge_of_the_default_strength_is_found(tmp_path):
    """Edge 1, 30,000 hours, three seeds: four markets of four (after 20,000 hours three of them, after 8,000 none)."""
    for seed in (7, 11, 21, 22):
        config = planted(seed, "session.candles=30000", "population.size=200")
        found = module.evaluate(config, Wishes(str(tmp_path / "t.db"), tmp_path / "kept"))
        print(seed, found["verdict"], found["oracle"])
        assert found["significant"]


# --- an edge only in sample -----------------------------------------------------------------------------------------------


def spliced(first, second):
    """One history of two: the second's traded candles behind the first's, at prices that go on."""
    start = second.warmup
    candles = second.block.candles[start:].copy()
    last, opened = filled(first.block.candles[:, :, 3])[-1], second.block.candles[start, :, 0]
    factor = last / opened
    candles[:, :, :VOLUME] *= factor[:, None]
    candles[:, :, VOLUME] /= factor
    times = first.block.times[-1] + first.base_ms * np.arange(1, len(candles) + 1)
    later = replace(second.block[start:], candles=candles, times=times)
    names = [name for name in Block.__dataclass_fields__ if name not in {"incidents", "visits", "signals"}]
    return replace(first, block=Block(**{name: np.concatenate([getattr(first.block, name), getattr(later, name)])
                                         for name in names}))  # fmt: skip


def test_an_edge_only_in_sample_is_flagged_and_never_the_headline(evaluated, monkeypatch):
    config = planted(7, "feed.synthetic.edge=2.0", "session.candles=20000", "population.size=200",
                     "evaluation.seeds=1", "evaluation.train=20000.0", "evaluation.holdout=1000.0",
                     "evaluation.test=2000.0", "evaluation.embargo=100.0")  # fmt: skip
    whole = spliced(load_history(config), load_history(null(8, "session.candles=9000")))
    monkeypatch.setattr(sessions, "load_history", lambda _: whole)
    found = evaluated(config)
    assert found["in_sample"]["population"]["in_sample_annual_return"] > 0.1
    assert found["in_sample"]["population"]["survives"] is False
    assert found["in_sample"]["flagged"]
    assert not found["significant"]
    assert "does not survive" in found["verdict"]
    made = f"{100 * found['out_of_sample']['annual_return']:+.1f} %"
    assert made in found["verdict"].split(" a year")[0]
