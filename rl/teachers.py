"""Three policies fed by hand, each behind the same five verbs: choose, keep, train, tree, load.

For decisions that are not an environment's steps, such as births of agents in a session: each is a policy of
`rl.policies` made without an environment. DQN learns off-policy from every decision it is told of; PPO and A3C from
their own since their last training, A3C in turns: logical workers hold older copies of the network,
differentiate those, and apply to the shared one in a fixed order. Two update rules stand ready for each policy, the
nested optimizer with its shipped controller and plain Adam; which one trains is told from outside.

Torch runs on one thread, and `choose` always steps BATCH rows (padded), because another batch shape gives other bits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import gymnasium as gym
import numpy as np
import torch

from rl.core.actor_critic import actor_critic_loss
from rl.core.agent import single_thread
from rl.core.rollout import TrainingRows
from rl.optim import Telemetry, make_update_rule
from rl.policies import A3C, DQN, PPO

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rl.core.actor_critic import ActorCriticAgent

OPTIMIZERS: Final = ("nested", "adam")
BATCH: Final = 32
_HIDDEN: Final = (32, 32)
_FEWEST: Final = 8
"""Least number of decisions a training starts with."""
_DQN_UPDATES: Final = 32
_WORKERS: Final = 4
_ADAM_RATE: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Transition:
    """One decision whose reward is known: state and next state [D], action, reward, log-probability of the action then."""

    state: NDArray[np.float32]
    action: int
    reward: float
    successor: NDArray[np.float32]
    log_probability: float


class Teacher(Protocol):
    """What the session asks of a policy."""

    def choose(self, states: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        """Actions, values and log-probabilities [n] for states [n, D]."""

    def keep(self, transition: Transition, *, own: bool) -> None:
        """A decision whose reward is known; `own` if this policy took it."""

    def train(self, optimizer: str) -> dict[str, float]:
        """Learn from what was kept; figures for the level's row, empty if there was too little."""

    def tree(self) -> dict[str, Any]:
        """Everything it remembers."""

    def load(self, tree: dict[str, Any]) -> None:
        """Become what `tree` described."""


def make_teacher(kind: str, size: int, actions: int, discount: float, seed: int) -> Teacher:
    """A teacher by its level's name, for states [size]. Orthogonal initial weights, too, depend on the number of threads."""
    spaces = (gym.spaces.Box(-np.inf, np.inf, (size,), np.float32), gym.spaces.Discrete(actions))
    options: dict[str, Any] = {"spaces": spaces, "gamma": discount, "hidden": _HIDDEN}
    with single_thread():
        if kind == "dqn":
            return _Values(spaces, discount, seed)
        if kind == "ppo":
            return _Clipped(PPO(None, seed, "nested", n_epochs=4, **options), discount)
        return _Turns(A3C(None, seed, "nested", mode="turns", **options), discount)


def _padded(states: NDArray[np.float32], first: int) -> tuple[torch.Tensor, int]:
    """BATCH rows from `first` on, and how many of them are real."""
    rows = np.zeros((BATCH, states.shape[1]), np.float32)
    part = states[first : first + BATCH]
    rows[: len(part)] = part
    return torch.from_numpy(rows), len(part)


