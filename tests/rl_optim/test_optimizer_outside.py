"""NestedAdam in other people's training: groups, schedules, hooks, copies, half precision, and what it must refuse."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from rl.optim import NestedAdam
from rl.optim.clipping import make_clip

CONTROLLERS = ["global", "per_tensor", "per_element"]
INPUTS = torch.randn(64, 4, generator=torch.Generator().manual_seed(1))


def make_net(dtype=torch.float32, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)).to(dtype)


def train(net, optimizer, steps, scheduler=None):
    x = INPUTS.to(next(net.parameters()).dtype)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (net(x) - x.sum(1, keepdim=True)).square().mean()
        loss.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
    return loss.item()


def distance(left, right):
    pairs = zip(left.parameters(), right.parameters(), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in pairs)


SCHEDULES = {
    "step": lambda o: lr_scheduler.StepLR(o, 10, 0.5),
    "one cycle (betas too)": lambda o: lr_scheduler.OneCycleLR(o, 1e-2, total_steps=100),
    "restarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 10),
    "cyclic": lambda o: lr_scheduler.CyclicLR(o, 1e-3, 1e-2),
    "sequence": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o), lr_scheduler.ExponentialLR(o, 0.9)], [5]
    ),
}


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_schedules_act_as_on_torch_adam(name):
    ours, theirs = make_net(), make_net()
    nested = NestedAdam(ours.parameters(), lr=1e-2, controller="off", clip=None)
    adam = torch.optim.Adam(theirs.parameters(), lr=1e-2)
    train(ours, nested, 40, SCHEDULES[name](nested))
    train(theirs, adam, 40, SCHEDULES[name](adam))
    assert distance(ours, theirs) < 1e-6


def test_groups_frozen_parameters_and_names_equal_torch():
    def groups(net):
        net[2].bias.requires_grad_(False)
        return [
            {"params": list(net[0].named_parameters()), "lr": 1e-3},
            {"params": list(net[2].named_parameters()), "weight_decay": 0.1, "betas": (0.8, 0.9), "eps": 1e-4},
        ]

    ours, theirs = make_net(), make_net()
    before = ours[2].bias.clone()
    nested = NestedAdam(groups(ours), lr=1e-2, controller="off", clip=None)
    train(ours, nested, 60)
    train(theirs, torch.optim.Adam(groups(theirs), lr=1e-2), 60)
    assert distance(ours, theirs) < 1e-6
    assert torch.equal(ours[2].bias, before)
    assert nested.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]


@pytest.mark.parametrize("controller", CONTROLLERS)
def test_frozen_parameters_never_move_and_may_be_freed(controller):
    net = make_net()
    net[0].weight.requires_grad_(False)
    optimizer = NestedAdam(net.parameters(), lr=1e-2, controller=controller)
    before = net[0].weight.clone()
    train(net, optimizer, 250)
    assert torch.equal(net[0].weight, before)
    net[0].weight.requires_grad_(True)
    assert train(net, optimizer, 50) < 1.0
    assert not torch.equal(net[0].weight, before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("controller", ["off", *CONTROLLERS])
def test_other_precisions_are_torch_adams_until_something_was_learned(dtype, controller):
    ours, theirs = make_net(dtype), make_net(dtype)
    train(ours, NestedAdam(ours.parameters(), lr=1e-2, controller=controller, clip=None), 100)
    train(theirs, torch.optim.Adam(theirs.parameters(), lr=1e-2, fused=True), 100)
    assert distance(ours, theirs) < (1e-9 if dtype is torch.float64 else 1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@pytest.mark.parametrize("controller", CONTROLLERS)
def test_other_precisions_learn_and_are_copied(dtype, controller):
    net = make_net(dtype)
    optimizer = NestedAdam(net.parameters(), lr=1e-3, controller=controller)
    train(net, optimizer, 250)
    assert optimizer.report()["multiplier"] != 1.0
    twin_net, twin = copy.deepcopy((net, optimizer))
    assert train(net, optimizer, 30) == train(twin_net, twin, 30)


@pytest.mark.parametrize("controller", ["off", *CONTROLLERS])
@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
@pytest.mark.parametrize("steps", [7, 155])
def test_a_copy_goes_on_bit_for_bit_from_the_middle_of_a_window(controller, how, steps):
    net = make_net()
    optimizer = NestedAdam(net.parameters(), lr=1e-2, controller=controller)
    optimizer.observe(regime=0.7)
    train(net, optimizer, steps)
    pair = (net, optimizer)
    twin_net, twin = copy.deepcopy(pair) if how == "deepcopy" else pickle.loads(pickle.dumps(pair))
    assert twin.flat.parameters[0] is next(twin_net.parameters())
    original = copy.deepcopy(net)
    train(twin_net, twin, 150)
    assert distance(net, original) == 0.0  # nothing is shared with the copy
    train(net, optimizer, 150)
    assert distance(net, twin_net) == 0.0
    assert twin.report() == optimizer.report()


def test_the_regime_is_kept_by_the_state():
    net = make_net()
    optimizer = NestedAdam(net.parameters(), lr=1e-2)
    optimizer.observe(regime=0.7)
    train(net, optimizer, 20)
    other = NestedAdam(make_net().parameters(), lr=1e-2)
    other.load_state_dict(optimizer.state_dict())
    assert other.regime == 0.7


def test_closure_hooks_and_gradient_scaling():
    net = make_net()
    optimizer = NestedAdam(net.parameters(), lr=1e-2)
    called = []
    optimizer.register_step_post_hook(lambda *_: called.append(1))

    def closure():
        optimizer.zero_grad()
        loss = net(INPUTS).square().mean()
        loss.backward()
        return loss

    losses = [optimizer.step(closure).item() for _ in range(20)]
    assert losses[-1] < losses[0]
    assert len(called) == 20
    scaler = torch.amp.GradScaler("cpu")
    optimizer.zero_grad()
    scaler.scale(net(INPUTS).square().mean()).backward()
    scaler.step(optimizer)
    assert len(called) == 21


def test_odd_shapes_and_layouts():
    empty, scalar = nn.Parameter(torch.zeros(0)), nn.Parameter(torch.tensor(1.0))
    optimizer = NestedAdam([empty, scalar], lr=0.1)
    (scalar.square() + empty.sum()).backward()
    optimizer.step()
    assert scalar.item() == pytest.approx(0.9)
    ours = nn.Conv2d(3, 8, 3).to(memory_format=torch.channels_last)
    theirs = copy.deepcopy(ours)
    x = torch.randn(2, 3, 6, 6).to(memory_format=torch.channels_last)
    pairs = (
        (ours, NestedAdam(ours.parameters(), lr=1e-2, controller="off", clip=None)),
        (theirs, torch.optim.Adam(theirs.parameters(), lr=1e-2)),
    )
    for net, rule in pairs:
        for _ in range(20):
            rule.zero_grad()
            net(x).square().mean().backward()
            rule.step()
    assert distance(ours, theirs) < 1e-6


@pytest.mark.parametrize("beside", [False, True])
def test_sparse_gradients_are_refused_in_words(beside):
    table, unused = nn.Embedding(10, 3, sparse=True), nn.Linear(3, 1)
    before = table.weight.clone()
    parameters = [*table.parameters(), *(unused.parameters() if beside else [])]
    optimizer = NestedAdam(parameters, lr=1e-2)
    table(torch.tensor([1, 2])).sum().backward()
    with pytest.raises(ValueError, match="sparse"):
        optimizer.step()
    assert torch.equal(table.weight, before)


@pytest.mark.parametrize(
    "options",
    [
        {"lr": "fast"}, {"lr": float("inf")}, {"lr": float("nan")}, {"betas": 0.9}, {"betas": (0.9,)},
        {"weight_decay": -1.0}, {"meta_decay": 2.0}, {"meta_decay": -0.1}, {"meta_every": 1.5}, {"control_every": True},
        {"clip": True}, {"clip": [1.0]}, {"weights": "nowhere.json"},
    ],
    ids=str,
)  # fmt: skip
def test_wrong_options_are_named(options):
    name = next(iter(options))
    with pytest.raises(ValueError, match=name.split("_", maxsplit=1)[0]):
        NestedAdam([nn.Parameter(torch.zeros(2))], **options)


@pytest.mark.parametrize(
    ("saved", "loading", "words"),
    [
        ({}, {"controller": "per_tensor"}, "controller"),
        ({}, {"controller": "per_element"}, "controller"),
        ({"controller": "per_element"}, {}, "controller"),
        ({}, {"clip": "auto"}, "clip"),
    ],
    ids=str,
)
def test_a_state_of_another_kind_is_refused_and_changes_nothing(saved, loading, words):
    first, second = make_net(), make_net()
    optimizer = NestedAdam(first.parameters(), lr=1e-2, **saved)
    train(first, optimizer, 30)
    other = NestedAdam(second.parameters(), lr=1e-3, **loading)
    train(second, other, 30)
    before = copy.deepcopy(other.state_dict())
    with pytest.raises(ValueError, match=words):
        other.load_state_dict(optimizer.state_dict())
    after = other.state_dict()
    assert after["param_groups"] == before["param_groups"]
    assert all(torch.equal(after["nested"][name], before["nested"][name]) for name in before["nested"])


@pytest.mark.parametrize("clip", ["learned", "auto", "zclip"])
def test_gradients_of_zero_do_not_stop_what_follows(clip):
    """Thirty steps without any gradient (masked losses, heads not yet connected), then ordinary ones."""
    rule = make_clip(clip)
    assert [rule.scale(0.0) for _ in range(30)] == [1.0] * 30
    norms = np.random.default_rng(0).lognormal(0.0, 0.3, 200)
    assert np.mean([rule.scale(float(norm)) for norm in norms]) > 0.3
    net = make_net()
    optimizer = NestedAdam(net.parameters(), lr=1e-2, clip=clip)
    for _ in range(30):
        optimizer.step_with([torch.zeros_like(parameter) for parameter in net.parameters()])
    assert train(net, optimizer, 200) < 0.3
