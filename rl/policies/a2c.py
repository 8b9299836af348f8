"""A2C: the synchronous control of A3C. Same network, loss and rollouts; one gradient from all environments at once.

Asynchrony is the only difference to `a3c.py`, so a comparison of the two measures asynchrony and nothing else.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from rl.core.actor_critic import ActorCriticAgent, ActorCriticConfig
from rl.core.learner import rollout_gradient
from rl.core.rollout import collect
from rl.optim import Telemetry

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ClassVar


@dataclasses.dataclass(frozen=True, kw_only=True)
class A2CConfig(ActorCriticConfig):
    """Eight environments of 16 steps an update; rewards scaled as in A3C."""

    n_envs: int = 8
    reward_scale: float = 0.1


class A2C(ActorCriticAgent[A2CConfig]):
    """See the module's docstring."""

    config_class: ClassVar[type[A2CConfig]] = A2CConfig
    default_learning_rates: ClassVar[dict[str, float]] = {"nested": 1e-3, "adam": 1e-3, "rmsprop": 3e-3, "other": 1e-3}

    def train_for(self, steps: int, callback: Callable[[Any], bool | None]) -> None:
        """See `Agent.train_for`."""
        batch, config, done = self.batch, self.config, 0
        while done < steps:
            if config.anneal:
                self.rule.set_learning_rate(self.base_learning_rate * (1.0 - done / steps))
            rollout = collect(batch, self.net, self.distribution, config.n_steps, self.generator, config.reward_scale)
            gradients, loss = rollout_gradient(rollout, self.net, self.distribution, config)
            self.rule.update(Telemetry(loss=loss, episode_return=batch.mean_finished()), gradients)
            self.updates_done += 1
            done += int(rollout.valid.sum())
            self.steps_done += int(rollout.valid.sum())
            if callback(self) is False:
                return
