"""What is planted in a synthetic market and what is not: martingale, oracle, labels, holes, correlations, statistics."""

import itertools

import numpy as np
import pytest

from trader.core.config import load
from trader.core.features import FIRST_LEARNED, FeatureEngine
from trader.core.regime import NAMES
from trader.core.rows import Regime
from trader.core.types import UserError
from trader.feeds.synthetic import DEFAULT_START_MS, SyntheticFeed
from trader.feeds.synthetic_modes import SyntheticTerms, rules_of, shapes_of_day
from trader.feeds.synthetic_oracle import oracle, outcome
from trader.session.feeds import planted_oracle

HOUR = 3_600_000
COST = 0.0007
"""Default taker fee and half spread."""


def market(seed=1, frames=8000, base_ms=HOUR, symbols=None, **terms):
    end = DEFAULT_START_MS + frames * base_ms
    return SyntheticFeed(symbols=symbols, base_ms=base_ms, seed=seed, end_ms=end, market=SyntheticTerms(**terms))


def candles_of(feed, frames=8000):
    (block,) = feed.blocks(frames)
    return block


def predictability(mode, seeds, frames=5000):
    """t-statistics [features + 1] of (feature at a close) x (next simple return), clustered by frame over markets."""
    products = []
    for seed in seeds:
        block = candles_of(market(seed, frames, mode=mode), frames)
        out = FeatureEngine(3, HOUR, (HOUR,)).update(block)
        closes = block.candles[:, :, 3]
        returns = closes[1:] / closes[:-1] - 1.0
        features = np.concatenate([out.features[:-1, :, 0, :FIRST_LEARNED], np.ones((frames - 1, 3, 1))], axis=2)[400:]
        scaled = returns[400:] / np.sqrt(np.mean(returns**2, axis=0))
        products.append((features * scaled[:, :, None]).sum(axis=1))
    products = np.concatenate(products)
    return products.mean(axis=0) / (products.std(axis=0) / np.sqrt(len(products)))


def test_null_is_a_martingale_for_every_feature():
    statistics = predictability("null", range(10))
    assert len(statistics) == FIRST_LEARNED + 1
    assert np.abs(statistics).max() < 3.5  # 33 of them: 2 % of such draws are above
    assert np.mean(np.abs(statistics) > 2.0) < 0.2


def test_the_same_test_finds_a_planted_edge():
    assert np.abs(predictability("planted", range(3))).max() > 6.0


def test_null_has_no_regime_and_funding_without_a_mean():
    feed = market(2, 20_000, mode="null")
    truth = feed.truth()
    assert not truth.regimes.any()
    assert not truth.expected.any()
    rates = truth.rates[truth.rates != 0.0]
    assert abs(rates.mean()) < 4.0 * rates.std() / np.sqrt(len(rates))
    closes = truth.closes[np.flatnonzero(truth.rates[:, 0]) - 1]
    stamps = truth.rates[np.flatnonzero(truth.rates[:, 0])]
    assert abs(np.corrcoef(np.diff(closes[:, 0]), stamps[1:, 0])[0, 1]) < 0.08


def test_inside_a_null_candle_neither_stops_nor_takes_are_favoured():
    """Whoever sells at open + d where the high reaches it, else at the close, gains nothing; nor does a stop below."""
    block = candles_of(market(5, 40_000, mode="null"), 40_000)
    opened, high, low, close = np.moveaxis(block.candles[:, :, :4], 2, 0)
    for distance in (0.002, 0.005, 0.01):
        for level, reached in ((opened * (1 + distance), high), (opened * (1 - distance), low)):
            hit = reached >= level if distance and level[0, 0] > opened[0, 0] else reached <= level
            result = np.where(hit, level, close) / opened - 1.0
            by_frame = result.mean(axis=1)
            assert abs(by_frame.mean()) < 4.0 * by_frame.std() / np.sqrt(len(by_frame))
            assert 0.02 < hit.mean() < 0.9


