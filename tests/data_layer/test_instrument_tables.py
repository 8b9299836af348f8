"""Tables of instruments: the one that ships, files, ccxt's markets and tiers, an exchange that is asked, refusals."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trader.broker.market import ExchangeRules, market_vector
from trader.core.types import SurroundingsError, UserError
from trader.feeds import instrument_sources
from trader.feeds.instrument_sources import chosen, merged, of_ccxt, read_source, with_least_notional
from trader.feeds.instrument_table import InstrumentTable, Listing, as_text, bundled, read_table, table_of
from trader.feeds.instruments import DEFAULT_TIERS, TradingTerms, instrument_lines, instruments_for

MARKETS = {
    "BTC/USDT": {
        "type": "spot", "precision": {"price": 0.01, "amount": 1e-5}, "maker": 0.0008, "taker": 0.001,
        "limits": {"amount": {"min": 1e-5}, "price": {"min": 0.01}, "cost": {"min": 5.0}},
    },
    "BTC/USDT:USDT": {
        "type": "swap", "linear": True, "contractSize": 0.01, "precision": {"price": 0.1, "amount": 1},
        "limits": {"amount": {"min": 1}, "cost": {"min": None}}, "maker": 0.0002, "taker": 0.0005,
    },
    "BTC/USD:BTC": {"type": "swap", "linear": False, "precision": {"price": 0.1, "amount": 1}, "limits": {}},
    "BTC/USDT:USDT-261225": {"type": "future", "linear": True, "precision": {"price": 0.1, "amount": 0.001}, "limits": {}},
}  # fmt: skip


def test_the_table_that_ships():
    """Binance's ticks, lots and brackets of common symbols; it carries its date and its sources."""
    table = bundled("binance")
    assert table is not None
    assert table.date >= "2026-11-24"
    assert table.sources
    assert bundled("binanceusdm") == table
    assert bundled("kraken") is None
    for symbol in (
        "BTC/USDT",
        "ETH/USDT",
        "BNB/USDT",
        "SOL/USDT",
        "XRP/USDT",
        "ADA/USDT",
        "LTC/USDT",
        "LINK/USDT",
        "DOGE/USDT",
    ):
        assert symbol in table.spot
        assert table.swap[symbol].tiers[0].notional_floor == 0
    assert (table.spot["BTC/USDT"].tick, table.spot["BTC/USDT"].lot) == (Decimal("0.01"), Decimal("0.00001"))
    assert table.swap["BTC/USDT"].tiers[0].maximum_leverage == 125
    assert {one.minimum_notional for one in table.swap.values()} == {Decimal(5)}, (
        "what Binance's futures accept at least"
    )
    assert any("minimum notional" in source for source in table.sources)


@pytest.mark.parametrize("kind", ["spot", "swap"])
def test_every_instrument_that_ships_can_be_counted(kind):
    for symbol in bundled("binance").of(kind):
        (one,) = instruments_for((symbol,), TradingTerms(kind, exchange="binance"))
        vector = market_vector(one, ExchangeRules())
        assert (vector >= 0).all()
        assert one.source.startswith("bundled binance table of 20")


def test_perpetuals_without_a_minimum_are_given_one_and_it_is_said(tmp_path):
    from trader.__main__ import main

    source, out = tmp_path / "m.json", tmp_path / "o.json"
    source.write_text(json.dumps(MARKETS))
    words = ["data", "instruments", "--from", str(source), "--out", str(out), "--minimum-notional"]
    before = main([*words[:-1], "--quiet"]), read_table(out)
    assert main([*words, "7.5", "--quiet"]) == before[0] == 0
    table = read_table(out)
    for symbol, one in table.swap.items():
        assert one.minimum_notional == (before[1].swap[symbol].minimum_notional or Decimal("7.5"))
    assert table.spot == before[1].spot
    assert "7.5" in table.sources[-1]
    for wrong in ("five", "-5", "nan"):
        assert main([*words[:-1], f"--minimum-notional={wrong}"]) == 2


def test_it_is_what_the_command_makes_of_itself(tmp_path):
    """Read and written again it is the same text: nobody edits it by hand."""
    table = bundled("binance")
    assert table_of(json.loads(as_text(table)), "again") == table


def test_units_keep_cheap_coins_countable():
    """A tick of 1e-8 and whole coins: quantities have no decimals, so a volume of 1e17 coins still fits."""
    (one,) = instruments_for(("PEPE/USDT",), TradingTerms("spot", exchange="binance"))
    assert (one.price_exponent, one.tick, one.quantity_exponent, one.lot) == (8, 1, 0, 1)
    (one,) = instruments_for(("BTC/USDT",), TradingTerms("swap", exchange="binance"))
    assert (one.price_exponent, one.tick, one.quantity_exponent, one.lot) == (8, 10**7, 3, 1)


