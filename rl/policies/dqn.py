"""DQN with double estimation, dueling heads, n-step returns, prioritised replay and Huber loss; each can be turned off.

    a* = argmax_a Q(s', a)                      double: chosen online (van Hasselt et al. 2016, equation 4)
    y  = R + discount * Q_target(s', a*)        discount = gamma^k, 0 if terminated (see rl.buffers)
    L  = E[w Huber(Q(s, a) - y)]                w: importance weights of prioritised replay (Schaul et al. 2016)

The target network follows by the update rule's target sync: a period counted in *gradient updates*, Polyak's tau, or
the learned drift threshold. Exploration is epsilon-greedy, epsilon falls linearly over a fraction of `learn`.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING

import gymnasium as gym
import numpy as np
import torch
from torch.nn import functional

from rl.buffers import PrioritizedReplayBuffer, ReplayBuffer, Sample
from rl.core.agent import Agent, AgentConfig
from rl.core.networks import QNetwork
from rl.optim import Telemetry

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ClassVar

    from numpy.typing import NDArray
    from torch import Tensor

DRIFT_EPSILON = 1e-6
PLAIN_PERIOD = 250


@dataclasses.dataclass(frozen=True, kw_only=True)
class DQNConfig(AgentConfig):
    """double, dueling, prioritized: the parts (Booleans); n_steps: of the return; buffer_size in transitions;
    train_freq: environment steps (per environment) between training; gradient_steps: updates each time;
    learning_starts: environment steps before the first; epsilon from exploration_initial_eps to exploration_final_eps
    over exploration_fraction of a `learn` call; target_sync: int period in gradient updates, float tau, "learned", or
    "auto" (learned with the nested optimizer, else a period of 250);
    alpha, beta: prioritised replay, beta rises to 1 over a `learn` call; anneal: the learning rate falls linearly to
    zero over a `learn` call (the last greedy policy is then not one noisy step of many); save_replay: `save` includes
    the replay buffer.
    """

    hidden: tuple[int, ...] = (64, 64)
    gamma: float = 0.99
    max_grad_norm: float | None = 10.0
    double: bool = True
    dueling: bool = True
    prioritized: bool = True
    n_steps: int = 3
    n_envs: int = 1
    buffer_size: int = 50_000
    batch_size: int = 64
    learning_starts: int = 1000
    train_freq: int = 4
    gradient_steps: int = 4
    exploration_fraction: float = 0.2
    exploration_initial_eps: float = 1.0
    exploration_final_eps: float = 0.05
    target_sync: int | float | str = "auto"
    alpha: float = 0.6
    beta: float = 0.4
    anneal: bool = True
    save_replay: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        counts = (self.n_steps, self.n_envs, self.buffer_size, self.batch_size, self.train_freq, self.gradient_steps)
        if min(counts) < 1:
            raise ValueError(
                "n_steps, n_envs, buffer_size, batch_size, train_freq and gradient_steps must be at least 1"
            )
        shares = ("exploration_initial_eps", "exploration_final_eps", "exploration_fraction", "alpha", "beta")
        for name in shares:
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is in [0, 1], got {getattr(self, name)}")
        if self.learning_starts < 0:
            raise ValueError(f"learning_starts must not be negative, got {self.learning_starts}")
        if isinstance(self.target_sync, bool):
            raise ValueError(f'target_sync is "auto", "learned", a period or a tau, got {self.target_sync}')  # noqa: TRY004


class DQN(Agent[DQNConfig]):
    """See the module's docstring and `DQNConfig`. Discrete actions."""

    config_class: ClassVar[type[DQNConfig]] = DQNConfig
    default_learning_rates: ClassVar[dict[str, float]] = {
        "nested": 1e-3,
        "adam": 1e-3,
        "rmsprop": 2.5e-4,
        "other": 1e-3,
    }

    def build(self, generator: torch.Generator) -> None:
        """See `Agent.build`."""
        if not isinstance(self.action_space, gym.spaces.Discrete):
            raise ValueError(  # noqa: TRY004  # the value of an argument, as for other spaces
                f"DQN needs a Discrete action space, got {self.action_space}"
            )
        config = self.config
        self.actions, self.first_action = int(self.action_space.n), int(self.action_space.start)
        self.online = QNetwork(
            self.encoder.size,
            self.actions,
            config.hidden,
            dueling=config.dueling,
            layer_norm=config.layer_norm,
            generator=generator,
        )
        automatic: int | str = "learned" if self.optimizer == "nested" else PLAIN_PERIOD
        self.target_sync = automatic if config.target_sync == "auto" else config.target_sync
        self.rule = self.make_rule(self.online, target_sync=self.target_sync)
        self.target = copy.deepcopy(self.online).requires_grad_(False)
        self.epsilon = config.exploration_initial_eps
        self.buffer = self._make_buffer()

    def _make_buffer(self) -> ReplayBuffer:
        config, size = self.config, self.encoder.size
        if config.prioritized:
            return PrioritizedReplayBuffer(
                config.buffer_size,
                size,
                discount=config.gamma,
                n_steps=config.n_steps,
                environments=config.n_envs,
                alpha=config.alpha,
                beta=config.beta,
            )
        return ReplayBuffer(
            config.buffer_size, size, discount=config.gamma, n_steps=config.n_steps, environments=config.n_envs
        )

    @property
    def net(self) -> QNetwork:
        """The online network."""
        return self.online

    def act(self, rows: Any, deterministic: bool) -> Any:
        """See `Agent.act`: greedy, or epsilon-greedy with the current epsilon."""
        greedy = self.online.forward(torch.from_numpy(rows)).numpy().argmax(axis=1)
        if not deterministic:
            explore = self.exploration.random(len(rows)) < self.epsilon
            greedy = np.where(explore, self.exploration.integers(0, self.actions, len(rows)), greedy)
        return greedy + self.first_action

    def train_for(self, steps: int, callback: Callable[[Any], bool | None]) -> None:
        """See `Agent.train_for`."""
        batch, config, done, since = self.batch, self.config, 0, 0
        self._grow_streams(batch.size)
        while done < steps:
            self._schedule(done / steps)
            actions = self._explore(batch.observations)
            before = batch.observations
            step = batch.step((actions + self.first_action).tolist() if self.first_action else actions.tolist())
            for n in range(batch.size):
                if step.valid[n]:
                    self.buffer.add(
                        before[n],
                        int(actions[n]),
                        float(step.rewards[n]),
                        step.successors[n],
                        bool(step.terminated[n]),
                        bool(step.truncated[n]),
                        n,
                    )
            count = batch.size if step.valid is batch.always_valid else int(step.valid.sum())
            done += count
            self.steps_done += count
            since += 1
            if since >= config.train_freq:
                since = 0
                if self.steps_done > config.learning_starts and len(self.buffer):
                    self.train(config.gradient_steps, batch.mean_finished())
                    if callback(self) is False:
                        return

    def _grow_streams(self, count: int) -> None:
        """A vector environment decides how many streams there are."""
        while len(self.buffer.pending) < count:
            self.buffer.pending.append(type(self.buffer.pending[0])())

    def _schedule(self, progress: float) -> None:
        config = self.config
        part = min(progress / config.exploration_fraction, 1.0) if config.exploration_fraction > 0.0 else 1.0
        start, end = config.exploration_initial_eps, config.exploration_final_eps
        self.epsilon = start + (end - start) * part
        if config.anneal:
            self.rule.set_learning_rate(self.base_learning_rate * (1.0 - progress))
        if isinstance(self.buffer, PrioritizedReplayBuffer):
            self.buffer.beta = config.beta + (1.0 - config.beta) * min(progress, 1.0)

    def _explore(self, observations: NDArray[np.float32]) -> NDArray[np.int64]:
        """Epsilon-greedy actions [N], counted from 0; the network runs only if some environment is greedy."""
        size = len(observations)
        actions = self.exploration.integers(0, self.actions, size)
        greedy = self.exploration.random(size) >= self.epsilon
        if greedy.any():
            with torch.no_grad():
                values = self.online.forward(torch.from_numpy(observations)).numpy()
            actions = np.where(greedy, values.argmax(axis=1), actions)
        return actions

    def train(self, updates: int, episode_return: float | None = None) -> float:
        """`updates` gradient steps on replayed transitions; returns the mean loss. Also for use without environments,
        after `buffer.add`.
        """
        total = 0.0
        for _ in range(updates):
            total += self.update(self.buffer.sample(self.config.batch_size, self.generator), episode_return)
            episode_return = None
        return total / updates

    def update(self, sample: Sample, episode_return: float | None = None) -> float:
        """One gradient step on one batch, priorities and target sync included; returns the loss."""
        targets, drift = self.targets(sample)
        values = self.online.forward(torch.from_numpy(sample.observations))
        chosen = values.gather(1, torch.from_numpy(sample.actions).unsqueeze(1)).squeeze(1)
        if sample.weights is None:
            loss = functional.smooth_l1_loss(chosen, targets)
        else:
            each = functional.smooth_l1_loss(chosen, targets, reduction="none")
            loss = (torch.from_numpy(sample.weights) * each).mean()
        gradients = torch.autograd.grad(loss, self.trained)
        errors = (chosen.detach() - targets).numpy()
        number = loss.item()
        telemetry = Telemetry(
            loss=number,
            td_error=float(np.add.reduce(np.abs(errors)) / len(errors)),
            drift=drift,
            episode_return=episode_return,
        )
        self.rule.update(telemetry, gradients)
        self.buffer.update_priorities(sample.indices, errors)
        self.rule.sync(self.online, self.target, telemetry)
        self.updates_done += 1
        return number

    @torch.no_grad()
    def targets(self, sample: Sample) -> tuple[Tensor, float | None]:
        """Regression targets y [B], and the drift mean|Q - Q_target| / (std Q + eps) where both are at hand."""
        successors = torch.from_numpy(sample.successors)
        theirs = self.target.forward(successors)
        drift = None
        if self.config.double or self.target_sync == "learned":
            ours = self.online.forward(successors)
            drift = float((ours - theirs).abs().mean() / (ours.std() + DRIFT_EPSILON))
        chosen = ours.argmax(dim=1, keepdim=True) if self.config.double else theirs.argmax(dim=1, keepdim=True)
        value = theirs.gather(1, chosen).squeeze(1)
        return torch.from_numpy(sample.returns) + torch.from_numpy(sample.discounts) * value, drift

    def state_dict(self) -> dict[str, Any]:
        """See `Agent.state_dict`; the replay buffer is in it if `save_replay`."""
        state = {**super().state_dict(), "target": dict(self.target.state_dict()), "epsilon": self.epsilon}
        if self.config.save_replay:
            state["replay"] = self.buffer.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `Agent.load_state_dict`."""
        super().load_state_dict(state)
        self.target.load_state_dict(state["target"])
        self.epsilon = state["epsilon"]
        if "replay" in state:
            self.buffer.load_state_dict(state["replay"])
