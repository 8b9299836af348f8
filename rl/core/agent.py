"""What every policy object has: construction, predict, save and load, seeded generators, one update rule.

A policy is made as `PPO(make_env, seed=0, optimizer="nested", **hyper)`; the hyper-parameters are the fields of its
frozen configuration class, which documents them. Nothing global is drawn from: environment seeds, initial weights,
exploration and minibatches come from streams derived from `seed`, so that two runs on one machine are equal.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import functools
import math
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar, cast

import numpy as np
import torch

from rl.core.archive import load_tree, save_tree
from rl.core.batch import EnvironmentBatch, make_batch
from rl.core.clip_floor import floor_learned_clip
from rl.core.spaces import ObservationEncoder, space_from_json, space_to_json
from rl.optim import make_update_rule

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    import gymnasium as gym
    from torch import Tensor, nn

    from rl.optim import UpdateRule

C = TypeVar("C", bound="AgentConfig")


@dataclasses.dataclass(frozen=True, kw_only=True)
class AgentConfig:
    """Hyper-parameters that all policies share.

    hidden: sizes of hidden layers; layer_norm: LayerNorm after each of them; discount is called gamma as in the field;
    learning_rate: None takes the policy's default for the chosen optimizer; max_grad_norm: global-norm clip of the
    plain optimizers and floor of the learned one's threshold; optimizer_options: keywords for the optimizer.
    """

    hidden: tuple[int, ...] = (64, 64)
    layer_norm: bool = True
    gamma: float = 0.99
    learning_rate: float | None = None
    max_grad_norm: float | None = 0.5
    optimizer_options: dict[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def from_keywords(cls, owner: str, keywords: dict[str, Any]) -> Self:
        """A configuration from keywords. Raises TypeError naming an unknown keyword and the nearest known one."""
        known = [field.name for field in dataclasses.fields(cls)]
        for name in keywords:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}"
                raise TypeError(f"{owner} has no hyper-parameter {name!r}{hint}")
        values = dict(keywords)
        hidden = values.get("hidden")
        if hidden is not None:
            if isinstance(hidden, int) or not all(hasattr(size, "__index__") for size in hidden):
                raise ValueError(f"hidden is a sequence of layer sizes, as (64, 64), got {hidden!r}")
            values["hidden"] = tuple(int(size) for size in hidden)
        for field in dataclasses.fields(cls):
            if field.type == "int" and not hasattr(values.get(field.name, 0), "__index__"):
                raise ValueError(f"{field.name} is a whole number, got {values[field.name]!r}")
        return cls(**values)

    def __post_init__(self) -> None:
        if not 0.0 <= self.gamma <= 1.0:
            raise ValueError(f"gamma is in [0, 1], got {self.gamma}")
        if self.learning_rate is not None and not 0.0 <= _number("learning_rate", self.learning_rate) < math.inf:
            raise ValueError(f"learning_rate must be finite and not negative, got {self.learning_rate}")
        if self.max_grad_norm is not None and not _number("max_grad_norm", self.max_grad_norm) > 0.0:
            raise ValueError(f"max_grad_norm is positive, or None for no clip, got {self.max_grad_norm}")
        if any(size < 1 for size in self.hidden):
            raise ValueError(f"hidden sizes must be positive, got {self.hidden}")


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} is a number, got {value!r}")
    return float(value)


class _Load:
    """`PPO.load(path)` makes a policy, `policy.load(path)` fills this one."""

    def __get__(self, instance: Agent[Any] | None, owner: type[Agent[Any]]) -> Callable[..., Any]:
        return owner.make_from if instance is None else instance.fill_from


class Agent(Generic[C]):
    """Base of the policies.

    make_env: callable that makes one Gymnasium environment (or a vector environment); None for a policy that only
    predicts or is trained from outside, then `spaces=(observation_space, action_space)` is needed.
    """

    config_class: ClassVar[type[AgentConfig]] = AgentConfig
    default_learning_rates: ClassVar[dict[str, float]] = {"nested": 1e-3, "adam": 1e-3, "rmsprop": 7e-4, "other": 1e-3}
    default_options: ClassVar[dict[str, dict[str, Any]]] = {"nested": {"bound": 4.0}}
    """Keywords of the optimizers. Consecutive policy gradients agree with each other long after a longer step has become
    harmful (short-horizon bias), so the controller of a policy may change the rate by a factor of 4, not 32."""

    def __init__(
        self,
        make_env: Callable[[], Any] | None,
        seed: int = 0,
        optimizer: str | Callable[..., Any] = "nested",
        *,
        spaces: tuple[gym.Space[Any], gym.Space[Any]] | None = None,
        **hyper: Any,
    ) -> None:
        name = type(self).__name__
        if make_env is not None and not callable(make_env):
            raise TypeError(f"make_env is a callable that makes an environment, got {make_env!r}")
        if isinstance(seed, bool) or not hasattr(seed, "__index__"):
            raise TypeError(f"seed is a whole number, got {seed!r}")
        if seed < 0:
            raise ValueError(f"seed must not be negative, got {seed}")
        self.config = cast("C", self.config_class.from_keywords(name, hyper))
        self.make_env, self.seed, self.optimizer = make_env, int(seed), optimizer
        self.steps_done = 0
        self.updates_done = 0
        self._batch: EnvironmentBatch | None = None
        if spaces is None:
            if make_env is None:
                raise TypeError(f"{name} needs make_env or spaces")
            spaces = self._spaces_of(make_env)
        self.observation_space, self.action_space = spaces
        self.encoder = ObservationEncoder(self.observation_space)
        streams = np.random.SeedSequence(self.seed).spawn(4)
        self.generator = np.random.Generator(np.random.PCG64(streams[0]))
        self.exploration = np.random.Generator(np.random.PCG64(streams[1]))
        self.environment_seed = int(streams[2].generate_state(1)[0])
        self.weights_seed = int(streams[3].generate_state(1)[0])
        self.build(torch.Generator().manual_seed(self.weights_seed))

    def _spaces_of(self, make_env: Callable[[], Any]) -> tuple[gym.Space[Any], gym.Space[Any]]:
        environment = make_env()
        if not hasattr(environment, "observation_space") or not hasattr(environment, "action_space"):
            raise TypeError(f"make_env made {environment!r}, which is no Gymnasium environment")
        try:
            observation = getattr(environment, "single_observation_space", environment.observation_space)
            action = getattr(environment, "single_action_space", environment.action_space)
        finally:
            environment.close()
        return observation, action

    def build(self, generator: torch.Generator) -> None:
        """Make networks (initial weights from `generator`), the update rule and buffers."""
        raise NotImplementedError

    @property
    def net(self) -> nn.Module:
        """The trained network."""
        raise NotImplementedError

    rule: UpdateRule
    trained: list[Tensor]
    """Parameters of the trained network, in the order of their gradients."""

    def make_rule(self, net: nn.Module, **options: Any) -> UpdateRule:
        """The update rule over the parameters of `net`."""
        defaults = self.default_options.get(self.optimizer, {}) if isinstance(self.optimizer, str) else {}
        options = {**options, **defaults, **self.config.optimizer_options}
        self.trained = list(net.parameters())
        rule = make_update_rule(
            self.trained,
            self.optimizer,
            lr=self.base_learning_rate,
            max_grad_norm=self.config.max_grad_norm,
            **options,
        )
        floor_learned_clip(rule, self.config.max_grad_norm)
        return rule

    @property
    def base_learning_rate(self) -> float:
        """The configured learning rate, or the default for the optimizer."""
        if self.config.learning_rate is not None:
            return self.config.learning_rate
        kind = self.optimizer if isinstance(self.optimizer, str) else "other"
        return self.default_learning_rates.get(kind, self.default_learning_rates["other"])

    @property
    def batch(self) -> EnvironmentBatch:
        """The environments, made when first needed and kept between calls of `learn`."""
        if self._batch is None:
            if self.make_env is None:
                raise RuntimeError("this policy was made without environments: it can predict, not learn")
            count = int(getattr(self.config, "n_envs", 1))
            self._batch = make_batch(self.make_env, count, self.environment_seed)
        return self._batch

    def learn(self, steps: int, callback: Callable[[Any], bool | None] | None = None) -> Self:
        """Train for about `steps` more environment steps (whole rollouts); schedules span this call.

        callback: called with the policy after each round of updates; returning False ends training.
        Raises ValueError for steps < 1.
        """
        if isinstance(steps, bool) or not hasattr(steps, "__index__"):
            raise TypeError(f"steps is a whole number, got {steps!r}")
        if steps < 1:
            raise ValueError(f"steps must be at least 1, got {steps}")
        with single_thread():
            self.train_for(steps, callback or (lambda _: None))
        return self

    def train_for(self, steps: int, callback: Callable[[Any], bool | None]) -> None:
        """The training loop of one `learn` call."""
        raise NotImplementedError

    def predict(self, obs: Any, deterministic: bool = True) -> Any:
        """Action for one observation, or actions [B, ...] for a batch (one more leading axis than the space has)."""
        rows, batched = self.encoder.rows(obs)
        with torch.no_grad():
            actions = self.act(rows, deterministic)
        if batched:
            return np.asarray(actions)
        return np.int64(actions[0]) if np.ndim(actions[0]) == 0 else actions[0]

    def act(self, rows: Any, deterministic: bool) -> Any:
        """Actions as the environment takes them for rows [B, D]."""
        raise NotImplementedError

    def report(self) -> dict[str, float]:
        """Steps, updates, mean return of the last finished episodes (nan if none) and the update rule's figures."""
        recent = [value for value, _ in self._batch.recent] if self._batch is not None else []
        mean = float(np.mean(recent)) if recent else float("nan")
        return {"steps": self.steps_done, "updates_done": self.updates_done, "return": mean, **self.rule.report()}

    def state_dict(self) -> dict[str, Any]:
        """Everything that training depends on, except environments and replay: plain numbers, arrays, tensors."""
        return {
            "net": dict(self.net.state_dict()),
            "rule": self.rule.state_dict(),
            "generator": self.generator.bit_generator.state,
            "exploration": self.exploration.bit_generator.state,
            "counters": [self.steps_done, self.updates_done],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`. Raises RuntimeError (torch) if the shapes differ."""
        self.net.load_state_dict(state["net"])
        self.rule.load_state_dict(state["rule"])
        self.generator.bit_generator.state = state["generator"]
        self.exploration.bit_generator.state = state["exploration"]
        self.steps_done, self.updates_done = state["counters"]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write configuration and state to exactly `path`: a NumPy archive with JSON inside, no pickle."""
        save_tree(
            path,
            {
                "policy": type(self).__name__,
                "config": dataclasses.asdict(self.config),
                "seed": self.seed,
                "optimizer": self.optimizer if isinstance(self.optimizer, str) else None,
                "spaces": [space_to_json(self.observation_space), space_to_json(self.action_space)],
                "state": self.state_dict(),
            },
        )

    load = _Load()
    """`policy.load(path)` fills this policy and returns it; `PPO.load(path, make_env=None, optimizer=None)` makes one."""

    def fill_from(self, path: str | os.PathLike[str]) -> Self:
        """Load weights, optimizer state and generators saved by the same kind of policy.

        Raises ValueError if the file holds another kind, other spaces or another network.
        """
        tree = load_tree(path)
        self._check(tree, path)
        saved = [space_to_json(self.observation_space), space_to_json(self.action_space)]
        if tree["spaces"] != saved:
            raise ValueError(f"{path} was trained on other spaces: {tree['spaces']}")
        for name in ("hidden", "layer_norm"):
            if tree["config"][name] != getattr(self.config, name):
                raise ValueError(f"{path} has {name}={tree['config'][name]}, this policy {getattr(self.config, name)}")
        self.load_state_dict(tree["state"])
        return self

    @classmethod
    def make_from(
        cls,
        path: str | os.PathLike[str],
        make_env: Callable[[], Any] | None = None,
        optimizer: str | Callable[..., Any] | None = None,
    ) -> Self:
        """A policy as it was saved; with `make_env` it can go on learning. Raises ValueError for another kind, or if it
        was trained with an optimizer of the user's own that is not passed again.
        """
        tree = load_tree(path)
        cls._check(tree, path)
        chosen = optimizer if optimizer is not None else tree["optimizer"]
        if chosen is None:
            raise ValueError(f"{path} was trained with its own optimizer: pass optimizer=")
        spaces = (space_from_json(tree["spaces"][0]), space_from_json(tree["spaces"][1]))
        agent = cls(make_env, tree["seed"], chosen, spaces=spaces, **tree["config"])
        agent.load_state_dict(tree["state"])
        return agent

    @classmethod
    def _check(cls, tree: Any, path: Any) -> None:
        if not isinstance(tree, dict) or tree.get("policy") != cls.__name__:
            found = tree.get("policy") if isinstance(tree, dict) else tree
            raise ValueError(f"{path} holds {found}, not {cls.__name__}")

    def close(self) -> None:
        """Close the environments; they are made anew if `learn` is called again."""
        if self._batch is not None:
            self._batch.close()
            self._batch = None


@contextlib.contextmanager
def single_thread() -> Iterator[None]:
    """One torch thread: faster on networks this small, and the same sums in every process."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@functools.cache
def linear(start: float, end: float) -> Callable[[float], float]:
    """Linear schedule over progress in [0, 1]."""
    return lambda progress: start + (end - start) * min(max(progress, 0.0), 1.0)
