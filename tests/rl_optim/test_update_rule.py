"""The hook through which every policy trains: plain arm equal to torch, clipping equal to Stable-Baselines3's,
syncs, sharing.
"""

import math

import pytest
import torch
import torch.multiprocessing as mp
from torch import nn

from rl.optim import FlatRMSprop, NestedAdam, PlainUpdate, Telemetry, UpdateRule, make_update_rule


def net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.LayerNorm(16), nn.Linear(16, 3))


def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    return torch.randn(8, 5, generator=generator), torch.randn(8, 3, generator=generator)


def loss_of(model: nn.Module, step: int) -> torch.Tensor:
    x, y = batch(step)
    return nn.functional.mse_loss(model(x), y)


def distance(a: nn.Module, b: nn.Module) -> float:
    return max(float((p - q).detach().abs().max()) for p, q in zip(a.parameters(), b.parameters(), strict=True))


@pytest.mark.parametrize("explicit", [False, True])
def test_plain_adam_with_clip_equals_torch(explicit):
    ours, theirs = net(), net()
    rule = make_update_rule(ours.parameters(), "adam", lr=3e-3, max_grad_norm=0.5)
    adam = torch.optim.Adam(theirs.parameters(), lr=3e-3)
    clipped = 0
    for step in range(200):
        loss = loss_of(ours, step)
        if explicit:
            result = rule.update(Telemetry(loss=loss.item()), torch.autograd.grad(loss, list(ours.parameters())))
        else:
            rule.zero_grad()
            loss.backward()
            result = rule.update(Telemetry(loss=loss.item()))
        adam.zero_grad()
        loss_of(theirs, step).backward()
        norm = float(nn.utils.clip_grad_norm_(theirs.parameters(), 0.5))
        adam.step()
        assert result.gradient_norm == pytest.approx(norm, rel=1e-5)
        clipped += result.clip_scale < 1.0
    assert distance(ours, theirs) < 1e-6
    assert 0 < clipped == rule.report()["clipped"]


def test_non_finite_updates_are_skipped_and_counted():
    for optimizer in ("nested", "adam", "rmsprop"):
        model = net()
        before = [p.detach().clone() for p in model.parameters()]
        rule = make_update_rule(model.parameters(), optimizer, lr=1e-2)
        bad = [torch.full_like(p, math.nan) for p in model.parameters()]
        good = [torch.ones_like(p) for p in model.parameters()]
        assert not rule.update(Telemetry(), bad).applied
        assert not rule.update(Telemetry(loss=math.inf), good).applied
        assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))
        assert rule.report()["skipped"] == 2
        assert rule.update(Telemetry(loss=1.0), good).applied
        assert not torch.equal(next(model.parameters()), before[0])


def test_rmsprop_is_the_tensorflow_form():
    model = net()
    theta = [p.detach().clone() for p in model.parameters()]
    square = [torch.ones_like(p) for p in theta]
    rule = make_update_rule(model.parameters(), "rmsprop", lr=7e-3)
    for step in range(20):
        gradients = torch.autograd.grad(loss_of(model, step), list(model.parameters()))
        rule.update(Telemetry(), gradients)
        for p, v, g in zip(theta, square, gradients, strict=True):
            v.copy_(0.99 * v + 0.01 * g * g)
            p.sub_(7e-3 * g / torch.sqrt(v + 1e-5))
    assert all(torch.allclose(p, q, atol=1e-6) for p, q in zip(model.parameters(), theta, strict=True))


@pytest.mark.parametrize("optimizer", ["nested", "adam", "rmsprop", torch.optim.SGD])
def test_round_trip_and_share_memory_continue_identically(optimizer):
    reference, other = net(), net()
    rule = make_update_rule(reference.parameters(), optimizer, lr=1e-2, target_sync=3)
    assert isinstance(rule, UpdateRule)
    targets = net(1), net(1)
    for step in range(10):
        rule.update(Telemetry(), torch.autograd.grad(loss_of(reference, step), list(reference.parameters())))
        rule.sync(reference, targets[0], Telemetry())
    other.load_state_dict(reference.state_dict())
    targets[1].load_state_dict(targets[0].state_dict())
    copy = make_update_rule(other.parameters(), optimizer, lr=1e-2, target_sync=3)
    copy.share_memory()
    copy.load_state_dict(rule.state_dict())
    assert all(p.is_shared() for p in other.parameters())
    for step in range(10, 20):
        for one, model, target in ((rule, reference, targets[0]), (copy, other, targets[1])):
            one.update(Telemetry(), torch.autograd.grad(loss_of(model, step), list(model.parameters())))
            one.sync(model, target, Telemetry())
    assert distance(reference, other) == 0.0
    assert distance(*targets) == 0.0
    assert rule.report() == copy.report()


