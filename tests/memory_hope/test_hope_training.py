"""Training mechanics, weights files, and the trigger's learning signal."""

import numpy as np
import pytest
import torch

from memory import backbone, counterfactual, engine, layout, pretrained, train, trigger
from memory.hope import HOPE
from memory.layout import Config
from memory.markets import KINDS, features, planted, regime_market

SHIPPED = sorted(pretrained.FOLDER.glob("*.npz"))


def test_features_and_markets_do_not_look_ahead() -> None:
    market = regime_market(np.random.default_rng(0), 300)
    bumped = market.candles.copy()
    bumped[-1, :4] *= 1.1
    assert features(bumped)[:-1].tobytes() == features(market.candles)[:-1].tobytes()
    assert np.isfinite(market.features).all()
    assert (market.candles[:, 1] >= market.candles[:, [0, 3]].max(1)).all()
    assert (market.candles[:, 2] <= market.candles[:, [0, 3]].min(1)).all()


@pytest.mark.parametrize("kind", [*KINDS, "novel"])
def test_planted_switches_do_what_their_name_says(kind: str) -> None:
    markets = [planted(np.random.default_rng([1, i]), kind, 2000, 1000) for i in range(12)]

    def corr(a: slice) -> float:
        return float(
            np.mean(
                [
                    np.corrcoef(m.features[1:, 0][a], m.features[:-1, 0 if kind == "trend" else 1][a])[0, 1]
                    for m in markets
                ]
            )
        )

    before, after = slice(100, 990), slice(1010, 1900)
    scale = np.mean([m.features[:, 0][after].std() / m.features[:, 0][before].std() for m in markets])
    if kind == "volatility":
        assert 1.7 < scale < 2.4
    elif kind == "novel":
        assert np.mean([np.corrcoef(m.features[1010:1899, 6], m.features[1011:1900, 0])[0, 1] for m in markets]) > 0.1
    else:
        assert corr(before) > 0.1 > -0.1 > corr(after)


def test_mean_is_the_conditional_mean() -> None:
    """Regressing the next return on the stated mean gives slope one."""
    slopes = []
    for i in range(20):
        m = regime_market(np.random.default_rng([2, i]), 2000)
        x, y = m.mean[:-1] / m.scale[:-1], m.features[1:, 0] / m.scale[:-1]
        slopes.append((x @ y) / (x @ x))
    assert abs(np.mean(slopes) - 1.0) < 0.1


def test_slow_levels_wait_with_averaged_gradients() -> None:
    config = Config(width=16)
    flat = backbone.initial_weights(config, torch.Generator().manual_seed(0))
    before = flat.clone()
    optimizer = train.LevelAdam(config, flat, 1e-2)
    size = layout.size_of(layout.level_shapes(config))
    start = backbone.span(config, "continuum").start
    slow = slice(start + size, start + 2 * size)
    for tick in range(1, 9):
        optimizer.step(torch.ones_like(flat), 1.0, 1e-2)
        assert torch.equal(flat[slow], before[slow]) == (tick < 8)
        assert not torch.equal(flat[start : start + size], before[start : start + size])
    for name in pretrained.TRIGGER_PARTS:
        assert torch.equal(flat[backbone.span(config, name)], before[backbone.span(config, name)])


def test_outer_loop_lowers_the_loss_of_both_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stage 1 on one lasting regime, stage 2 on novel switches: each lowers its own loss on the same fixed markets."""
    hope = HOPE(weights=None, width=32)

    def markets(kind: str) -> None:
        batch = np.stack([planted(np.random.default_rng([8, i]), kind, 240, 100).features for i in range(8)])
        monkeypatch.setattr(train, "markets_batch", lambda *_: batch)

    def loss(stage: train.Stage) -> dict[str, float]:
        return train.outer_loop(hope, np.random.default_rng(0), stage, [])

    markets("none")
    first = loss(train.Stage(1, 8, 240, 0.0, False))["frozen_loss"]
    loss(train.Stage(30, 8, 240, 3e-3, False))
    assert loss(train.Stage(1, 8, 240, 0.0, False))["frozen_loss"] < first
    markets("novel")
    predictor = hope.weights[backbone.span(hope.config, "backbone")].detach().clone()
    gain = loss(train.Stage(1, 8, 240, 0.0, True))["shadow_gain"]
    loss(train.Stage(15, 8, 240, 1e-2, True))
    assert loss(train.Stage(1, 8, 240, 0.0, True))["shadow_gain"] > gain
    assert torch.equal(predictor, hope.weights[backbone.span(hope.config, "backbone")].detach())


def test_counterfactual_pair_equals_two_separate_runs() -> None:
    """A pair's advantage is the difference of two replays of the same candles, one opened and one shut."""
    x = regime_market(np.random.default_rng(3), 900).features
    hope = HOPE(weights=None, trigger_threshold=2.0)
    hope.refresh()
    rows = np.zeros((400, layout.EVIDENCE + 3))
    n = hope.counterfactuals(x, rows, every=50, horizon=100, warm=64)
    assert n >= 4
    force = np.full((1, len(x)), -1, np.int64)
    t = 200  # pairs are taken on multiples of 200 while nothing is armed
    force[0, t] = 1
    out = hope.replay(x[None], np.zeros((len(x), 4)), force=force)[0]
    prepared = train_labels(hope, x)
    y, c, s = prepared
    shut, opened = ((out[t : t + 100, engine.OUT + i] - c[t : t + 100]) / s[t : t + 100] for i in (1, 0))
    target = y[t + 1 : t + 101]
    expected = np.mean(
        [trigger.huber(a) - trigger.huber(b) for a, b in zip(target - shut, target - opened, strict=True)]
    )
    shadow = rows[:n][rows[:n, -1] == 0.0]
    assert np.abs(shadow[:, layout.EVIDENCE] - expected).min() < 1e-12


