"""Gymnasium environments of this package; importing it registers them.

nested-trader/SinglePosition-v0          one market, one position, the broker's fills, fees, margin, liquidation
nested-trader/SinglePositionLeak-v0      the same with the next return as a feature: a learner must find it
nested-trader/SinglePositionNoise-v0     the same on a driftless random walk: nobody can earn, costs are paid
nested-trader/NextReturn-v0              i.i.d. returns, the smallest leak: does a whole learning stack work, in 10 s
nested-trader/NextReturnHidden-v0        the same without the leak
"""

from __future__ import annotations

import gymnasium as gym

from rl.envs.exchange import Exchange, PaperExchange
from rl.envs.next_return import NextReturnEnv
from rl.envs.oracle import next_return_oracle, single_position_oracle
from rl.envs.single_position import SinglePositionEnv
from rl.envs.synthetic import Candles, synthetic_candles

__all__ = [
    "Candles",
    "Exchange",
    "NextReturnEnv",
    "PaperExchange",
    "SinglePositionEnv",
    "next_return_oracle",
    "register",
    "single_position_oracle",
    "synthetic_candles",
]

_ENTRIES: dict[str, tuple[str, dict[str, object]]] = {
    "nested-trader/SinglePosition-v0": ("rl.envs.single_position:SinglePositionEnv", {}),
    "nested-trader/SinglePositionLeak-v0": ("rl.envs.single_position:SinglePositionEnv", {"leak": True}),
    "nested-trader/SinglePositionNoise-v0": ("rl.envs.single_position:SinglePositionEnv", {"noise": True}),
    "nested-trader/NextReturn-v0": ("rl.envs.next_return:NextReturnEnv", {"leak": True}),
    "nested-trader/NextReturnHidden-v0": ("rl.envs.next_return:NextReturnEnv", {"leak": False}),
}


def register() -> None:
    """Register what is not registered yet."""
    for name, (entry, keywords) in _ENTRIES.items():
        if name not in gym.registry:
            gym.register(name, entry_point=entry, kwargs=keywords)


register()
