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
    """Frames in the order they came, of which the newest `length` are kept (the way inside candles is not)."""

    def __init__(self, length: int) -> None:
        self.length = length
        self._parts: list[tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]] = []
        self._frames = 0

    def __len__(self) -> int:
        return min(self._frames, self.length)

    def add(self, block: Block, features: FeatureBlock) -> None:
        """Take in a block; what is kept is a copy."""
        first = max(len(block) - self.length, 0)
        self._parts.append((
            {name: getattr(block, name)[first:].copy() for name in _BLOCK},
            {name: getattr(features, name)[first:].copy() for name in _FEATURES},
        ))  # fmt: skip
        self._frames += len(block) - first
        while self._frames - len(self._parts[0][0]["times"]) >= self.length:
            self._frames -= len(self._parts.pop(0)[0]["times"])

    def last(self, count: int) -> tuple[Block, FeatureBlock]:
        """The newest `count` frames, or as many as there are."""
        self._merge()
        if not self._parts:
            raise ValueError("no frame was seen yet")
        block, features = self._parts[0]
        first = max(len(block["times"]) - count, 0)
        return (
            Block(
                block["times"][first:],
                block["candles"][first:],
                block["present"][first:],
                block["stamp_rate"][first:],
                block["stamp_mark"][first:],
                block["received"][first:],
                block["phase"][first:],
            ),
            FeatureBlock(*(features[name][first:] for name in _FEATURES)),
        )

    def _merge(self) -> None:
        if len(self._parts) > 1:
            merged = tuple(
                {name: np.concatenate([part[kind][name] for part in self._parts])[-self.length :] for name in names}
                for kind, names in enumerate((_BLOCK, _FEATURES))
            )
            self._parts = [(merged[0], merged[1])]
            self._frames = len(merged[0]["times"])

    def state(self) -> dict[str, NDArray[Any]]:
        """The kept frames as arrays."""
        self._merge()
        if not self._parts:
            return {}
        block, features = self._parts[0]
        return {f"block.{name}": block[name].copy() for name in _BLOCK} | {
            f"features.{name}": features[name].copy() for name in _FEATURES
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Become what `state` described."""
        self._parts, self._frames = [], 0
        if "block.times" in state:
            block = {name: state[f"block.{name}"] for name in _BLOCK}
            self._parts = [(block, {name: state[f"features.{name}"] for name in _FEATURES})]
            self._frames = len(block["times"])
