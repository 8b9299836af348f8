"""The per-element meta-network: the founding sketch's NestedAdam, made trainable. For small networks: its cost
grows with n.

On top of the global controller every coordinate i has its own multiplier exp(kappa_e tanh a(u_i)) of what Adam did
to it:

    u_i = (g_i / (sqrt(v_i) + eps), m_i / (sqrt(v_i) + eps), their product), each clipped to [-3, 3]
    a(u) = w2 tanh(W1 u + b1) + b2,   w2 = b2 = 0 at initialisation

[gradient, momentum] are the sketch's inputs, here in units of Adam's second moment, or a network sees numbers of
1e-4. The signal is the hypergradient coordinate by coordinate, h_i = -g'_i move_i / (|g'| |move|), whose sum over i
is the global h. It is taken once per window (the backward pass costs as much as the forward one) and weighted by
the window's length.

Shapes: n coordinates, E hidden units: u [n, 3], hidden [n, E].
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from rl.optim.drivers import GlobalDriver

if TYPE_CHECKING:
    from rl.optim.controller import ControllerNet
    from rl.optim.counters import Counters
    from rl.optim.flat import FlatBuffer, FlatVector

HIDDEN, INPUTS, EPS = 8, 3, 1e-12
KAPPA = math.log(4.0)  # the global multiplier reaches the far end; single coordinates stay within a factor of four
ELEMENT_SIZE = HIDDEN * INPUTS + HIDDEN + HIDDEN + 1
SECOND_MOMENT_RATE = 0.01
SAMPLED = 10  # moves per move whose coordinates are judged


class ElementDriver(GlobalDriver):
    """See the module's docstring. Keeps its own running second moment of the gradient, [n]."""

    private = (*GlobalDriver.private, "inputs", "element_log")
    carried = (*GlobalDriver.carried, "inputs")

    def __init__(self, flat: FlatBuffer, exp_avg: FlatVector, net: ControllerNet) -> None:
        self.element_phi = torch.zeros(ELEMENT_SIZE, dtype=flat.theta.tensor.dtype, device=flat.theta.tensor.device)
        self.element_accumulated = torch.zeros_like(self.element_phi)
        self.second = torch.zeros_like(flat.theta.tensor)
        self.age = torch.zeros((), dtype=torch.float64)
        generator = torch.Generator().manual_seed(1)
        first = torch.randn(HIDDEN * INPUTS, generator=generator, dtype=torch.float64) / math.sqrt(INPUTS)
        self.element_phi[: HIDDEN * INPUTS] = first.to(self.element_phi)
        super().__init__(flat, exp_avg, net)

    def _start(self) -> None:
        super()._start()
        self.inputs: torch.Tensor | None = None
        self.element_log: torch.Tensor | None = None

    @staticmethod
    def _parts(vector: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Views W1 [E, 3], b1 [E], w2 [E], b2 [1]."""
        W1, b1, w2, b2 = torch.split(vector, [HIDDEN * INPUTS, HIDDEN, HIDDEN, 1])
        return W1.view(HIDDEN, INPUTS), b1, w2, b2

    def listen(self, norm: float, sensitivity: float) -> None:
        """See `GlobalDriver`; on every tenth move also the coordinates' own signal, then this step's inputs."""
        super().listen(norm, sensitivity)
        if self.inputs is not None and self.move_norm > 0.0 and norm > 0.0 and int(self.age) % SAMPLED == 0:
            scale = -SAMPLED / (norm * self.move_norm)
            self._accumulate(self.inputs, self.flat.gradient.tensor * self.move.tensor * scale)
        self.age += 1
        gradient = self.flat.gradient.tensor
        self.second.lerp_(gradient * gradient, max(SECOND_MOMENT_RATE, 1.0 / float(self.age)))
        root = self.second.sqrt().add_(EPS)
        u1, u2 = (gradient / root).clamp_(-3.0, 3.0), (self.exp_avg.tensor / root).clamp_(-3.0, 3.0)
        self.inputs = torch.stack([u1, u2, (u1 * u2).clamp_(-3.0, 3.0)], dim=1)
        self.element_log = self._forward(self.inputs)[0]

    def _forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs [n, 3] to (log multipliers [n], hidden [n, E])."""
        W1, b1, w2, b2 = self._parts(self.element_phi)
        hidden = torch.tanh(torch.addmm(b1, inputs, W1.T))
        return torch.tanh(hidden @ w2 + b2).mul_(KAPPA), hidden

    def _accumulate(self, inputs: torch.Tensor, signal: torch.Tensor) -> None:
        """Add the gradient of sum_i signal_i log multiplier_i with respect to the element network."""
        log_multiplier, hidden = self._forward(inputs)
        _, _, w2, _ = self._parts(self.element_phi)
        delta = signal * (KAPPA - log_multiplier**2 / KAPPA)  # [n]
        back = torch.outer(delta, w2) * (1.0 - hidden**2)  # [n, E]
        dW1, db1, dw2, db2 = self._parts(self.element_accumulated)
        dW1.addmm_(back.T, inputs)
        db1 += back.sum(0)
        dw2 += delta @ hidden
        db2 += delta.sum()

    def after(self) -> None:
        """See `GlobalDriver`; multiplies every coordinate's move. Untrained, Adam's own bits are kept."""
        super().after()
        assert self.element_log is not None
        if not self.element_phi[HIDDEN * INPUTS + HIDDEN :].any():
            return
        self.move.tensor.mul_(self.element_log.exp())
        torch.add(self.previous.tensor, self.move.tensor, out=self.flat.theta.tensor)
        self.move_norm = math.sqrt(self.move.dot(self.move))

    def meta_step(self, rate: float, decay: float, counters: Counters) -> None:
        """See `GlobalDriver`; both networks."""
        super().meta_step(rate, decay, counters)
        norm = float(self.element_accumulated.norm())
        if math.isfinite(norm):
            self.element_phi[HIDDEN * INPUTS + HIDDEN :] *= 1.0 - decay
            self.element_phi.add_(self.element_accumulated, alpha=min(rate, 0.5 / max(norm, 1e-12)))
        self.element_accumulated.zero_()

    @property
    def mean_multiplier(self) -> float:
        """Global multiplier times the geometric mean over coordinates."""
        inner = 0.0 if self.element_log is None else float(self.element_log.mean())
        return super().mean_multiplier * math.exp(inner)

    def identity(self) -> None:
        """See `GlobalDriver`."""
        super().identity()
        self.element_phi[HIDDEN * INPUTS + HIDDEN :] = 0.0
        self.element_accumulated.zero_()

    def share_memory(self) -> None:
        """See `GlobalDriver`."""
        super().share_memory()
        for tensor in (self.element_phi, self.element_accumulated, self.second, self.age):
            tensor.share_memory_()  # type: ignore[no-untyped-call]

    def state_tensors(self) -> dict[str, torch.Tensor]:
        """See `GlobalDriver`."""
        inputs = torch.zeros(0, INPUTS) if self.inputs is None else self.inputs
        own = {"element_phi": self.element_phi, "element_accumulated": self.element_accumulated, "inputs": inputs}
        return {**super().state_tensors(), **own, "second": self.second, "age": self.age}

    def load_state_tensors(self, tensors: dict[str, torch.Tensor]) -> None:
        """See `GlobalDriver`."""
        inputs = tensors["inputs"]
        self.inputs = inputs.clone() if len(inputs) else None
        super().load_state_tensors(tensors)
        self.element_log = None if self.inputs is None else self._forward(self.inputs)[0]
