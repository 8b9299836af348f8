"""What a run writes down: the base tables, column by column, and the codes that stand in them.

This is the one place where the rows of the trade database are defined. The session builds them as arrays, the store
creates its tables and views from them, the digest hashes them, `verify` compares them. Amounts are int64 in 1e-8 of the
quote currency, prices and quantities int64 in the instrument's units (10^-price_exponent, 10^-quantity_exponent),
times int64 milliseconds UTC of the open of the base candle in which the event happens.

A numeric table travels as one int64 array [rows, columns]; float columns travel as the bits of their float64
(`numpy.ndarray.view`), with every non-finite value made the one canonical NaN, which SQL stores as NULL.
A text table travels as a list of tuples. Rows are numbered by `seq`: tables with `sequence == "event"` share one
counter, so that everything that moves money has one order; each other table counts for itself, from 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

INTEGER: Final = "integer"
FLOAT: Final = "float"
TEXT: Final = "text"


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, its kind (`integer`, `float` or `text`) and whether the digest covers it."""

    name: str
    kind: str = INTEGER
    in_digest: bool = True


@dataclass(frozen=True, slots=True)
class TableSpec:
    """One base table. `columns` are in row order; `run` comes before them in SQL and is in no row."""

    name: str
    columns: tuple[Column, ...]
    sequence: str
    in_digest: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in row order."""
        return tuple(column.name for column in self.columns)

    @property
    def numeric(self) -> bool:
        """True if rows travel as one int64 array, False if as tuples."""
        return all(column.kind != TEXT for column in self.columns)

    def position(self, name: str) -> int:
        """Index of a column.

        Raises:
            ValueError: there is no such column.
        """
        return self.names.index(name)


class Side(IntEnum):
    """Direction of a position (+1, -1), and of the order that opens it."""

    LONG = 1
    SHORT = -1


class OrderKind(IntEnum):
    """Why an order was sent. All but ENTRY close a position and are also a trade's exit reason."""

    ENTRY = 0
    SIGNAL = 1
    STOP = 2
    TAKE = 3
    TRAIL = 4
    TIME = 5
    LIQUIDATION = 6
    CULL = 7
    FLATTEN = 8
    END = 9


class Limit(IntEnum):
    """What made a filled quantity smaller than the requested one."""

    NONE = 0
    PARTICIPATION = 1
    MARGIN = 2
    NO_VOLUME = 3


class Reject(IntEnum):
    """Why an order was not sent, or was sent and filled nothing."""

    NO_CASH = 1
    BELOW_MINIMUM = 2
    TOO_LARGE = 3
    PARTICIPATION = 4
    NO_VOLUME = 5
    MARGIN = 6
    RISK = 7
    UNFILLED = 8
    WITHDRAWN = 9


class Regime(IntEnum):
    """What kind of market it is; UNKNOWN: too little history, or a market without regimes (trader/core/regime.py)."""

    UNKNOWN = 0
    BULL = 1
    BEAR = 2
    RANGE = 3
    CRASH = 4


class Phase(IntEnum):
    """Where a candle came from in the life of a session."""

    WARMUP = 0
    OFFLINE = 1
    LIVE = 2
    REPLAY = 3


class Received(IntEnum):
    """How a candle arrived."""

    FILE = 0
    REST = 1
    STREAM = 2


class Operator(IntEnum):
    """How an agent's genome came to be."""

    FOUNDER = 0
    CROSSOVER = 1
    MUTATION = 2
    IMMIGRANT = 3
    POLICY = 4
    FROZEN = 5
    RANDOM = 6
    ARCHIVED = 7


class Cause(IntEnum):
    """Why an agent died."""

    SELECTION = 1
    RUIN = 2
    BREAKER = 3
    REPLACED = 4


class Fate(IntEnum):
    """What selection decided for an agent."""

    KEPT = 0
    ELITE = 1
    CULLED = 2
    CONTROL = 3


class Trigger(IntEnum):
    """Why a self-modifier looked at an agent."""

    NEAR_MISS = 1
    ENTRY = 2
    LOSSES = 3


class Parameter(IntEnum):
    """What a bandit multiplies."""

    CONFIDENCE_THRESHOLD = 1
    POSITION_SIZE = 2
    STOP = 3
    TAKE = 4
    LEVERAGE_CAP = 5
    MUTATION_STRENGTH = 6


