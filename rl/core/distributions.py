"""Action distributions: categorical (Discrete), several independent categoricals (MultiDiscrete), Gaussian (Box).

Sampling is numpy on purpose: a rollout draws its noise in one call from the learner's own generator (Gumbel-max for
categoricals), so that a step costs one network forward and one argmax. Probabilities and entropies are torch: they
are differentiated.

Shapes: B rows, A distribution parameters (actions; the sum of all choices; dimensions), K components of an action.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import gymnasium as gym
import numpy as np
import torch
from torch.nn import functional

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

HALF_LOG_TAU = 0.5 * float(np.log(2.0 * np.pi))


class Distribution(Protocol):
    """One family of action distributions over one action space."""

    parameters: int
    """Outputs a policy network needs, A."""
    action_shape: tuple[int, ...]
    """Shape of one stored action: () or (K,)."""
    continuous: bool

    def noise(self, generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Noise for `sample`, [*shape, A]."""
        ...

    def sample(
        self, parameters: NDArray[np.float32], noise: NDArray[np.float32], net: nn.Module
    ) -> NDArray[np.generic]:
        """Actions [B, *action_shape] from network outputs [B, A] and noise [B, A]."""
        ...

    def mode(self, parameters: NDArray[np.float32]) -> NDArray[np.generic]:
        """Most likely actions [B, *action_shape]."""
        ...

    def log_probability(self, parameters: Tensor, actions: Tensor, net: nn.Module) -> tuple[Tensor, Tensor]:
        """Log pi(a|s) [B] and entropy [B]."""
        ...

    def to_environment(self, actions: NDArray[np.generic]) -> list[object]:
        """What `env.step` takes, one per row."""
        ...


