"""Small supervised tasks on which optimizers are compared and controllers are trained: whole runs, one number each.

A task is a callable: give it a function that makes an optimizer for some parameters, it trains a fresh network once and
returns a cost (lower is better). Everything is drawn from the seed, so two optimizers see the same data and the same
initial network. `RegimeToy` is the regime-switching regression of docs/optimizers.md: three teachers that take turns,
heavy-tailed t(2) noise, 2 % outliers thirty times as large. Cost: mean squared error against the *clean* teacher on
fixed inputs, measured before every fifth update over the whole stream, so speed of recovery counts and not only the
end.

Shapes: batch B, inputs D, steps S: x [S, B, D], y [S, B]; test inputs [64, D], clean targets [teachers, 64].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor

    MakeOptimizer = Callable[[Iterable[Tensor]], torch.optim.Optimizer]

HUBER_DELTA, COST_LIMIT, TEST_POINTS, MEASURED_EVERY = 1.0, 10.0, 64, 5


class Task(Protocol):
    """One whole training run."""

    def __call__(self, make_optimizer: MakeOptimizer) -> float:
        """Train once, return the cost."""
        ...


def small_net(inputs: int, hidden: int, seed: int, layer_norm: bool = False) -> nn.Sequential:
    """D -> hidden -> hidden -> 1 with tanh; initial weights depend on the seed only, not on global random state."""
    layers: list[nn.Module] = []
    for width in (inputs, hidden):
        layers += [nn.Linear(width, hidden), *([nn.LayerNorm(hidden)] if layer_norm else []), nn.Tanh()]
    net = nn.Sequential(*layers, nn.Linear(hidden, 1))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in net:
            if isinstance(module, nn.Linear):
                limit = 1.0 / math.sqrt(module.in_features)
                for parameter in module.parameters():
                    parameter.uniform_(-limit, limit, generator=generator)
    return net


@dataclass(frozen=True, slots=True)
class RegimeToy:
    """See the module's docstring. `switch_every` and `steps` in updates; `noise` is the scale of the t(2) noise."""

    seed: int
    steps: int = 2000
    switch_every: int = 400
    teachers: int = 3
    batch: int = 16
    inputs: int = 8
    hidden: int = 32
    noise: float = 0.3
    outliers: float = 0.02
    huber: bool = True
    max_grad_norm: float | None = None
    layer_norm: bool = False

    def data(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Inputs [S, B, D], noisy targets [S, B], test inputs [64, D], clean targets [teachers, 64]; each teacher has
        mean 0 and standard deviation 1 on standard normal inputs.
        """
        generator = torch.Generator().manual_seed(1000 + self.seed)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator)

        width = 16
        teachers = [
            (draw(self.inputs, width) * 1.5 / math.sqrt(self.inputs), draw(width) * 0.5, draw(width))
            for _ in range(self.teachers)
        ]
        x, test = draw(self.steps, self.batch, self.inputs), draw(TEST_POINTS, self.inputs)
        t2 = draw(self.steps, self.batch) / torch.sqrt(
            (draw(self.steps, self.batch) ** 2 + draw(self.steps, self.batch) ** 2) / 2.0
        )
        is_outlier = torch.rand(self.steps, self.batch, generator=generator) < self.outliers
        noise = self.noise * torch.where(is_outlier, 30.0 * t2, t2)
        y, clean = torch.empty(self.steps, self.batch), torch.empty(self.teachers, TEST_POINTS)
        active = (torch.arange(self.steps) // self.switch_every) % self.teachers
        reference = draw(4000, self.inputs)
        for index, (A, b, c) in enumerate(teachers):
            raw = torch.tanh(reference @ A + b) @ c
            mean, deviation = raw.mean(), raw.std()
            y[active == index] = (torch.tanh(x[active == index] @ A + b) @ c - mean) / deviation
            clean[index] = (torch.tanh(test @ A + b) @ c - mean) / deviation
        return x, y + noise, test, clean

    def __call__(self, make_optimizer: MakeOptimizer) -> float:
        """See `Task`."""
        x, y, test, clean = self.data()
        net = small_net(self.inputs, self.hidden, self.seed, self.layer_norm)
        optimizer: Any = make_optimizer(net.parameters())
        observe = getattr(optimizer, "observe", None)
        total, measured = 0.0, 0
        for step in range(self.steps):
            if step % MEASURED_EVERY == 0:
                with torch.no_grad():
                    error = net(test).squeeze(1) - clean[(step // self.switch_every) % self.teachers]
                    cost = float((error * error).mean())
                total += min(cost, COST_LIMIT) if math.isfinite(cost) else COST_LIMIT
                measured += 1
            prediction = net(x[step]).squeeze(1)
            if self.huber:
                loss = nn.functional.huber_loss(prediction, y[step], delta=HUBER_DELTA)
            else:
                loss = 0.5 * nn.functional.mse_loss(prediction, y[step])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            if self.max_grad_norm is not None:
                nn.utils.clip_grad_norm_(net.parameters(), self.max_grad_norm)
            if observe is not None:
                observe(loss=loss.item())
            optimizer.step()
        return total / measured
