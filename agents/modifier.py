"""The self-modifier's proposals: a small network over an agent's genes and its market says what to change, and learns.

    h = tanh(W1 z + b1);  u = W2 h + b2;  change = LARGEST * tanh(u + SPREAD * noise) on the CHANGED genes where
    |u + SPREAD * noise| is largest, 0 elsewhere

in unit-cube coordinates of the genes (`genome.to_unit`), so that every gene moves in its own scale and never leaves its
bounds (reflection). W2 starts at zero: before it has learned, proposals are pure exploration. It learns from paired
counterfactual advantages A (the changed agent's result minus the unchanged one's on the same candles) by evolution
strategies in the space of changes: E[A noise] / SPREAD estimates the gradient of E[A] by u (Salimans et al. 2017), which
is passed on to the weights; advantages are ranked within the batch first, so that no single trade rules.
Shapes: n agents, G modifiable genes, Z inputs, H hidden units.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents import genome
from trader.core import rng
from trader.core.rng import Stream

Floats = NDArray[np.float64]

MODIFIABLE: Final = np.array([
    number for number, gene in enumerate(genome.GENES[: genome.FIRST_WEIGHT])
    if gene.modifiable and gene.scale is not genome.Scale.CATEGORY
])  # fmt: skip
"""Genes that may change within a life: those of trading. The weights of features stay with evolution."""

HIDDEN: Final = 16
LARGEST: Final = 0.3
"""Largest change of a gene, as a share of its range (of its logarithm for log genes)."""
SPREAD: Final = 0.5
CHANGED: Final = 3
"""Genes changed at once: few enough that a row says what was tried."""
RATE: Final = 0.05
DECAY: Final = 1e-3


class Proposal(NamedTuple):
    """Changes [n, G] in unit coordinates, and what learning needs: inputs [n, Z], hidden [n, H], noise [n, G], mask [n, G]."""

    change: Floats
    inputs: Floats
    hidden: Floats
    noise: Floats
    mask: NDArray[np.bool_]


class Proposer:
    """One network for the whole population. inputs: Z; seed: of the first layer and of the exploration."""

    def __init__(self, inputs: int, seed: int) -> None:
        self._seed = seed
        item = np.arange(HIDDEN)[:, None]
        self.w1 = rng.normal(seed, Stream.MODIFIER, 0, item, np.arange(inputs)[None, :]) / np.sqrt(inputs)
        self.b1 = np.zeros(HIDDEN)
        self.w2 = np.zeros((len(MODIFIABLE), HIDDEN))
        self.b2 = np.zeros(len(MODIFIABLE))

    def propose(self, inputs: Floats, agents: NDArray[np.int64], moment: int) -> Proposal:
        """A change for each agent; the exploration is a function of the agent's number and the moment (> 0)."""
        genes = len(MODIFIABLE)
        hidden = np.tanh(inputs @ self.w1.T + self.b1)
        noise = rng.normal(self._seed, Stream.MODIFIER, moment, agents[:, None], np.arange(genes)[None, :])
        wanted = hidden @ self.w2.T + self.b2 + SPREAD * noise
        order = np.argsort(-np.abs(wanted), axis=1, kind="stable")[:, :CHANGED]
        mask = np.zeros(wanted.shape, np.bool_)
        np.put_along_axis(mask, order, values=True, axis=1)
        return Proposal(np.where(mask, LARGEST * np.tanh(wanted), 0.0), inputs, hidden, noise, mask)

    def learn(self, proposal: Proposal, advantage: Floats) -> float:
        """One step up the expected advantage [n]; returns the size of the step. Fewer than two agents teach nothing."""
        count = len(advantage)
        if count < 2 or np.ptp(advantage) == 0.0:
            return 0.0
        places = np.argsort(np.argsort(advantage, kind="stable"), kind="stable")
        utility = places / (count - 1.0) - 0.5
        signal = np.where(proposal.mask, utility[:, None] * proposal.noise / SPREAD, 0.0)
        back = (signal @ self.w2) * (1.0 - proposal.hidden**2)
        steps = (
            (self.w2, signal.T @ proposal.hidden), (self.b2, signal.sum(0)), (self.w1, back.T @ proposal.inputs),
            (self.b1, back.sum(0)),
        )  # fmt: skip
        size = 0.0
        for weights, gradient in steps:
            step = RATE * (gradient / count - DECAY * weights)
            np.add(weights, step, out=weights)
            size += float((step**2).sum())
        return float(np.sqrt(size))

    def state(self) -> dict[str, Any]:
        """The weights."""
        return {name: getattr(self, name).copy() for name in ("w1", "b1", "w2", "b2")}

    def restore(self, state: dict[str, Any]) -> None:
        """Become what `state` described."""
        for name in ("w1", "b1", "w2", "b2"):
            setattr(self, name, np.array(state[name]))


def changed(genomes: Floats, change: Floats) -> Floats:
    """Genomes [n, GENES] with changes [n, G] of their modifiable genes, settled; all other genes keep every bit."""
    units = genome.to_unit(genomes)
    units[:, MODIFIABLE] = genome.reflect(units[:, MODIFIABLE] + change)
    moved = genome.settle(genome.from_unit(units))
    result = genomes.copy()
    touched = np.zeros(genomes.shape, np.bool_)
    touched[:, MODIFIABLE] = change != 0.0
    result[touched] = moved[touched]
    return result