class Categorical:
    """Discrete(A). `start` of the space is added on the way out."""

    continuous = False
    action_shape: tuple[int, ...] = ()

    def __init__(self, space: gym.spaces.Discrete) -> None:
        self.parameters = int(space.n)
        self.start = int(space.start)

    def noise(self, generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Gumbel noise: argmax(logits + Gumbel) is a draw from softmax(logits)."""
        # the exponential of float32 may be 0: its logarithm is +inf noise, still a valid (certain) choice
        with np.errstate(divide="ignore"):
            drawn = -np.log(generator.standard_exponential((*shape, self.parameters), dtype=np.float32))
        return drawn.astype(np.float32, copy=False)

    def sample(
        self,
        parameters: NDArray[np.float32],
        noise: NDArray[np.float32],
        net: nn.Module,  # noqa: ARG002  # protocol
    ) -> NDArray[np.generic]:
        """See `Distribution`."""
        return (parameters + noise).argmax(axis=-1)

    def mode(self, parameters: NDArray[np.float32]) -> NDArray[np.generic]:
        """See `Distribution`."""
        return parameters.argmax(axis=-1)

    def log_probability(self, parameters: Tensor, actions: Tensor, net: nn.Module) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """See `Distribution`."""
        log_probabilities = functional.log_softmax(parameters, dim=-1)
        chosen = log_probabilities.gather(-1, actions.unsqueeze(-1)).squeeze(-1)
        return chosen, -(log_probabilities.exp() * log_probabilities).sum(-1)

    def to_environment(self, actions: NDArray[np.generic]) -> list[object]:
        """See `Distribution`."""
        return [int(action) + self.start for action in actions.tolist()] if self.start else actions.tolist()


class MultiCategorical:
    """MultiDiscrete: K independent choices whose logits lie side by side."""

    continuous = False

    def __init__(self, space: gym.spaces.MultiDiscrete) -> None:
        self.choices = [int(n) for n in np.asarray(space.nvec).ravel()]
        self.start = np.asarray(space.start, dtype=np.int64).ravel()
        self.shape = space.shape
        self.parameters = sum(self.choices)
        self.action_shape: tuple[int, ...] = (len(self.choices),)
        self.cuts = np.cumsum(self.choices)[:-1].tolist()
        self.noise = Categorical(gym.spaces.Discrete(self.parameters)).noise

    def sample(
        self,
        parameters: NDArray[np.float32],
        noise: NDArray[np.float32],
        net: nn.Module,  # noqa: ARG002  # protocol
    ) -> NDArray[np.generic]:
        """See `Distribution`."""
        return self.mode(parameters + noise)

    def mode(self, parameters: NDArray[np.float32]) -> NDArray[np.generic]:
        """See `Distribution`."""
        return np.stack([part.argmax(axis=-1) for part in np.split(parameters, self.cuts, axis=-1)], axis=-1)

    def log_probability(self, parameters: Tensor, actions: Tensor, net: nn.Module) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """See `Distribution`: the sum over the components."""
        chosen, entropy = [], []
        for index, part in enumerate(torch.split(parameters, self.choices, dim=-1)):
            log_probabilities = functional.log_softmax(part, dim=-1)
            chosen.append(log_probabilities.gather(-1, actions[..., index : index + 1]).squeeze(-1))
            entropy.append(-(log_probabilities.exp() * log_probabilities).sum(-1))
        return torch.stack(chosen).sum(0), torch.stack(entropy).sum(0)

    def to_environment(self, actions: NDArray[np.generic]) -> list[object]:
        """See `Distribution`."""
        shifted = np.asarray(actions, dtype=np.int64) + self.start
        return list(shifted.reshape((len(shifted), *self.shape)))


class Gaussian:
    """Box: independent normals with a state-independent deviation; actions are clipped to the box only on the way out."""

    continuous = True

    def __init__(self, space: gym.spaces.Box) -> None:
        self.low, self.high, self.shape = space.low, space.high, space.shape
        self.dtype = space.dtype
        self.parameters = int(np.prod(space.shape))
        self.action_shape: tuple[int, ...] = (self.parameters,)

    def noise(self, generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Standard normal noise."""
        return generator.standard_normal((*shape, self.parameters), dtype=np.float32)

    def sample(
        self, parameters: NDArray[np.float32], noise: NDArray[np.float32], net: nn.Module
    ) -> NDArray[np.generic]:
        """See `Distribution`."""
        deviation = np.exp(_log_deviation(net).detach().numpy())
        return parameters + deviation * noise

    def mode(self, parameters: NDArray[np.float32]) -> NDArray[np.generic]:
        """See `Distribution`."""
        return parameters

    def log_probability(self, parameters: Tensor, actions: Tensor, net: nn.Module) -> tuple[Tensor, Tensor]:
        """See `Distribution`."""
        log_deviation = _log_deviation(net)
        standard = (actions - parameters) * torch.exp(-log_deviation)
        log_density = (-0.5 * standard * standard - log_deviation - HALF_LOG_TAU).sum(-1)
        entropy = (0.5 + HALF_LOG_TAU + log_deviation).sum()
        return log_density, entropy.expand_as(log_density)

    def to_environment(self, actions: NDArray[np.generic]) -> list[object]:
        """See `Distribution`."""
        shaped = np.asarray(actions).reshape((len(actions), *self.shape))
        return list(np.clip(shaped, self.low, self.high).astype(self.dtype))


def _log_deviation(net: nn.Module) -> Tensor:
    deviation = net.log_deviation
    assert isinstance(deviation, torch.Tensor)
    return deviation


def make_distribution(space: gym.Space[object]) -> Distribution:
    """The distribution for an action space. Raises ValueError for spaces other than Discrete, MultiDiscrete, Box."""
    if isinstance(space, gym.spaces.Discrete):
        return Categorical(space)
    if isinstance(space, gym.spaces.MultiDiscrete):
        return MultiCategorical(space)
    if isinstance(space, gym.spaces.Box):
        return Gaussian(space)
    raise ValueError(f"action spaces are Discrete, MultiDiscrete or Box, got {space}")
