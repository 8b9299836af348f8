"""Continuum memory: a row of small networks that learn at different speeds.

What: residual blocks, each with an update period C of its own, either in a chain (y = B_k(...B_1(x))) or independent
(y = x + sum_l softmax(a)_l (B_l(x) - x)). Every observation adds its gradient to each level's sum; a level's weights
stay frozen until C observations are in, then its own Adam takes one step along the mean. What is left of a chunk is
kept across calls and states, and can be flushed.
Source: Nested Learning Eq. 30-31 (sum over the chunk of the error part at the weights of the chunk's start), variants
Eq. 72-74; residual block d -> 4 d -> d as there. The founding document's ContinuumMemory was two deques (50 and
1,000): no objective, no update rule (nested-learning.md M6). By itself it does not reduce forgetting when regimes are
hidden (measured: docs/memory.md); snapshots.py is the part meant for that.
Shapes: input and output [..., d]. Units: periods in observations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Sequence

MODES = ("chain", "independent")


class Block(nn.Module):
    """x + W2 silu(W1 norm(x)); W2 starts at zero, so that a new block is the identity. [..., d] -> [..., d]."""

    def __init__(self, dim: int, multiple: int, generator: torch.Generator) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.rise = nn.Linear(dim, multiple * dim)
        self.fall = nn.Linear(multiple * dim, dim)
        with torch.no_grad():
            bound = dim**-0.5
            self.rise.weight.uniform_(-bound, bound, generator=generator)
            self.rise.bias.uniform_(-bound, bound, generator=generator)
            self.fall.weight.zero_()
            self.fall.bias.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the block."""
        result: torch.Tensor = x + self.fall(nn.functional.silu(self.rise(self.norm(x))))
        return result


class ContinuumMemory(nn.Module):
    """Blocks with periods; see the module's text.

    `dim` width d; `periods` observations per update of each level, fastest first by custom; `mode` one of MODES; `rate`
    Adam step of every level (or one per level); `clip` largest norm of a level's mean gradient. All learning state
    (sums, counts, moments) is in buffers, so `state_dict` is complete. Raises ValueError on periods below one.
    """

    def __init__(
        self,
        dim: int,
        periods: Sequence[int] = (1, 8, 64),
        *,
        mode: str = "chain",
        multiple: int = 4,
        rate: float | Sequence[float] = 1e-3,
        clip: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not periods or min(periods) < 1 or mode not in MODES:
            raise ValueError(f"need periods >= 1 and mode in {MODES}, got {tuple(periods)} and {mode!r}")
        self.periods, self.mode, self.clip = tuple(periods), mode, clip
        self.rates = tuple(rate) if not isinstance(rate, (int, float)) else (float(rate),) * len(self.periods)
        if len(self.rates) != len(self.periods):
            raise ValueError(f"{len(self.rates)} rates for {len(self.periods)} periods")
        generator = torch.Generator().manual_seed(seed)
        self.blocks = nn.ModuleList(Block(dim, multiple, generator) for _ in self.periods)
        # softmax weights of the independent levels, trained with the fastest one
        self.mixing = nn.Parameter(torch.zeros(len(self.periods)), requires_grad=mode == "independent")
        for level in range(len(self.periods)):
            size = sum(parameter.numel() for parameter in self.level_parameters(level))
            for name in ("sum", "mean", "square"):  # of gradients in this chunk; Adam's two moments
                self.register_buffer(f"{name}_{level}", torch.zeros(size))
        self.counts: torch.Tensor  # observations in each level's open chunk
        self.steps: torch.Tensor  # updates each level has made
        self.register_buffer("counts", torch.zeros(len(self.periods), dtype=torch.long))
        self.register_buffer("steps", torch.zeros(len(self.periods), dtype=torch.long))

    def level_parameters(self, level: int) -> list[nn.Parameter]:
        """Parameters that belong to one level."""
        own = list(self.blocks[level].parameters())
        return [*own, self.mixing] if self.mode == "independent" and level == 0 else own

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Output [..., d] for x [..., d]; differentiable in input and weights, changes nothing."""
        if self.mode == "chain":
            for block in self.blocks:
                x = block(x)
            return x
        shares = torch.softmax(self.mixing, 0)
        result = x
        for share, block in zip(shares, self.blocks, strict=True):
            result = result + share * (block(x) - x)
        return result

    def observe(self, loss: torch.Tensor) -> list[int]:
        """One observation: add the gradient of the scalar `loss` to every level, update those that are due.

        Returns the levels that were updated. Raises ValueError on a loss that is not finite (nothing changes then).
        """
        if not bool(torch.isfinite(loss)):
            raise ValueError(f"loss is not finite: {float(loss.detach())}")
        groups = [self.level_parameters(level) for level in range(len(self.periods))]
        flat = [parameter for group in groups for parameter in group]
        gradients = iter(torch.autograd.grad(loss, flat, allow_unused=True))
        due = []
        for level, group in enumerate(groups):
            parts = [(p, next(gradients)) for p in group]
            self._buffer("sum", level).add_(
                torch.cat([torch.zeros_like(p).reshape(-1) if g is None else g.reshape(-1) for p, g in parts])
            )
            self.counts[level] += 1
            if int(self.counts[level]) >= self.periods[level]:
                due.append(level)
        for level in due:
            self._step(level)
        return due

    def flush(self) -> list[int]:
        """Update every level that has a partial chunk, by the mean over what is there; returns those levels."""
        due = [level for level in range(len(self.periods)) if int(self.counts[level]) > 0]
        for level in due:
            self._step(level)
        return due

    def _buffer(self, name: str, level: int) -> torch.Tensor:
        buffer = getattr(self, f"{name}_{level}")
        assert isinstance(buffer, torch.Tensor)
        return buffer

    @torch.no_grad()
    def _step(self, level: int) -> None:
        """Adam (betas .9, .999) on the level's mean gradient, clipped to norm `clip`; ends the chunk."""
        total, mean, square = (self._buffer(name, level) for name in ("sum", "mean", "square"))
        gradient = total / self.counts[level]
        gradient *= torch.clamp(self.clip / (gradient.norm() + 1e-12), max=1.0)
        self.steps[level] += 1
        count = int(self.steps[level])
        mean.lerp_(gradient, 0.1)
        square.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        scaled = (mean / (1 - 0.9**count)) / ((square / (1 - 0.999**count)).sqrt() + 1e-8)
        start = 0
        for parameter in self.level_parameters(level):
            change = scaled[start : start + parameter.numel()].view_as(parameter)
            parameter.sub_(self.rates[level] * change)
            start += parameter.numel()
        total.zero_()
        self.counts[level] = 0
