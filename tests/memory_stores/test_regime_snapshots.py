"""Regime snapshot bank: regimes found, kept and found again; no states where there is nothing to find; exact state."""

import pytest
import torch
from torch import nn

from memory import RegimeSnapshotBank

torch.set_num_threads(1)  # tiny matrices: two threads only wait for each other


def squared(prediction, target):
    return nn.functional.huber_loss(prediction, target, reduction="none").squeeze(-1)


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1))


class World:
    """Linear teachers w_r, noise .1."""

    def __init__(self, seed=0, regimes=3):
        self.generator = torch.Generator().manual_seed(seed)
        self.teachers = torch.randn(regimes, 4, 1, generator=self.generator)

    def batch(self, regime, size=16):
        x = torch.randn(size, 4, generator=self.generator)
        return x, x @ self.teachers[regime] + 0.1 * torch.randn(size, 1, generator=self.generator)


def live(bank, world, turns, span=150):
    return [bank.observe(*world.batch(regime)) for regime in turns for _ in range(span)]


def error(bank, world, regime, informed):
    if informed:
        kept = bank.probabilities.clone()
        for _ in range(8):
            bank.probabilities = bank.infer(*world.batch(regime))
        x, y = world.batch(regime, 400)
        result = float(squared(bank.predict(x), y).mean())
        bank.probabilities = kept
        return result
    x, y = world.batch(regime, 400)
    return float(squared(bank.predict(x), y).mean())


def test_recurring_regimes_are_kept_and_found_again():
    """Forgetting after informed inference is at least 30 % below one state's, online loss lower."""
    outcomes = {}
    for name, states in (("bank", 8), ("single", 1)):
        world = World()
        bank = RegimeSnapshotBank(network(), squared, rate=1e-2, max_states=states, replay=0 if states == 1 else 128)
        live(bank, world, [0, 1, 2])
        after = live(bank, world, [0, 1, 2])
        online = sum(o.loss for o in after) / len(after)
        outcomes[name] = error(bank, world, 1, informed=True), online, len(bank.weights)
    assert outcomes["bank"][2] in {3, 4}
    assert outcomes["bank"][0] < 0.7 * outcomes["single"][0]
    assert outcomes["bank"][1] < outcomes["single"][1]


def test_returning_regime_uses_its_old_state_within_a_few_batches():
    world = World(1)
    bank = RegimeSnapshotBank(network(), squared, rate=1e-2)
    first = live(bank, world, [0])[-1].state
    second = live(bank, world, [1])[-1].state
    assert first != second
    back = live(bank, world, [0], span=10)
    assert back[5].state == first
    assert back[-1].loss < 0.1


def test_a_single_regime_with_heavy_tails_stays_one_state():
    """t(2) noise: outliers alone must not open states."""
    generator = torch.Generator().manual_seed(0)
    teacher = torch.randn(4, 1, generator=generator)
    bank = RegimeSnapshotBank(network(), squared, rate=1e-2)
    for _ in range(600):
        x = torch.randn(16, 4, generator=generator)
        noise = torch.randn(16, 1, generator=generator)
        heavy = noise / torch.sqrt(torch.rand(16, 1, generator=generator).log().neg())
        bank.observe(x, x @ teacher + 0.1 * heavy)
    assert len(bank.weights) <= 2


def test_never_more_than_the_limit_and_probabilities_sum_to_one():
    world = World(2, regimes=7)
    bank = RegimeSnapshotBank(network(), squared, rate=1e-2, max_states=3)
    for turn in range(7):
        live(bank, world, [turn], span=80)
        assert len(bank.weights) <= 3
        assert float(bank.probabilities.sum()) == pytest.approx(1.0, abs=1e-5)
        assert 0 <= bank.active < len(bank.weights)


def test_states_that_predict_alike_are_merged():
    world = World(3)
    bank = RegimeSnapshotBank(network(), squared, rate=1e-2, patience=20, checkpoint_every=10)
    live(bank, world, [0], span=100)
    bank._spawn()  # a copy for the regime that is on already
    observed = live(bank, world, [0], span=200)
    assert any(o.merged for o in observed)
    assert len(bank.weights) == 1


def test_leaving_a_regime_undoes_what_was_learned_in_the_next_one():
    world = World(4)
    bank = RegimeSnapshotBank(network(), squared, rate=1e-2)
    live(bank, world, [0], span=200)
    settled = error(bank, world, 0, informed=False)
    observed = live(bank, world, [1], span=40)
    assert any(o.spawned for o in observed)
    assert error(bank, world, 0, informed=True) < 1.5 * settled + 0.01


def test_state_round_trip_is_exact(tmp_path):
    world = World(5)
    bank = RegimeSnapshotBank(network(), squared, rate=1e-2)
    live(bank, world, [0, 1], span=117)
    torch.save(bank.state_dict(), tmp_path / "bank.pt")
    twin = RegimeSnapshotBank(network(9), squared, rate=1e-2, seed=9)
    twin.load_state_dict(torch.load(tmp_path / "bank.pt", weights_only=True))
    seen = world.generator.get_state()
    ahead = live(bank, world, [2, 0], span=60)
    world.generator.set_state(seen)
    assert live(twin, world, [2, 0], span=60) == ahead
    assert all(torch.equal(a, twin.state_dict()[n]) for n, a in bank.state_dict().items())
    with pytest.raises(ValueError, match="weights"):
        RegimeSnapshotBank(nn.Linear(4, 1), squared).load_state_dict(bank.state_dict())


def test_model_is_untouched_bytes_are_bounded_and_bad_input_is_refused():
    world, model = World(6), network()
    before = [p.detach().clone() for p in model.parameters()]
    bank = RegimeSnapshotBank(model, squared, rate=1e-2)
    live(bank, world, [0, 1, 2, 0], span=100)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    size = bank.weights.shape[1] * 4
    assert bank.nbytes <= 8 * (4 * size + 128 * 5 * 4 + 64) + 20 * 16 * 5 * 4
    weights = bank.weights.clone()
    with pytest.raises(ValueError, match="finite"):
        bank.observe(torch.full((1, 4), torch.nan), torch.zeros(1, 1))
    assert torch.equal(bank.weights, weights)
    for options in ({"max_states": 0}, {"max_states": 9}, {"stay": 1.0}):
        with pytest.raises(ValueError, match="max_states"):
            RegimeSnapshotBank(model, squared, **options)
