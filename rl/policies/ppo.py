"""PPO with the clipped objective (Schulman et al. 2017, equation 7) and the core details of Huang et al. 2022.

    ratio_t = pi(a_t|s_t) / pi_old(a_t|s_t)
    L = -E[min(ratio A, clip(ratio, 1 - c, 1 + c) A)] + vf_coef * Huber(V - R) - ent_coef * entropy

Advantages by GAE, normalised per minibatch; minibatches are a fresh permutation per epoch, no row twice; learning
rate and clip range fall linearly; truncation is bootstrapped, termination is not. Defaults are the CartPole settings
of rl-baselines3-zoo (8 x 32 steps, 20 epochs, lambda 0.8, gamma 0.98).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch

from rl.core.actor_critic import VALUE_LOSSES, ActorCriticAgent, ActorCriticConfig
from rl.core.rollout import TrainingRows, collect, training_rows
from rl.optim import Telemetry

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ClassVar

    from torch import Tensor

ADVANTAGE_EPSILON = 1e-8


@dataclasses.dataclass(frozen=True, kw_only=True)
class PPOConfig(ActorCriticConfig):
    """batch_size: rows per minibatch; n_epochs: passes over a rollout; clip_range: c, annealed with the learning rate;
    clip_range_vf: clip of the value change (None: off); target_kl: stop the epochs when the estimated KL divergence
    exceeds 1.5 times this (None: never).
    """

    gamma: float = 0.98
    n_steps: int = 32
    n_envs: int = 8
    gae_lambda: float = 0.8
    batch_size: int = 256
    n_epochs: int = 20
    clip_range: float = 0.2
    clip_range_vf: float | None = None
    normalize_advantage: bool = True
    target_kl: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size < 1 or self.n_epochs < 1 or not self.clip_range > 0.0:
            raise ValueError("batch_size and n_epochs must be at least 1 and clip_range positive")


class PPO(ActorCriticAgent[PPOConfig]):
    """See the module's docstring and `PPOConfig`."""

    config_class: ClassVar[type[PPOConfig]] = PPOConfig

    def train_for(self, steps: int, callback: Callable[[Any], bool | None]) -> None:
        """See `Agent.train_for`."""
        batch, config, done = self.batch, self.config, 0
        while done < steps:
            remaining = 1.0 - done / steps if config.anneal else 1.0
            rollout = collect(batch, self.net, self.distribution, config.n_steps, self.generator, config.reward_scale)
            count = int(rollout.valid.sum())
            done += count
            self.steps_done += count
            rows = training_rows(rollout, self.net, self.distribution, config.gamma, config.gae_lambda)
            self.rule.set_learning_rate(self.base_learning_rate * remaining)
            self.train_on(rows, config.clip_range * remaining, batch.mean_finished())
            if callback(self) is False:
                return

    def train_on(self, rows: TrainingRows, clip_range: float, episode_return: float | None = None) -> float:
        """All epochs over one rollout; returns the loss of the last minibatch."""
        config, loss, size = self.config, 0.0, len(rows)
        for _ in range(config.n_epochs):
            order = torch.from_numpy(self.generator.permutation(size))
            for start in range(0, size, config.batch_size):
                chosen = rows.select(order[start : start + config.batch_size])
                loss, divergence = self.update(chosen, clip_range, episode_return)
                episode_return = None
                if config.target_kl is not None and divergence > 1.5 * config.target_kl:
                    return loss
        return loss

    def update(self, rows: TrainingRows, clip_range: float, episode_return: float | None = None) -> tuple[float, float]:
        """One minibatch step; returns loss and the k3 estimate of KL(old || new) (0 unless target_kl is set)."""
        parameters, values = self.net.forward(rows.observations)
        log_probabilities, entropy = self.distribution.log_probability(parameters, rows.actions, self.net)
        log_ratio = log_probabilities - rows.log_probabilities
        divergence = 0.0
        if self.config.target_kl is not None:
            with torch.no_grad():
                divergence = float((log_ratio.exp() - 1.0 - log_ratio).mean())
            if divergence > 1.5 * self.config.target_kl:
                return 0.0, divergence
        loss = self.loss(rows, log_ratio.exp(), values, entropy, clip_range)
        gradients = torch.autograd.grad(loss, self.trained)
        number = loss.item()
        self.rule.update(Telemetry(loss=number, episode_return=episode_return), gradients)
        self.updates_done += 1
        return number, divergence

    def loss(self, rows: TrainingRows, ratio: Tensor, values: Tensor, entropy: Tensor, clip_range: float) -> Tensor:
        """The objective above, negated where it is maximised; a scalar."""
        config, advantages = self.config, rows.advantages
        if config.normalize_advantage and len(rows) > 1:
            deviation, mean = torch.std_mean(advantages)
            advantages = (advantages - mean) / (deviation + ADVANTAGE_EPSILON)
        clipped = ratio.clamp(1.0 - clip_range, 1.0 + clip_range)
        policy_loss = -torch.minimum(advantages * ratio, advantages * clipped).mean()
        if config.clip_range_vf is not None:
            change = (values - rows.values).clamp(-config.clip_range_vf, config.clip_range_vf)
            values = rows.values + change
        value_loss = VALUE_LOSSES[config.value_loss](values, rows.returns)
        loss = policy_loss + config.vf_coef * value_loss
        return loss - config.ent_coef * entropy.mean() if config.ent_coef else loss
