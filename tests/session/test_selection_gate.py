"""Selection against its twins, whole sessions: benchmarks/selection_gate.py is the gate; here two seeds and fewer generations."""

from __future__ import annotations

import pytest

from benchmarks.selection_gate import KINDS, arguments, outcomes, planted_gate, significant, twin

SMALL = ["--generations", "10", "--after", "6", "--size", "160"]


def test_with_an_edge_selection_beats_both_twins():
    chosen = arguments(SMALL)
    found = {kind: [twin(kind, seed, "planted", chosen) for seed in (1, 2)] for kind in KINDS}
    for evolving, frozen, drawn in zip(*found.values(), strict=True):
        print([round(one.growth, 4) for one in (evolving, frozen, drawn)])
        assert evolving.growth > max(frozen.growth, drawn.growth)
        assert len(evolving.days) == len(frozen.days) == 6 * 30


@pytest.mark.nightly
def test_the_gate_with_an_edge():
    """Ten seeds, twenty generations: intervals of the mean growth apart."""
    chosen = arguments([])
    assert planted_gate(outcomes("planted", range(1, 11), chosen))


@pytest.mark.nightly
def test_the_gate_without_an_edge():
    """Twenty seeds of a martingale: at most one significantly above both twins after Holm."""
    chosen = arguments([])
    assert significant(outcomes("null", range(1, 21), chosen)) <= 1
