"""The one hook through which every policy trains.

A policy computes a loss and its gradients and hands both over; the rule sees the gradients and the telemetry,
clips, applies the step and decides when a target network follows. Nothing else in `rl/policies` calls an optimizer,
so a nested optimizer, torch's Adam and a user's own rule are interchangeable.

    rule = make_update_rule(net.parameters(), optimizer="nested", lr=1e-3, target_sync=250)
    rule.zero_grad(); loss.backward()
    result = rule.update(Telemetry(loss=float(loss)))        # or update(telemetry,
    gradients=torch.autograd.grad(...)) rule.sync(net, target_net, telemetry)

Norms are Euclidean over all parameters together; `staleness` counts updates of the shared parameters between pull
and apply.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch

from rl.optim.nested_adam import NestedAdam
from rl.optim.rmsprop import FlatRMSprop
from rl.optim.target_sync import TargetSync, make_target_sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What a policy knows about one update. Everything is optional: what is missing is not used.

    loss: the scalar that was differentiated; td_error: mean |TD error| of the batch; staleness: updates between
    pull and apply (A3C); drift: mean |Q - Q'| / (std Q + eps) between online and target network on the batch;
    episode_return: mean undiscounted return of the episodes that ended since the previous update, None if none
    ended; regime: a flag in [0, 1].
    """

    loss: float | None = None
    td_error: float | None = None
    staleness: int = 0
    drift: float | None = None
    episode_return: float | None = None
    regime: float = 0.0


NO_TELEMETRY = Telemetry()


@dataclass(frozen=True, slots=True)
class UpdateResult:
    """One update: norm before clipping, factor the gradient was scaled by (1 = not clipped), False if it was
    skipped.
    """

    gradient_norm: float
    clip_scale: float
    applied: bool