class AllocationLimit(IntEnum):
    """What bounded an allocation."""

    NONE = 0
    POOL_CASH = 1
    FREE_CASH = 2
    CAP = 3


class Account(IntEnum):
    """System accounts of the ledger; an agent's two accounts are derived from its id by `agent_account`."""

    WORLD = 0
    POOL_CASH = 1
    FEES = 2
    FUNDING = 3
    INSURANCE = 4
    MARKET = 5


class TransferCode(IntEnum):
    """Why money moved."""

    DEPOSIT = 1
    GRANT = 2
    RECALL = 3
    RESERVE = 4
    RELEASE = 5
    FEE = 6
    FUNDING = 7
    PNL = 8
    LIQUIDATION = 9
    INSURANCE = 10


def _columns(text: str) -> tuple[Column, ...]:
    """Parse `name`, `name:float`, `name:text`, with a trailing `!` for columns that the digest leaves out."""
    columns = []
    for word in text.split():
        name, _, kind = word.rstrip("!").partition(":")
        columns.append(Column(name, kind or INTEGER, not word.endswith("!")))
    return tuple(columns)


EVENT: Final = "event"

CANDLE: Final = TableSpec(
    "candle",
    _columns("seq frame market ts open:float high:float low:float close:float volume:float received! revised! phase!"),
    "candle",
)
"""The journal: every accepted candle, in (ts, market) order. `frame` is 0 at the first candle after the warm-up."""

STAMP: Final = TableSpec("stamp", _columns("seq market ts rate:float mark:float"), "stamp")
"""Funding stamps as the feed delivered them: rate as a fraction, mark price as a float (NaN if the feed has none)."""

VISIT: Final = TableSpec("visit", _columns("seq ts market visit extreme tied price:float"), "visit")
"""The way through candles as finer ones tell it (`exchange.path = "detail"`): see `trader.core.types.Visits`. A candle
without rows goes as the colour rule says."""

OPINION: Final = TableSpec("opinion", _columns("seq market ts value:float"), "opinion")
"""What the file of signals (`feed.signals`) says at the close of the candle that opens at ts: above 0 long, below 0
short, 0 flat."""

EQUITY: Final = TableSpec("equity", _columns("seq frame time_ms cash reserved unrealised equity peak"), "equity")
"""The pool after every frame, in 1e-8: equity = cash + reserved + unrealised; peak is its running maximum."""

ENTRY: Final = TableSpec(
    "entry",
    _columns(
        "seq time_ms market agent trade order_id fill side archetype timeframe leverage requested_qty qty price fee"
        " margin decided_ms confidence regime stop take limited_by slippage maker funded phase! score"
    ),
    EVENT,
)
"""One row per filled entry. leverage in 1/100, timeframe in ms, margin includes fee, maker 1 for a limit order that
rested. score and confidence in 1/100 of a percent: |score|, and the calibrated probability of a profit (|score| as long
as nothing is calibrated)."""

EXIT: Final = TableSpec(
    "exit",
    _columns(
        "seq time_ms market agent trade order_id fill kind decided_ms requested_qty qty price fee gross limited_by"
        " insurance liquidation_fee trade_qty trade_value trade_gross trade_fees trade_funding trade_pnl margin"
        " slippage lowest highest funded"
    ),
    EVENT,
)
"""One row per closed trade: the fill that closed it, and the trade's totals (all exits, entry fee, funding).
`gross` and `trade_gross` include `insurance`; `fee` excludes `liquidation_fee`, `trade_fees` includes both;
trade_value is the sum over exit fills of price times quantity, in 1e-8; lowest and highest are price extremes."""

PARTIAL: Final = TableSpec(
    "partial",
    _columns(
        "seq time_ms market agent trade order_id fill kind decided_ms requested_qty qty price fee gross limited_by funded"
    ),
    EVENT,
)
"""Exit fills before the last one of a trade."""

REJECT: Final = TableSpec(
    "reject",
    _columns("seq time_ms market agent order_id side decided_ms requested_qty reason sent funded"),
    EVENT,
)
"""One row per entry that bought nothing: refused at the decision (sent = 0), or unfilled (sent = 1): at the open, at its limit,
or taken back while it waited (`RISK`: by the circuit breaker; `WITHDRAWN`: its agent was culled, or the session ended)."""

FUNDING: Final = TableSpec(
    "funding", _columns("seq time_ms market agent trade amount qty mark rate:float funded"), EVENT
)
"""Funding paid (amount < 0) or received (> 0) out of a position's margin."""

