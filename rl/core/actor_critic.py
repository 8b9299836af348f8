"""What the three actor-critic policies (PPO, A2C, A3C) share: networks from spaces, acting, value loss.

Value loss: Huber with unit threshold by default (a bounded derivative: one outlier cannot take the step over), or
the squared error of the papers.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
import torch
from torch.nn import functional

from rl.core.agent import Agent, AgentConfig
from rl.core.distributions import make_distribution
from rl.core.networks import ActorCritic

if TYPE_CHECKING:
    from torch import Tensor

VALUE_LOSSES = {"huber": functional.smooth_l1_loss, "mse": functional.mse_loss}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ActorCriticConfig(AgentConfig):
    """activation: "tanh" or "relu"; vf_coef, ent_coef: weights of value loss and entropy bonus; value_loss: "huber" or
    "mse"; anneal: learning rate falls linearly to zero over a `learn` call; n_steps: steps per environment and rollout;
    n_envs: environments stepped in this process; reward_scale: factor on every reward before learning (reported returns
    are not scaled): it sets where Huber's bounded part begins.
    """

    activation: str = "tanh"
    vf_coef: float = 0.5
    ent_coef: float = 0.0
    value_loss: str = "huber"
    anneal: bool = True
    n_steps: int = 16
    n_envs: int = 1
    gae_lambda: float = 1.0
    reward_scale: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.value_loss not in VALUE_LOSSES:
            raise ValueError(f"value_loss is one of {sorted(VALUE_LOSSES)}, got {self.value_loss!r}")
        if self.n_steps < 1 or self.n_envs < 1:
            raise ValueError(f"n_steps and n_envs must be at least 1, got {self.n_steps} and {self.n_envs}")
        if not self.reward_scale > 0.0:
            raise ValueError(f"reward_scale must be positive, got {self.reward_scale}")
        if not 0.0 <= self.gae_lambda <= 1.0:
            raise ValueError(f"gae_lambda is in [0, 1], got {self.gae_lambda}")


A = TypeVar("A", bound=ActorCriticConfig)


class ActorCriticAgent(Agent[A]):
    """Networks, update rule and acting of the actor-critic policies. Adam's epsilon is 1e-5 (detail 3 of the 37): near a
    deterministic policy gradients vanish, and a smaller epsilon would blow their noise up to full steps.
    """

    default_options: ClassVar[dict[str, dict[str, Any]]] = {
        "nested": {"bound": 4.0, "eps": 1e-5},
        "adam": {"eps": 1e-5},
    }

    def build(self, generator: torch.Generator) -> None:
        """See `Agent.build`."""
        self.distribution = make_distribution(self.action_space)
        self.actor_critic = self.make_network(generator)
        self.rule = self.make_rule(self.actor_critic)

    def make_network(self, generator: torch.Generator | None = None) -> ActorCritic:
        """A network of the configured shape."""
        return ActorCritic(
            self.encoder.size,
            self.distribution.parameters,
            self.config.hidden,
            activation=self.config.activation,
            layer_norm=self.config.layer_norm,
            continuous=self.distribution.continuous,
            generator=generator,
        )

    @property
    def net(self) -> ActorCritic:
        """See `Agent.net`."""
        return self.actor_critic

    def act(self, rows: Any, deterministic: bool) -> Any:
        """See `Agent.act`: the mode, or a draw."""
        parameters = self.net.policy(torch.from_numpy(rows)).numpy()
        if deterministic:
            actions = self.distribution.mode(parameters)
        else:
            noise = self.distribution.noise(self.exploration, (len(rows),))
            actions = self.distribution.sample(parameters, noise, self.net)
        return self.distribution.to_environment(np.asarray(actions))


def actor_critic_loss(
    log_probabilities: Tensor, advantages: Tensor, values: Tensor, returns: Tensor, entropy: Tensor, config: Any
) -> Tensor:
    """Policy gradient with baseline (Mnih et al. 2016): -E[log pi A] + vf_coef * value loss - ent_coef * entropy.

    All [R]; advantages and returns carry no gradient.
    """
    policy_loss = -(log_probabilities * advantages).mean()
    value_loss = VALUE_LOSSES[config.value_loss](values, returns)
    loss = policy_loss + config.vf_coef * value_loss
    return loss - config.ent_coef * entropy.mean() if config.ent_coef else loss
