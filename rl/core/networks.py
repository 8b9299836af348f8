"""Networks of the policies: multilayer perceptrons with orthogonal initialisation and LayerNorm.

Orthogonal weights with gain sqrt(2) in hidden layers, small gain at the policy head, zero biases: detail 2 of "The 37
implementation details of PPO" (Huang et al. 2022). LayerNorm after each hidden linear layer bounds what one outlier
can do to a layer (Lyle et al. 2024; Gallici et al. 2024 for value learning); every arm of every comparison has it
unless told otherwise.

Shapes: B rows, D inputs, H hidden, A outputs.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"tanh": torch.tanh, "relu": torch.relu}


class Perceptron(nn.Module):
    """[B, D] -> [B, outputs]: linear, LayerNorm (optional), activation, ...; a plain linear head.

    head_gain: gain of the orthogonal head (0.01 for policies: nearly uniform at first; 1 for values). None keeps
    torch's default initialisation in all layers (what DQN of Stable-Baselines3 does).
    generator: source of the initial weights; nothing global is drawn from.
    """

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int],
        outputs: int,
        *,
        activation: str = "tanh",
        layer_norm: bool = True,
        head_gain: float | None = 1.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation is one of {sorted(ACTIVATIONS)}, got {activation!r}")
        sizes = [inputs, *hidden]
        pairs = itertools.pairwise(sizes)
        self.linears = nn.ModuleList(_linear(a, b) for a, b in pairs)
        self.norms = nn.ModuleList(nn.LayerNorm(size) for size in hidden) if layer_norm else nn.ModuleList()
        self.head = _linear(sizes[-1], outputs)
        self.activation = ACTIVATIONS[activation]
        for linear in [*self.linears, self.head]:
            assert isinstance(linear, nn.Linear)
            is_head = linear is self.head
            _initialise(linear, None if head_gain is None else head_gain if is_head else math.sqrt(2.0), generator)

    def features(self, inputs: Tensor) -> Tensor:
        """Last hidden layer [B, H]."""
        hidden = inputs
        for index, linear in enumerate(self.linears):
            hidden = functional.linear(hidden, linear.weight, linear.bias)  # type: ignore[arg-type]
            if self.norms:
                norm = self.norms[index]
                hidden = functional.layer_norm(hidden, norm.normalized_shape, norm.weight, norm.bias)  # type: ignore[arg-type]
            hidden = self.activation(hidden)
        return hidden

    def forward(self, inputs: Tensor) -> Tensor:
        """See the class."""
        return functional.linear(self.features(inputs), self.head.weight, self.head.bias)


def _linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer without values yet: its own constructor would draw from torch's global generator."""
    before = torch.get_rng_state()  # cheaper than building it on the meta device, which imports a symbolic algebra
    layer = nn.Linear(inputs, outputs)
    torch.set_rng_state(before)
    return layer


@torch.no_grad()
def _initialise(linear: nn.Linear, gain: float | None, generator: torch.Generator | None) -> None:
    if gain is None:  # torch's own rule, drawn from our generator
        bound = 1.0 / math.sqrt(linear.in_features)
        linear.weight.uniform_(-bound, bound, generator=generator)
        linear.bias.uniform_(-bound, bound, generator=generator)
        return
    nn.init.orthogonal_(linear.weight, gain, generator=generator)
    linear.bias.zero_()


class ActorCritic(nn.Module):
    """Separate policy and value perceptrons (detail 13 of the 37): no shared trunk, no interference.

    policy(x): distribution parameters [B, A]; value(x): [B]. `log_deviation` [A] exists for continuous actions only:
    a state-independent log standard deviation.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        hidden: Sequence[int] = (64, 64),
        *,
        activation: str = "tanh",
        layer_norm: bool = True,
        continuous: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.actor = Perceptron(
            inputs,
            hidden,
            outputs,
            activation=activation,
            layer_norm=layer_norm,
            head_gain=0.01,
            generator=generator,
        )
        self.critic = Perceptron(
            inputs, hidden, 1, activation=activation, layer_norm=layer_norm, head_gain=1.0, generator=generator
        )
        self.log_deviation = nn.Parameter(torch.zeros(outputs)) if continuous else None

    def policy(self, inputs: Tensor) -> Tensor:
        """Distribution parameters [B, A]."""
        return self.actor.forward(inputs)

    def value(self, inputs: Tensor) -> Tensor:
        """State values [B]."""
        return self.critic.forward(inputs).squeeze(-1)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Policy [B, A] and value [B] together."""
        return self.policy(inputs), self.value(inputs)


class QNetwork(nn.Module):
    """Action values [B, A]; dueling: Q = V + A - mean A (Wang et al. 2016, equation 9), one trunk, two linear heads."""

    def __init__(
        self,
        inputs: int,
        actions: int,
        hidden: Sequence[int] = (64, 64),
        *,
        dueling: bool = True,
        layer_norm: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.dueling = dueling
        self.body = Perceptron(
            inputs,
            hidden,
            actions + dueling,
            activation="relu",
            layer_norm=layer_norm,
            head_gain=None,
            generator=generator,
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """See the class. The dueling heads are one matrix: its last output is the state value."""
        out = self.body.forward(inputs)
        if not self.dueling:
            return out
        advantage, value = out[:, :-1], out[:, -1:]
        return value + advantage - advantage.mean(dim=1, keepdim=True)
