"""HOPE's contract: step equals forward, silence is the frozen net, streams are independent, bad input is refused."""

import copy

import numpy as np
import pytest
import torch

from memory.hope import HOPE
from memory.markets import planted, regime_market

SHAPES = [
    {}, {"backbone": "gru"}, {"modifier": "lstm"}, {"write": "delta"}, {"targets": 2}, {"layers": 2, "width": 32},
    {"width": 32, "heads": 2, "window": 16, "rank": 3, "levels": 3, "backbone": "attention"},
]  # fmt: skip


def _market(seed: int = 0, bars: int = 400) -> np.ndarray:
    return planted(np.random.default_rng(seed), "trend", bars, bars // 2).features


def _run(hope: HOPE, x: np.ndarray) -> dict[str, np.ndarray]:
    outs = [hope.step(row) for row in x]
    return {
        n: np.array([getattr(o, n) for o in outs])
        for n in ("prediction", "embedding", "probability", "triggered", "modified", "frozen")
    }


@pytest.mark.parametrize("shape", SHAPES)
def test_step_equals_forward(shape: dict) -> None:
    x = _market()
    hope = HOPE(seed=3, weights=None, trigger_threshold=0.05, **shape)
    stepped = _run(hope, x)
    whole = hope.forward(x)
    unit = x[:, : hope.config.targets].std(0)
    assert np.abs((stepped["prediction"] - whole.prediction.detach().numpy()) / unit).max() < 1e-5
    assert np.abs((stepped["frozen"] - whole.frozen.detach().numpy()) / unit).max() < 1e-5
    assert np.abs(stepped["embedding"] - whole.embedding.detach().numpy()).max() < 1e-5
    for name in ("triggered", "modified", "probability"):
        assert np.array_equal(stepped[name], getattr(whole, name).numpy())


def test_step_equals_forward_while_modified() -> None:
    """The comparison above must also have seen modifications: here one is certain, through alarm and release."""
    x = regime_market(np.random.default_rng(1), 1500).features
    hope = HOPE(weights=None, trigger_threshold=0.02)
    stepped = _run(hope, x)
    assert stepped["triggered"].sum() >= 1
    assert 0 < stepped["modified"].sum() < len(x)
    assert np.abs(stepped["prediction"] - stepped["frozen"]).max() > 1e-4 * x[:, 0].std()
    whole = hope.forward(x)
    assert np.abs(stepped["prediction"] - whole.prediction.detach().numpy()).max() < 1e-5 * x[:, 0].std()


def test_forward_with_calendar_and_gradients() -> None:
    x, hope = _market(bars=120), HOPE(weights=None, seed=1)
    times = np.arange(120) * 3_600_000 + 1_500_000_000_000
    outs = np.array([hope.step(row, int(t)).prediction for row, t in zip(x, times, strict=True)])
    whole = hope.forward(torch.from_numpy(x), time_ms=times)
    assert np.abs(outs - whole.prediction.detach().numpy()).max() < 1e-5 * x[:, 0].std()
    (whole.prediction / x[:, 0].std()).pow(2).sum().backward()
    assert torch.isfinite(hope.weights.grad).all()
    assert (hope.weights.grad != 0).float().mean() > 0.5
    assert np.abs(outs - hope.forward(x).prediction.detach().numpy()).max() > 1e-9  # the calendar counts


@pytest.mark.parametrize("backbone", ["attention", "gru"])
def test_silent_net_is_the_frozen_net_bit_for_bit(backbone: str) -> None:
    x = _market(5, 600)
    still = _run(HOPE(weights=None, backbone=backbone, self_modify=False), x)
    never = _run(HOPE(weights=None, backbone=backbone, trigger_threshold=1.5), x)
    assert not never["modified"].any()
    for name in ("prediction", "embedding"):
        assert never[name].tobytes() == still[name].tobytes()
    awake = _run(HOPE(weights=None, backbone=backbone, trigger_threshold=0.02), x)
    quiet = ~awake["modified"]
    assert awake["prediction"][quiet].tobytes() == still["prediction"][quiet].tobytes()
    assert awake["embedding"][quiet].tobytes() == still["embedding"][quiet].tobytes()
    assert awake["frozen"].tobytes() == still["prediction"].tobytes()


def test_streams_are_batched_and_independent() -> None:
    markets = [regime_market(np.random.default_rng(s), 300).features for s in range(5)]
    batched = HOPE(weights=None, trigger_threshold=0.02)
    outs = [batched.step(row) for row in np.stack(markets, 1)]
    for i, market in enumerate(markets):
        alone = _run(HOPE(weights=None, trigger_threshold=0.02), market)
        assert np.array([o.prediction[i] for o in outs]).tobytes() == alone["prediction"].tobytes()
        assert [bool(o.modified[i]) for o in outs] == alone["modified"].tolist()
    assert outs[0].prediction.shape == (5, 1)
    assert outs[0].embedding.shape == (5, 64)
    assert outs[0].probability.shape == (5,)


def test_two_runs_are_equal_to_the_last_bit() -> None:
    x = _market(8)
    first, second = (_run(HOPE(seed=4, weights=None, trigger_threshold=0.05), x) for _ in range(2))
    assert all(first[name].tobytes() == second[name].tobytes() for name in first)
    other = _run(HOPE(seed=5, weights=None), x)
    assert other["prediction"].tobytes() != first["prediction"].tobytes()


def test_types_follow_the_input() -> None:
    hope = HOPE(weights=None)
    out = hope.step(np.zeros(24))
    assert isinstance(out.prediction, np.ndarray)
    assert isinstance(out.probability, float)
    assert isinstance(out.triggered, bool)
    assert 0.0 <= out.probability <= 1.0
    assert isinstance(hope.step(torch.zeros(24)).prediction, torch.Tensor)


def test_nan_is_refused_and_changes_nothing() -> None:
    x, hope = _market(9, 100), HOPE(weights=None)
    for row in x[:50]:
        hope.step(row)
    before = copy.deepcopy(hope.state_dict())
    bad = x[50].copy()
    bad[3] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        hope.step(bad)
    with pytest.raises(ValueError, match="NaN"):
        hope.forward(np.full((5, 24), np.nan))
    after = hope.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_huge_inputs_are_clipped_at_a_million() -> None:
    x = _market(10, 80)
    one, other = x.copy(), x.copy()
    one[40], other[40] = 1e6, np.inf
    one[41], other[41] = -1e6, -1e300
    a, b = (_run(HOPE(weights=None), rows) for rows in (one, other))
    assert a["prediction"].tobytes() == b["prediction"].tobytes()
    assert np.isfinite(a["prediction"]).all()


@pytest.mark.parametrize("bad", [np.zeros(23), np.zeros((2, 3, 24)), np.zeros((4, 23))])
def test_wrong_shapes_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="x must be"):
        HOPE(weights=None).step(bad)


