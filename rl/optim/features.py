"""What the controller sees: ten scale-free numbers per row, each clipped to [-3, 3].

Raw losses, gradients and step counts saturate any network (a sigmoid over a raw update count stops training or does
nothing), so every feature is a log ratio to its own running level, a cosine, or log time. Multiplying loss or
gradients by any constant changes no feature. Rows: 1 for the global controller, one per parameter tensor for
`per_tensor`.

| column | feature |
|---|---|
| 0 | log(gradient norm / its running geometric mean) |
| 1 | log(abs loss / its running geometric mean); 0 if no loss was observed |
| 2 | 4 cos(gradient, momentum) |
| 3 | 4 mean h of the last window, h = -cos(gradient, previous move) |
| 4, 5 | 8 running mean of column 3's h, time constants 10 and 100 windows |
| 6 | (log(rms move / rms parameter) + 7) / 2: Adam at its usual rates moves about e^-7 of a parameter per step |
| 7 | log(1 + updates since the target was copied) / 3 - 1.5; 0 if it never was |
| 8 | regime flag |
| 9 | log(fast / slow running geometric mean of the abs loss) |
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from rl.optim.controller import FEATURES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

LIMIT = 3.0
WINDOW_DECAY, FAST, SLOW = 0.8, 0.9, 0.99  # per window of `control_every` updates
TINY = 1e-30


class FeatureState:
    """Running levels behind the features. `levels` is a tensor [R + 1, 3] (shareable): row R holds the loss's.

    Columns of rows < R: log norm level, fast and slow mean of h; of row R: fast and slow log loss level, loss seen
    flag.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.levels = torch.zeros(rows + 1, 3, dtype=torch.float64)
        self.levels[:rows, 0] = math.nan  # no level before the first window
        self._view()

    def _view(self) -> None:
        self.array: FloatArray = self.levels.numpy()

    def build(
        self,
        norms: FloatArray,
        momentum_cosines: FloatArray,
        relative_moves: FloatArray,
        loss: float | None,
        since_sync: float,
        regime: float,
        signals: FloatArray,
    ) -> FloatArray:
        """Features [R, F] from per-row arrays [R]; `since_sync` in updates, negative if there was no sync."""
        row, loss_row = self.array[: self.rows], self.array[self.rows]
        z = np.zeros((self.rows, FEATURES))
        # a zero gradient has no size: it tells nothing and moves no level
        log_norms = np.where(norms > 0.0, np.log(norms + TINY), row[:, 0])
        row[:, 0] = np.where(np.isnan(row[:, 0]), log_norms, row[:, 0])
        z[:, 0] = np.nan_to_num(log_norms - row[:, 0])
        row[:, 0] += (1.0 - WINDOW_DECAY) * np.clip(z[:, 0], -1.0, 1.0)
        z[:, 2] = 4.0 * momentum_cosines
        z[:, 3] = 4.0 * signals
        row[:, 1] += (1.0 - FAST) * (signals - row[:, 1])
        row[:, 2] += (1.0 - SLOW) * (signals - row[:, 2])
        z[:, 4:6] = 8.0 * row[:, 1:3]
        z[:, 6] = 0.5 * (np.log(relative_moves + TINY) + 7.0)
        z[:, 7] = math.log1p(since_sync) / 3.0 - 1.5 if since_sync >= 0.0 else 0.0
        z[:, 8] = regime
        if loss is not None:
            z[:, 1], z[:, 9] = self._loss_features(loss, loss_row)
        return np.clip(z, -LIMIT, LIMIT, out=z)

    @staticmethod
    def _loss_features(loss: float, row: FloatArray) -> tuple[float, float]:
        """Innovations are limited to one e-fold, so that one outlier cannot move a level far."""
        log_loss = math.log(abs(loss) + TINY)
        if row[2] == 0.0:
            row[:] = log_loss, log_loss, 1.0
        ratio = log_loss - float(row[1])
        row[0] += (1.0 - WINDOW_DECAY) * min(max(log_loss - float(row[0]), -1.0), 1.0)
        row[1] += (1.0 - SLOW) * min(max(ratio, -1.0), 1.0)
        return ratio, float(row[0] - row[1])

    def share_memory(self) -> None:
        """Move the levels to shared memory."""
        self.levels.share_memory_()  # type: ignore[no-untyped-call]
        self._view()

    def __getstate__(self) -> tuple[int, torch.Tensor]:
        return self.rows, self.levels

    def __setstate__(self, state: tuple[int, torch.Tensor]) -> None:
        self.rows, self.levels = state
        self._view()
