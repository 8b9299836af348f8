"""M3: multi-scale momentum with orthogonalised updates, in the form that works (ablation class).

Nested Learning's Algorithm 1 keeps a fast momentum M1 (every step) and a slow one M2 (every `slow_every` steps, of
the mean gradient since) and moves along NS(M1) + mix NS(M2), NS = Newton-Schulz orthogonalisation as in Muon
(Jordan et al. 2024):

    X <- M / |M|_F,  five times  X <- a X + (b A + c A^2) X,  A = X X^T,  (a, b, c) = (3.4445, -4.7750, 2.0315)

As printed its momenta are sums without decay, so steps vanish like AdaGrad's, and dividing by sqrt(V) undoes the
orthogonality. Here: exponential means, no division for matrices, rescaling by .2 sqrt(max(rows, columns)) so that
an update has the root mean square of Adam's (Liu et al. 2025), and Adam for everything that is not a matrix.
Shapes: matrices [rows, columns]; tensors of more dimensions are flattened to [rows, rest].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from rl.optim.momentum import _Simple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def newton_schulz(matrix: Tensor, iterations: int = 5) -> Tensor:
    """Nearest semi-orthogonal matrix, roughly: singular values end in about [.7, 1.2]. A zero matrix stays zero."""
    a, b, c = COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    X: Tensor = matrix.T if tall else matrix
    X = X / (X.norm() + 1e-12)
    for _ in range(iterations):
        A = X @ X.T
        X = a * X + (b * A + c * A @ A) @ X
    return X.T if tall else X


class M3(_Simple):
    """See the module's docstring. mix: weight of the slow momentum; betas: of the Adam path for vectors."""

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        fast: float = 0.9,
        slow: float = 0.9,
        slow_every: int = 10,
        mix: float = 0.5,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        if slow_every < 1 or not (0.0 <= fast < 1.0 and 0.0 <= slow < 1.0):
            raise ValueError(f"need decays in [0, 1) and slow_every >= 1, got {fast}, {slow}, {slow_every}")
        defaults = {"lr": lr, "fast": fast, "slow": slow, "slow_every": slow_every}
        super().__init__(params, {**defaults, "mix": mix, "betas": betas, "eps": eps})

    def _update(self, parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        if not state:
            state["step"] = 0
            for name in ("first", "slow", "sum"):
                state[name] = torch.zeros_like(parameter)
        state["step"] += 1
        if parameter.ndim < 2:
            self._adam(parameter, gradient, state, group)
            return
        first, slow, total = state["first"], state["slow"], state["sum"]
        first.lerp_(gradient, 1.0 - group["fast"])
        total.add_(gradient)
        if state["step"] % group["slow_every"] == 0:
            slow.lerp_(total / group["slow_every"], 1.0 - group["slow"])
            total.zero_()
        rows = parameter.shape[0]
        direction = newton_schulz(first.reshape(rows, -1)) + group["mix"] * newton_schulz(slow.reshape(rows, -1))
        scale = 0.2 * max(direction.shape) ** 0.5 / (1.0 + group["mix"])
        parameter.add_(direction.reshape(parameter.shape), alpha=-group["lr"] * scale)

    @staticmethod
    def _adam(parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """`slow` holds the second moment here."""
        beta1, beta2 = group["betas"]
        first, square, step = state["first"], state["slow"], state["step"]
        first.lerp_(gradient, 1.0 - beta1)
        square.mul_(beta2).addcmul_(gradient, gradient, value=1.0 - beta2)
        root = (square / (1.0 - beta2**step)).sqrt_().add_(group["eps"])
        parameter.addcdiv_(first, root, value=-group["lr"] / (1.0 - beta1**step))