class _Values:
    """DQN: epsilon-greedy on action values; one-step targets, replay of every decision."""

    _EPSILON: Final = 0.1

    def __init__(self, spaces: tuple[Any, Any], discount: float, seed: int) -> None:
        options = {"gamma": discount, "hidden": _HIDDEN, "n_steps": 1, "buffer_size": 10_000, "save_replay": True}
        self._policy = DQN(None, seed, "nested", spaces=spaces, **options)
        adam = make_update_rule(
            self._policy.online.parameters(), "adam", lr=_ADAM_RATE, max_grad_norm=10.0, target_sync=100
        )
        self._rules = {"nested": self._policy.rule, "adam": adam}

    @torch.no_grad()
    def choose(self, states: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        """See `Teacher.choose`. The draws come from the policy's own exploration stream."""
        policy, count = self._policy, self._policy.actions
        actions, values, logs = [], [], []
        with single_thread():
            for first in range(0, len(states), BATCH):
                rows, real = _padded(states, first)
                table = policy.online.forward(rows).numpy()[:real]
                greedy = table.argmax(axis=1)
                explore = policy.exploration.random(real) < self._EPSILON
                chosen = np.where(explore, policy.exploration.integers(0, count, real), greedy)
                actions.append(chosen)
                values.append(table[np.arange(real), chosen].astype(np.float64))
                chance = self._EPSILON / count + (chosen == greedy) * (1.0 - self._EPSILON)
                logs.append(np.log(chance))
        return np.concatenate(actions).astype(np.int64), np.concatenate(values), np.concatenate(logs)

    def keep(self, transition: Transition, *, own: bool) -> None:  # noqa: ARG002  # off-policy: every decision teaches
        """See `Teacher.keep`."""
        self._policy.buffer.add(
            transition.state, transition.action, transition.reward, transition.successor, False, False
        )

    def train(self, optimizer: str) -> dict[str, float]:
        """See `Teacher.train`."""
        if len(self._policy.buffer) < BATCH:
            return {}
        self._policy.rule = self._rules[optimizer]
        with single_thread():
            loss = self._policy.train(_DQN_UPDATES)
        return {"loss": loss, "updates": float(_DQN_UPDATES)}

    def tree(self) -> dict[str, Any]:
        """See `Teacher.tree`."""
        self._policy.rule = self._rules["nested"]
        return {"policy": self._policy.state_dict(), "adam": self._rules["adam"].state_dict()}

    def load(self, tree: dict[str, Any]) -> None:
        """See `Teacher.load`."""
        self._policy.rule = self._rules["nested"]
        self._policy.load_state_dict(tree["policy"])
        self._rules["adam"].load_state_dict(tree["adam"])


class _ActorCritic(ABC):
    """What PPO and A3C share: draws from the policy, one-step advantages, two update rules."""

    def __init__(self, policy: ActorCriticAgent[Any], discount: float) -> None:
        self._policy = policy
        self._discount = discount
        self._waiting: list[Transition] = []
        net = policy.net
        adam = make_update_rule(net.parameters(), "adam", lr=_ADAM_RATE, max_grad_norm=0.5, eps=1e-5)
        self._rules = {"nested": policy.rule, "adam": adam}

    @torch.no_grad()
    def choose(self, states: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        """See `Teacher.choose`."""
        policy = self._policy
        actions, values, logs = [], [], []
        with single_thread():
            for first in range(0, len(states), BATCH):
                rows, real = _padded(states, first)
                parameters, value = policy.net.forward(rows)
                noise = policy.distribution.noise(policy.exploration, (BATCH,))
                drawn = np.asarray(policy.distribution.sample(parameters.numpy(), noise, policy.net))
                log, _ = policy.distribution.log_probability(parameters, torch.from_numpy(drawn), policy.net)
                actions.append(drawn[:real])
                values.append(value.numpy()[:real].astype(np.float64))
                logs.append(log.numpy()[:real].astype(np.float64))
        return np.concatenate(actions).astype(np.int64), np.concatenate(values), np.concatenate(logs)

    def keep(self, transition: Transition, *, own: bool) -> None:
        """See `Teacher.keep`: on-policy, only its own decisions teach."""
        if own:
            self._waiting.append(transition)

    def train(self, optimizer: str) -> dict[str, float]:
        """See `Teacher.train`."""
        if len(self._waiting) < _FEWEST:
            return {}
        self._policy.rule = self._rules[optimizer]
        with single_thread():
            rows = self._rows()
            self._waiting.clear()
            loss = self._learn(rows)
        return {"loss": loss, "decisions": float(len(rows))}

    @torch.no_grad()
    def _rows(self) -> TrainingRows:
        """Waiting decisions as rows: V targets r + gamma V(s'), advantages against V(s)."""
        kept = self._waiting
        states = torch.from_numpy(np.stack([item.state for item in kept]))
        successors = torch.from_numpy(np.stack([item.successor for item in kept]))
        values = self._policy.net.value(states)
        rewards = torch.tensor([item.reward for item in kept], dtype=torch.float32)
        returns = rewards + self._discount * self._policy.net.value(successors)
        return TrainingRows(
            states, torch.tensor([item.action for item in kept]),
            torch.tensor([item.log_probability for item in kept], dtype=torch.float32), values, returns - values,
            returns,
        )  # fmt: skip

    @abstractmethod
    def _learn(self, rows: TrainingRows) -> float:
        """Learn from the rows; the loss."""

    def tree(self) -> dict[str, Any]:
        """See `Teacher.tree`."""
        self._policy.rule = self._rules["nested"]
        waiting = [(t.state, t.action, t.reward, t.successor, t.log_probability) for t in self._waiting]
        return {
            "policy": self._policy.state_dict(),
            "adam": self._rules["adam"].state_dict(),
            "waiting": waiting,
        }

    def load(self, tree: dict[str, Any]) -> None:
        """See `Teacher.load`."""
        self._policy.rule = self._rules["nested"]
        self._policy.load_state_dict(tree["policy"])
        self._rules["adam"].load_state_dict(tree["adam"])
        self._waiting = [Transition(*item) for item in tree["waiting"]]


class _Clipped(_ActorCritic):
    """PPO: a few epochs of the clipped objective over the decisions since the last training."""

    def _learn(self, rows: TrainingRows) -> float:
        policy: Any = self._policy
        return float(policy.train_on(rows, policy.config.clip_range))


class _Turns(_ActorCritic):
    """A3C in turns: each logical worker differentiates its own, older copy and applies to the shared network."""

    def __init__(self, policy: A3C, discount: float) -> None:
        super().__init__(policy, discount)
        self._copies = [policy.make_network(torch.Generator()) for _ in range(_WORKERS)]
        for copy in self._copies:
            copy.load_state_dict(policy.net.state_dict())

    def _learn(self, rows: TrainingRows) -> float:
        total = 0.0
        for worker, copy in enumerate(self._copies):
            part = rows.select(torch.arange(worker, len(rows), _WORKERS))
            if len(part) == 0:
                continue
            parameters, values = copy.forward(part.observations)
            logs, entropy = self._policy.distribution.log_probability(parameters, part.actions, copy)
            loss = actor_critic_loss(logs, part.advantages, values, part.returns, entropy, self._policy.config)
            gradients = torch.autograd.grad(loss, list(copy.parameters()))
            number = loss.item()
            self._policy.rule.update(Telemetry(loss=number, staleness=_WORKERS - 1), gradients)
            copy.load_state_dict(self._policy.net.state_dict())
            total += number
        return total / _WORKERS

    def tree(self) -> dict[str, Any]:
        """See `Teacher.tree`."""
        return {**super().tree(), "copies": [dict(copy.state_dict()) for copy in self._copies]}

    def load(self, tree: dict[str, Any]) -> None:
        """See `Teacher.load`."""
        super().load(tree)
        for copy, state in zip(self._copies, tree["copies"], strict=True):
            copy.load_state_dict(state)
