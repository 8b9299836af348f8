"""`config check`: the smallest capital, against the sizing of the agents themselves."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from agents.decisions import order_quantity
from trader.__main__ import main
from trader.broker.market import ExchangeRules, market_vector
from trader.cli.capital import CapitalLine, MedianAgent, median_agent, smallest_capital
from trader.core import config as configs
from trader.core.types import Instrument, UserError

PERPETUAL = Instrument(
    "BTC/USDT", perpetual=True, price_exponent=4, tick=1000, quantity_exponent=6, lot=1000, minimum_quantity=2000,
    minimum_notional=5 * 10**8, taker_fee=50_000, source="a file",
)  # fmt: skip


@pytest.mark.parametrize("price", [50_000.0, 1_000.0, 3.0])
@pytest.mark.parametrize("perpetual", [True, False])
def test_it_is_where_the_agents_own_sizing_reaches_the_minimum(price, perpetual):
    """Just above the figure the kernel's sizing buys at least the minimum, a few per cent below it does not."""
    instrument = replace(PERPETUAL, perpetual=perpetual)
    median = MedianAgent(stake=0.07, leverage=4.0)
    agents, reserve = 200, 0.25
    lot_margin = price / 1000 * (0.25 if perpetual else 1.0) + price / 1000 * 0.0005
    smallest = smallest_capital(instrument, price, agents, reserve, median)
    market = market_vector(instrument, ExchangeRules())
    lots = max(2, -(-5_000 // int(price)))  # 0.002 coins, or 5 USDT's worth, in lots of 0.001

    def bought(capital: float) -> int:
        budget = int(capital * (1 - reserve) / agents * median.stake * 1e8)
        return order_quantity(budget, 400 if perpetual else 100, int(price * 10_000), market) // 1000

    assert bought(smallest * 0.99) < lots
    # orders are whole lots: at most one lot more is needed
    assert bought(smallest + agents / (1 - reserve) * lot_margin / median.stake) >= lots


def test_it_grows_with_agents_and_reserve():
    median = MedianAgent(0.1, 5.0)
    once = smallest_capital(PERPETUAL, 50_000, 100, 0.0, median)
    assert smallest_capital(PERPETUAL, 50_000, 200, 0.0, median) == pytest.approx(2 * once)
    assert smallest_capital(PERPETUAL, 50_000, 100, 0.5, median) == pytest.approx(2 * once)
    # 0.002 BTC at 50,000 are 100 USDT: 20 of margin and 0.05 of fee, a tenth of a grant, 100 agents
    assert once == pytest.approx((100 / 5 + 100 * 0.0005) / 0.1 * 100)
    with pytest.raises(UserError, match=r"pool\.reserve"):
        smallest_capital(PERPETUAL, 50_000, 100, 1.0, median)


def test_the_median_agent_lies_within_its_genes():
    median = median_agent()
    assert 0.01 < median.stake < 0.5
    assert 1 <= median.leverage <= 20


def test_figures_are_rounded_up():
    assert CapitalLine("A/B", 0.001, "").told == "0.01"
    assert CapitalLine("A/B", 2.0, "").told == "2.00"
    assert CapitalLine("A/B", None, "").told == "unknown"


def test_check_tells_and_warns(history, tmp_path, capsys):
    path = tmp_path / "c.toml"
    path.write_text(f"[feed]\nkind = 'replay'\ndata = ['{history}']\n")
    assert main(["config", "check", str(path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["config_hash"] == configs.config_hash(configs.load(path))
    assert [line["symbol"] for line in report["capital"]] == ["AAA/USDT", "BBB/USDT"]
    assert report["warnings"] == []
    assert main(["config", "check", str(path), "--set", "pool.capital=1e-6"]) == 0
    shown = capsys.readouterr()
    assert shown.err.count("warning: pool.capital 1e-06 is below") == 2
    assert "smallest capital" in shown.out


def test_a_replay_without_data_has_unknown_prices(tmp_path, capsys):
    path = tmp_path / "c.toml"
    path.write_text("[feed]\nkind = 'replay'\nsymbols = ['BTC/USDT']\n")
    assert main(["config", "check", str(path)]) == 0
    assert "unknown" in capsys.readouterr().out
