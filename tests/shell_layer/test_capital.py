"""`config check`: the smallest capital, against the sizing of the agents themselves."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from trader.__main__ import main
from trader.broker.market import ExchangeRules
from trader.cli.capital import CapitalLine, MedianAgent, median_agent, smallest_capital
from trader.core import config as configs
from trader.core.types import Instrument, UserError

PERPETUAL = Instrument(
    "BTC/USDT", perpetual=True, price_exponent=4, tick=1000, quantity_exponent=6, lot=1000, minimum_quantity=2000,
    minimum_notional=5 * 10**8, taker_fee=50_000, source="a file",
)  # fmt: skip


@pytest.mark.parametrize("price", [50_000.0, 1_000.0, 3.0])
@pytest.mark.parametrize(("leverage", "perpetual"), [(4.0, True), (1.0, True), (4.0, False)])
def test_it_is_the_capital_the_minimum_needs(price, leverage, perpetual):
    """By hand: margin and taker fee of the smallest order, as the share that is staked of one of the equal grants.

    The minimum is 0.002 coins or 5 USDT's worth, in whole lots of 0.001. Agents size at a price that is a little worse
    than the close, so the figure lies up to half a per cent above this one and never below it.
    """
    lots = max(2, -(-5_000 // int(price)))
    notional = lots * 0.001 * price
    margin = notional / (leverage if perpetual else 1.0)
    by_hand = (margin + notional * 0.0005) / 0.07 * 200 / (1 - 0.25)
    instrument = replace(PERPETUAL, perpetual=perpetual)
    found = smallest_capital(instrument, price, 200, 0.25, MedianAgent(stake=0.07, leverage=leverage), ExchangeRules())
    assert by_hand <= found <= by_hand * 1.005


def test_it_grows_with_agents_and_reserve():
    median, rules = MedianAgent(0.1, 5.0), ExchangeRules()
    once = smallest_capital(PERPETUAL, 50_000, 100, 0.0, median, rules)
    assert smallest_capital(PERPETUAL, 50_000, 200, 0.0, median, rules) == pytest.approx(2 * once, rel=1e-6)
    assert smallest_capital(PERPETUAL, 50_000, 100, 0.5, median, rules) == pytest.approx(2 * once, rel=1e-6)
    with pytest.raises(UserError, match=r"pool\.reserve"):
        smallest_capital(PERPETUAL, 50_000, 100, 1.0, median, rules)
    with pytest.raises(UserError, match="no capital is enough"):
        smallest_capital(replace(PERPETUAL, minimum_notional=2**61), 50_000, 10**6, 0.0, median, rules)


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