@runtime_checkable
class UpdateRule(Protocol):
    """See the module's docstring for the order of calls."""

    def zero_grad(self) -> None:
        """Forget gradients held in `.grad`; not needed when gradients are passed to `update`."""
        ...

    def update(self, telemetry: Telemetry, gradients: Sequence[Tensor | None] | None = None) -> UpdateResult:
        """Clip and apply `gradients` (in the order of the parameters; None: those in `.grad`). Never raises on NaN:
        skips.
        """
        ...

    def sync(self, online: nn.Module, target: nn.Module, telemetry: Telemetry) -> bool:
        """After every update of a policy with a target network; True if the target was copied hard."""
        ...

    def set_learning_rate(self, lr: float) -> None:
        """Base learning rate from now on (annealing); a controller multiplies it."""
        ...

    def share_memory(self) -> None:
        """Move parameters and all optimizer state to shared memory, before workers are spawned."""
        ...

    def report(self) -> dict[str, float]:
        """Counters and current values for a log line."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain numbers only: loads with `torch.load(weights_only=True)`."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        ...


class PlainUpdate:
    """Any torch optimizer with a fixed global-norm clip and a fixed target sync: the control arm of every comparison.

    optimizer: over `parameters`; max_grad_norm: None for no clip; target_sync: int period, float tau, object or None.
    A non-finite gradient is skipped and counted, as in the nested rule, so that arms differ in learning only.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        max_grad_norm: float | None = None,
        target_sync: TargetSync | str | float | None = None,
    ) -> None:
        _check_norm(max_grad_norm)
        self.optimizer = optimizer
        self.parameters: list[Tensor] = [p for group in optimizer.param_groups for p in group["params"]]
        self.max_grad_norm = max_grad_norm
        self.target_sync = make_target_sync(target_sync)
        self.updates = self.skipped = self.clipped = self.syncs = 0

    def zero_grad(self) -> None:
        """See `UpdateRule`."""
        self.optimizer.zero_grad(set_to_none=True)

    def update(self, telemetry: Telemetry, gradients: Sequence[Tensor | None] | None = None) -> UpdateResult:
        """See `UpdateRule`."""
        if gradients is not None:
            for parameter, gradient in zip(self.parameters, gradients, strict=True):
                parameter.grad = gradient
        held = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        norm_tensor = torch.nn.utils.get_total_norm(held)
        norm = float(norm_tensor)
        if not math.isfinite(norm) or (telemetry.loss is not None and not math.isfinite(telemetry.loss)):
            self.skipped += 1
            return UpdateResult(norm, 0.0, applied=False)
        scale = 1.0
        if self.max_grad_norm is not None:
            # torch's clip_grad_norm_ divides by norm + 1e-6 too: the same bits as Stable-Baselines3
            scale = min(1.0, self.max_grad_norm / (norm + 1e-6))
            if scale < 1.0:  # a factor of one changes no bit
                torch.nn.utils.clip_grads_with_norm_(self.parameters, self.max_grad_norm, norm_tensor)
                self.clipped += 1
        self.optimizer.step()
        self.updates += 1
        return UpdateResult(norm, scale, applied=True)

    def sync(self, online: nn.Module, target: nn.Module, telemetry: Telemetry) -> bool:
        """See `UpdateRule`."""
        copied = self.target_sync is not None and self.target_sync.sync(online, target, telemetry)
        self.syncs += copied
        return copied

    def set_learning_rate(self, lr: float) -> None:
        """See `UpdateRule`."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr

    def share_memory(self) -> None:
        """See `UpdateRule`. torch's optimizers make their state at the first step: here it is made first, then
        shared.
        """
        if isinstance(self.optimizer, FlatRMSprop | NestedAdam):
            self.optimizer.share_memory()
            return
        for parameter in self.parameters:
            parameter.share_memory_()  # type: ignore[no-untyped-call]
        _make_state(self.optimizer, self.parameters)
        self._share_state()

    def _share_state(self) -> None:
        for state in self.optimizer.state.values():
            for value in state.values():
                if isinstance(value, torch.Tensor):
                    value.share_memory_()  # type: ignore[no-untyped-call]

    def report(self) -> dict[str, float]:
        """Updates, skipped, clipped and hard syncs of this process; base learning rate."""
        return {
            "updates": self.updates,
            "skipped": self.skipped,
            "clipped": self.clipped,
            "syncs": self.syncs,
            "lr": float(self.optimizer.param_groups[0]["lr"]),
        }

    def state_dict(self) -> dict[str, Any]:
        """See `UpdateRule`."""
        counters = [self.updates, self.skipped, self.clipped, self.syncs]
        sync = None if self.target_sync is None else self.target_sync.state_dict()
        return {"optimizer": self.optimizer.state_dict(), "target_sync": sync, "counters": counters}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `UpdateRule`."""
        self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))  # torch would alias the tensors
        if self.parameters[0].is_shared():  # type: ignore[no-untyped-call]  # torch puts fresh private tensors in place of the shared ones
            self._share_state()
        if self.target_sync is not None and state["target_sync"] is not None:
            self.target_sync.load_state_dict(state["target_sync"])
        self.updates, self.skipped, self.clipped, self.syncs = state["counters"]


def _check_norm(max_grad_norm: float | None) -> None:
    if max_grad_norm is not None and not max_grad_norm > 0.0:
        raise ValueError(f"max_grad_norm must be positive or None, got {max_grad_norm}")


def _make_state(optimizer: torch.optim.Optimizer, parameters: Sequence[Tensor]) -> None:
    """Let a lazy optimizer allocate its state by one step with zero gradient and zero rate, then set its clocks to
    zero.
    """
    rates = [group["lr"] for group in optimizer.param_groups]
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    optimizer.step()
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    for state in optimizer.state.values():
        if isinstance(state.get("step"), torch.Tensor):
            state["step"].zero_()


