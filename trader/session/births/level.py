"""Level 3: a policy that decides births, on its own clock. One level for each of DQN, A3C and PPO."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trader.session.levels import LevelSpec, LevelUpdate

if TYPE_CHECKING:
    from trader.core.config import Config
    from trader.session.births.midwife import Midwife
    from trader.session.books import Books

_RULES: Final = {
    "dqn": "one-step action values from replay, Huber loss",
    "a3c": "advantage actor-critic in turns: gradients of older copies, applied in a fixed order",
    "ppo": "clipped surrogate objective over the births since the last update",
}


class PolicyLevel:
    """The training clock of one policy; deciding happens when natural selection has a slot to fill."""

    def __init__(self, name: str, config: Config, midwife: Midwife) -> None:
        self.spec = LevelSpec(
            name=name,
            every=getattr(config.levels, name).every,
            parameters="weights of the policy, moments and controller of its optimizer",
            context_flow="births whose first generation has been judged: state, action, reward, next state",
            objective="mean reward of its newborns: of the update before, and since",
            update_rule=_RULES[name] + "; the update rule itself is a nested optimizer or Adam, as a slow bandit says",
        )
        self._midwife = midwife
        self._numbers = np.zeros(1, np.int64)
        self._before = np.zeros(0)  # mean reward of the update before, once there was one

    def update(self, books: Books, frame: int, time_ms: int) -> LevelUpdate:  # noqa: ARG002  # every level has these
        """Train from the births whose rewards became known."""
        self._numbers[0] += 1
        done = self._midwife.train(self.spec.name)
        before = float(self._before[0]) if len(self._before) else math.nan
        after = float(done["reward"])
        if not math.isnan(after):
            self._before = np.array([after])
        figures = {name: round(float(value), 9) for name, value in done["figures"].items() if math.isfinite(value)}
        detail = {
            "births": done["births"], "optimizer": done["optimizer"], "deciders": self._midwife.preferences(), **figures,
        }  # fmt: skip
        return LevelUpdate(int(self._numbers[0]), before, after, kept=bool(figures), detail=detail)

    def state(self) -> dict[str, Any]:
        """Its counters; the policy is the midwife's to keep."""
        return {"numbers": self._numbers.copy(), "before": self._before.copy()}

    def restore(self, state: dict[str, Any]) -> None:
        """Become what `state` described."""
        self._numbers[:] = state["numbers"]
        self._before = np.array(state["before"])