ALLOCATION: Final = TableSpec(
    "allocation",
    _columns("seq time_ms epoch agent before weight amount score:float risk:float rule limited_by"),
    EVENT,
)
"""Capital granted (amount > 0) or recalled (< 0); before: the agent's cash and margin; weight in 1e-9 of the pool."""

TRANSFER: Final = TableSpec("transfer", _columns("seq time_ms debit credit amount code agent trade"), EVENT)
"""Movements that no wide row implies: deposits. `amount` > 0 leaves `debit` and reaches `credit`; agent, trade -1."""

BIRTH: Final = TableSpec(
    "birth",
    _columns("seq time_ms agent parent_a parent_b operator archetype market timeframe generation frozen genes:text"),
    "birth",
)
"""One row per agent, when it is born; genes is canonical JSON, name to value; parents -1 if none."""

DEATH: Final = TableSpec("death", _columns("seq time_ms agent cause generation fitness:float trades pnl"), "death")
"""One row per agent that died, with its record at death."""

FITNESS: Final = TableSpec(
    "fitness",
    _columns("seq time_ms agent generation raw:float shrunk:float standard_error:float niche rank fate"),
    "fitness",
)
"""One row per judged agent and generation."""

LEVEL: Final = TableSpec(
    "level",
    _columns("seq time_ms level:text step objective_before:float objective_after:float kept detail:text"),
    "level",
)
"""Every update of every level; detail is canonical JSON."""

MODIFICATION: Final = TableSpec(
    "modification",
    _columns(
        "seq time_ms agent trigger gene before:float after:float confidence_before:float confidence_after:float"
        " expected:float realised:float kept adopted_ms trial"
    ),
    "modification",
)
"""One row per gene of a change of an agent's genes that was tried, written when its trial ended (or the session did: kept
-1). Confidences in percent; expected and realised advantage as log growth of the
account a day."""

BANDIT: Final = TableSpec(
    "bandit",
    _columns(
        "seq time_ms timeframe regime parameter arm:float propensity:float ticket agent trade reward:float mean:float"
        " effective_n:float decided_ms"
    ),
    "bandit",
)
"""One row per ticket that was redeemed: the arm (a multiplier), the probability it was drawn with, the reward in [0, 1],
and what the bandit thought of that arm afterwards. timeframe in ms; trade -1 for a ticket that ran out without one."""

POLICY: Final = TableSpec(
    "policy", _columns("seq time_ms birth policy optimizer action value:float reward:float agent"), "policy"
)
"""One row per birth that a policy or the random control decided, when its reward became known; codes have names."""

FUNNEL: Final = TableSpec("funnel", _columns("seq market archetype stage count"), "funnel")
"""Final counts of what became of every decision, written once when a session ends."""

TABLES: Final[dict[str, TableSpec]] = {
    spec.name: spec
    for spec in (
        CANDLE, STAMP, VISIT, OPINION, EQUITY, ENTRY, EXIT, PARTIAL, REJECT, FUNDING, ALLOCATION, TRANSFER,
        BIRTH, DEATH, FITNESS, LEVEL, FUNNEL, POLICY, MODIFICATION, BANDIT,
    )
}  # fmt: skip

AGENT_ACCOUNTS: Final = 16
"""Account numbers below this are system accounts."""

IDS_PER_AGENT: Final = 10_000_000
"""Trade, order and fill numbers are agent * IDS_PER_AGENT + a count that starts at 1: no counter is shared."""


def agent_account(agent: int, *, margin: bool) -> int:
    """Account number of an agent's cash or margin account."""
    return AGENT_ACCOUNTS + 2 * agent + int(margin)


def account_name(account: int) -> str:
    """Stable text of an account: `pool:cash`, `agent:17:margin`, `fees`, ..."""
    if account >= AGENT_ACCOUNTS:
        agent, margin = divmod(account - AGENT_ACCOUNTS, 2)
        return f"agent:{agent}:{'margin' if margin else 'cash'}"
    name = Account(account).name.lower()
    return "pool:cash" if name == "pool_cash" else name


def float_bits(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Bits of float64 values as int64, every non-finite value made the canonical NaN (SQL NULL)."""
    clean = np.where(np.isfinite(values), values, np.nan)
    return np.ascontiguousarray(clean, dtype=np.float64).view(np.int64)
