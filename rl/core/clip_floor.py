"""The learned clip with a floor: it may clip later than the plain optimizers of the same policy, never earlier.

The learned threshold follows the typical gradient norm. In reinforcement learning the atypical gradient is often the
one that matters: near a good policy most rollouts of CartPole teach nothing (norm 0.01) and the rare failure teaches
everything (norm 10). A threshold at the typical norm divides exactly those by a thousand; A3C then stays at a return
of 100 to 250 for ever (docs/policies.md). The floor is `max_grad_norm`, what the control arms clip at, so arms differ
by what is learned above it: explosions are still scaled down, and slow growth still moves the threshold.
"""

from __future__ import annotations

import math

from rl.optim import NestedUpdate, UpdateRule
from rl.optim.clipping import LearnedClip

SPIKE = 10.0


class FlooredClip(LearnedClip):
    """`LearnedClip` whose threshold is at least `floor`."""

    def __init__(self, floor: float) -> None:
        super().__init__()
        if not floor > 0.0:
            raise ValueError(f"the floor must be positive, got {floor}")
        self.floor = float(floor)

    @property
    def threshold(self) -> float:
        """Current threshold (inf before the first step)."""
        return max(LearnedClip.threshold.fget(self), self.floor)  # type: ignore[attr-defined]

    def scale(self, norm: float) -> float:
        """See `LearnedClip`; where the floor is in force the threshold has no influence (sensitivity 0)."""
        spikes, threshold = float(self.state[3]), self.threshold
        learned = super().scale(norm)
        self.state[3] = spikes + (norm > SPIKE * threshold and math.isfinite(threshold))
        ratio = norm / self.floor
        # far above, the smooth factor is 1 / ratio; the fourth power would overflow
        floored = 1.0 / ratio if ratio > 1e3 else (1.0 + ratio**self.power) ** (-1.0 / self.power)
        if floored <= learned:
            return learned
        self.state[4] = 0.0
        return float(floored)


def floor_learned_clip(rule: UpdateRule, floor: float | None) -> None:
    """Give the learned clip of a nested rule a floor; other rules and clips, or floor None, are left alone."""
    if floor is not None and isinstance(rule, NestedUpdate) and type(rule.optimizer.clip) is LearnedClip:
        rule.optimizer.clip = FlooredClip(floor)
