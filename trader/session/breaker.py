"""The circuit breaker: while the pool's drawdown is at its limit, no agent may enter.

Looked at after the levels at every boundary, and at the pool's own clock even where the pool's level is off; judged on
the pool's equity with unrealised results, against its one peak. Entries that are queued are dropped, open positions
live on under their own exits. When agents may enter again is `pool.rearm`:

- `recovery`: as soon as a boundary finds the drawdown below the limit. Once the last position is closed equity stands
  still, so without positions that win the pool stays stopped.
- `wait`: at the first boundary `pool.rearm_after` candles after it tripped. The fall is then measured from the equity of
  that moment; it was taken note of and must not trip the breaker twice.
- `never`: it latches, and stays so until the session ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from trader.core.rows import Reject

if TYPE_CHECKING:
    from trader.core.config import PoolConfig
    from trader.session.books import Books

NEVER: Final = 1.0
"""The limit that is no limit."""


def act(books: Books, pool: PoolConfig, frame: int, time_ms: int) -> bool:
    """Stop or release the agents after `frame`; returns whether they are stopped."""
    if pool.max_drawdown >= NEVER:
        return False
    if not books.halted:
        stop = _fallen(books, pool.max_drawdown)
        if stop:
            books.tripped = frame
    elif pool.rearm == "recovery":
        stop = _fallen(books, pool.max_drawdown)
    elif pool.rearm == "wait":
        stop = frame - books.tripped < pool.rearm_after
        if not stop:
            books.high = books.equity
    else:
        stop = True
    if stop:
        books.withdraw(np.ones(len(books.population), np.bool_), Reject.RISK, time_ms)
    if stop or books.halted:
        books.population.allow_entries(allowed=not stop)
    books.halted = stop
    return stop


def _fallen(books: Books, max_drawdown: float) -> bool:
    return books.high - books.equity >= books.high * max_drawdown
