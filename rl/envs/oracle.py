"""The best that perfect foresight can do, by dynamic programming backwards over (time, position).

    V_T(p) = 0,   V_t(p) = max_{p'} reward_t(p, p') + V_{t+1}(p')

Exact for both environments: profits of a fixed quantity add up. For the single-position market liquidation is left
out: the oracle's own path is one that is never near it (the test replays the path in the environment and compares).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trader.core.money import AMOUNT_SCALE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rl.envs.next_return import NextReturnEnv
    from rl.envs.single_position import SinglePositionEnv

POSITIONS = np.array([-1, 0, 1])


def best_path(rewards: NDArray[np.float64]) -> tuple[float, NDArray[np.int64]]:
    """Value and actions [T] of the best path that starts flat, from rewards [T, 3, 3] (from, to)."""
    steps = len(rewards)
    value = np.zeros(3)
    choice = np.zeros((steps, 3), dtype=np.int64)
    for t in range(steps - 1, -1, -1):
        total = rewards[t] + value[None, :]
        choice[t] = total.argmax(axis=1)
        value = total.max(axis=1)
    path = np.zeros(steps, dtype=np.int64)
    position = 1
    for t in range(steps):
        position = path[t] = choice[t, position]
    return float(value[1]), path


def next_return_oracle(env: NextReturnEnv) -> tuple[float, NDArray[np.int64]]:
    """Best return and actions of the running episode, from its start."""
    changes = np.abs(POSITIONS[:, None] - POSITIONS[None, :])
    earned = env.returns[:, None, None] * POSITIONS[None, None, :]
    return best_path(earned - env.cost * changes[None])


def single_position_oracle(env: SinglePositionEnv) -> tuple[float, NDArray[np.int64]]:
    """Best return and actions of the running episode, from its start, with the environment's exchange.

    Equity from close t to close t + 1 when going from p to p': p held over the gap to the open, p' from the open,
    costs of what changes. Slippage is charged as the distance of the fill from the open.
    """
    from rl.envs.single_position import WARMUP

    opens, _, _, closes = env.units
    scale = env.quantity * AMOUNT_SCALE / (env.exchange.price_scale * env.exchange.quantity_scale)
    rewards = np.zeros((env.length, 3, 3))
    for k in range(env.length):
        t = WARMUP + k
        gap, inside = opens[t + 1] - closes[t], closes[t + 1] - opens[t + 1]
        for i, held in enumerate(POSITIONS.tolist()):
            for j, wanted in enumerate(POSITIONS.tolist()):
                cost = 0.0
                if held != wanted:
                    cost = _leg(env, opens[t + 1], -held) + _leg(env, opens[t + 1], wanted)
                rewards[k, i, j] = scale * (held * gap + wanted * inside) - cost
    return best_path(rewards / env.unit)


def _leg(env: SinglePositionEnv, price: int, side: int) -> float:
    """Cost of one fill: fee and the distance of the fill from the market price; nothing for side 0."""
    if side == 0:
        return 0.0
    exchange = env.exchange
    value = exchange.value(exchange.fill_price(price, side), env.quantity, side)
    return float(exchange.fee(value) + side * (value - exchange.value(price, env.quantity, side)))
