"""RMSprop in the TensorFlow form, on one flat buffer, with state that exists before the first step.

A3C and A2C need three details that torch.optim.RMSprop lacks (Mnih et al. 2016, section 4; Stable-Baselines3
`RMSpropTFLike`): epsilon inside the square root, a second moment that starts at one, and state allocated at
construction so that it can be moved to shared memory before the workers are spawned (torch makes it lazily, which
silently gives every worker its own).

    v <- alpha v + (1 - alpha) g^2;   theta <- theta - lr g / sqrt(v + eps)

Shapes: theta, v, g are [n], all parameters together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

import torch

from rl.optim.flat import FlatBuffer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torch import Tensor


class FlatRMSprop(torch.optim.Optimizer):
    """See the module's docstring. One parameter group. Parameters without a gradient keep their value and their
    moment.
    """

    def __init__(self, params: Iterable[Tensor], lr: float = 7e-4, alpha: float = 0.99, eps: float = 1e-5) -> None:
        if not (lr >= 0.0 and 0.0 <= alpha < 1.0 and eps > 0.0):
            raise ValueError(f"need lr >= 0, 0 <= alpha < 1, eps > 0, got {lr}, {alpha}, {eps}")
        super().__init__(params, {"lr": lr, "alpha": alpha, "eps": eps})
        if len(self.param_groups) != 1:
            raise ValueError("FlatRMSprop takes one parameter group")
        self.flat = FlatBuffer(self.param_groups[0]["params"])
        self.square_avg = torch.ones_like(self.flat.theta.tensor)
        self._publish()

    def _publish(self) -> None:
        for parameter, view in zip(self.flat.parameters, self.flat.views(self.square_avg), strict=True):
            self.state[parameter] = {"square_avg": view}

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
        self.step_with([parameter.grad for parameter in self.flat.parameters])
        return loss

    @torch.no_grad()
    def step_with(self, gradients: Sequence[Tensor | None]) -> None:
        """One update from `gradients`, in the order of the parameters."""
        flat, group = self.flat, self.param_groups[0]
        flat.check_binding()
        missing = flat.gather(gradients)
        kept = [(index, flat.views(self.square_avg)[index].clone()) for index in missing]
        alpha = group["alpha"]
        gradient = flat.gradient.tensor
        self.square_avg.mul_(alpha).addcmul_(gradient, gradient, value=1.0 - alpha)
        flat.theta.tensor.addcdiv_(gradient, (self.square_avg + group["eps"]).sqrt_(), value=-group["lr"])
        for index, moment in kept:
            flat.views(self.square_avg)[index].copy_(moment)

    def share_memory(self) -> None:
        """Move parameters and second moments to shared memory (before workers are spawned)."""
        self.flat.share_memory()
        self.square_avg.share_memory_()  # type: ignore[no-untyped-call]
        self._publish()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The inverse of `state_dict`; moments are copied into the flat (perhaps shared) buffer."""
        super().load_state_dict(state_dict)
        for parameter, view in zip(self.flat.parameters, self.flat.views(self.square_avg), strict=True):
            view.copy_(self.state[parameter]["square_avg"])
        self._publish()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "flat": self.flat, "square_avg": self.square_avg}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "flat" in state:  # unpickled in a worker; torch's load_state_dict comes this way too, without it
            self.param_groups[0]["params"] = self.flat.parameters
            self.state.clear()
            self._publish()
