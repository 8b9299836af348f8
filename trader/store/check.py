"""`trader db check`: conservation and references of a run, recomputed from its rows alone, in integers.

Nothing of the session takes part: the checks read the tables and the run's config, unpack every movement of money,
follow every account, mark every position to the journal's closes, and compare with what the session wrote down.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from trader.core.rows import AGENT_ACCOUNTS, TransferCode, account_name
from trader.core.timeframes import MONDAY_MS, WEEK_MS
from trader.store import check_trades as trades
from trader.store.check_ledger import Books, balances, overdrawn, pool_after, unrealised_after
from trader.store.digest import combine
from trader.store.records import FINISHED
from trader.store.store import AnyStore, persistent


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check: its name, whether it holds, and what was counted or what is wrong."""

    name: str
    ok: bool
    detail: str


def check(store: AnyStore, run: int) -> list[CheckResult]:
    """All checks of a run, in a fixed order; a check that cannot be made because of another's fault fails too."""
    store = persistent(store)
    evidence = Books(store, store.resolve(run))
    return [_one(name, function, evidence) for name, function in _CHECKS]


def _one(name: str, function: Callable[[Books], tuple[bool, str]], evidence: Books) -> CheckResult:
    try:
        ok, detail = function(evidence)
    except (IndexError, KeyError, ValueError) as error:
        # rows that refer to nothing: "references" names them, here it is enough that nothing was proved
        return CheckResult(name, False, f"cannot be checked: {type(error).__name__} {error}")
    return CheckResult(name, ok, detail)


def _ids(evidence: Books) -> tuple[bool, str]:
    wrong = trades.duplicate_ids(evidence)
    return not wrong, wrong or f"{len(evidence.entry['seq'])} trades, {len(evidence.birth['seq'])} agents"


def _references(evidence: Books) -> tuple[bool, str]:
    wrong = trades.broken_references(evidence)
    return not wrong, wrong or f"{len(evidence.exit['seq'])} exits and {len(evidence.partial['seq'])} partial exits"


def _agents(evidence: Books) -> tuple[bool, str]:
    wrong = trades.unknown_agents(evidence)
    return not wrong, wrong or f"{len(evidence.death['seq'])} deaths"


def _results(evidence: Books) -> tuple[bool, str]:
    wrong = trades.wrong_results(evidence)
    return not wrong, wrong or "pnl = gross - fees + funding in every trade"


def _fills(evidence: Books) -> tuple[bool, str]:
    wrong = trades.fills_outside_candles(evidence)
    return not wrong, wrong or "every fill within its candle"


def _participation(evidence: Books) -> tuple[bool, str]:
    share = json.loads(evidence.run.config).get("exchange", {}).get("participation")
    if share is None:
        return True, "the config names no participation"
    wrong = trades.over_participation(evidence, float(share))
    return not wrong, wrong or f"at most {share} of every candle's volume"


def _decisions(evidence: Books) -> tuple[bool, str]:
    wrong = trades.early_fills(evidence)
    return not wrong, wrong or "no entry in the candle that decided it, no exit before its order"


def _positions(evidence: Books) -> tuple[bool, str]:
    wrong = trades.wrong_positions(evidence)
    if not wrong and evidence.run.status == FINISHED and len(evidence.position["trade"]):
        wrong = "a finished run has open positions"
    return not wrong, wrong or f"{len(evidence.position['trade'])} open"


def _conservation(evidence: Books) -> tuple[bool, str]:
    """Every account followed through all movements; the sum over all accounts is zero; deposits are the run's."""
    moves = evidence.moves
    found = balances(moves)
    final = found.final()
    wrong = overdrawn(found)
    if not wrong and sum(final.values()) != 0:
        wrong = f"balances add up to {sum(final.values())}"
    plain = evidence.transfer
    deposits = int(plain["amount"][plain["code"] == int(TransferCode.DEPOSIT)].sum())
    if not wrong and len(plain["seq"]) and deposits != evidence.run.equity_start:
        wrong = f"deposits are {deposits}, the run began with {evidence.run.equity_start}"
    held = dict(zip(evidence.position["agent"].tolist(), evidence.position["margin"].tolist(), strict=True))
    funded = dict(zip(evidence.position["agent"].tolist(), evidence.position["funded"].tolist(), strict=True))
    for account, balance in final.items():
        agent, is_margin = divmod(account - AGENT_ACCOUNTS, 2)
        if not wrong and account >= AGENT_ACCOUNTS and is_margin:
            expected = held.get(agent, 0) * funded.get(agent, 0)
            if balance != expected:
                wrong = f"{account_name(account)} holds {balance}, the open position says {expected}"
    return not wrong, wrong or f"{len(moves.amount)} transfers over {len(final)} accounts, sum 0"