def test_precedence(tmp_path):
    """File before shipped before default; tiers: tiers file, then where the steps are from, then one bracket; fees: the
    config's, then the instrument's, then the market type's."""
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"format": "instruments 1", "swap": {
        "BTC/USDT": {"tick": "0.5", "lot": "0.01", "minimum_quantity": "0.02", "minimum_notional": 7.5, "taker": 0.0004},
        "NEW/USDT": {"tick": 1, "lot": 10, "tiers": [[0, 0.01, 50], [1000, 0.02, 10]]},
    }}))  # fmt: skip
    tiers = tmp_path / "tiers.json"
    tiers.write_text(json.dumps({"NEW/USDT": [{"minNotional": 0, "maintenanceMarginRate": 0.03, "maxLeverage": 3}]}))
    symbols = ("BTC/USDT", "ETH/USDT", "NEW/USDT", "NOPE/USDT")
    btc, eth, new, nope = instruments_for(symbols, TradingTerms("swap", instruments=path, exchange="binance"))
    assert (btc.tick, btc.lot, btc.quantity_exponent, btc.minimum_quantity, btc.minimum_notional) == (
        50_000_000, 1, 2, 2, 750_000_000,
    )  # fmt: skip
    assert (btc.taker_fee, btc.maker_fee, btc.tiers, btc.source) == (
        40_000,
        20_000,
        DEFAULT_TIERS,
        f"{path}; default tiers",
    )
    assert eth.source.startswith("bundled binance")
    assert [tier.maximum_leverage for tier in new.tiers] == [50, 10]
    assert new.tiers[1].maintenance_amount == 10 * 10**8
    assert (new.tick, new.lot, new.quantity_exponent) == (10**8, 10, 0)
    assert (nope.source, nope.tick, nope.tiers) == ("default steps 1e-8", 1, DEFAULT_TIERS)
    told = instruments_for(symbols, TradingTerms("swap", 0.0001, 0.0003, tiers, path, "binance"))
    assert [one.taker_fee for one in told] == [30_000] * 4
    assert [tier.maximum_leverage for tier in told[2].tiers] == [3]
    lines = instrument_lines((btc, eth, new, nope), "binance swap")
    assert len(lines) == 4
    assert lines[-1] == (
        "exchange.instruments: nothing is known of NOPE/USDT (binance swap): tick and lot 1e-8, no minimum"
    )


def test_markets_of_ccxt():
    """Contracts become base currency; inverse and dated contracts are left out; a file of them is an instruments file."""
    table = of_ccxt(MARKETS, "x")
    assert list(table.spot) == list(table.swap) == ["BTC/USDT"]
    assert table.spot["BTC/USDT"].minimum_notional == 5
    swap = table.swap["BTC/USDT"]
    assert (swap.tick, swap.lot, swap.minimum_quantity) == (Decimal("0.1"), Decimal("0.01"), Decimal("0.01"))


def test_numbers_of_decimals():
    """`amount: 5` with a smallest amount of 1e-5 is five decimals; `amount: 1` with 1 is a step of one."""
    one = {"precision": {"price": 2, "amount": 5}, "limits": {"amount": {"min": 1e-5}, "price": {"min": 0.01}}}
    other = {"precision": {"price": 0.5, "amount": 1}, "limits": {"amount": {"min": 1}}}
    table = of_ccxt({"A/USDT": one, "B/USDT": other}, "x")
    assert (table.spot["A/USDT"].tick, table.spot["A/USDT"].lot) == (Decimal("0.01"), Decimal("0.00001"))
    assert (table.spot["B/USDT"].tick, table.spot["B/USDT"].lot) == (Decimal("0.5"), 1)


def test_a_file_of_ccxt_markets_is_an_instruments_file(tmp_path):
    path = tmp_path / "markets.json"
    path.write_text(json.dumps(MARKETS))
    assert read_table(path) == of_ccxt(MARKETS, "x")
    (one,) = instruments_for(("BTC/USDT",), TradingTerms("spot", instruments=path))
    assert (one.maker_fee, one.taker_fee, one.minimum_notional) == (80_000, 100_000, 5 * 10**8)


@pytest.mark.realdata
def test_recorded_sources(real_data):
    """The recorded files of an exchange: steps, tiers and fees merge; what has no steps is left out."""
    meta = real_data / "meta"
    paths = (
        meta / "lean/symbol-properties-database.csv.gz", meta / "freqtrade/binance_leverage_tiers.json.gz",
        meta / "ccxt/binance_markets_excerpt.json",
    )  # fmt: skip
    table = merged([read_source(path, "binance") for path in paths], "binance", "2026-11-24", ())
    few = chosen(table, quote="USDT", symbols=("ADA/USDT", "BTC/USDT"))
    assert few.spot["ADA/USDT"] == Listing(
        Decimal("0.0001"), Decimal("0.1"), Decimal("0.1"), Decimal(5), Decimal("0.001"), Decimal("0.001")
    )  # fmt: skip
    assert len(few.swap["BTC/USDT"].tiers) == 12
    assert all(listing.tick > 0 for listing in table.swap.values())
    shipped = chosen(bundled("binance"), quote=None, symbols=("ADA/USDT", "BTC/USDT")).swap
    assert with_least_notional(few, Decimal(5)).swap == shipped


