"""When to copy the target network, learned from return.

The drift D = mean |Q - Q'| / (std Q + eps) on the batch costs nothing: both networks were evaluated there anyway.
The target is copied when D exceeds a threshold or its age a maximum. Which threshold is right depends on the
problem, so a discounted UCB bandit plays {.05, .1, .2, .4} and Polyak averaging (tau = .005) against each other; an
arm is kept for a window of updates and paid with the *return* of the episodes that ended in it, as a rank among
recent windows. It is never paid with TD loss: a frozen target makes TD loss small and learns nothing
(nested-learning notes, defect Q9).

Ages and windows in updates; returns in the environment's unit, only their order matters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rl.bandits import DiscountedUCB
from rl.optim.target_sync import copy_parameters

if TYPE_CHECKING:
    from torch import nn

    from rl.optim.update_rule import Telemetry

POLYAK = 0.0  # the arm that means soft copies; every other arm is a drift threshold
HISTORY = 50  # windows that a new one is ranked among


class LearnedSync:
    """See the module's docstring. A `TargetSync`; telemetry must carry `drift` and, when episodes end,
    `episode_return`.

    window: updates an arm is kept at least (until an episode has ended). maximum_age: a hard copy at the latest.
    minimum_age: no copy more often than this. Without drift telemetry copies happen at the maximum age only.
    """

    def __init__(
        self,
        thresholds: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4),
        tau: float = 0.005,
        window: int = 1000,
        maximum_age: int = 2000,
        minimum_age: int = 10,
        seed: int = 0,
    ) -> None:
        if not all(threshold > 0.0 for threshold in thresholds) or window < 1 or maximum_age < minimum_age:
            raise ValueError(f"bad settings: {thresholds}, window {window}, ages {minimum_age} to {maximum_age}")
        self.tau, self.window = tau, window
        self.maximum_age, self.minimum_age = maximum_age, minimum_age
        self.bandit = DiscountedUCB([*thresholds, POLYAK], discount=0.95, seed=seed)
        self.age = self.elapsed = 0
        self.returns: list[float] = []
        self.history: list[float] = []
        self._choose()

    def _choose(self) -> None:
        self.decision = self.bandit.select()
        self.elapsed, self.returns = 0, []

    @property
    def threshold(self) -> float:
        """Drift threshold in force; 0 means Polyak averaging."""
        return float(self.decision.arm)

    def sync(self, online: nn.Module, target: nn.Module, telemetry: Telemetry) -> bool:
        """See `TargetSync.sync`."""
        self._listen(telemetry)
        self.age += 1
        due = self.age >= self.maximum_age
        if self.threshold == POLYAK and not due:
            copy_parameters(online, target, self.tau)
            return False
        drift = telemetry.drift
        due = due or (drift is not None and drift > self.threshold and self.age >= self.minimum_age)
        if due:
            copy_parameters(online, target)
            self.age = 0
        return due

    def _listen(self, telemetry: Telemetry) -> None:
        """Collect returns; at the end of a window pay the arm and choose anew."""
        self.elapsed += 1
        if telemetry.episode_return is not None:
            self.returns.append(float(telemetry.episode_return))
        if self.elapsed < self.window or not self.returns:
            return
        mean = sum(self.returns) / len(self.returns)
        below = sum(past < mean for past in self.history) + 0.5 * sum(past == mean for past in self.history)
        rank = below / len(self.history) if self.history else 0.5
        self.history = [*self.history, mean][-HISTORY:]
        self.bandit.update(self.decision.ticket, rank)
        self._choose()

    def state_dict(self) -> dict[str, Any]:
        """JSON-able."""
        names = ("age", "elapsed", "returns", "history")
        return {
            "bandit": self.bandit.state_dict(),
            "decision": list(self.decision),
            **{name: getattr(self, name) for name in names},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.bandit.load_state_dict(state["bandit"])
        self.decision = type(self.decision)(*state["decision"])
        self.age, self.elapsed = state["age"], state["elapsed"]
        self.returns, self.history = list(state["returns"]), list(state["history"])