class FlatAdamUpdate(PlainUpdate):
    """Torch's Adam with a fixed clip on one flat buffer: `NestedAdam` with its controller off, at half the cost."""

    optimizer: NestedAdam

    def __init__(
        self,
        parameters: Sequence[Tensor],
        lr: float,
        max_grad_norm: float | None = None,
        target_sync: TargetSync | str | float | None = None,
        **options: Any,
    ) -> None:
        _check_norm(max_grad_norm)
        adam = NestedAdam(parameters, lr=lr, controller="off", clip=max_grad_norm, **options)
        super().__init__(adam, max_grad_norm, target_sync)

    def update(self, telemetry: Telemetry, gradients: Sequence[Tensor | None] | None = None) -> UpdateResult:
        """See `UpdateRule`."""
        optimizer = self.optimizer
        if telemetry.loss is not None:
            optimizer.observe(loss=telemetry.loss)
        applied = optimizer.step_with(gradients if gradients is not None else [p.grad for p in self.parameters])
        self.updates += applied
        self.skipped += not applied
        self.clipped += applied and optimizer.last_scale < 1.0
        return UpdateResult(optimizer.last_norm, optimizer.last_scale, applied)


class NestedUpdate(PlainUpdate):
    """`NestedAdam` as an update rule: it clips by itself and its controller hears loss, regime and target syncs."""

    optimizer: NestedAdam

    def __init__(self, optimizer: NestedAdam, target_sync: TargetSync | str | float | None = None) -> None:
        super().__init__(optimizer, None, target_sync)

    def update(self, telemetry: Telemetry, gradients: Sequence[Tensor | None] | None = None) -> UpdateResult:
        """See `UpdateRule`."""
        optimizer = self.optimizer
        optimizer.observe(loss=telemetry.loss, regime=telemetry.regime)
        applied = optimizer.step_with(gradients if gradients is not None else [p.grad for p in self.parameters])
        self.updates += applied
        return UpdateResult(optimizer.last_norm, optimizer.last_scale, applied)

    def sync(self, online: nn.Module, target: nn.Module, telemetry: Telemetry) -> bool:
        """See `UpdateRule`."""
        copied = super().sync(online, target, telemetry)
        if copied:
            self.optimizer.observe(synced=True)
        return copied

    def report(self) -> dict[str, float]:
        """The optimizer's report and the number of hard syncs."""
        return {**self.optimizer.report(), "syncs": self.syncs}


def make_update_rule(
    parameters: Iterable[Tensor],
    optimizer: str | Callable[..., Any] = "nested",
    *,
    lr: float,
    max_grad_norm: float | None = None,
    target_sync: TargetSync | str | float | None = None,
    **options: Any,
) -> UpdateRule:
    """The update rule a policy trains with.

    optimizer: "nested" (`NestedAdam`; `max_grad_norm` is not used unless `clip="fixed"`), "adam" (torch's, on a flat
    buffer; with options that only torch's class knows, that class), "rmsprop" (`FlatRMSprop`, the TensorFlow form A3C
    needs), or a callable `f(parameters, lr=lr, **options)` that returns a torch optimizer (e.g. `torch.optim.AdamW`)
    or an `UpdateRule`. `options` go to the optimizer.
    Raises ValueError for an unknown name.
    """
    parameters = list(parameters)
    if callable(optimizer):
        made = optimizer(parameters, lr=lr, **options)
        if isinstance(made, NestedAdam):
            return NestedUpdate(made, target_sync)
        if isinstance(made, torch.optim.Optimizer):
            return PlainUpdate(made, max_grad_norm, target_sync)
        if isinstance(made, UpdateRule):
            return made
        raise ValueError(f"optimizer callable returned {type(made).__name__}, not an optimizer or an update rule")
    if optimizer == "nested":
        if options.get("clip") == "fixed":
            options["clip"] = max_grad_norm
        return NestedUpdate(NestedAdam(parameters, lr=lr, **options), target_sync)
    if optimizer == "adam" and set(options) <= {"betas", "eps", "weight_decay"}:
        return FlatAdamUpdate(parameters, lr, max_grad_norm, target_sync, **options)
    if optimizer == "adam":
        fused = parameters[0].device.type in {"cpu", "cuda"}
        return PlainUpdate(torch.optim.Adam(parameters, lr=lr, fused=fused, **options), max_grad_norm, target_sync)
    if optimizer == "rmsprop":
        return PlainUpdate(FlatRMSprop(parameters, lr=lr, **options), max_grad_norm, target_sync)
    raise ValueError(f'optimizer is "nested", "adam", "rmsprop" or a callable, got {optimizer!r}')
