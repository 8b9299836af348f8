"""Momentum as a memory: two small optimizers for ablations.

Delta momentum forgets the part of the momentum that lies along the new gradient before writing (the delta rule
instead of the Hebbian one; Behrouz et al. 2025, "Nested Learning", section on momentum as associative memory, in a
shape-correct flat form):

    m <- alpha m - beta ghat <ghat, m> - lr g,   theta <- theta + m,   ghat = g / |g|,  0 <= beta <= alpha

Multi-scale momentum mixes exponential means of several decays (lr / (sqrt(vhat) + eps) times their weighted sum,
each bias- corrected), the light form of the multi-scale memory of M3 (`m3.py`):

    m_k <- d_k m_k + (1 - d_k) g,   theta <- theta - lr sum_k w_k mhat_k / (sqrt(vhat) + eps)

Both per tensor, no clip, no controller. Shapes: as the parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torch import Tensor


class _Simple(torch.optim.Optimizer):
    """A loop over parameters with gradients; subclasses define one tensor's update."""

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One update; returns what `closure` returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, self.state[parameter], group)
        return loss

    def _update(self, parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        raise NotImplementedError


class DeltaMomentum(_Simple):
    """See the module's docstring. beta = 0 is heavy-ball momentum."""

    def __init__(self, params: Iterable[Tensor], lr: float = 1e-2, alpha: float = 0.9, beta: float = 0.5) -> None:
        if not 0.0 <= beta <= alpha < 1.0:
            raise ValueError(f"stable only for 0 <= beta <= alpha < 1, got alpha {alpha}, beta {beta}")
        super().__init__(params, {"lr": lr, "alpha": alpha, "beta": beta})

    def _update(self, parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum = state["momentum"]
        square = (gradient * gradient).sum()
        # <ghat, m> ghat = <g, m> g / |g|^2; a zero gradient forgets nothing
        along = torch.where(square > 0.0, (gradient * momentum).sum() / square, 0.0)
        momentum.mul_(group["alpha"]).sub_(gradient * (group["beta"] * along + group["lr"]))
        parameter.add_(momentum)


class MultiScaleMomentum(_Simple):
    """See the module's docstring. Even weights by default; decays (0.9,) is Adam."""

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        decays: Sequence[float] = (0.5, 0.9, 0.99),
        weights: Sequence[float] | None = None,
        beta2: float = 0.999,
        eps: float = 1e-8,
    ) -> None:
        shares = [1.0 / len(decays)] * len(decays) if weights is None else list(weights)
        if len(shares) != len(decays) or not all(0.0 <= decay < 1.0 for decay in decays):
            raise ValueError(f"need one weight per decay in [0, 1), got {decays} and {weights}")
        defaults = {"lr": lr, "decays": tuple(decays), "weights": tuple(shares), "beta2": beta2, "eps": eps}
        super().__init__(params, defaults)

    def _update(self, parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        decays, beta2 = group["decays"], group["beta2"]
        if not state:
            state["step"] = 0
            state["momenta"] = torch.zeros(
                len(decays), *parameter.shape, dtype=parameter.dtype, device=parameter.device
            )
            state["square"] = torch.zeros_like(parameter)
        state["step"] += 1
        step, square = state["step"], state["square"]
        square.mul_(beta2).addcmul_(gradient, gradient, value=1.0 - beta2)
        mixed = torch.zeros_like(parameter)
        for momentum, decay, weight in zip(state["momenta"], decays, group["weights"], strict=True):
            momentum.lerp_(gradient, 1.0 - decay)
            mixed.add_(momentum, alpha=weight / (1.0 - decay**step))
        root = (square / (1.0 - beta2**step)).sqrt_().add_(group["eps"])
        parameter.addcdiv_(mixed, root, value=-group["lr"])
