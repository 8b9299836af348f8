"""The views are those of the contract, column for column, and say the same as the rows, on both databases."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.store_layer import sample_run
from trader.core import rows
from trader.store import queries
from trader.store.listings import LISTINGS
from trader.store.store import open_store
from trader.store.views import all_views

CONTRACT = {
    "v_run": "run parent_run name status feed seed config_hash code_version platform started_utc candles"
    " equity_start equity_end digest",
    "v_trade": "run trade agent archetype symbol timeframe side leverage qty margin decided_ms confidence"
    " regime entry_ms entry_price"
    " exit_ms exit_price exit_reason gross_pnl slippage fees funding pnl return_on_margin mae mfe phase funded score",
    "v_position": "run agent symbol side qty leverage entry_price mark stop take liquidation_price margin unrealised",
    "v_order": "run order_id trade agent symbol side kind decided_ms requested_qty qty limited_by status reason",
    "v_fill": "run fill order_id trade agent symbol time_ms price qty fee liquidity",
    "v_funnel": "run symbol archetype stage count",
    "v_transfer": "run seq time_ms debit credit amount code agent trade",
    "v_agent": "run agent parent_a parent_b operator archetype symbol timeframe born_ms died_ms cause"
    " generation fitness trades pnl genes",
    "v_fitness": "run agent generation raw shrunk standard_error niche rank fate",
    "v_level": "run seq time_ms level step objective_before objective_after kept detail",
    "v_modification": "run agent time_ms trigger gene before after confidence_before confidence_after expected"
    " realised kept adopted_ms trial",
    "v_bandit": "run time_ms timeframe regime parameter arm propensity ticket trade reward mean effective_n"
    " agent decided_ms",
    "v_policy": "run birth time_ms policy optimizer action value reward agent",
    "v_allocation": "run epoch time_ms agent before weight amount score risk rule limited_by",
    "v_candle": "run symbol ts open high low close volume received revised",
    "v_funding": "run symbol ts rate mark",
    "v_incident": "run time_ms kind symbol detail",
    "v_equity": "run time_ms cash reserved unrealised equity drawdown",
    "v_trial": "run fingerprint config_hash purpose feed source markets timeframes step first_ms last_ms content seed"
    " sharpe repeats started_utc",
}  # fmt: skip


def with_utc(words):
    """Beside every `_ms` stands its `_utc`."""
    return [name for word in words.split() for name in ([word, word[:-3] + "_utc"] if word.endswith("_ms") else [word])]


@pytest.fixture(scope="module")
def store(module_url):
    with open_store(module_url, create=True) as opened:
        sample_run.write(opened, sample_run.make(60, 8, 5))
        yield opened


def rows_of(store, query):
    with store.database.reading() as connection:
        result = connection.exec_driver_sql(query)
        return [dict(zip(result.keys(), row, strict=True)) for row in result]


def test_columns_are_the_contracts(store):
    assert set(all_views(store.database.dialect)) == set(CONTRACT)
    for view, words in CONTRACT.items():
        with store.database.reading() as connection:
            result = connection.exec_driver_sql(f"SELECT * FROM {view}")
            assert list(result.keys()) == with_utc(words), view
            count = len(result.fetchall())
        assert count > 0, view


def written(table):
    spec = rows.TABLES[table]
    return [
        dict(zip(spec.names, row, strict=True))
        for frame in sample_run.make(60, 8, 5)
        for row in frame.tables.get(table, [])
    ]


def test_trades_say_what_entry_and_exit_say(store):
    entries = {row["trade"]: row for row in written("entry")}
    found = {row["trade"]: row for row in rows_of(store, "SELECT * FROM v_trade")}
    exits = written("exit")
    assert len(found) == len(exits) > 40
    for row in exits:
        trade, entry = found[row["trade"]], entries[row["trade"]]
        instrument = sample_run.INSTRUMENTS[row["market"]]
        price_scale, quantity_scale = 10**instrument.price_exponent, 10**instrument.quantity_exponent
        assert trade["symbol"] == instrument.symbol
        assert trade["side"] == ("long" if entry["side"] == 1 else "short")
        assert trade["archetype"] == sample_run.NAMES["archetype"][entry["archetype"]]
        assert (trade["timeframe"], trade["regime"], trade["phase"]) == ("1h", "bull", "replay")
        assert trade["exit_reason"] == rows.OrderKind(row["kind"]).name.lower()
        assert float(trade["leverage"]) == 3.0
        assert float(trade["confidence"]) == 75.12
        assert float(trade["qty"]) == row["trade_qty"] / quantity_scale
        assert float(trade["entry_price"]) == entry["price"] / price_scale
        for name, column in (("margin", "margin"), ("gross_pnl", "trade_gross"), ("fees", "trade_fees"),
                             ("funding", "trade_funding"), ("pnl", "trade_pnl"), ("slippage", "slippage")):  # fmt: skip
            assert float(trade[name]) == row[column] / 1e8, name
        weighted = row["trade_value"] / 1e8 / (row["trade_qty"] / quantity_scale)
        assert float(trade["exit_price"]) == pytest.approx(weighted, rel=1e-6)
        if row["qty"] == row["trade_qty"]:
            assert float(trade["exit_price"]) == row["price"] / price_scale
        assert trade["return_on_margin"] == pytest.approx(row["trade_pnl"] / row["margin"], rel=1e-15)
        assert trade["return_on_margin"] >= -1
        worst, best = (row["lowest"], row["highest"]) if entry["side"] == 1 else (row["highest"], row["lowest"])
        assert trade["mae"] == pytest.approx(entry["side"] * (worst / entry["price"] - 1), abs=1e-12)
        assert trade["mfe"] == pytest.approx(entry["side"] * (best / entry["price"] - 1), abs=1e-12)
        assert trade["decided_ms"] < trade["entry_ms"] <= trade["exit_ms"]
        assert trade["funded"] == row["funded"]


def test_pnl_is_exact_in_sql(store):
    wrong = "SELECT COUNT(*) AS n FROM v_trade WHERE ABS(pnl - (gross_pnl - fees + funding)) > 0.000000004"
    assert rows_of(store, wrong)[0]["n"] == 0


def test_times_in_utc_are_the_milliseconds(store):
    for view in ("v_trade", "v_transfer", "v_equity", "v_agent"):
        for row in rows_of(store, f"SELECT * FROM {view}"):
            for name in row:
                if name.endswith("_ms"):
                    text = row[name[:-3] + "_utc"]
                    expected = (
                        None if row[name] is None else f"{np.datetime64(row[name], 'ms').astype('datetime64[s]')}Z"
                    )
                    assert text == expected


def test_an_orders_fills_add_up_to_it_and_shadows_have_none(store):
    orders = {row["order_id"]: row for row in rows_of(store, "SELECT * FROM v_order")}
    fills = rows_of(store, "SELECT * FROM v_fill")
    assert len(orders) == rows_of(store, "SELECT COUNT(*) AS n FROM v_order")[0]["n"]
    filled: dict[int, float] = {}
    rested = {row["fill"] for row in written("entry") if row["maker"]}
    assert 0 < len(rested) < len(fills)
    for row in fills:
        filled[row["order_id"]] = filled.get(row["order_id"], 0) + float(row["qty"])
        assert row["liquidity"] == ("maker" if row["fill"] in rested else "taker")
    for number, order in orders.items():
        assert float(order["qty"]) == pytest.approx(filled.get(number, 0), rel=1e-12)
        assert float(order["qty"]) <= float(order["requested_qty"]) * (1 + 1e-12)
        assert (order["status"] in {"rejected", "unfilled"}) == (order["reason"] is not None)
        assert order["side"] in {"buy", "sell"}
    shadow = max(row["agent"] for row in written("birth"))
    assert all(row["agent"] != shadow for row in [*orders.values(), *fills])
    assert rows_of(store, f"SELECT COUNT(*) AS n FROM v_transfer WHERE agent = {shadow}")[0]["n"] == 0
    assert rows_of(store, f"SELECT COUNT(*) AS n FROM v_trade WHERE agent = {shadow}")[0]["n"] > 0
    statuses = {order["status"] for order in orders.values()}
    assert statuses == {"filled", "partial", "rejected", "unfilled"}
    by_trade: dict[int, float] = {}
    for row in fills:
        by_trade[row["trade"]] = by_trade.get(row["trade"], 0) + float(row["fee"])
    for row in rows_of(store, "SELECT * FROM v_trade WHERE funded = 1"):
        assert by_trade[row["trade"]] == pytest.approx(float(row["fees"]), abs=1e-9)


def test_transfers_are_the_whole_ledger(store):
    transfers = rows_of(store, "SELECT * FROM v_transfer ORDER BY seq")
    assert len({row["seq"] for row in transfers}) == len(transfers)
    balance: dict[str, int] = {}
    for row in transfers:
        amount = round(float(row["amount"]) * 1e8)
        assert amount > 0
        assert row["debit"] != row["credit"]
        balance[row["debit"]] = balance.get(row["debit"], 0) - amount
        balance[row["credit"]] = balance.get(row["credit"], 0) + amount
    assert sum(balance.values()) == 0
    codes = {row["code"] for row in transfers}
    assert codes == {"deposit", "grant", "recall", "reserve", "release", "fee", "funding", "pnl", "insurance"}
    last = sample_run.make(60, 8, 5)[-1]
    funded = {row[0]: row[11] for row in last.positions if row[13]}
    for account, value in balance.items():
        if account.endswith(":margin"):
            assert value == funded.get(int(account.split(":")[1]), 0), account
    equity = written("equity")[-1]
    cash = balance["pool:cash"] + sum(v for a, v in balance.items() if a.endswith(":cash") and a != "pool:cash")
    assert cash == equity["cash"]
    assert sum(funded.values()) == equity["reserved"]
    assert set(balance) >= {"world", "market", "fees", "funding", "insurance", "agent:0:cash", "agent:0:margin"}


def test_agents_equity_levels_and_the_rest(store):
    agents = {row["agent"]: row for row in rows_of(store, "SELECT * FROM v_agent")}
    exits = written("exit")
    for number, row in agents.items():
        own = [exit_row for exit_row in exits if exit_row["agent"] == number]
        assert row["trades"] == len(own)
        assert float(row["pnl"]) == pytest.approx(sum(x["trade_pnl"] for x in own) / 1e8, abs=1e-9)
        assert json.loads(row["genes"]) == {"aggression": number}
    assert (agents[0]["cause"], agents[0]["fitness"], agents[0]["parent_a"]) == ("selection", 0.25, None)
    assert agents[1]["died_ms"] is None
    last = [row for row in written("fitness") if row["agent"] == 1][-1]
    assert agents[1]["fitness"] == float(np.array(last["shrunk"]).view(np.float64))
    fitness = rows_of(store, "SELECT * FROM v_fitness")
    assert {row["niche"] for row in fitness} == {"AAA/USDT 1h"}
    assert {row["fate"] for row in fitness} == {"kept", "elite", "culled", "control"}
    assert all(row["standard_error"] is None for row in fitness)
    equity = rows_of(store, "SELECT * FROM v_equity")
    for shown, row in zip(equity, written("equity"), strict=True):
        assert float(shown["equity"]) == row["equity"] / 1e8
        assert shown["drawdown"] == pytest.approx((row["peak"] - row["equity"]) / row["peak"], abs=1e-15)
    level = rows_of(store, "SELECT * FROM v_level")[0]
    assert (level["level"], level["objective_before"], level["objective_after"]) == ("evolution", None, 0.0)
    assert rows_of(store, "SELECT * FROM v_funnel")[0]["stage"] == "decided"
    assert {row["rule"] for row in rows_of(store, "SELECT * FROM v_allocation")} == {"equal"}
    assert rows_of(store, "SELECT * FROM v_candle")[0]["received"] == "file"
    assert float(rows_of(store, "SELECT * FROM v_run")[0]["equity_start"]) == 1_000_000.0
    positions = rows_of(store, "SELECT * FROM v_position ORDER BY agent")
    assert [row["agent"] for row in positions] == [row[0] for row in sample_run.make(60, 8, 5)[-1].positions]
    assert all(row["take"] is None and row["stop"] is not None for row in positions)


@pytest.mark.postgres
def test_both_databases_show_the_same(tmp_path, postgres_url):
    shown = []
    for place in (str(tmp_path / "a.db"), postgres_url):
        with open_store(place, create=True) as store:
            run = sample_run.write(store, sample_run.make(60, 8, 5))
            shown.append({name: queries.listing(store, name, run, limit=0) for name in LISTINGS})
    for name in LISTINGS:
        first, second = shown[0][name], shown[1][name]
        assert first.columns == second.columns
        assert len(first.rows) == len(second.rows)
        for one, two in zip(first.rows, second.rows, strict=True):
            assert _alike(one, two), name


def _alike(one, two):
    for left, right in zip(one, two, strict=True):
        if isinstance(left, float) and isinstance(right, float):
            if abs(left - right) > 1e-13 * max(abs(left), 1e-300):
                return False
        elif left != right or type(left) is not type(right):
            return False
    return True