class _Exchange:
    """What ccxt would say."""

    has = {"fetchLeverageTiers": True}  # noqa: RUF012 - as ccxt has it

    def __init__(self, options):
        assert not {"apiKey", "secret"} & set(options)

    def load_markets(self):
        return MARKETS

    def fetch_leverage_tiers(self):
        import ccxt

        raise ccxt.AuthenticationError("needs a key")


def test_an_exchange_is_asked_without_an_account(monkeypatch):
    import ccxt

    monkeypatch.setattr(ccxt, "binance", _Exchange)
    table = instrument_sources.ask("binance")
    assert (table.exchange, list(table.swap), table.swap["BTC/USDT"].tiers) == ("binance", ["BTC/USDT"], ())
    rows = [{"minNotional": 0, "maintenanceMarginRate": 0.01, "maxLeverage": 20}]
    monkeypatch.setattr(_Exchange, "fetch_leverage_tiers", lambda _: {"BTC/USDT:USDT": rows})
    assert instrument_sources.ask("binance").swap["BTC/USDT"].tiers[0].maximum_leverage == 20

    def down(_):
        raise ccxt.ExchangeNotAvailable("down\nfor now")

    monkeypatch.setattr(_Exchange, "load_markets", down)
    with pytest.raises(SurroundingsError, match="did not tell its markets: down for now"):
        instrument_sources.ask("binance")
    with pytest.raises(UserError, match="ccxt knows no such exchange"):
        instrument_sources.ask("nowhere")


BAD = {
    "tick 0": {"tick": 0, "lot": 1},
    "tick missing": {"lot": 1},
    "negative lot": {"tick": 1, "lot": "-0.1"},
    "not a number": {"tick": "abc", "lot": 1},
    "no finite number": {"tick": "1e999999999", "lot": "NaN"},
    "beyond everything": {"tick": "1e999999999", "lot": 1},
    "true": {"tick": True, "lot": 1},
    "fee of all": {"tick": 1, "lot": 1, "taker": 1},
    "unknown key": {"tick": 1, "lot": 1, "tik": 1},
    "a list": [1, 2],
    "tiers": {"tick": 1, "lot": 1, "tiers": [[5, 0.01, 20]]},
    "tiers not three": {"tick": 1, "lot": 1, "tiers": [[0, 0.01]]},
    "bracket too large": {"tick": 1, "lot": 1, "tiers": [[0, 0.01, 20], [1e12, 0.02, 10]]},
    "tick too fine": {"tick": "1e-13", "lot": 1},
    "lot too fine": {"tick": "0.01", "lot": "1e-12"},
    "tick too large": {"tick": "1e11", "lot": 1},
    "minimum too large": {"tick": 1, "lot": 1, "minimum_notional": "5e9"},
    "quantity too large": {"tick": 1, "lot": "0.01", "minimum_quantity": "5e17"},
}


@pytest.mark.parametrize("name", BAD)
def test_bad_listings_are_refused_in_one_line(tmp_path, name):
    path = tmp_path / "bad.json"
    path.write_text(json.dumps({"format": "instruments 1", "spot": {"BAD/USDT": BAD[name]}}))
    with pytest.raises(UserError, match="BAD/USDT") as error:
        instruments_for(("BAD/USDT",), TradingTerms("spot", instruments=path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text", ["[]", "{}", "{", '{"format": "instruments 2"}', '{"format": "instruments 1", "spt": {}}', "7"]
)
def test_bad_files_are_refused(tmp_path, text):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"exchange\.instruments: ") as error:
        read_table(path)
    assert "\n" not in str(error.value)


STEPS = st.decimals("1e-8", 1000, allow_nan=False, allow_infinity=False, places=8)


@settings(max_examples=100, deadline=None)
@given(STEPS, STEPS, st.decimals(0, 1000, places=8), st.decimals(0, 1000, places=8))
def test_any_listing_survives_its_file_and_its_units(tick, lot, minimum_quantity, minimum_notional):
    """Written and read it is equal; in units it is the same number, a minimum at least as large."""
    listing = Listing(tick, lot, minimum_quantity, minimum_notional)
    table = table_of(json.loads(as_text(InstrumentTable("x", "2026-01-01", (), {"A/B": listing}, {}))), "x")
    assert table.spot["A/B"] == listing
    one = listing.instrument("A/B", perpetual=False, maker=0, taker=0, source="x")
    assert Decimal(one.tick).scaleb(-one.price_exponent) == tick
    assert Decimal(one.lot).scaleb(-one.quantity_exponent) == lot
    assert Decimal(one.minimum_quantity).scaleb(-one.quantity_exponent) >= minimum_quantity
    assert Decimal(one.minimum_notional).scaleb(-8) >= minimum_notional