def train_labels(hope: HOPE, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    p = hope.unroll(x[None], np.zeros((len(x), 4)), False)[2]
    return tuple(t[0, :, 0].numpy() for t in (p.y, p.center, p.scale))


def test_fit_trigger_is_calibrated_and_finds_what_decides() -> None:
    """On pairs whose outcome depends on one piece of evidence the probability follows it, calibrated."""
    rng = np.random.default_rng(4)
    found = []
    for _ in range(40):
        rows = np.zeros((100, layout.EVIDENCE + 3))
        rows[:, : layout.EVIDENCE] = rng.normal(size=(100, layout.EVIDENCE))
        rows[:, layout.EVIDENCE] = 0.01 * (rows[:, 1] + rng.logistic(size=100) * 0.5)
        found.append(rows)
    hope = HOPE(weights=None)
    report = train.fit_trigger(hope, found, 400, torch.Generator().manual_seed(0))
    assert report["brier"] < 0.75 * report["brier_base"]
    assert report["calibration_error"] < 0.06
    hope.refresh()
    evidence = np.zeros(layout.EVIDENCE)
    low, high = (
        trigger.estimate(hope._off, hope._flat, np.where(np.arange(layout.EVIDENCE) == 1, v, evidence))[1]
        for v in (-2.0, 2.0)
    )
    assert low < 0.2 < 0.8 < high


def test_shuffled_outcomes_teach_the_trigger_nothing() -> None:
    """Negative control: with outcomes permuted over pairs no probability leaves the base rate by much."""
    rng = np.random.default_rng(5)
    found = []
    for _ in range(40):
        rows = np.zeros((100, layout.EVIDENCE + 3))
        rows[:, : layout.EVIDENCE] = rng.normal(size=(100, layout.EVIDENCE))
        rows[:, layout.EVIDENCE] = rng.permutation(0.01 * rows[:, 1])
        found.append(rows)
    report = train.fit_trigger(HOPE(weights=None), found, 300, torch.Generator().manual_seed(0))
    assert report["brier"] > 0.98 * report["brier_base"]


def test_untrained_is_never_called_trained(tmp_path) -> None:
    random = HOPE(weights=None)
    assert not random.trained
    assert "random" in random.provenance.predictor
    odd = HOPE(inputs=7, width=16)
    assert not odd.trained
    assert "random" in odd.provenance.predictor
    path = tmp_path / "w.npz"
    pretrained.save(path, random.config, random.weights, {"command": "test", "seed": 0})
    assert HOPE(weights=path).trained
    with pytest.raises(ValueError, match="shape"):
        HOPE(weights=path, width=32)
    with pytest.raises(ValueError, match="no weights"):
        HOPE(weights=tmp_path / "missing.npz")


def test_a_tampered_file_is_refused(tmp_path) -> None:
    hope = HOPE(weights=None, width=16)
    path = tmp_path / "w.npz"
    pretrained.save(path, hope.config, hope.weights, {"command": "test", "seed": 0})
    with np.load(path) as data:
        parts = {k: data[k].copy() for k in data.files}
    parts["weights"][3] += 1e-3
    np.savez(path, **parts)
    with pytest.raises(ValueError, match="hash"):
        HOPE(weights=path, width=16)


def test_shipped_weights_load_with_their_card() -> None:
    assert {p.name for p in SHIPPED} >= {pretrained.file_name(Config()), pretrained.file_name(Config(backbone="gru"))}
    for path in SHIPPED:
        _, dims, card = pretrained.read(path)
        assert len(dims) == len(layout.DIM_NAMES)
        assert card["command"].startswith("python -m memory.train")
        assert isinstance(card["seed"], int)
    assert HOPE().trained
    assert HOPE(backbone="gru").trained


def test_command_line_trains_saves_and_is_reproducible(tmp_path) -> None:
    small = [
        "--steps",
        "2",
        "--fast-steps",
        "1",
        "--streams",
        "2",
        "--bars",
        "120",
        "--trigger-streams",
        "4",
        "--trigger-bars",
        "500",
        "--width",
        "16",
    ]
    hashes = []
    for name in ("a.npz", "b.npz"):
        path = train.main([*small, "--seed", "3", "--out", str(tmp_path / name)])
        hashes.append(pretrained.read(path)[2]["sha256"])
    assert hashes[0] == hashes[1]
    assert counterfactual.EVIDENCE == layout.EVIDENCE


@pytest.mark.parametrize("kind", ["correlation", "none"])
def test_trained_net_beats_predicting_nothing_and_shadow_helps_after_a_switch(kind: str) -> None:
    """A smaller run of benchmarks/hope_switch.py on markets no training stream shares a seed with."""
    hope, frozen_gain, shadow_gain = HOPE(trigger_threshold=2.0), [], []
    for i in range(12):
        market = planted(np.random.default_rng([6, i]), kind, 1400, 700)
        force = np.full((1, 1400), -1, np.int64)
        force[0, 700] = 1
        out = hope.replay(market.features[None], np.zeros((1400, 4)), force=force)[0]
        y, c, s = train_labels(hope, market.features)
        mine, frozen = ((out[:, engine.OUT + j] - c) / s for j in (0, 1))
        frozen_gain.append(
            (np.clip(y[201:700], -3, 3) ** 2 - (np.clip(y[201:700], -3, 3) - frozen[200:699]) ** 2).mean()
        )
        shadow_gain.append(((y[901:] - frozen[900:-1]) ** 2 - (y[901:] - mine[900:-1]) ** 2).mean())
    assert np.mean(frozen_gain) > 0.05
    assert np.mean(shadow_gain) > 0.004
