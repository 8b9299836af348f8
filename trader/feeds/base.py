"""What every feed is: a source of blocks of frames, in time order, the same blocks' content for any block size.

A feed knows its symbols (sorted, which fixes the market axis M), their instruments and the base timeframe. It is asked
for frames after a time, so a resumed session continues where its journal ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from trader.core.types import Block, Instrument


class Feed(Protocol):
    """The contract of a feed."""

    @property
    def symbols(self) -> tuple[str, ...]:
        """BASE/QUOTE of every market, sorted; position = market number."""

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        """One instrument a symbol, in the same order."""

    @property
    def base_ms(self) -> int:
        """Length of a base candle in milliseconds."""

    @property
    def kind(self) -> str:
        """`replay`, `synthetic` or `live`."""

    def blocks(self, size: int, after_ms: int | None = None) -> Iterator[Block]:
        """Blocks of at most `size` frames with open times > `after_ms` (all if None), warm-up frames first."""

    def describe(self) -> dict[str, Any]:
        """What is there, for people and for JSON: span and step, and rows and holes of every symbol."""

    def close(self) -> None:
        """Let go of files and connections."""
