"""NestedAdam: Adam on one flat buffer (level 1), first form: clip and safety; the controller (levels 2 and 3) sits
on top.

    m <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) g^2;  theta <- theta - lr mhat / (sqrt(vhat) + eps)     Kingma, Ba
    2015, Alg. 1

Shapes: theta, g, m, v are [n], all parameters together.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, overload

import torch

from rl.optim.flat import FlatBuffer, dot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torch import Tensor


class NestedAdam(torch.optim.Optimizer):
    """torch's Adam on a flat buffer; see the module's docstring."""

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        controller: str = "global",
        clip: str | float | None = "learned",
        meta_every: int = 100,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})
        self.controller_kind, self.meta_every = controller, meta_every
        self.clip = 0.5 if isinstance(clip, str) else clip
        self.flat = FlatBuffer([p for group in self.param_groups for p in group["params"]])
        self.exp_avg = torch.zeros_like(self.flat.theta)
        self.exp_avg_sq = torch.zeros_like(self.flat.theta)
        self.steps = torch.zeros(())
        self.skipped = 0
        self.last_norm, self.last_scale = 0.0, 1.0
        self.loss: float | None = None
        self._publish()

    def _publish(self) -> None:
        views = zip(self.flat.parameters, self.flat.views(self.exp_avg), self.flat.views(self.exp_avg_sq), strict=True)
        for parameter, first, second in views:
            self.state[parameter] = {"step": self.steps, "exp_avg": first, "exp_avg_sq": second}

    def observe(self, loss: float | None = None, regime: float = 0.0, synced: bool = False) -> None:  # noqa: ARG002
        """Optional context for the next step."""
        self.loss = None if loss is None else float(loss)

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One update from `.grad`; returns what `closure` returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
            self.observe(loss=float(loss))
        self.step_with([parameter.grad for parameter in self.flat.parameters])
        return loss

    @torch.no_grad()
    def step_with(self, gradients: Sequence[Tensor | None]) -> bool:
        """One update from `gradients`; False if it was skipped because something was not finite."""
        flat, loss = self.flat, self.loss
        self.loss = None
        flat.check_binding()
        flat.gather(gradients)
        self.last_norm, self.last_scale = math.sqrt(max(dot(flat.gradient, flat.gradient), 0.0)), 1.0
        if not math.isfinite(self.last_norm) or (loss is not None and not math.isfinite(loss)):
            self.skipped += 1
            return False
        if self.clip is not None and self.last_norm > self.clip:
            self.last_scale = self.clip / (self.last_norm + 1e-6)
            flat.gradient.mul_(self.last_scale)
        self.steps.add_(1)
        start = 0
        for group in self.param_groups:
            stop = start + sum(p.numel() for p in group["params"])
            part = slice(start, stop)
            torch._fused_adam_(  # what torch.optim.Adam(fused=True) calls
                [flat.theta[part]], [flat.gradient[part]], [self.exp_avg[part]], [self.exp_avg_sq[part]], [],
                [self.steps], lr=group["lr"], beta1=group["betas"][0], beta2=group["betas"][1], weight_decay=0.0,
                eps=group["eps"], amsgrad=False, maximize=False, grad_scale=None, found_inf=None,
            )  # fmt: skip
            start = stop
        return True

    def report(self) -> dict[str, float]:
        """Counters and current values."""
        return {
            "updates": float(self.steps),
            "skipped": self.skipped,
            "multiplier": 1.0,
            "threshold": self.clip or math.inf,
        }

    def share_memory(self) -> None:
        """Move parameters and state to shared memory (before workers are spawned)."""
        self.flat.share_memory()
        for tensor in (self.exp_avg, self.exp_avg_sq, self.steps):
            tensor.share_memory_()
        self._publish()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The inverse of `state_dict`; moments are copied into the flat (perhaps shared) buffers."""
        super().load_state_dict(state_dict)
        views = zip(self.flat.parameters, self.flat.views(self.exp_avg), self.flat.views(self.exp_avg_sq), strict=True)
        for parameter, first, second in views:
            first.copy_(self.state[parameter]["exp_avg"])
            second.copy_(self.state[parameter]["exp_avg_sq"])
            self.steps.copy_(self.state[parameter]["step"])
        self._publish()
