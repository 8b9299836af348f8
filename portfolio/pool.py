"""The central capital pool: what each agent may trade with, moved by grants and recalls, reserved and released.

`plan` is the pure part that sessions use: from targets to the grants and recalls that can be carried out now.
`CapitalPool` is the library form with an account pair for every agent, for use outside a session.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portfolio.ledger import ImbalanceError, Ledger
from trader.core.rows import AllocationLimit, account_name, agent_account

_POOL = "pool:cash"
_WORLD = "world"
_MARKET = "market"
_FEES = "fees"


@dataclass(frozen=True, slots=True)
class Plan:
    """Grants (> 0) and recalls (< 0) per agent in 1e-8, and what bounded each (`rows.AllocationLimit`)."""

    amounts: NDArray[np.int64]
    limits: NDArray[np.int64]


def plan(
    targets: NDArray[np.int64], capital: NDArray[np.int64], free: NDArray[np.int64], pool_cash: int, band: int
) -> Plan:
    """Bring agents towards their targets with what is free now.

    Args:
        targets: int64 [n], wanted capital.
        capital: int64 [n], cash and margin the agents have.
        free: int64 [n], cash that is neither held for an order nor in a position: all that can be recalled.
        pool_cash: the pool's own cash.
        band: differences below target * band / 1e8 are left alone.

    Recalls come first and can be granted again at once; if grants exceed what is there, each gets the same share of
    its wish, rounded down. All in 1e-8.
    """
    wish = targets - capital
    limits = np.zeros(len(wish), np.int64)
    tolerance = np.array([int(target) * band // 100_000_000 for target in targets], np.int64)
    wish = np.where(np.abs(wish) <= tolerance, 0, wish)
    recalled = np.minimum(np.maximum(-wish, 0), np.maximum(free, 0))
    limits[recalled < np.maximum(-wish, 0)] = int(AllocationLimit.FREE_CASH)
    available = pool_cash + int(recalled.sum())
    wanted = np.maximum(wish, 0)
    total = int(wanted.sum())
    if total > available:
        granted = np.array([int(amount) * max(available, 0) // total for amount in wanted], np.int64)
        limits[wanted > 0] = int(AllocationLimit.POOL_CASH)
    else:
        granted = wanted
    return Plan(granted - recalled, limits)


class CapitalPool:
    """Double-entry accounts of a pool and its agents, each with cash and margin. Amounts are int in 1e-8."""

    def __init__(self, deposit: int = 0) -> None:
        self.ledger = Ledger()
        if deposit:
            self.ledger.post(_WORLD, _POOL, deposit)
        self._deposited = deposit
        self._realised = 0

    def _take(self, account: str, amount: int) -> None:
        if self.ledger.balance(account) < amount:
            raise ValueError(f"{account} has {self.ledger.balance(account)}, not the {amount} asked for (1e-8)")

    def grant(self, agent: int, amount: int) -> None:
        """Pool cash to agent cash. Raises ValueError if the pool does not have it."""
        self._take(_POOL, amount)
        self.ledger.post(_POOL, account_name(agent_account(agent, margin=False)), amount)

    def recall(self, agent: int, amount: int) -> None:
        """Agent cash back to the pool. Raises ValueError if the agent does not have it free."""
        cash = account_name(agent_account(agent, margin=False))
        self._take(cash, amount)
        self.ledger.post(cash, _POOL, amount)

    def reserve(self, agent: int, amount: int) -> None:
        """Agent cash to its margin: the first half of a two-phase movement. Raises ValueError if it is not there."""
        cash = account_name(agent_account(agent, margin=False))
        self._take(cash, amount)
        self.ledger.post(cash, account_name(agent_account(agent, margin=True)), amount)

    def post(self, agent: int, *, pnl: int = 0, fee: int = 0) -> None:
        """Book a result (signed) and a fee (>= 0) against an agent's margin. Raises ValueError if it cannot bear them."""
        margin = account_name(agent_account(agent, margin=True))
        if fee < 0:
            raise ValueError(f"a fee is not negative: {fee}")
        if self.ledger.balance(margin) + pnl - fee < 0:
            raise ValueError(f"{margin} cannot bear a result of {pnl} and a fee of {fee} (1e-8)")
        self.ledger.move(_MARKET, margin, pnl)
        if fee:
            self.ledger.post(margin, _FEES, fee)
        self._realised += pnl - fee

    def release(self, agent: int, amount: int | None = None) -> None:
        """Margin back to cash (all of it if no amount is given): voids a reservation or ends a trade."""
        margin = account_name(agent_account(agent, margin=True))
        value = self.ledger.balance(margin) if amount is None else amount
        self._take(margin, value)
        if value:
            self.ledger.post(margin, account_name(agent_account(agent, margin=False)), value)

    def balances(self) -> dict[str, int]:
        """Every account that ever moved, by name, in 1e-8."""
        return dict(self.ledger.accounts)

    def check(self) -> None:
        """Raise ImbalanceError unless the books balance and equity is deposits plus realised results."""
        self.ledger.check()
        equity = sum(
            amount for name, amount in self.ledger.accounts.items() if name == _POOL or name.startswith("agent:")
        )
        if equity != self._deposited + self._realised:
            raise ImbalanceError(f"equity {equity} is not deposits {self._deposited} plus results {self._realised}")
        negative = [name for name, amount in self.ledger.accounts.items() if name.startswith("agent:") and amount < 0]
        if negative:
            raise ImbalanceError(f"negative agent accounts: {negative}")