@pytest.mark.parametrize("base_ms", [HOUR, 4 * HOUR])
def test_the_planted_oracle_earns_after_costs_and_a_random_trader_does_not(base_ms):
    lucky = []
    for seed in range(6):
        feed = market(seed, 4000, base_ms, mode="planted")
        known = oracle(feed, COST)
        assert known.profit > 1.0
        assert known.expected_profit > 1.0
        assert known.profit == pytest.approx(known.expected_profit, rel=0.4)
        truth = feed.truth()
        rng = np.random.default_rng(seed)
        for _ in range(20):
            random = outcome(truth, rng.choice([-1.0, 0.0, 1.0], (800, 3)).repeat(5, axis=0), COST)
            lucky.append(random.expected_profit)
            assert random.profit < 0.5 * known.profit
    assert np.mean(lucky) < -2.0 * np.std(lucky) / np.sqrt(len(lucky))


def test_dearer_trading_makes_the_oracle_trade_less_and_no_edge_not_at_all():
    feed = market(3, 4000, mode="planted")
    cheap, dear = oracle(feed, 0.0001), oracle(feed, 0.003)
    assert (dear.costs > 0).sum() < (cheap.costs > 0).sum()
    assert dear.profit < cheap.profit
    assert oracle(market(3, 2000, mode="planted", edge=0.0), COST).profit == 0.0
    assert oracle(market(3, 2000, mode="null"), COST).profit == 0.0
    weak, strong = (oracle(market(3, 4000, mode="planted", edge=edge), COST).expected_profit for edge in (0.3, 1.0))
    assert 0.0 < weak < 0.5 * strong


def test_the_oracle_beats_every_simple_rule_that_sees_the_same():
    feed = market(4, 6000, mode="planted")
    truth = feed.truth()
    trend = np.select([truth.regimes == Regime.BULL, truth.regimes == Regime.BEAR], [1.0, -1.0], 0.0)
    always = np.repeat(trend[:, None], 3, axis=1)
    assert oracle(feed, COST).expected_profit > outcome(truth, always, COST).expected_profit > 0.0


def test_the_oracle_sees_no_future():
    """A later switch changes nothing before it: same shocks, another schedule from frame 1,000 on."""
    one = market(6, 2000, mode="planted", schedule=(("bull", 1000), ("range", 1000)))
    other = market(6, 2000, mode="planted", schedule=(("bull", 1000), ("bear", 1000)))
    a, b = (candles_of(feed, 2000).candles for feed in (one, other))
    np.testing.assert_array_equal(a[:1000], b[:1000])
    assert (a[1000:] != b[1000:]).any()
    np.testing.assert_array_equal(oracle(one, COST).positions[:1000], oracle(other, COST).positions[:1000])


def test_labels_follow_the_schedule():
    schedule = (("bull", 300), ("crash", 40), ("range", 160))
    feed = SyntheticFeed(
        symbols=None, base_ms=HOUR, seed=3, warmup=70, market=SyntheticTerms("planted", schedule),
        end_ms=DEFAULT_START_MS + 1200 * HOUR,
    )  # fmt: skip
    wanted = np.concatenate([[Regime[name.upper()]] * count for name, count in schedule])
    truth = feed.truth()
    np.testing.assert_array_equal(truth.regimes, np.tile(wanted, 3)[:1200])
    block = candles_of(feed, 2000)
    np.testing.assert_array_equal(block.candles[70:, :, 3], truth.closes)
    drift = rules_of(feed.market).drift
    bull = truth.regimes == Regime.BULL
    np.testing.assert_allclose(
        truth.expected[bull], np.tile(drift[Regime.BULL] * feed.sigmas, (bull.sum(), 1)), atol=1e-3
    )


