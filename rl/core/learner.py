"""One actor-learner: its own environment, its own copy of the network, gradients of n-step rollouts.

Gradients are computed by `torch.autograd.grad` on the local copy and returned; no `.grad` field exists anywhere.
That is the cure for a defect of the well-known A3C recipe under torch >= 2: `zero_grad()` on the shared network no
longer clears the local network's gradients, which then add up for ever (tests/rl_policies/test_stale_gradient.py).

Asynchronous advantage actor-critic, Mnih et al. 2016, algorithm S3; with gae_lambda < 1 the advantage is GAE.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rl.core.actor_critic import actor_critic_loss
from rl.core.batch import EnvironmentBatch, make_batch
from rl.core.returns import generalized_advantages
from rl.core.rollout import bootstrapped_returns, collect

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from rl.core.actor_critic import ActorCriticConfig
    from rl.core.distributions import Distribution
    from rl.core.networks import ActorCritic
    from rl.core.rollout import Rollout


@dataclass(frozen=True, slots=True)
class LearnerGradient:
    """Gradients in the order of the parameters, the loss, environment steps taken, and the mean return of episodes
    that ended (None if none did).
    """

    gradients: Sequence[Tensor]
    loss: float
    steps: int
    episode_return: float | None


def rollout_gradient(
    rollout: Rollout, net: ActorCritic, distribution: Distribution, config: ActorCriticConfig
) -> tuple[tuple[Tensor, ...], float]:
    """Gradients and loss of one rollout: one forward and one backward pass over all its steps."""
    observations = rollout.flat_observations()
    rows = observations.shape[0]
    actions = torch.from_numpy(rollout.actions.reshape(rows, *rollout.actions.shape[2:]))
    parameters, values = net.forward(observations)
    grid = values.detach().numpy().reshape(rollout.rewards.shape)
    if config.gae_lambda == 1.0:
        returns = torch.from_numpy(bootstrapped_returns(rollout, grid, net, config.gamma)).reshape(-1)
        advantages = returns - values.detach()
    else:
        following = rollout.next_values(grid, net)
        estimated = generalized_advantages(
            rollout.rewards, grid, following, rollout.terminated, rollout.done, config.gamma, config.gae_lambda
        )
        advantages = torch.from_numpy(estimated).reshape(-1)
        returns = advantages + values.detach()
    log_probabilities, entropy = distribution.log_probability(parameters, actions, net)
    if not rollout.all_valid:
        kept = torch.from_numpy(np.flatnonzero(rollout.valid.reshape(-1)))
        log_probabilities, entropy, values = log_probabilities[kept], entropy[kept], values[kept]
        advantages, returns = advantages[kept], returns[kept]
    loss = actor_critic_loss(log_probabilities, advantages, values, returns, entropy, config)
    return torch.autograd.grad(loss, list(net.parameters())), loss.item()


class Learner:
    """See the module's docstring. `index` is the logical worker: its streams depend on it and the seed, never on the
    process it runs in.
    """

    def __init__(
        self,
        make_env: Callable[[], Any],
        net: ActorCritic,
        distribution: Distribution,
        config: ActorCriticConfig,
        seed: int,
        index: int,
        hook: Callable[[int, int, list[Tensor]], Sequence[Tensor]] | None = None,
    ) -> None:
        environments, actions = np.random.SeedSequence(seed, spawn_key=(index,)).spawn(2)
        self.batch: EnvironmentBatch = make_batch(make_env, config.n_envs, int(environments.generate_state(1)[0]))
        self.generator = np.random.Generator(np.random.PCG64(actions))
        self.net, self.distribution, self.config = net, distribution, config
        self.parameters: list[Tensor] = list(net.parameters())
        self.index, self.hook, self.updates = index, hook, 0

    @torch.no_grad()
    def pull(self, parameters: Sequence[Tensor]) -> None:
        """Copy the shared parameters into the local network."""
        torch._foreach_copy_(self.parameters, list(parameters))

    def gradient(self) -> LearnerGradient:
        """Act for n_steps with the local network and differentiate."""
        config = self.config
        rollout = collect(self.batch, self.net, self.distribution, config.n_steps, self.generator, config.reward_scale)
        gradients, loss = rollout_gradient(rollout, self.net, self.distribution, config)
        if self.hook is not None:
            gradients = tuple(self.hook(self.index, self.updates, list(gradients)))
        self.updates += 1
        return LearnerGradient(gradients, loss, int(rollout.valid.sum()), self.batch.mean_finished())
