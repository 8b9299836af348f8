"""Double entry in integers: every movement has two sides, and all balances together are always zero.

Amounts are int64 in 1e-8 of the pool's currency. `world` is the outside that deposits; `market` is the counterparty of
trading results. Inspiration for two entities and one invariant: TigerBeetle, docs/concepts/debit-credit.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from trader.core.money import LIMIT


class ImbalanceError(AssertionError):
    """The books do not balance: a defect of the program, never of its user."""


@dataclass(slots=True)
class Ledger:
    """Balances of named accounts; only `post` changes them."""

    accounts: dict[str, int] = field(default_factory=dict)

    def post(self, debit: str, credit: str, amount: int) -> None:
        """Move `amount` >= 0 (1e-8) out of `debit` into `credit`.

        Raises:
            ValueError: a negative amount, one account on both sides, or a balance that would leave the countable range.
        """
        if amount < 0:
            raise ValueError(f"a transfer moves a positive amount, not {amount}")
        if debit == credit:
            raise ValueError(f"a transfer needs two accounts, not {debit} twice")
        left = self.accounts.get(debit, 0) - amount
        right = self.accounts.get(credit, 0) + amount
        if abs(left) >= LIMIT or abs(right) >= LIMIT:
            raise ValueError(f"a balance of {debit} or {credit} would leave the countable range")
        self.accounts[debit] = left
        self.accounts[credit] = right

    def move(self, debit: str, credit: str, amount: int) -> None:
        """`post` for a signed amount: a negative one goes the other way."""
        if amount >= 0:
            self.post(debit, credit, amount)
        else:
            self.post(credit, debit, -amount)

    def balance(self, account: str) -> int:
        """Balance of an account; 0 if nothing ever reached it."""
        return self.accounts.get(account, 0)

    def check(self) -> None:
        """Raise ImbalanceError unless all balances sum to zero."""
        total = sum(self.accounts.values())
        if total != 0:
            raise ImbalanceError(f"the ledger is off by {total} (1e-8): {self.accounts}")
