"""v_transfer, v_allocation, v_equity, v_funding: money.

v_transfer unpacks every movement that the wide rows imply, so the whole ledger can be read, summed and checked row by
row. Its `seq` is the row's seq * 16 + the place of the movement within the row. A movement of zero is no row.
`amount` > 0 leaves `debit` and reaches `credit`.
"""

from __future__ import annotations

from trader.core.rows import Account, AllocationLimit, TransferCode, account_name
from trader.store.expressions import INTEGER, Dialect, Part, View, instrument_join, name_join

PLACES = 16
"""Room for the movements of one row in v_transfer's `seq`."""


def _system(account: Account) -> str:
    return f"'{account_name(int(account))}'"


def _cash(alias: str) -> str:
    return f"'agent:' || {alias}.agent || ':cash'"


def _margin(alias: str) -> str:
    return f"'agent:' || {alias}.agent || ':margin'"


def _by_sign(amount: str, received: str, paid: str) -> str:
    return f"CASE WHEN {amount} > 0 THEN {received} ELSE {paid} END"


def transfer(d: Dialect) -> View:
    """The ledger, movement by movement."""
    return View(
        "v_transfer",
        (_plain(d), _allocated(d), *_of_entry(d), _of_funding(d), *_of_partial(d), *_of_exit(d)),
    )


def _part(
    d: Dialect, table: str, alias: str, place: int, code: str, amount: str, debit: str, credit: str, trade: str = ""
) -> Part:
    key = f"{alias}.seq * {PLACES} + {place}"
    columns = (
        d.integer("run", f"{alias}.run"),
        d.integer("seq", key),
        *d.time("time_ms", f"{alias}.time_ms"),
        d.text("debit", debit),
        d.text("credit", credit),
        d.amount("amount", f"ABS({amount})"),
        d.text("code", code),
        d.integer("agent", f"{alias}.agent"),
        d.integer("trade", trade or f"{alias}.trade"),
    )
    where = f"{amount} <> 0" if table == "allocation" else f"{alias}.funded = 1 AND {amount} <> 0"
    return Part(columns, f"{table} {alias}", where, f"{alias}.run", f"{alias}.seq")


def _plain(d: Dialect) -> Part:
    columns = (
        d.integer("run", "t.run"),
        d.integer("seq", f"t.seq * {PLACES}"),
        *d.time("time_ms", "t.time_ms"),
        d.account("debit", "t.debit"),
        d.account("credit", "t.credit"),
        d.amount("amount", "t.amount"),
        d.code("code", "t.code", TransferCode),
        d.integer("agent", "NULLIF(t.agent, -1)"),
        d.integer("trade", "NULLIF(t.trade, -1)"),
    )
    return Part(columns, "transfer t", "", "t.run", "t.seq")


def _allocated(d: Dialect) -> Part:
    pool = _system(Account.POOL_CASH)
    debit = _by_sign("g.amount", pool, _cash("g"))
    credit = _by_sign("g.amount", _cash("g"), pool)
    code = _by_sign("g.amount", "'grant'", "'recall'")
    return _part(d, "allocation", "g", 0, code, "g.amount", debit, credit, d.nothing(INTEGER))


def _of_entry(d: Dialect) -> tuple[Part, ...]:
    return (
        _part(d, "entry", "e", 0, "'reserve'", "e.margin", _cash("e"), _margin("e")),
        _part(d, "entry", "e", 1, "'fee'", "e.fee", _margin("e"), _system(Account.FEES)),
    )


def _of_funding(d: Dialect) -> Part:
    funding = _system(Account.FUNDING)
    debit = _by_sign("f.amount", funding, _margin("f"))
    credit = _by_sign("f.amount", _margin("f"), funding)
    return _part(d, "funding", "f", 0, "'funding'", "f.amount", debit, credit)


def _result(d: Dialect, table: str, alias: str, amount: str) -> Part:
    market = _system(Account.MARKET)
    debit = _by_sign(amount, market, _margin(alias))
    credit = _by_sign(amount, _margin(alias), market)
    return _part(d, table, alias, 0, "'pnl'", amount, debit, credit)


def _of_partial(d: Dialect) -> tuple[Part, ...]:
    return (
        _result(d, "partial", "p", "p.gross"),
        _part(d, "partial", "p", 1, "'fee'", "p.fee", _margin("p"), _system(Account.FEES)),
    )


def _of_exit(d: Dialect) -> tuple[Part, ...]:
    insurance, fees = _system(Account.INSURANCE), _system(Account.FEES)
    left = "(x.margin - x.trade_fees + x.trade_gross + x.trade_funding)"
    return (
        _result(d, "exit", "x", "(x.gross - x.insurance)"),
        _part(d, "exit", "x", 1, "'insurance'", "x.insurance", insurance, _margin("x")),
        _part(d, "exit", "x", 2, "'fee'", "x.fee", _margin("x"), fees),
        _part(d, "exit", "x", 3, "'liquidation'", "x.liquidation_fee", _margin("x"), insurance),
        _part(d, "exit", "x", 4, "'release'", left, _margin("x"), _cash("x")),
    )


def allocation(d: Dialect) -> View:
    """Grants (amount > 0) and recalls (< 0) of capital, where something changed."""
    columns = (
        d.integer("run", "g.run"),
        d.integer("epoch", "g.epoch"),
        *d.time("time_ms", "g.time_ms"),
        d.integer("agent", "g.agent"),
        d.amount("before", "g.before"),
        d.number("weight", d.scaled("g.weight", 9)),
        d.amount("amount", "g.amount"),
        d.number("score", "g.score"),
        d.number("risk", "g.risk"),
        d.named("rule", "n", "g.rule"),
        d.code("limited_by", "g.limited_by", AllocationLimit),
    )
    source = f"allocation g {name_join('n', 'rule', 'g.run', 'g.rule')}"
    return View("v_allocation", (Part(columns, source, "", "g.run", "g.seq"),))


def equity(d: Dialect) -> View:
    """The pool after every frame; drawdown is the fraction below the highest equity so far."""
    columns = (
        d.integer("run", "q.run"),
        *d.time("time_ms", "q.time_ms"),
        d.amount("cash", "q.cash"),
        d.amount("reserved", "q.reserved"),
        d.amount("unrealised", "q.unrealised"),
        d.amount("equity", "q.equity"),
        d.ratio("drawdown", "(q.peak - q.equity)", "q.peak"),
    )
    return View("v_equity", (Part(columns, "equity q", "", "q.run", "q.seq"),))


def funding(d: Dialect) -> View:
    """Funding stamps of the feed: rate as a fraction, mark price if the feed has one."""
    columns = (
        d.integer("run", "s.run"),
        d.text("symbol", "i.symbol"),
        d.integer("ts", "s.ts"),
        d.number("rate", "s.rate"),
        d.number("mark", "s.mark"),
    )
    return View("v_funding", (Part(columns, f"stamp s {instrument_join('s')}", "", "s.run", "s.seq"),))
