"""Bandits for drifting rewards: select a ticket now, redeem it with its reward later, in any order."""

from rl.bandits.base import Bandit, Decision
from rl.bandits.exp3 import Exp3S
from rl.bandits.linear import DiscountedLinearThompson
from rl.bandits.offpolicy import Estimate, doubly_robust, ips, snips
from rl.bandits.pooled import PooledThompson, PooledWindowThompson
from rl.bandits.thompson import DiscountedThompson, SlidingWindowThompson, Thompson
from rl.bandits.ucb import UCB1, DiscountedUCB, SlidingWindowUCB

__all__ = [
    "UCB1",
    "Bandit",
    "Decision",
    "DiscountedLinearThompson",
    "DiscountedThompson",
    "DiscountedUCB",
    "Estimate",
    "Exp3S",
    "PooledThompson",
    "PooledWindowThompson",
    "SlidingWindowThompson",
    "SlidingWindowUCB",
    "Thompson",
    "doubly_robust",
    "ips",
    "snips",
]
