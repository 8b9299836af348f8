"""Trains the weights of HOPE that ship (`memory/train.py` has the method)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trader.core.errors import UserError


def train_hope(arguments: Sequence[str], candles: Sequence[Path], out: Path) -> dict[str, Any]:
    """Train and write `out`; the card in it. arguments: those of `python -m memory.train`, without candles and out."""
    from memory import pretrained, train

    if out.is_dir() or not out.parent.is_dir():
        raise UserError(f"{out}: the weights go into a file in a folder that exists")
    for path in candles:
        if not path.is_file():
            raise UserError(f"{path}: no such file of candles")
    named = [word for path in candles for word in ("--candles", str(path))]
    words = [*arguments, *named]
    try:
        written = train.run(train.parse([*words, "--out", str(out)]), words)
    except ValueError as error:
        raise UserError(str(error)) from None
    card: dict[str, Any] = pretrained.read(written)[2]
    return card
