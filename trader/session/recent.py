"""The last frames of a session, candles and features, for those who ask what would have happened."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trader.core.features import FeatureBlock
from trader.core.types import Block

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK: Final = ("times", "candles", "present", "stamp_rate", "stamp_mark", "received", "phase")
_FEATURES: Final = tuple(column.name for column in fields(FeatureBlock))


class Recent:
    """Frames in the order they came, of which the newest `length` are kept (the way inside candles is not).

    They lie one after the other in buffers of twice the length, so that a block is copied once and not at every look.
    """

    def __init__(self, length: int) -> None:
        self.length = length
        self._buffers: dict[str, NDArray[Any]] = {}
        self._first, self._stop = 0, 0

    def __len__(self) -> int:
        return self._stop - self._first

    def add(self, block: Block, features: FeatureBlock) -> None:
        """Take in a block; what is kept is a copy."""
        self._append({f"block.{name}": getattr(block, name) for name in _BLOCK} | {
            f"features.{name}": getattr(features, name) for name in _FEATURES
        })  # fmt: skip

    def _append(self, columns: dict[str, NDArray[Any]]) -> None:
        count = min(len(columns["block.times"]), self.length)
        if not self._buffers:
            self._buffers = {
                name: np.empty((2 * self.length, *column.shape[1:]), column.dtype) for name, column in columns.items()
            }
        if self._stop + count > 2 * self.length:
            keep = min(len(self), self.length - count)
            for buffer in self._buffers.values():
                buffer[:keep] = buffer[self._stop - keep : self._stop].copy()
            self._first, self._stop = 0, keep
        for name, column in columns.items():
            self._buffers[name][self._stop : self._stop + count] = column[len(column) - count :]
        self._stop += count
        self._first = max(self._first, self._stop - self.length)

    def last(self, count: int) -> tuple[Block, FeatureBlock]:
        """The newest `count` frames, or as many as there are: views, good until the next block is taken in."""
        if not len(self):
            raise ValueError("no frame was seen yet")
        kept = slice(max(self._first, self._stop - count), self._stop)
        block: dict[str, Any] = {name: self._buffers[f"block.{name}"][kept] for name in _BLOCK}
        return Block(**block), FeatureBlock(*(self._buffers[f"features.{name}"][kept] for name in _FEATURES))

    def state(self) -> dict[str, NDArray[Any]]:
        """The kept frames as arrays."""
        return {name: buffer[self._first : self._stop].copy() for name, buffer in self._buffers.items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Become what `state` described."""
        self._buffers, self._first, self._stop = {}, 0, 0
        if "block.times" in state:
            self._append(state)
