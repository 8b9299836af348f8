"""Ablation optimizers descend and match their formulas; clips against naive versions; the learned target sync."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from rl.optim import M3, AutoClip, DeltaMomentum, LearnedClip, LearnedSync, MultiScaleMomentum, Telemetry, ZClip
from rl.optim.m3 import newton_schulz

OPTIMIZERS = {
    "delta": lambda p: DeltaMomentum(p, lr=2e-2),
    "multi": lambda p: MultiScaleMomentum(p, lr=1e-2),
    "m3": lambda p: M3(p, lr=1e-2),
}


def regression(seed=0):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1))
    x = torch.randn(128, 4)
    return net, x, torch.sin(x[:, :1]) * x[:, 1:2]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_descends(name):
    """Guards against the sign trap of printed momentum formulas: a wrong sign ascends."""
    theta = nn.Parameter(torch.ones(6))
    scales = torch.logspace(-1, 1, 6)
    optimizer = OPTIMIZERS[name]([theta])
    values = []
    for _ in range(400):
        optimizer.zero_grad()
        loss = (scales * theta**2).sum()
        loss.backward()
        values.append(loss.item())
        optimizer.step()
    assert values[-1] < 0.05 * values[0]
    net, x, y = regression()
    optimizer = OPTIMIZERS[name](net.parameters())
    losses = []
    for _ in range(600):
        loss = optimizer.step(lambda: _closure(net, optimizer, x, y))
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


def _closure(net, optimizer, x, y):
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(net(x), y)
    loss.backward()
    return loss


def test_delta_momentum_forgets_only_along_the_gradient():
    theta = nn.Parameter(torch.zeros(3))
    optimizer = DeltaMomentum([theta], lr=0.1, alpha=0.9, beta=0.4)
    theta.grad = torch.tensor([1.0, 0.0, 0.0])
    optimizer.step()
    assert torch.allclose(theta.detach(), torch.tensor([-0.1, 0.0, 0.0]))
    theta.grad = torch.tensor([0.0, 2.0, 0.0])
    optimizer.step()  # orthogonal: nothing is forgotten beyond alpha
    assert torch.allclose(optimizer.state[theta]["momentum"], torch.tensor([-0.09, -0.2, 0.0]))
    theta.grad = torch.tensor([3.0, 0.0, 0.0])
    optimizer.step()
    expected = torch.tensor([-0.09 * (0.9 - 0.4) - 0.3, -0.18, 0.0])
    assert torch.allclose(optimizer.state[theta]["momentum"], expected)
    theta.grad = torch.zeros(3)
    optimizer.step()
    assert theta.isfinite().all()


def test_multi_scale_with_one_decay_is_adam():
    (ours, x, y), (theirs, _, _) = regression(), regression()
    one = MultiScaleMomentum(ours.parameters(), lr=1e-2, decays=(0.9,))
    two = torch.optim.Adam(theirs.parameters(), lr=1e-2)
    for _ in range(50):
        for net, optimizer in ((ours, one), (theirs, two)):
            _closure(net, optimizer, x, y)
            optimizer.step()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(p, q, atol=1e-6)


@pytest.mark.parametrize("shape", [(8, 8), (20, 5), (5, 20)])
def test_newton_schulz_orthogonalises(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    singular = torch.linalg.svdvals(newton_schulz(matrix))
    assert singular.min() > 0.4
    assert singular.max() < 1.4
    assert torch.equal(newton_schulz(torch.zeros(shape)), torch.zeros(shape))


def test_m3_steps_do_not_vanish():
    """The algorithm as printed sums without decay and its steps fade by 300 within 1,000 updates."""
    matrix = nn.Parameter(torch.zeros(16, 16))
    optimizer = M3([matrix], lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    sizes = []
    for _ in range(500):
        before = matrix.detach().clone()
        matrix.grad = torch.randn(16, 16, generator=generator)
        optimizer.step()
        sizes.append((matrix.detach() - before).square().mean().sqrt().item())
    assert 0.3 < np.mean(sizes[400:]) / np.mean(sizes[20:100]) < 3.0
    assert 0.05e-2 < np.mean(sizes[400:]) < 1e-2


@pytest.mark.parametrize(
    ("kind", "options"),
    [(DeltaMomentum, {"beta": 0.95}), (MultiScaleMomentum, {"decays": (1.0,)}), (M3, {"slow_every": 0})],
)
def test_bad_options_are_refused(kind, options):
    with pytest.raises(ValueError, match=r".+"):
        kind([nn.Parameter(torch.zeros(2))], **options)


def test_autoclip_is_the_percentile_of_the_past():
    norms = np.random.default_rng(0).lognormal(size=3000)
    clip = AutoClip(percentile=10.0, history=1000, every=1)
    for step, norm in enumerate(norms):
        scale = clip.scale(float(norm))
        threshold = np.percentile(norms[max(0, step - 999) : step + 1], 10.0)
        assert scale == pytest.approx(min(1.0, threshold / (norm + 1e-6)))


def test_zclip_leaves_the_ordinary_and_cuts_spikes():
    rng = np.random.default_rng(0)
    clip = ZClip()
    norms = [float(1.0 + 0.1 * rng.standard_normal()) for _ in range(300)]
    scales = [clip.scale(norm) for norm in norms]
    assert np.mean(np.array(scales) == 1.0) > 0.95
    mean, deviation = float(clip.state[1]), math.sqrt(float(clip.state[2]))
    z = (50.0 - mean) / deviation
    assert clip.scale(50.0) * 50.0 == pytest.approx(mean + deviation * 2.5**2 / z, rel=1e-6)
    assert clip.threshold < 2.0


@settings(max_examples=50, deadline=None)
@example(log_norms=[-51.0, -54.0], output=-1.0)
@given(log_norms=st.lists(st.floats(-60, 60), min_size=2, max_size=40), output=st.floats(-1.3, 1.3))
def test_learned_clip_never_exceeds_its_threshold_and_is_monotone(log_norms, output):
    clip = LearnedClip()
    clip.set_output(output)
    for log_norm in log_norms:
        norm, before = math.exp(log_norm), clip.threshold
        scale = clip.scale(norm)
        assert 0.0 < scale <= 1.0
        if math.isfinite(before):
            assert norm * scale <= before * (1 + 1e-9)
            r = norm / before
            if r < 20:
                assert scale == pytest.approx((1 + r**4) ** -0.25, rel=1e-6)
                assert clip.sensitivity == pytest.approx(r**4 / (1 + r**4), rel=1e-6)


def test_learned_clip_sensitivity_is_the_derivative():
    def factor(output):
        clip = LearnedClip()
        for norm in (1.0, 2.0, 1.5):
            clip.scale(norm)
        clip.set_output(output)
        return clip.scale(2.5), clip.sensitivity

    numeric = (math.log(factor(1e-5)[0]) - math.log(factor(-1e-5)[0])) / 2e-5
    assert factor(0.0)[1] == pytest.approx(numeric, rel=1e-6)


def nets():
    torch.manual_seed(0)
    return nn.Linear(3, 2), nn.Linear(3, 2)


def test_learned_sync_copies_when_drift_exceeds_the_threshold():
    online, target = nets()
    sync = LearnedSync(window=10**9, maximum_age=50, minimum_age=5, seed=0)
    while sync.threshold == 0.0:
        sync._choose()
    assert [sync.sync(online, target, Telemetry(drift=10.0)) for _ in range(5)] == [False] * 4 + [True]
    assert torch.equal(online.weight, target.weight)
    below = Telemetry(drift=0.5 * sync.threshold)
    assert [sync.sync(online, target, below) for _ in range(50)] == [False] * 49 + [True]
    assert [sync.sync(online, target, Telemetry()) for _ in range(50)] == [False] * 49 + [True]


def test_learned_sync_polyak_arm_moves_softly():
    online, target = nets()
    sync = LearnedSync(seed=0)
    while sync.threshold != 0.0:
        sync._choose()
    expected = 0.995 * target.weight + 0.005 * online.weight
    assert not sync.sync(online, target, Telemetry(drift=10.0))
    assert torch.allclose(target.weight, expected)


def test_learned_sync_learns_the_arm_with_the_best_return_and_never_sees_loss():
    online, target = nets()
    rng = np.random.default_rng(0)
    sync = LearnedSync(window=5, seed=0)
    chosen = []
    for _ in range(3000):
        good = sync.threshold == 0.2
        value = (100.0 if good else 60.0) + 10.0 * rng.standard_normal()
        # the loss says the opposite of the return: following it would pick another arm
        sync.sync(online, target, Telemetry(loss=1.0 if good else 0.0, drift=0.01, episode_return=value))
        chosen.append(good)
    assert np.mean(chosen[1500:]) > 0.6 > 0.2 == 1 / 5


def test_learned_sync_state_is_json_and_continues():
    online, target = nets()
    one, two = LearnedSync(window=3, seed=0), LearnedSync(window=3, seed=9)
    rng = np.random.default_rng(0)
    for _ in range(50):
        one.sync(online, target, Telemetry(drift=0.1, episode_return=float(rng.random())))
    two.load_state_dict(json.loads(json.dumps(one.state_dict())))
    for _ in range(50):
        telemetry = Telemetry(drift=float(rng.random()), episode_return=float(rng.random()))
        assert one.sync(online, target, telemetry) == two.sync(online, target, telemetry)
        assert one.threshold == two.threshold