def test_the_chain_visits_every_regime_for_about_its_time():
    labels = market(1, 60_000).truth().regimes
    assert set(np.unique(labels)) == {1, 2, 3, 4}
    lengths = {code: [] for code in range(1, 5)}
    for code, run in itertools.groupby(labels.tolist()):
        lengths[code].append(len(list(run)))
    mean_hours = rules_of(SyntheticTerms()).mean_hours
    for code, runs in lengths.items():
        assert np.mean(runs) == pytest.approx(mean_hours[code], rel=0.3)
    assert NAMES == ("bull", "bear", "range", "crash")


def test_true_labels_do_not_reach_a_frame():
    """Two markets with the same candles and other labels cannot be told apart: with no edge, regimes of equal size."""
    terms = {"mode": "planted", "edge": 0.0, "frames": 500}
    one, other = market(7, **terms, schedule=(("bull", 500),)), market(7, **terms, schedule=(("range", 500),))
    assert (one.truth().regimes != other.truth().regimes).all()
    a, b = candles_of(one, 500), candles_of(other, 500)
    for field in ("times", "candles", "present", "stamp_rate", "stamp_mark", "received", "phase"):
        np.testing.assert_array_equal(getattr(a, field), getattr(b, field))


@pytest.mark.parametrize("holes", [0.002, 0.05, 0.4])
def test_holes_are_there(holes):
    feed = market(3, 20_000, symbols=("BTC/USDT",), holes=holes)
    blocks = list(feed.blocks(777))
    times = np.concatenate([block.times for block in blocks])
    assert 1 - len(times) / 20_000 == pytest.approx(holes, rel=0.25)
    missing = np.diff(times) // HOUR - 1
    told = [incident for block in blocks for incident in block.incidents]
    assert len(told) == np.count_nonzero(missing)
    assert [int(incident.detail.split()[0]) for incident in told] == missing[missing > 0].tolist()
    assert {incident.kind for incident in told} == {"gap"}
    # the market goes on behind a hole
    whole = candles_of(market(3, 20_000, symbols=("BTC/USDT",)), 20_000)
    seen = np.isin(whole.times, times)
    np.testing.assert_array_equal(np.concatenate([block.candles for block in blocks]), whole.candles[seen])


def test_holes_of_several_markets_are_their_own():
    block = candles_of(market(3, 6000, holes=0.1), 6000)
    assert 0.08 < 1 - block.present.mean() < 0.12
    assert block.present.any(axis=1).all()
    assert np.isnan(block.candles[~block.present]).all()
    assert np.isnan(block.stamp_rate[~block.present]).all()
    assert abs(np.corrcoef(block.present.T)[0, 1]) < 0.2
    parts = list(market(3, 6000, holes=0.1).blocks(100))
    told = [incident for part in parts for incident in part.incidents]
    assert sorted(told, key=lambda incident: (incident.time_ms, incident.symbol)) == list(block.incidents)


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.7, 0.95])
def test_the_correlation_matrix_is_near_its_target(correlation):
    symbols = ("ADA/USDT", "BTC/USDT", "DOGE/USDT", "ETH/USDT", "SOL/USDT")
    block = candles_of(market(3, 20_000, symbols=symbols, correlation=correlation, mode="null"), 20_000)
    found = np.corrcoef(np.diff(np.log(block.candles[:, :, 3]), axis=0).T)
    assert np.abs(found[~np.eye(5, dtype=bool)] - correlation).max() < 0.1


def test_volatility_is_remembered_as_in_a_market():
    """Autocorrelation of the absolute return after an hour, a day and a week, over six seeds: one seed says little."""
    found = []
    for seed in range(1, 7):
        size = np.abs(np.diff(np.log(candles_of(market(seed, 40_000), 40_000).candles[:, :, 3]), axis=0))
        found.extend([np.corrcoef(size[:-lag, m], size[lag:, m])[0, 1] for lag in (1, 24, 168)] for m in range(3))
    remembered = np.mean(found, axis=0)
    assert 0.20 < remembered[0] < 0.40
    assert 0.12 < remembered[1] < 0.28
    assert 0.06 < remembered[2] < 0.22


