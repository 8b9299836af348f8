"""NestedAdam: level 1 against torch, level 2 learns and stays in bounds, safety, saving, sharing, Stable-Baselines3."""

import copy
import io
import math
import pickle

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from rl.optim import NestedAdam

CONTROLLERS = ("global", "per_tensor", "per_element")


def make_net(kind: str = "mlp", seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    nets = {
        "mlp": lambda: nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2)),
        "norm": lambda: nn.Sequential(nn.Linear(6, 24), nn.LayerNorm(24), nn.Tanh(), nn.Linear(24, 2)),
        "conv": lambda: nn.Sequential(nn.Unflatten(1, (1, 6)), nn.Conv1d(1, 4, 3), nn.Flatten(), nn.Linear(16, 2)),
        "scalar": lambda: nn.Linear(6, 2, bias=False),
    }
    return nets[kind]()


def loss_of(net: nn.Module, step: int, scale: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(16, 6, generator=generator).to(next(net.parameters()).dtype)
    target = torch.stack([x[:, 0] * x[:, 1], torch.sin(x.sum(1))], 1)
    return scale * nn.functional.mse_loss(net(x), target)


def train(net: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> float:
    for step in steps:
        loss = loss_of(net, step)
        optimizer.zero_grad()
        loss.backward()
        if isinstance(optimizer, NestedAdam):
            optimizer.observe(loss=loss)
        optimizer.step()
    return loss.item()


def distance(a: nn.Module, b: nn.Module) -> float:
    return max(float((p - q).detach().abs().max()) for p, q in zip(a.parameters(), b.parameters(), strict=True))


@pytest.mark.parametrize("kind", ["mlp", "norm", "conv", "scalar"])
@pytest.mark.parametrize("options", [{}, {"weight_decay": 1e-2, "betas": (0.8, 0.99), "eps": 1e-5}])
def test_controller_off_equals_torch_adam_over_1000_steps(kind, options):
    ours, theirs = make_net(kind), make_net(kind)
    train(ours, NestedAdam(ours.parameters(), lr=1e-3, controller="off", clip=None, **options), range(1000))
    train(theirs, torch.optim.Adam(theirs.parameters(), lr=1e-3, **options), range(1000))
    assert distance(ours, theirs) < 1e-6
    assert distance(ours, make_net(kind)) > 1e-2


def test_fixed_clip_equals_torch_clip():
    ours, theirs = make_net(), make_net()
    train(ours, NestedAdam(ours.parameters(), lr=1e-3, controller="off", clip=0.3), range(300))
    adam = torch.optim.Adam(theirs.parameters(), lr=1e-3)
    for step in range(300):
        adam.zero_grad()
        loss_of(theirs, step).backward()
        nn.utils.clip_grad_norm_(theirs.parameters(), 0.3)
        adam.step()
    assert distance(ours, theirs) < 1e-6


@pytest.mark.parametrize("controller", CONTROLLERS)
def test_untrained_controller_is_adam(controller):
    """The first meta step comes after meta_every updates; until then nothing may differ, bit for bit."""
    ours, theirs = make_net(), make_net()
    optimizer = NestedAdam(ours.parameters(), lr=1e-3, controller=controller, clip=None, meta_every=200)
    train(ours, optimizer, range(200))
    train(theirs, NestedAdam(theirs.parameters(), lr=1e-3, controller="off", clip=None), range(200))
    assert distance(ours, theirs) == 0.0
    train(ours, optimizer, range(200, 400))
    assert optimizer.report()["multiplier"] != 1.0


def test_param_groups_and_missing_gradients_equal_torch():
    """One group's head has no gradient at first: it must not age, or its bias correction would be wrong later."""
    nets = make_net(), make_net()
    optimizers = []
    for net, cls in zip(nets, (NestedAdam, torch.optim.Adam), strict=True):
        groups = [{"params": list(net[0].parameters())}, {"params": list(net[2:].parameters()), "lr": 5e-3}]
        options = {"controller": "off", "clip": None} if cls is NestedAdam else {}
        optimizers.append(cls(groups, lr=1e-3, **options))
    for step in range(60):
        for net, optimizer in zip(nets, optimizers, strict=True):
            optimizer.zero_grad()
            loss_of(net, step).backward()
            if 10 <= step < 30:
                net[4].bias.grad = None
                net[0].weight.grad = None
            optimizer.step()
    assert distance(*nets) < 1e-6


@pytest.mark.parametrize("controller", CONTROLLERS)
@pytest.mark.parametrize("rate", [1e-4, 1e-2])
def test_descends_on_a_quadratic(controller, rate):
    scales = torch.logspace(-1, 1, 12)
    theta = nn.Parameter(torch.ones(12))
    optimizer = NestedAdam([theta], lr=rate, controller=controller)
    start = (scales * theta**2).sum().item()
    for _ in range(2000):
        optimizer.zero_grad()
        loss = (scales * theta**2).sum()
        loss.backward()
        optimizer.observe(loss=loss)
        optimizer.step()
    assert (scales * theta**2).sum().item() < (0.7 if rate == 1e-4 else 0.01) * start


def test_descends_on_rosenbrock_and_raises_a_timid_rate():
    values = {}
    for controller in ("off", "global"):
        theta = nn.Parameter(torch.tensor([-1.0, 1.5]))
        optimizer = NestedAdam([theta], lr=3e-4, controller=controller)
        for _ in range(3000):
            optimizer.zero_grad()
            loss = (1 - theta[0]) ** 2 + 100 * (theta[1] - theta[0] ** 2) ** 2
            loss.backward()
            optimizer.observe(loss=loss)
            optimizer.step()
        values[controller] = loss.item()
    assert values["global"] < 0.5 * values["off"] < 0.5 * 29.0
    assert optimizer.report()["multiplier"] > 1.5


def test_hypergradient_equals_finite_differences():
    """d L_next(theta + rho d) / d log rho from the signal, against two real steps at slightly different rates."""

    def loss_after(log_scale: float) -> tuple[float, NestedAdam]:
        net = make_net("norm").double()
        optimizer = NestedAdam(net.parameters(), lr=1e-2, clip=None)
        train(net, optimizer, range(5))
        optimizer.param_groups[0]["lr"] *= math.exp(log_scale)
        train(net, optimizer, range(5, 6))
        optimizer.zero_grad()
        loss = loss_of_double(net)
        loss.backward()
        optimizer.step()  # hears the gradient after the step whose rate was changed
        return loss.item(), optimizer

    def loss_of_double(net: nn.Module) -> torch.Tensor:
        x = torch.linspace(-1, 1, 48, dtype=torch.float64).view(8, 6)
        return (net(x) - x[:, :2] ** 2).square().mean()

    delta = 1e-4
    numeric = (loss_after(delta)[0] - loss_after(-delta)[0]) / (2 * delta)
    _, optimizer = loss_after(0.0)
    driver = optimizer.driver
    # the move judged by `last_signal` has been replaced by the last step's: undo by the stored norms
    assert numeric != 0.0
    assert driver.last_signal * -driver.judged_scale == pytest.approx(numeric, rel=1e-4)


def test_controller_gradient_equals_finite_differences():
    from rl.optim.controller import FEATURES, ControllerNet

    rng = np.random.default_rng(0)
    net = ControllerNet(seed=3, bound=8.0, clip_bound=4.0)
    net.phi.copy_(torch.from_numpy(rng.normal(0, 0.3, net.phi.shape)))
    z, signal = rng.normal(size=(4, FEATURES)), rng.normal(size=(4, 2))

    def objective() -> float:
        return float((signal * net.forward(z)[0]).sum() / len(z))

    log_multiplier, hidden = net.forward(z)
    net.accumulate(z, hidden, log_multiplier, signal)
    for index in range(len(net.phi)):
        original = float(net.phi[index])
        net.phi[index] = original + 1e-5
        above = objective()
        net.phi[index] = original - 1e-5
        below = objective()
        net.phi[index] = original
        assert float(net.accumulated[index]) == pytest.approx((above - below) / 2e-5, abs=1e-8)


@pytest.mark.parametrize("controller", CONTROLLERS)
def test_controller_weights_receive_gradients_and_change(controller):
    net = make_net()
    optimizer = NestedAdam(net.parameters(), lr=1e-4, controller=controller)
    before = optimizer.driver.net.phi.clone()
    train(net, optimizer, range(501))
    report = optimizer.report()
    assert report["meta_updates"] == 5
    assert report["meta_gradient"] > 0.0
    changed = optimizer.driver.net.phi != before
    assert changed[-2:].all()  # both output biases
    assert changed.float().mean() > 0.8  # and every hidden weight but those of the two features that were silent
    if controller == "per_element":
        assert float(optimizer.driver.element_phi[-1]) != 0.0
    assert 1 / 32 <= report["multiplier"] <= 32


@pytest.mark.parametrize("clip", ["learned", "auto", "zclip", 0.5, None])
@pytest.mark.parametrize("controller", ["off", *CONTROLLERS])
def test_finite_under_explosions_and_nan(controller, clip):
    net = make_net()
    optimizer = NestedAdam(net.parameters(), lr=1e-3, controller=controller, clip=clip)
    for step in range(300):
        loss = loss_of(net, step, scale=1e6 if step % 50 == 17 else 1.0)
        optimizer.zero_grad()
        loss.backward()
        if step % 40 == 7:
            net[0].weight.grad[0, 0] = math.nan
        if step % 40 == 9:
            loss = loss * math.nan
        optimizer.observe(loss=loss)
        optimizer.step()
        assert all(bool(p.isfinite().all()) for p in net.parameters())
    report = optimizer.report()
    assert report["skipped"] == 16
    assert report["updates"] == 284
    assert all(math.isfinite(value) for key, value in report.items() if key != "threshold")


def test_planted_explosion_is_noticed_and_forgotten():
    net = make_net()
    optimizer = NestedAdam(net.parameters(), lr=1e-3)
    train(net, optimizer, range(200))
    before = optimizer.report()["threshold"]
    parameters = [p.detach().clone() for p in net.parameters()]
    optimizer.step_with([1e6 * torch.randn_like(p) for p in net.parameters()])
    report = optimizer.report()
    assert report["spikes"] == 1
    assert report["scale"] < 1e-5
    assert before < report["threshold"] < 1.05 * before  # moved, but hardly
    moved = max((p - q).abs().max().item() for p, q in zip(net.parameters(), parameters, strict=True))
    assert moved < 0.02
    size = sum(p.numel() for p in net.parameters())
    for step in range(400):  # slow growth, 1 % a step: followed
        optimizer.step_with([torch.full_like(p, before * 1.01**step / size**0.5) for p in net.parameters()])
    assert optimizer.last_scale > 0.5
    assert optimizer.report()["threshold"] > 5 * before


def test_loss_spike_falls_back_to_identity():
    net = make_net()
    optimizer = NestedAdam(net.parameters(), lr=1e-4)
    for step in range(800):
        loss = loss_of(net, step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.observe(loss=loss)
        optimizer.step()
    assert optimizer.report()["multiplier"] > 1.2
    for step in range(800, 900):
        optimizer.zero_grad()
        loss_of(net, step).backward()
        optimizer.observe(loss=1e4)
        optimizer.step()
    report = optimizer.report()
    assert report["fallbacks"] == 1
    assert report["multiplier"] == 1.0
    train(net, optimizer, range(900, 2600))
    assert optimizer.report()["multiplier"] > 1.02  # learns anew after the pause


@pytest.mark.parametrize("controller", ["off", *CONTROLLERS])
@pytest.mark.parametrize("clip", ["learned", "auto", "zclip"])
def test_state_dict_round_trip_continues_bit_for_bit(controller, clip):
    reference, other = make_net(), make_net(seed=1)
    optimizer = NestedAdam(reference.parameters(), lr=1e-3, controller=controller, clip=clip, meta_every=50)
    train(reference, optimizer, range(237))
    buffer = io.BytesIO()
    torch.save({"net": reference.state_dict(), "optimizer": optimizer.state_dict()}, buffer)
    buffer.seek(0)
    saved = torch.load(buffer, weights_only=True)
    copy_of = NestedAdam(other.parameters(), lr=9.0, controller=controller, clip=clip, meta_every=50, seed=5)
    other.load_state_dict(saved["net"])
    copy_of.load_state_dict(saved["optimizer"])
    for net, one in ((reference, optimizer), (other, copy_of)):
        train(net, one, range(237, 400))
    assert distance(reference, other) == 0.0
    assert optimizer.report() == copy_of.report()


def test_loads_the_state_of_torch_adam_and_deepcopies():
    ours, theirs = make_net(), make_net()
    adam = torch.optim.Adam(theirs.parameters(), lr=1e-3)
    train(theirs, adam, range(50))
    ours.load_state_dict(theirs.state_dict())
    optimizer = NestedAdam(ours.parameters(), lr=1e-3, controller="off", clip=None)
    optimizer.load_state_dict(adam.state_dict())
    train(theirs, adam, range(50, 100))
    twin_net, twin = copy.deepcopy((ours, optimizer))
    for net, one in ((ours, optimizer), (twin_net, twin)):
        train(net, one, range(50, 100))
        assert distance(net, theirs) < 1e-6


def test_module_moved_after_construction_is_noticed():
    net = make_net()
    optimizer = NestedAdam(net.parameters(), lr=1e-2)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.data = parameter.data.clone() + 1.0
    before = copy.deepcopy(net)
    train(net, optimizer, range(3))
    assert 0.0 < distance(net, before) < 0.1
    net.double()
    optimizer.zero_grad()
    sum(p.sum() for p in net.parameters()).backward()
    with pytest.raises(ValueError, match="after moving"):
        optimizer.step()


def _worker(optimizer: NestedAdam, net: nn.Module, steps: int, seed: int) -> None:
    torch.set_num_threads(1)
    for step in range(steps):
        loss = loss_of(net, seed * 10_000 + step)
        optimizer.observe(loss=loss.detach())
        optimizer.step_with(torch.autograd.grad(loss, list(net.parameters())))


def test_shared_memory_mode_across_spawned_processes():
    net = make_net()
    optimizer = NestedAdam(net.parameters(), lr=1e-3)
    optimizer.share_memory()
    start = copy.deepcopy(net)
    context = mp.get_context("spawn")
    workers = [context.Process(target=_worker, args=(optimizer, net, 150, seed)) for seed in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=120)
        assert worker.exitcode == 0
    report = optimizer.report()
    assert 250 <= report["updates"] <= 300  # racing increments may be lost, a whole worker may not
    assert report["meta_updates"] >= 2
    assert float(optimizer.driver.net.phi[-2]) != 0.0
    assert float(optimizer.exp_avg.tensor.abs().max()) > 0.0
    assert distance(net, start) > 1e-3
    assert loss_of(net, 1).item() < loss_of(start, 1).item()


def test_pickle_keeps_training():
    """What a spawned worker receives; plain pickle copies storages, so it is also the hardest case for aliasing."""
    net = make_net()
    optimizer = NestedAdam(net.parameters(), lr=1e-2)
    train(net, optimizer, range(20))
    twin_net, twin = pickle.loads(pickle.dumps((net, optimizer)))
    train(twin_net, twin, range(20, 25))
    train(net, optimizer, range(20, 25))
    assert distance(net, twin_net) < 1e-6


@settings(max_examples=30, deadline=None)
@given(
    scale=st.floats(1e-6, 1e6),
    controller=st.sampled_from(CONTROLLERS),
    seed=st.integers(0, 10_000),
    bound=st.floats(1.5, 100.0),
)
def test_multiplier_stays_in_bounds_and_ignores_scale(scale, controller, seed, bound):
    """Scaling loss and gradients by a constant changes nothing the controller does (up to Adam's epsilon)."""
    reports = []
    for factor in (1.0, scale):
        theta = nn.Parameter(torch.randn(20, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))
        optimizer = NestedAdam([theta], lr=1e-2, controller=controller, bound=bound, meta_every=20, eps=0.0)
        generator = torch.Generator().manual_seed(seed)
        for _ in range(100):
            noise = torch.randn(20, generator=generator, dtype=torch.float64)
            optimizer.observe(loss=factor * (theta**2).sum().item())
            optimizer.step_with([factor * (theta.detach() + 0.3 * noise)])
        report = optimizer.report()
        assert 1 / (4 * bound) <= report["multiplier"] <= 4 * bound
        reports.append(report)
    assert reports[0]["multiplier"] == pytest.approx(reports[1]["multiplier"], rel=1e-6)
    assert reports[0]["threshold"] * scale == pytest.approx(reports[1]["threshold"], rel=1e-6)


@pytest.mark.parametrize(
    "options",
    [{"controller": "on"}, {"clip": "huge"}, {"clip": -1.0}, {"meta_every": 0}, {"bound": 1.0}, {"lr": -1.0}],
)
def test_bad_options_are_refused(options):
    with pytest.raises(ValueError, match=r".+"):
        NestedAdam(make_net().parameters(), **options)


def test_extra_parameter_group_is_refused():
    optimizer = NestedAdam(make_net().parameters())
    with pytest.raises(ValueError, match="constructor"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(2))]})


def test_works_unmodified_inside_stable_baselines3(tmp_path):
    import stable_baselines3 as sb3

    for algorithm, options in (
        (sb3.PPO, {"n_steps": 64, "batch_size": 32}),
        (sb3.DQN, {"learning_starts": 50, "buffer_size": 1000}),
        (sb3.A2C, {}),
    ):
        policy = {"optimizer_class": NestedAdam, "net_arch": [16]}
        model = algorithm("MlpPolicy", "CartPole-v1", policy_kwargs=policy, seed=0, device="cpu", **options)
        start = copy.deepcopy(model.policy.state_dict())
        model.learn(400)
        optimizer = model.policy.optimizer
        assert isinstance(optimizer, NestedAdam)
        assert optimizer.report()["updates"] > 10
        assert any(not torch.equal(start[key], value) for key, value in model.policy.state_dict().items())
        model.save(tmp_path / "model")
        loaded = algorithm.load(tmp_path / "model", device="cpu")
        both = loaded.policy.optimizer.report(), optimizer.report()
        for key in ("updates", "multiplier", "threshold", "meta_updates", "clipped"):
            assert both[0][key] == both[1][key]
