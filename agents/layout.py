"""Where each number of an agent lives: the columns of the population's packed arrays.

One market's agents are n rows, sorted by (timeframe, archetype, agent). Axes and types:
    state     int64   [n, STATE_FIELDS]    everything exact; a row is read only when its agent is woken
    habits    float64 [n, HABIT_FIELDS]    what the genes say, in the units the kernel needs
    triggers  float32 [TRIGGER_FIELDS, n]  what is compared on every candle, and the running equity
    watch     int64   [WATCH_FIELDS, n]    wake times and price extremes since entry
    days      float64 [DAY_FIELDS, n]      daily results, for fitness
    totals    int64   [TOTAL_FIELDS]       the market's side of the ledger and its counters
Amounts in 1e-8, prices and quantities in the instrument's units, times in ms UTC.
"""

from __future__ import annotations

from typing import Final

# --- state -----------------------------------------------------------------------------------------------------
(
    AGENT, ARCHETYPE, TIMEFRAME_MS, ACTIVE, FUNDED,
    CASH, MARGIN, HELD,
    SIDE, QUANTITY, COST, ENTRY_PRICE, ENTRY_MS, LEVERAGE, LIQUIDATION, STOP, STOP_KIND, TAKE, TRAIL, BEST,
    PENDING, PENDING_SIDE, PENDING_QUANTITY, PENDING_REQUESTED, PENDING_ORDER, PENDING_DECIDED,
    PENDING_CONFIDENCE, PENDING_SCORE, PENDING_REGIME, PENDING_STOP, PENDING_TAKE, PENDING_TRAIL, PENDING_LEVERAGE, PENDING_LIMIT,
    COOL_UNTIL, TRADES, ORDERS, FILLS, TRADE_ID,
    TRADE_MARGIN, TRADE_FEES, TRADE_FUNDING, TRADE_GROSS, TRADE_VALUE, TRADE_QUANTITY, TRADE_SLIPPAGE,
    CLOSED, PNL, WINS, SIGNALS, COOLED,
    STATE_FIELDS,
) = range(52)  # fmt: skip

NOTHING_PENDING: Final = -1
"""Value of PENDING without an order; otherwise it is a `rows.OrderKind`."""

# --- habits ----------------------------------------------------------------------------------------------------
(
    THRESHOLD,  # |score| that opens a position, in (0, 1)
    EXIT_THRESHOLD,  # opposing |score| that closes one
    SIZE, SIZE_CONFIDENCE,  # share of cash put at risk, and how far it follows confidence
    LEVERAGE_CAP, LEVERAGE_CONFIDENCE,
    STOP_ATR, TAKE_ATR, TRAIL_ATR,  # distances in average true ranges; STOP_ATR 0: neither stop nor take; TRAIL_ATR 0 is off
    LIMIT_ATR,  # how far from the close an entry rests as a limit order; 0 is a market order
    HOLDING_MS, COOLDOWN_MS,
    CALIBRATED,  # 1: the probability of a profit stands in the columns from FIRST_BIN on, one for each bin of |score|
    FIRST_BIN,
) = range(14)  # fmt: skip

BINS: Final = 20
HABIT_FIELDS: Final = FIRST_BIN + BINS

# --- multipliers: what bandits set beside the genes, float64 [n, MULTIPLIERS] --------------------------------------
MULTIPLIED: Final = (THRESHOLD, SIZE, STOP_ATR, TAKE_ATR, LEVERAGE_CAP)
"""The habit that each column multiplies."""
MULTIPLIERS: Final = len(MULTIPLIED)

# --- triggers --------------------------------------------------------------------------------------------------
UP, DOWN, LOW_TRIGGER, HIGH_TRIGGER, EQUITY_BASE, SIGNED_QUANTITY, ENTRY_FLOAT, PEAK, DRAWDOWN, TRIGGER_FIELDS = range(
    10
)

# --- watch -----------------------------------------------------------------------------------------------------
WAKE, LOWEST, HIGHEST, WATCH_FIELDS = range(4)

# --- days ------------------------------------------------------------------------------------------------------
DAY_MARK, DAY_COUNT, DAY_SUM, DAY_SQUARES, DAY_FIELDS = range(5)

# --- totals ----------------------------------------------------------------------------------------------------
(
    TOTAL_CASH, TOTAL_MARGIN, NET_QUANTITY, NET_COST,
    TOTAL_FEES, TOTAL_FUNDING, TOTAL_INSURANCE, TOTAL_MARKET,
    DECISIONS, SUPERSEDED, LAST_DAY, LAST_CLOSE,
    NET_QUANTITY_LOW, NET_COST_LOW,
    TOTAL_FIELDS,
) = range(15)  # fmt: skip
"""NET_QUANTITY and NET_COST are the high limbs of sums over agents, each high * 2^32 + low: many positions together are
more than 64 bits hold."""

# --- per-candle outputs ----------------------------------------------------------------------------------------
OUT_CASH, OUT_MARGIN, OUT_UNREALISED, OUT_FIELDS = range(4)

# --- per-candle inputs (int64) ---------------------------------------------------------------------------------
(
    IN_MS, IN_OPEN, IN_HIGH, IN_LOW, IN_CLOSE, IN_VOLUME, IN_RATE, IN_MARK, IN_PRESENT, IN_TRADING,
    IN_VISIT, IN_VISITS,
    IN_FIELDS,
) = range(13)  # fmt: skip
"""IN_VISIT is the first of the candle's IN_VISITS rows in the block's table of visits (`trader.broker.path`)."""

RATE_SCALE: Final = 1_000_000_000_000
"""Funding rates are counted in 1e-12."""

# --- events ----------------------------------------------------------------------------------------------------
# An event row is (kind, candle of the block, phase, then the table's columns from `agent` on, in the table's order).
EVENT_ENTRY, EVENT_EXIT, EVENT_PARTIAL, EVENT_REJECT, EVENT_FUNDING = range(5)
EVENT_KIND, EVENT_CANDLE, EVENT_PHASE, EVENT_BODY = range(4)
EVENT_FIELDS: Final = EVENT_BODY + 28

(
    PHASE_FUNDING, PHASE_OPEN_LIQUIDATION, PHASE_OPEN, PHASE_PATH, PHASE_LIMIT, PHASE_LIQUIDATION, PHASE_DECISION,
) = range(7)  # fmt: skip
"""Order of events inside one candle of one market; an agent has at most one event in each."""

EVENTS_PER_CANDLE: Final = 7

NEVER: Final = 1 << 62
"""A wake time that does not come, and a price that is never reached."""
