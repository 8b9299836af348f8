"""Trains the weights of the nested optimizer's controller that ship (`rl/optim/meta_train.py` has the method)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from trader.core.errors import UserError


def train_controller(
    settings: dict[str, Any], validation: int, out: Path, checkpoint: Path | None, log: Callable[[str], object]
) -> dict[str, Any]:
    """Train, judge on held-out runs, write `out`; the card that was written.

    settings: fields of `rl.optim.meta_train.Settings`. Raises UserError for a job that is not there, a checkpoint of
    another training, or a place that cannot be written.
    """
    from rl.optim import meta_train

    if out.is_dir() or not out.parent.is_dir():
        raise UserError(f"{out}: the weights go into a file in a folder that exists")
    try:
        document = meta_train.make_weights(meta_train.Settings(**settings), validation, log, checkpoint)
    except ValueError as error:
        raise UserError(str(error)) from None
    meta_train.write_card(out, document)
    return document
