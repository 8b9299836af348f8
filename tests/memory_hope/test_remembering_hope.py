"""HOPE that reads a nested memory: identity until proven, no look-ahead, recurring errors are corrected, state goes on."""

import numpy as np
import pytest
import torch

from memory import HOPE, NestedMemory, RememberingHOPE


def small(seed=0, **options):
    return RememberingHOPE(HOPE(inputs=6, width=16, seed=seed, weights=None, backbone="gru"), seed=seed, **options)


def walk(bars, seed=0, streams=None):
    shape = (bars, 6) if streams is None else (bars, streams, 6)
    return np.random.default_rng(seed).normal(size=shape)


def recurring(bars, seed=0):
    """A marker in the second input tells the next value of the first one: an untrained net cannot, a memory can."""
    x = walk(bars, seed)
    marker = np.random.default_rng(seed + 1).integers(0, 2, bars) * 2.0 - 1.0
    x[:, 1:] = 0.1 * x[:, 1:] + 3.0 * marker[:, None]
    x[1:, 0] = 2.0 * marker[:-1] + 0.2 * x[1:, 0]
    return x


def equal(one, two):
    """States, where not-a-number equals itself."""
    return one.keys() == two.keys() and all(np.array_equal(one[n], two[n], equal_nan=True) for n in one)


def test_noise_leaves_the_prediction_alone_bit_for_bit():
    mine, plain = small(), HOPE(inputs=6, width=16, seed=0, weights=None, backbone="gru")
    for x in walk(180):
        assert np.array_equal(mine.step(x).prediction, plain.step(x).prediction)
    assert len(mine.memory) > 150


def test_what_follows_a_known_pattern_is_remembered():
    data = recurring(900)
    mine, without = small(), small(read=False)
    errors = np.zeros((2, len(data)))
    said = [0.0, 0.0]
    for t, x in enumerate(data):
        errors[:, t] = (x[0] - np.array(said)) ** 2
        said = [float(model.step(x).prediction[0]) for model in (mine, without)]
    late = errors[:, 500:].mean(axis=1)
    assert mine.share[0] > 0.3
    assert without.share[0] == 0.0
    assert late[0] < 0.6 * late[1]


def test_nothing_depends_on_what_comes_later():
    data = recurring(420)
    changed = data.copy()
    changed[400:] += 5.0
    first, second = small(), small()
    for before, after in zip(data[:400], changed[:400], strict=True):
        assert np.array_equal(first.step(before).prediction, second.step(after).prediction)


def test_streams_torch_and_refusals():
    mine = small()
    for x in walk(30, streams=3):
        out = mine.step(torch.from_numpy(x))
    assert out.prediction.shape == (3, 1)
    assert isinstance(out.prediction, torch.Tensor)
    before = mine.state_dict()
    with pytest.raises(ValueError, match="NaN"):
        mine.step(np.full((3, 6), np.nan))
    assert equal(before, mine.state_dict())
    with pytest.raises(ValueError, match="16"):
        RememberingHOPE(HOPE(inputs=6, width=16, weights=None, backbone="gru"), NestedMemory(dim=8))


@pytest.mark.parametrize("streams", [None, 2])
def test_state_goes_on_bit_for_bit(streams):
    data = recurring(330) if streams is None else np.stack([recurring(330, seed) for seed in range(streams)], axis=1)
    one, two = small(), small(seed=0)
    for x in data[:300]:
        one.step(x)
    saved = one.state_dict()
    two.load_state_dict(saved)
    for x in data[300:]:
        assert np.array_equal(one.step(x).prediction, two.step(x).prediction)
    assert equal(one.state_dict(), two.state_dict())