def test_returns_look_like_a_market():
    """Bounds around real hourly candles of 2018 to 2023 (docs/synthetic-market.md), wide enough for one seed's luck."""
    block = candles_of(market(3, 40_000), 40_000)
    returns = np.diff(np.log(block.candles[:, :, 3]), axis=0)
    centred = returns - returns.mean(axis=0)
    kurtosis = (centred**4).mean(axis=0) / centred.var(axis=0) ** 2
    assert ((kurtosis > 12.0) & (kurtosis < 80.0)).all()
    for m in range(3):
        assert abs(np.corrcoef(returns[:-1, m], returns[1:, m])[0, 1]) < 0.05
    assert ((returns.std(axis=0) > 0.004) & (returns.std(axis=0) < 0.02)).all()
    prices = block.candles[:, :, 3] / block.candles[0, :, 0]
    assert (prices.max(axis=0) < 50.0).all()
    assert (prices.min(axis=0) > 0.02).all()


def test_the_day_has_its_shape():
    block = candles_of(market(3, 48_000), 48_000)
    size, volume = shapes_of_day(HOUR)
    moves = np.abs(np.log(block.candles[:, :, 3] / block.candles[:, :, 0])).reshape(-1, 24, 3).mean(axis=(0, 2))
    volumes = block.candles[:, :, 4].reshape(-1, 24, 3).mean(axis=(0))
    volumes = (volumes / volumes.mean(axis=0)).mean(axis=1)
    assert np.corrcoef(moves, size)[0, 1] > 0.9
    assert np.corrcoef(volumes, volume * size)[0, 1] > 0.9
    for base in (60_000, 15 * 60_000, 4 * HOUR, 12 * HOUR):
        size, volume = shapes_of_day(base)
        assert len(size) == len(volume) == 24 * HOUR // base
        assert np.mean(size**2) == pytest.approx(1.0)
        assert np.mean(volume * size) == pytest.approx(1.0)


def test_the_config_has_its_oracle():
    config = load(None, ["feed.kind=synthetic", "feed.synthetic.mode=planted", "session.candles=2000"])
    known = planted_oracle(config)
    assert known.positions.shape == (2000, 3)
    free = planted_oracle(load(None, [
        "feed.kind=synthetic", "feed.synthetic.mode=planted", "session.candles=2000", "exchange.fees={taker=0.0}",
        "exchange.slippage=0.0",
    ]))  # fmt: skip
    assert free.profit > known.profit > 0.5
    assert free.costs.sum() == 0.0
    with pytest.raises(UserError, match="endless"):
        planted_oracle(load(None, ["feed.kind=synthetic"]))
    with pytest.raises(UserError, match="only a synthetic"):
        planted_oracle(load(None, ["feed.kind=replay"]))


@pytest.mark.parametrize(
    ("sets", "rule"),
    [
        (["feed.synthetic.mode=plante"], "did you mean 'planted'?"),
        (["feed.synthetic.mode=null", "feed.synthetic.edge=2.0"], "mode null has neither schedule nor edge"),
        (["feed.synthetic.schedule=[['bul', 5]]"], "feed.synthetic.schedule.0.0"),
        (["feed.synthetic.schedule=[['bull', 0]]"], "feed.synthetic.schedule.0.1"),
        (["feed.synthetic.schedule=[['bull']]"], "feed.synthetic.schedule.0.1"),
        (["feed.synthetic.schedule=bull"], "feed.synthetic.schedule"),
        (["feed.synthetic.edge=-1.0"], "greater than or equal to 0"),
        (["feed.synthetic.holes=0.6"], "less than or equal to 0.5"),
        (["feed.synthetic.correlation=nan"], "finite"),
        (["feed.synthetic.seed=1"], "unknown key; did you mean session.seed"),
    ],
)
def test_wrong_keys_are_refused(sets, rule):
    with pytest.raises(UserError) as refused:
        load(None, ["feed.kind=synthetic", *sets])
    assert rule in str(refused.value)
    assert "\n" not in str(refused.value)
