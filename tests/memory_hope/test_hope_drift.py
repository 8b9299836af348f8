"""The compiled detectors report exactly where river's report, on stationary, shifted and heavy-tailed streams."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import drift

from memory.drift import ADWIN_SIZE, PH_BOTH, PH_DOWN, PH_SIZE, PH_UP, adwin, adwin_run, page_hinkley_run


def _stream(seed: int, bars: int = 3000) -> np.ndarray:
    rng = np.random.default_rng(seed)
    scale = np.where(np.arange(bars) // 700 % 2 == 0, 1.0, 2.0)
    return np.abs(rng.standard_t(4, bars)) * scale


def _river_hits(detector: drift.ADWIN | drift.PageHinkley, values: np.ndarray) -> list[int]:
    hits = []
    for t, value in enumerate(values):
        detector.update(float(value))
        if detector.drift_detected:
            hits.append(t)
    return hits


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("clock", [1, 32])
def test_adwin_equals_river(seed: int, clock: int) -> None:
    values = _stream(seed)
    expected = _river_hits(drift.ADWIN(delta=0.01, clock=clock), values)
    assert adwin_run(values, 0.01, clock).tolist() == expected
    assert expected, "a stream whose scale doubles four times must set ADWIN off at least once"


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("mode", "name"), [(PH_UP, "up"), (PH_DOWN, "down"), (PH_BOTH, "both")])
def test_page_hinkley_equals_river(seed: int, mode: int, name: str) -> None:
    values = _stream(seed)
    detector = drift.PageHinkley(min_instances=30, delta=0.05, threshold=25.0, alpha=0.999, mode=name)
    assert page_hinkley_run(values, 25.0, 0.05, 0.999, mode, 30).tolist() == _river_hits(detector, values)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-50, 50), min_size=1, max_size=400), st.sampled_from([1, 8, 32]))
def test_adwin_equals_river_on_anything(values: list[float], clock: int) -> None:
    array = np.array(values)
    assert adwin_run(array, 0.002, clock).tolist() == _river_hits(drift.ADWIN(clock=clock), array)


def test_adwin_state_is_bounded_and_counts_its_window() -> None:
    state = np.zeros(ADWIN_SIZE)
    for t in range(5000):
        assert not adwin(state, 1.0, 0.002, 32)
        assert state[0] == t + 1
    assert state[1] == 5000
    assert len(state) == ADWIN_SIZE
    assert PH_SIZE == 7
