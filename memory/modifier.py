"""The modifier: a small MLP or LSTM that sets how the fast weights are written, on a slower clock than the bars.

Every `PERIOD` bars, and on an alarm, it reads a scale-free context and sets three controls (nested-learning.md §2.A H3:
the rates and the gate of a delta-rule write, instead of thousands of weight deltas):
    forgetting 1-α = 0.005 · exp(1.5 tanh o₀),  noise ρ = exp(1.5 tanh o₁),  strength s = sigmoid(2 + o₂).
With its output layer at zero it sets 0.005, 1 and 0.88.
Context [8]: log ratio of the 8- and 128-bar scale, skill of the frozen net, t-value of the shadow's advantage, bars
since the last restart, bars since the last modification (the position layer's third part: it lives here, so that a
silent net does not depend on it), share of the prior variance left, and the Page-Hinkley sums of scale and skill as
shares of their thresholds.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from memory.layout import B_CTRL, CONTEXT, CONTROLS, D_LSTM, MODIFIER_HIDDEN, W_CTRL, W_MOD

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

PERIOD = 8  # bars between two updates of the controls
FORGET, FORGET_RANGE, NOISE_RANGE, STRENGTH_LOGIT = 0.005, 1.5, 1.5, 2.0


@njit(cache=True)
def _sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x))


@njit(cache=True)
def modify(dims: I64, off: I64, w: F32, context: F64, memory: F64, controls: F64) -> None:
    """Set controls [3] = (α, ρ, s) from context [8]; memory [2·hidden] is the LSTM's state (h, c), changed in place."""
    h = MODIFIER_HIDDEN
    start = off[W_MOD]
    hidden = np.empty(h)
    if dims[D_LSTM]:
        gates = np.empty(4 * h)
        recurrent = start + CONTEXT * 4 * h
        for j in range(4 * h):
            total = float(w[recurrent + h * 4 * h + j])
            for i in range(CONTEXT):
                total += context[i] * w[start + i * 4 * h + j]
            for i in range(h):
                total += memory[i] * w[recurrent + i * 4 * h + j]
            gates[j] = total
        for j in range(h):
            keep = _sigmoid(gates[h + j]) * memory[h + j]
            memory[h + j] = keep + _sigmoid(gates[j]) * math.tanh(gates[2 * h + j])
            hidden[j] = _sigmoid(gates[3 * h + j]) * math.tanh(memory[h + j])
        for j in range(h):
            memory[j] = hidden[j]
    else:
        for j in range(h):
            total = float(w[start + CONTEXT * h + j])
            for i in range(CONTEXT):
                total += context[i] * w[start + i * h + j]
            hidden[j] = math.tanh(total)
    o = np.empty(CONTROLS)
    for j in range(CONTROLS):
        o[j] = w[off[B_CTRL] + j]
        for i in range(h):
            o[j] += hidden[i] * w[off[W_CTRL] + i * CONTROLS + j]
    controls[0] = 1.0 - FORGET * math.exp(FORGET_RANGE * math.tanh(o[0]))
    controls[1] = math.exp(NOISE_RANGE * math.tanh(o[1]))
    controls[2] = _sigmoid(STRENGTH_LOGIT + o[2])


def modify_torch(
    body: dict[str, Tensor], weight: Tensor, bias: Tensor, context: Tensor, memory: tuple[Tensor, Tensor]
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """The same, differentiable: context [S, 8] to controls [S, 3]; memory is (h, c), each [S, hidden]."""
    if "wx" in body:
        gates = context @ body["wx"] + memory[0] @ body["wh"] + body["b"]
        i, f, g, o = gates.chunk(4, -1)
        cell = torch.sigmoid(f) * memory[1] + torch.sigmoid(i) * torch.tanh(g)
        hidden = torch.sigmoid(o) * torch.tanh(cell)
        memory = (hidden, cell)
    else:
        hidden = torch.tanh(context @ body["w"] + body["b"])
    out = hidden @ weight + bias
    alpha = 1.0 - FORGET * torch.exp(FORGET_RANGE * torch.tanh(out[:, 0]))
    noise = torch.exp(NOISE_RANGE * torch.tanh(out[:, 1]))
    strength = torch.sigmoid(STRENGTH_LOGIT + out[:, 2])
    return torch.stack([alpha, noise, strength], -1), memory
