"""Gradient clipping: fixed, AutoClip, ZClip, and the learned smooth clip.

Every clip maps the norm of the whole gradient to a factor in (0, 1]. State is one float64 tensor, so that it can be
shared between processes and saved. A clip never sees a non-finite norm: such steps are skipped before.

| class | threshold | source |
|---|---|---|
| `FixedClip` | constant | Pascanu et al. 2013; the 1e-6 of torch's `clip_grad_norm_`, same bits |
| `AutoClip` | 10th percentile of the last 1,000 norms | Seetharaman et al. 2020 |
| `ZClip` | mean + 2.5^2 / z deviations where z > 2.5, levels fed with the clipped norm | arXiv 2504.02507 |
| `LearnedClip` | running geometric mean of the norm x 2 x exp(controller output), applied smoothly |
docs/optimizers.md |
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
import torch


class Clip(Protocol):
    """`scale` once per step; `threshold` is the norm above which that step was clipped."""

    state: torch.Tensor
    threshold: float

    def scale(self, norm: float) -> float:
        """Factor for a gradient of this norm; moves the clip's running levels."""
        ...


class NoClip:
    """Factor one, always."""

    threshold = math.inf

    def __init__(self) -> None:
        self.state = torch.zeros(0, dtype=torch.float64)

    def scale(self, norm: float) -> float:  # noqa: ARG002  # protocol
        """See `Clip`."""
        return 1.0


class FixedClip:
    """min(1, threshold / (norm + 1e-6))."""

    def __init__(self, threshold: float) -> None:
        if not threshold > 0.0:
            raise ValueError(f"a clip threshold is positive, got {threshold}")
        self.threshold = float(threshold)
        self.state = torch.zeros(0, dtype=torch.float64)

    def scale(self, norm: float) -> float:
        """See `Clip`."""
        return min(1.0, self.threshold / (norm + 1e-6))


class AutoClip:
    """Percentile of past norms. The percentile is recomputed every `every` steps: sorting at each step buys nothing."""

    def __init__(self, percentile: float = 10.0, history: int = 1000, every: int = 10) -> None:
        self.percentile, self.history, self.every = percentile, history, every
        self.state = torch.zeros(history + 2, dtype=torch.float64)  # norms, count, threshold

    @property
    def threshold(self) -> float:
        """Current threshold (inf before the first step)."""
        return float(self.state[-1]) if self.state[-2] else math.inf

    def scale(self, norm: float) -> float:
        """See `Clip`."""
        if norm == 0.0:
            return 1.0
        array = self.state.numpy()
        count = int(array[-2])
        array[count % self.history] = norm
        array[-2] = count + 1
        if count % self.every == 0 or count < self.every:
            array[-1] = np.percentile(array[: min(count + 1, self.history)], self.percentile)
        return min(1.0, float(array[-1]) / (norm + 1e-6))


class ZClip:
    """Clips what lies more than `limit` running deviations above the running mean, harder the further it lies."""

    def __init__(self, decay: float = 0.97, limit: float = 2.5, warmup: int = 25) -> None:
        self.decay, self.limit, self.warmup = decay, limit, warmup
        self.state = torch.zeros(3, dtype=torch.float64)  # count, mean, variance

    @property
    def threshold(self) -> float:
        """Norm at which clipping begins (inf during warm-up)."""
        count, mean, variance = self.state.tolist()
        return float(mean + self.limit * math.sqrt(variance)) if count >= self.warmup else math.inf

    def scale(self, norm: float) -> float:
        """See `Clip`."""
        if norm == 0.0:
            return 1.0
        array = self.state.numpy()
        count, mean, variance = array.tolist()
        array[0] = count + 1
        if count < self.warmup:  # plain mean and variance of the first norms (Welford)
            delta = norm - mean
            mean += delta / (count + 1)
            array[1:] = mean, variance + (delta * (norm - mean) - variance) / (count + 1)
            return 1.0
        deviation = math.sqrt(variance) + 1e-12
        z = (norm - mean) / deviation
        kept = mean + deviation * self.limit**2 / z if z > self.limit else norm
        array[1] = self.decay * mean + (1.0 - self.decay) * kept
        array[2] = self.decay * variance + (1.0 - self.decay) * (kept - array[1]) ** 2
        return min(1.0, kept / norm)


class LearnedClip:
    """Smooth clip s = (1 + r^p)^(-1/p), r = norm / c, p = 4, with log c = running log norm + log 2 + controller output.

    It always passes gradient to its threshold: d log s / d log c = r^p / (1 + r^p) (`sensitivity`), so the
    hypergradient of the rate times this factor trains it. The running level moves by at most `rate` e-folds per step:
    a single explosion of any size does not move it, slow growth is followed. `spikes` counts norms above 10 thresholds.
    """

    power, rate, slack = 4.0, 0.02, 2.0

    def __init__(self) -> None:
        self.state = torch.zeros(
            5, dtype=torch.float64
        )  # count, log norm level, controller output, spikes, sensitivity

    @property
    def threshold(self) -> float:
        """Current threshold c (inf before the first step)."""
        count, level, output, _, _ = self.state.tolist()
        return self.slack * math.exp(level + output) if count else math.inf

    @property
    def spikes(self) -> int:
        """Norms seen above ten times the threshold."""
        return int(self.state[3])

    @property
    def sensitivity(self) -> float:
        """Derivative of the log factor with respect to log c at the last step."""
        return float(self.state[4])

    def set_output(self, log_multiplier: float) -> None:
        """The controller's word on log c."""
        self.state[2] = log_multiplier

    def scale(self, norm: float) -> float:
        """See `Clip`."""
        array = self.state.numpy()
        if norm == 0.0:
            array[4] = 0.0
            return 1.0
        count, level, output, spikes, _ = array.tolist()
        log_norm = math.log(max(norm, 1e-30))  # a floor, not an offset: an offset bends every small norm
        if count == 0:
            level = log_norm
        log_ratio = log_norm - level - output - math.log(self.slack)
        # the first steps average plainly, or a first batch off by a factor of ten would take 100 steps to forget
        rate = max(self.rate, 1.0 / (count + 1.0))
        array[0], array[1] = count + 1, level + rate * min(max(log_norm - level, -1.0), 1.0)
        array[3] = spikes + (log_ratio > math.log(10.0))
        if log_ratio > 5.0:  # r^p dwarfs one: s = 1 / r
            array[4] = 1.0
            return math.exp(-log_ratio)
        power = math.exp(self.power * log_ratio)
        array[4] = power / (1.0 + power)
        return float((1.0 + power) ** (-1.0 / self.power))


def make_clip(clip: str | float | None) -> NoClip | FixedClip | AutoClip | ZClip | LearnedClip:
    """The clip of a name ("learned", "auto", "zclip"), a fixed threshold, or None for no clip."""
    if clip is None:
        return NoClip()
    if isinstance(clip, bool) or not isinstance(clip, (str, int, float)):
        raise ValueError(  # noqa: TRY004  # the value of an option, as for other names
            f'clip is "learned", "auto", "zclip", a positive number or None, got {clip!r}'
        )
    if isinstance(clip, str):
        kinds: dict[str, type[LearnedClip | AutoClip | ZClip]] = {
            "learned": LearnedClip,
            "auto": AutoClip,
            "zclip": ZClip,
        }
        if clip not in kinds:
            raise ValueError(f'clip is "learned", "auto", "zclip", a positive number or None, got {clip!r}')
        return kinds[clip]()
    return FixedClip(clip)
