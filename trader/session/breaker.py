"""The circuit breaker: while the pool's drawdown is at its limit, no agent may enter.

Looked at after the levels at every boundary, and at the pool's own clock even where the pool's level is off; judged on
the pool's equity with unrealised results, against its one peak. Entries that are queued are dropped, open positions
live on under their own exits. As soon as a boundary finds the drawdown below the limit again, agents may enter again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from trader.core.rows import Reject

if TYPE_CHECKING:
    from trader.session.books import Books

NEVER: Final = 1.0
"""The limit that is no limit."""


def act(books: Books, max_drawdown: float, time_ms: int) -> bool:
    """Stop or release the agents; returns whether they are stopped."""
    if max_drawdown >= NEVER:
        return False
    stop = books.peak - books.equity >= books.peak * max_drawdown
    if stop:
        books.withdraw(np.ones(len(books.population), np.bool_), Reject.RISK, time_ms)
    if stop or books.halted:
        books.population.allow_entries(allowed=not stop)
    books.halted = stop
    return stop
