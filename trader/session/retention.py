"""The forgetting audit: does the memory still know what it learned in a regime that is over?

For each regime the first EXAMPLES experiences of every age class are set aside, outside the memory. On a slow clock
the memory is asked about them again; its error is compared with always saying the regime's mean. Retention 1 is
perfect recall, 0 knows no more than the mean, below 0 misleads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trader.core.rows import Regime

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from memory import NestedMemory

EXAMPLES: Final = 64
EVERY: Final = 30
"""Deliveries between two audits."""
SPACING: Final = 8
"""Every so many-th experience of a regime is set aside, so that examples come from many days."""
_FEWEST: Final = 8


class RetentionAudit:
    """Examples set aside by regime, oldest kept."""

    def __init__(self, width: int) -> None:
        self._arrays: dict[str, NDArray[Any]] = {
            "keys": np.zeros((len(Regime), EXAMPLES, width), np.float32),
            "values": np.zeros((len(Regime), EXAMPLES)),
            "seen": np.zeros(len(Regime), np.int64),
        }

    def offer(self, key: NDArray[np.float32], value: float, regime: int) -> None:
        """An experience that was written; every SPACING-th of its regime is set aside until there are enough."""
        a = self._arrays
        number, rest = divmod(int(a["seen"][regime]), SPACING)
        a["seen"][regime] += 1
        if rest == 0 and number < EXAMPLES:
            a["keys"][regime, number], a["values"][regime, number] = key, value

    def due(self, update: int, memory: NestedMemory) -> dict[str, float]:
        """Retention by regime (rounded to 1e-6) at every EVERY-th update, else nothing."""
        if update % EVERY:
            return {}
        found = {}
        for regime in Regime:
            count = min(-(-int(self._arrays["seen"][regime]) // SPACING), EXAMPLES)
            if count < _FEWEST:
                continue
            values = self._arrays["values"][regime, :count]
            summaries, _ = memory.read_many(self._arrays["keys"][regime, :count])
            spread = float(np.mean((values - values.mean()) ** 2))
            error = float(np.mean((summaries[:, 5, 2] - values) ** 2))
            if spread > 0.0 and np.isfinite(error):
                found[regime.name.lower()] = round(1.0 - error / spread, 6)
        return found

    def state(self) -> dict[str, NDArray[Any]]:
        """The examples."""
        return {name: values.copy() for name, values in self._arrays.items()}

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Become what `state` described."""
        for name, values in self._arrays.items():
            values[...] = state[name]
