"""The founding document's LSTM gate, as an ablation arm: a write gate that remembers what it saw before.

What: an LSTM (12 inputs, 16 units) over the stream of experiences with three outputs as in gate.py; trained on chunks
of the stored experiences in time order. The founding sketch called it with two arguments and compared its tuple to .9
(nested-learning.md M1). Source: founding document `gating_network = nn.LSTM(...)`. Shapes: features [12] -> [3].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from memory.experience_features import FEATURES
from memory.gate import HIDDEN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_CHUNK, _EPOCHS, _RATE = 64, 4, 0.01


class _Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTM(FEATURES, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, 3)

    def forward(
        self, features: torch.Tensor, state: tuple[torch.Tensor, torch.Tensor] | None
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        hidden, state = self.cell(features, state)
        return self.head(hidden), state


class LSTMNetwork:
    """Network (see gate.py) with a hidden state that runs along with the writes."""

    def __init__(self, seed: int) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._net = _Recurrent()
        nn.init.zeros_(self._net.head.weight)
        nn.init.zeros_(self._net.head.bias)
        self._optimizer = torch.optim.Adam(self._net.parameters(), lr=_RATE)
        self._state = (torch.zeros(1, 1, HIDDEN), torch.zeros(1, 1, HIDDEN))

    def score(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Three outputs for the next experience [12]; advances the hidden state."""
        with torch.no_grad():
            given = torch.as_tensor(features, dtype=torch.float32)[None, None]
            outputs, self._state = self._net(given, self._state)
        result: NDArray[np.float64] = outputs[0, 0].numpy().astype(np.float64)
        return result

    def train(self, features: NDArray[np.float64], usefulness: NDArray[np.float64], labels: NDArray[Any]) -> None:
        """A few Adam steps on whole chunks of 64 experiences each; fewer than a chunk train as one short one."""
        size = min(_CHUNK, len(features))
        whole = len(features) // size * size
        inputs = torch.as_tensor(features[-whole:], dtype=torch.float32).view(-1, size, FEATURES)
        target = torch.as_tensor(usefulness[-whole:], dtype=torch.float32).view(-1, size)
        keep = torch.as_tensor(labels[-whole:], dtype=torch.float32).view(-1, size, 2)
        for _ in range(_EPOCHS):
            outputs, _ = self._net(inputs, None)
            loss = nn.functional.binary_cross_entropy_with_logits(outputs[..., :2], keep)
            loss = loss + nn.functional.huber_loss(outputs[..., 2], target)
            self._optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()

    @property
    def nbytes(self) -> int:
        """Bytes of weights, both Adam moments and the hidden state."""
        return 4 * (3 * sum(p.numel() for p in self._net.parameters()) + 2 * HIDDEN)

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Weights, hidden state and Adam's moments as arrays."""
        state = {name: tensor.detach().numpy().copy() for name, tensor in self._net.state_dict().items()}
        state["hidden"] = torch.stack(self._state).numpy().copy()
        for index, parameter in enumerate(self._net.parameters()):
            for name, tensor in self._optimizer.state[parameter].items():
                state[f"adam.{index}.{name}"] = tensor.numpy().copy()
        return state

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over a state of the same shapes."""
        self._net.load_state_dict({n: torch.as_tensor(state[n]).clone() for n in self._net.state_dict()})
        hidden = torch.as_tensor(state["hidden"]).clone()
        self._state = (hidden[0], hidden[1])
        for index, parameter in enumerate(self._net.parameters()):
            names = ("step", "exp_avg", "exp_avg_sq")
            held = {
                n: torch.as_tensor(state[f"adam.{index}.{n}"]).clone() for n in names if f"adam.{index}.{n}" in state
            }
            if held:
                self._optimizer.state[parameter] = held