def _allocations(evidence: Books) -> tuple[bool, str]:
    """What an allocation found (`before`: the agent's cash and margin) is what the movements before it had left."""
    table = evidence.allocation
    moves = evidence.moves
    account = np.concatenate([moves.debit, moves.credit])
    change = np.concatenate([-moves.amount, moves.amount])
    place = np.concatenate([moves.place, moves.place])
    own = account >= AGENT_ACCOUNTS
    agent = (account[own] - AGENT_ACCOUNTS) // 2
    order = np.lexsort((place[own], agent))
    agent, place, running = agent[order], place[own][order], np.cumsum(change[own][order])
    bits = 1 << 48  # more events than a run can have: one sortable key of agent and place
    key = agent * bits + place
    until = np.searchsorted(key, table["agent"] * bits + table["seq"] * 16)
    start = np.searchsorted(key, table["agent"] * bits)
    padded = np.append(0, running)
    differ = np.flatnonzero(padded[until] - padded[start] != table["before"])
    if len(differ):
        at = differ[0]
        return False, f"seq {int(table['seq'][at])}: before is {int(table['before'][at])}, the transfers say otherwise"
    return True, f"{len(table['seq'])} grants and recalls"


def _equity(evidence: Books) -> tuple[bool, str]:
    """Cash, reserved, unrealised and equity after every frame, and the peak; the last row may be before `end`."""
    table = evidence.equity
    count = len(table["seq"])
    if count == 0:
        return True, "no frame yet"
    moves = evidence.moves
    last_of_time = np.append(np.diff(table["time_ms"]) != 0, True)
    mismatch = None
    for end in (True, False):
        cash, reserved = pool_after(moves, table["time_ms"], end=end)
        unrealised = np.array(unrealised_after(evidence, table["time_ms"], end=end), np.int64)
        expected = {
            "cash": cash,
            "reserved": reserved,
            "unrealised": unrealised,
            "equity": cash + reserved + unrealised,
        }
        mismatch = _first_mismatch(table, expected, last_of_time)
        if mismatch is None:
            break
        if not moves.end.any():
            break
    if mismatch is not None:
        return False, mismatch
    peaks = np.maximum.accumulate(table["equity"])
    if table["peak"][0] != peaks[0]:  # the session counts the capital it began with as the first peak
        peaks = np.maximum(peaks, evidence.run.equity_start)
    if (table["peak"] != peaks).any():
        return False, f"peak is wrong at frame {int(table['frame'][table['peak'] != peaks][0])}"
    return _final_equity(evidence, count)


def _first_mismatch(
    table: dict[str, NDArray[np.int64]], expected: dict[str, NDArray[np.int64]], counted: NDArray[np.bool_]
) -> str | None:
    for name, values in expected.items():
        differ = np.flatnonzero((table[name] != values) & counted)
        if len(differ):
            at = differ[0]
            return f"frame {int(table['frame'][at])}: {name} is {int(table[name][at])}, the rows say {int(values[at])}"
    return None


def _final_equity(evidence: Books, count: int) -> tuple[bool, str]:
    """The run row's equity: everything, the closing of the session too."""
    times = np.array([np.iinfo(np.int64).max])
    cash, reserved = pool_after(evidence.moves, times, end=True)
    final = int(cash[0] + reserved[0]) + unrealised_after(evidence, times, end=True)[0]
    if final != evidence.run.equity_end:
        return False, f"the run ended with {evidence.run.equity_end}, its rows say {final}"
    return True, f"{count} frames to the last unit, {final} at the end"


def _journal(evidence: Books) -> tuple[bool, str]:
    """Candles in (ts, market) order on the grid, each once; frames rise with time; an equity row for every frame."""
    table = evidence.candle
    key = list(zip(table["ts"].tolist(), table["market"].tolist(), strict=True))
    if any(later <= earlier for earlier, later in pairwise(key)):
        return False, "candles are not in (ts, market) order"
    grid = MONDAY_MS if evidence.run.base_ms == WEEK_MS else 0  # weeks open on Mondays
    if ((table["ts"] - grid) % evidence.run.base_ms != 0).any():
        return False, "a candle is off the grid"
    if len(key) != evidence.run.candles:
        return False, f"{len(key)} candles, the run row says {evidence.run.candles}"
    frames = dict(zip(table["ts"].tolist(), table["frame"].tolist(), strict=True))
    numbers = list(frames.values())  # -1 in the warm-up, then 0, 1, 2, ...
    if any(later != earlier + 1 and not earlier == later == -1 for earlier, later in pairwise(numbers)):
        return False, "frames are not numbered one by one"
    missing = {number for number in numbers if number >= 0} - set(evidence.equity["frame"].tolist())
    if missing:
        return False, f"frame {min(missing)} has no equity row"
    return True, f"{len(key)} candles in {len(numbers)} frames"


def _digest(evidence: Books) -> tuple[bool, str]:
    if evidence.run.digest is None or evidence.run.digests is None:
        return True, f"none yet (status {evidence.run.status})"
    found = evidence.store.recompute_digest(evidence.run.run)
    stored = json.loads(evidence.run.digests)
    for name, digest in found.items():
        if stored.get(name) != digest:
            return False, f"table {name} does not have the digest that the run wrote"
    if combine(found) != evidence.run.digest:
        return False, "the run's digest does not fit its tables' digests"
    return True, evidence.run.digest


_CHECKS: tuple[tuple[str, Callable[[Books], tuple[bool, str]]], ...] = (
    ("ids", _ids),
    ("references", _references),
    ("agents", _agents),
    ("results", _results),
    ("journal", _journal),
    ("decisions", _decisions),
    ("fills", _fills),
    ("participation", _participation),
    ("positions", _positions),
    ("conservation", _conservation),
    ("allocations", _allocations),
    ("equity", _equity),
    ("digest", _digest),
)
