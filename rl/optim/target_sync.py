"""When a target network follows the online network: fixed period, Polyak averaging (`learned_sync.py` has the
learned one).

Hard copy every C updates is Mnih et al. 2015 (DQN, Algorithm 1); the soft form theta' <- (1-tau) theta' + tau theta
is Lillicrap et al. 2016 (DDPG, Algorithm 1). Periods count *gradient updates*, not environment steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch

if TYPE_CHECKING:
    from torch import Tensor, nn

    from rl.optim.update_rule import Telemetry


@runtime_checkable
class TargetSync(Protocol):
    """Called once after every update; moves the target when it is time and says whether it copied it hard."""

    def sync(self, online: nn.Module, target: nn.Module, telemetry: Telemetry) -> bool:
        """Move `target` towards `online` if due; True only for a hard copy (the optimizer's local time restarts
        then).
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers, JSON-able."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        ...


@torch.no_grad()
def copy_parameters(online: nn.Module, target: nn.Module, tau: float = 1.0) -> None:
    """Move theta' <- (1 - tau) theta' + tau theta for parameters; buffers are copied. Raises ValueError if the
    modules differ.
    """
    sources: list[Tensor] = list(online.parameters())
    destinations: list[Tensor] = list(target.parameters())
    if [p.shape for p in sources] != [p.shape for p in destinations]:
        raise ValueError("online and target network have different parameters")
    if tau >= 1.0:
        torch._foreach_copy_(destinations, sources)  # the public optimizers use the same call
    else:
        torch._foreach_lerp_(destinations, sources, tau)
    for source, destination in zip(online.buffers(), target.buffers(), strict=True):
        destination.copy_(source)


class PeriodicSync:
    """Hard copy every `period` updates."""

    def __init__(self, period: int = 250) -> None:
        if period < 1:
            raise ValueError(f"period must be at least 1 update, got {period}")
        self.period = period
        self.age = 0

    def sync(self, online: nn.Module, target: nn.Module, telemetry: Telemetry) -> bool:  # noqa: ARG002  # protocol
        """See `TargetSync.sync`."""
        self.age += 1
        if self.age < self.period:
            return False
        copy_parameters(online, target)
        self.age = 0
        return True

    def state_dict(self) -> dict[str, Any]:
        """Updates since the last copy."""
        return {"age": self.age}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.age = int(state["age"])


class PolyakSync:
    """Soft copy by `tau` after every update; never a hard copy."""

    def __init__(self, tau: float = 0.005) -> None:
        if not 0.0 < tau <= 1.0:
            raise ValueError(f"tau must be in (0, 1], got {tau}")
        self.tau = tau

    def sync(self, online: nn.Module, target: nn.Module, telemetry: Telemetry) -> bool:  # noqa: ARG002  # protocol
        """See `TargetSync.sync`."""
        copy_parameters(online, target, self.tau)
        return False

    def state_dict(self) -> dict[str, Any]:
        """Nothing to remember."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""


def make_target_sync(sync: TargetSync | str | float | None) -> TargetSync | None:
    """An int is a hard-copy period in updates, a float in (0, 1] is Polyak's tau, "learned" is `LearnedSync()`,
    None none.
    """
    if sync is None or isinstance(sync, TargetSync):
        return sync
    if isinstance(sync, str):
        if sync != "learned":
            raise ValueError(f'target sync is "learned", an int period, a float tau or an object, got {sync!r}')
        from rl.optim.learned_sync import LearnedSync

        return LearnedSync()
    return PeriodicSync(sync) if isinstance(sync, int) else PolyakSync(sync)