def test_sharing_a_fresh_torch_optimizer_changes_nothing():
    ours, theirs = net(), net()
    rule = make_update_rule(ours.parameters(), torch.optim.RMSprop, lr=1e-2)
    rule.share_memory()
    assert isinstance(rule, PlainUpdate)
    assert all(v.is_shared() for state in rule.optimizer.state.values() for v in state.values())
    plain = torch.optim.RMSprop(theirs.parameters(), lr=1e-2)
    for step in range(5):
        rule.update(Telemetry(), torch.autograd.grad(loss_of(ours, step), list(ours.parameters())))
        plain.zero_grad()
        loss_of(theirs, step).backward()
        plain.step()
    assert distance(ours, theirs) < 1e-7


def test_target_syncs():
    online, target = net(0), net(1)
    rule = make_update_rule(online.parameters(), "adam", lr=1e-3, target_sync=3)
    assert [rule.sync(online, target, Telemetry()) for _ in range(6)] == [False, False, True, False, False, True]
    assert distance(online, target) == 0.0
    before = net(1)
    soft = net(1)
    rule = make_update_rule(online.parameters(), "adam", lr=1e-3, target_sync=0.1)
    assert not rule.sync(online, soft, Telemetry())
    for p, old, new in zip(soft.parameters(), before.parameters(), online.parameters(), strict=True):
        assert torch.allclose(p, 0.9 * old + 0.1 * new, atol=1e-7)
    with pytest.raises(ValueError, match="different parameters"):
        rule.sync(online, nn.Linear(2, 2), Telemetry())


def test_callables_and_bad_names():
    model = net()
    assert isinstance(make_update_rule(model.parameters(), NestedAdam, lr=1e-3).optimizer, NestedAdam)
    assert isinstance(make_update_rule(model.parameters(), "rmsprop", lr=1e-3).optimizer, FlatRMSprop)
    with pytest.raises(ValueError, match="nested"):
        make_update_rule(model.parameters(), "adan", lr=1e-3)
    with pytest.raises(ValueError, match="max_grad_norm"):
        make_update_rule(model.parameters(), "adam", lr=1e-3, max_grad_norm=0.0)


def _train(rule, model, steps):
    torch.set_num_threads(1)
    for step in range(steps):
        loss = loss_of(model, step)
        assert rule.update(Telemetry(loss=loss.item()), torch.autograd.grad(loss, list(model.parameters()))).applied


def test_a_spawned_worker_trains_the_shared_parameters():
    """What A3C does: the parent's parameters must move although only the child updates, with shared optimizer state."""
    models = {name: net() for name in ("nested", "adam", "rmsprop")}
    rules = {name: make_update_rule(m.parameters(), name, lr=1e-2, max_grad_norm=1.0) for name, m in models.items()}
    expected = {name: net() for name in models}
    for name, model in expected.items():
        _train(make_update_rule(model.parameters(), name, lr=1e-2, max_grad_norm=1.0), model, 30)
    context = mp.get_context("spawn")
    workers = []
    for name, rule in rules.items():
        rule.share_memory()
        workers.append(context.Process(target=_train, args=(rule, models[name], 15)))
        workers[-1].start()
    for worker in workers:
        worker.join(timeout=240)
        assert worker.exitcode == 0
    for name, model in models.items():
        for step in range(15, 30):  # the parent goes on where the child stopped: moments and clocks were shared
            loss = loss_of(model, step)
            rules[name].update(Telemetry(loss=loss.item()), torch.autograd.grad(loss, list(model.parameters())))
        tolerance = 1e-3 if name == "nested" else 1e-6  # its last move stays in the child: one signal is missing
        assert distance(model, expected[name]) < tolerance
        assert distance(model, net()) > 1e-2
