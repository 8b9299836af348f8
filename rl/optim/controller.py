"""The controller of a nested optimizer (level 2) and its own optimizer (level 3).

A small network maps scale-free features z to bounded multiplicative corrections of what Adam would do:

    rho = lr exp(kappa tanh a_0(z)),      c = c_0 exp(kappa_c tanh a_1(z)),     a(z) = W2 tanh(W1 z + b1) / sqrt(H) + b2

W2 and b2 are zero at initialisation, so the optimizer *is* Adam until the controller has learned something.
It learns from the one-step hypergradient (Baydin et al. 2018, arXiv 1703.04782): with theta' = theta + move and the
*next* batch's gradient g', dJ/dlog rho = <g', move>. The scale-free signal is h = -cos(g', move), and phi ascends
sum_t h_t log rho_phi(z_t), by plain gradient steps of bounded length. With W frozen this is Baydin's multiplicative
rule. The sum, not a normalised mean, is what should be followed: a cosine near zero means the rate matters little.

Shapes: F features, H hidden units, R rows (1 for a global controller, one per tensor for `per_tensor`); z [R, F], a
[R, 2]. Arithmetic is numpy in float64: at this size a torch call costs more than the whole network.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

FEATURES, HIDDEN, OUTPUTS = 10, 16, 2
SIZE = HIDDEN * FEATURES + HIDDEN + OUTPUTS * HIDDEN + OUTPUTS
MAXIMUM_STEP = 0.5  # in units of a: no single meta step moves log rho by more than kappa / 2


class ControllerNet:
    """The network, its accumulated meta-gradient and the step on it. `phi` and `accumulated` are tensors [SIZE]."""

    def __init__(self, seed: int, bound: float, clip_bound: float) -> None:
        """`bound`: largest multiplier of the rate (and 1/bound the smallest), `clip_bound` the same of the
        threshold.
        """
        if not (bound > 1.0 and clip_bound > 1.0):
            raise ValueError(f"bounds must exceed 1, got {bound} and {clip_bound}")
        self.kappa = np.array([math.log(bound), math.log(clip_bound)])
        self.phi = torch.zeros(SIZE, dtype=torch.float64)
        self.accumulated = torch.zeros(SIZE, dtype=torch.float64)
        self._view()
        self.W1[:] = np.random.default_rng(seed).normal(0.0, 1.0 / math.sqrt(FEATURES), (HIDDEN, FEATURES))

    def _view(self) -> None:
        """Numpy views of the parts of both vectors."""
        self.W1, self.b1, self.W2, self.b2 = _parts(self.phi.numpy())
        self.gradient_parts = _parts(self.accumulated.numpy())

    def forward(self, z: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Features z [R, F] to (log multipliers [R, 2], hidden [R, H])."""
        hidden = np.tanh(z @ self.W1.T + self.b1)
        a = hidden @ self.W2.T / math.sqrt(HIDDEN) + self.b2
        return self.kappa * np.tanh(a), hidden

    def accumulate(self, z: FloatArray, hidden: FloatArray, log_multiplier: FloatArray, signal: FloatArray) -> None:
        """Add the gradient of mean_r sum_o signal[r, o] log_multiplier[r, o] with respect to phi."""
        delta = signal * self.kappa * (1.0 - (log_multiplier / self.kappa) ** 2) / len(z)  # [R, 2]
        back = (delta @ self.W2) * (1.0 - hidden**2) / math.sqrt(HIDDEN)  # [R, H]
        dW1, db1, dW2, db2 = self.gradient_parts
        dW1 += back.T @ z
        db1 += back.sum(axis=0)
        dW2 += delta.T @ hidden / math.sqrt(HIDDEN)
        db2 += delta.sum(axis=0)

    def meta_step(self, rate: float, decay: float) -> float:
        """Ascend the accumulated gradient, forget it, decay the output layer towards the identity; returns its norm."""
        gradient = self.accumulated.numpy()
        norm = float(np.linalg.norm(gradient))
        if not math.isfinite(norm):
            gradient[:] = 0.0
            return norm
        self.W2 *= 1.0 - decay
        self.b2 *= 1.0 - decay
        self.phi.numpy()[:] += min(rate, MAXIMUM_STEP / max(norm, 1e-12)) * gradient
        gradient[:] = 0.0
        return norm

    def reset_to_identity(self) -> None:
        """Both multipliers are exactly one again; what the hidden layer has learned is kept."""
        self.W2[:] = 0.0
        self.b2[:] = 0.0
        self.accumulated.zero_()

    def share_memory(self) -> None:
        """Move weights and accumulated gradient to shared memory."""
        self.phi.share_memory_()  # type: ignore[no-untyped-call]
        self.accumulated.share_memory_()  # type: ignore[no-untyped-call]
        self._view()

    def __getstate__(self) -> dict[str, object]:
        return {"kappa": self.kappa, "phi": self.phi, "accumulated": self.accumulated}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._view()


def _parts(vector: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Views W1 [H, F], b1 [H], W2 [2, H], b2 [2] of a vector [SIZE]."""
    ends = np.cumsum([HIDDEN * FEATURES, HIDDEN, OUTPUTS * HIDDEN, OUTPUTS])
    first, second, third, fourth = np.split(vector, ends[:-1])
    return first.reshape(HIDDEN, FEATURES), second, third.reshape(OUTPUTS, HIDDEN), fourth