def test_the_number_of_streams_is_fixed_until_reset() -> None:
    hope = HOPE(weights=None)
    hope.step(np.zeros((2, 24)))
    with pytest.raises(ValueError, match="streams"):
        hope.step(np.zeros((3, 24)))
    hope.reset(3)
    hope.reset(0)
    hope.step(np.zeros((3, 24)))


@pytest.mark.parametrize(
    "kwargs",
    [
        {"width": 30},
        {"targets": 30},
        {"inputs": 0},
        {"backbone": "rnn"},
        {"trigger_threshold": -0.1},
        {"trigger_threshold": float("nan")},
    ],
)
def test_impossible_settings_are_refused(kwargs: dict) -> None:
    with pytest.raises(ValueError, match=r"must be|multiple|targets"):
        HOPE(weights=None, **kwargs)


def test_look_ahead_changing_the_last_bar_changes_nothing_before() -> None:
    x = _market(11, 300)
    bumped = x.copy()
    bumped[-1] += 3.0
    a, b = (_run(HOPE(weights=None, trigger_threshold=0.05), rows) for rows in (x, bumped))
    for name in a:
        assert a[name][:-1].tobytes() == b[name][:-1].tobytes()
    assert a["prediction"][-1] != b["prediction"][-1]


def test_state_dict_round_trip_without_pickle(tmp_path) -> None:
    x = regime_market(np.random.default_rng(12), 700).features
    hope = HOPE(weights=None, trigger_threshold=0.02, seed=6)
    for row in x[:450]:
        hope.step(row)
    np.savez(tmp_path / "state.npz", **{k: v.numpy() for k, v in hope.state_dict().items()})
    with np.load(tmp_path / "state.npz", allow_pickle=False) as data:
        state = {k: torch.from_numpy(data[k]) for k in data.files}
    other = HOPE(weights=None, seed=99)
    other.load_state_dict(state)
    for row in x[450:]:
        a, b = hope.step(row), other.step(row)
        assert a.prediction.tobytes() == b.prediction.tobytes()
        assert (a.probability, a.triggered, a.modified) == (b.probability, b.triggered, b.modified)
    with pytest.raises(ValueError, match="shape"):
        HOPE(weights=None, width=32).load_state_dict(state)


def test_the_compiled_step_follows_changes_of_the_slow_weights() -> None:
    hope = HOPE(weights=None)
    first = hope.step(np.ones(24)).prediction.copy()
    hope.reset(0)
    with torch.no_grad():
        hope.weights.mul_(0.5)
    assert hope.step(np.ones(24)).prediction.tobytes() != first.tobytes()


def test_titans_core_steps_as_it_unrolls_and_is_the_frozen_net_when_silent(tmp_path) -> None:
    x = regime_market(np.random.default_rng(1), 260).features
    hope = HOPE(weights=None, core="titans", trigger_threshold=2.0, width=32)
    plain = HOPE(weights=None, trigger_threshold=2.0, width=32)
    for t, row in enumerate(x):
        if t > 0:
            hope._force[:] = 1 if t == 150 else -1
        out, still = hope.step(row), plain.step(row)
        if t < 150:
            assert out.prediction.tobytes() == still.prediction.tobytes()
    assert out.modified
    assert out.prediction.tobytes() != still.prediction.tobytes()
    other = HOPE(weights=None, core="titans", width=32, seed=8)
    other.load_state_dict({k: v.clone() for k, v in hope.state_dict().items()})
    for net in (hope, other):
        net._force[:] = -1
    assert hope.step(x[0]).prediction.tobytes() == other.step(x[0]).prediction.tobytes()
    assert hope.rollback()
    again, still = hope.step(x[1]), [plain.step(row) for row in x[:2]][-1]
    assert again.prediction.tobytes() == still.prediction.tobytes() == again.frozen.tobytes()
    quick = HOPE(weights=None, core="titans", trigger_threshold=0.0, width=32)
    stepped = _run(quick, x)
    whole = quick.forward(x)
    assert np.abs(stepped["prediction"] - whole.prediction.detach().numpy()).max() < 1e-5 * x[:, 0].std()
    assert np.array_equal(stepped["modified"], whole.modified.numpy())
