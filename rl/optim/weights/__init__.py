"""Meta-trained starting weights of the controller: one small JSON file each, made by `python -m rl.optim.meta_train`.

A file holds `phi` (the numbers of `ControllerNet.phi`, order W1, b1, W2, b2), and how they were made: tasks, seed,
command, scores before and after. `docs/optimizers.md` says what they are worth.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rl.optim.controller import SIZE

SHIPPED = Path(__file__).with_name("controller.json")
NAMED = {"shipped": SHIPPED, "trading": Path(__file__).with_name("trading.json")}
"""Weights in this folder by name: trained on the regression toy (what ships), on policies in the trading environment."""


def load_weights(weights: Any) -> torch.Tensor:
    """A float64 tensor [SIZE] from a name in `NAMED`, a path of a JSON file, or numbers. Raises ValueError if they do not
    fit.
    """
    if isinstance(weights, (str, Path)):
        path = NAMED.get(str(weights), Path(weights))
        try:
            weights = json.loads(path.read_text(encoding="utf-8"))["phi"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: no controller weights there ({error})") from None
    phi = torch.as_tensor(np.asarray(weights, dtype=np.float64))
    if phi.shape != (SIZE,) or not bool(torch.isfinite(phi).all()):
        raise ValueError(f"controller weights are {SIZE} finite numbers, got shape {tuple(phi.shape)}")
    return phi
