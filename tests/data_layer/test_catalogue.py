"""Finding files: paths of every kind, venues, base timeframes, symbols."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trader.core.types import UserError
from trader.feeds.catalogue import canonical_symbol, find_symbols, source_timeframe, venue_name

HOUR = 3_600_000
FILES = [
    "source/binance/BTC-USDT/1h.parquet",
    "source/binance/BTC-USDT/30m.parquet",
    "source/binance/ETH-USDT/1h.csv",
    "source/binance/README.md",
    "source/binance/BTC-USDT/notes.csv",
    "source/binanceusdm/BTC-USDT/1h.parquet",
    "source/binanceusdm/BTC-USDT/1h-mark.parquet",
    "source/binanceusdm/BTC-USDT/8h-mark.parquet",
    "source/binanceusdm/BTC-USDT/funding.parquet",
    "source/binanceusdm/XRP-USDT/1h-mark.parquet",
    "other/ftx/SOL-USD/1m-2021.parquet",
    "other/ftx/SOL-USD/1m-2020.parquet",
]


@pytest.fixture
def store(tmp_path):
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def find(*paths, exchange="binance", market="spot", symbols=None):
    return find_symbols(paths, exchange_id=exchange, market_type=market, symbols=symbols)


def test_a_source_folder_gives_the_venue_of_the_exchange(store):
    spot = find(store / "source")
    assert list(spot) == ["BTC/USDT", "ETH/USDT"]
    assert {files.venue for files in spot.values()} == {"binance"}
    swap = find(store / "source", market="swap")
    assert list(swap) == ["BTC/USDT"]  # XRP has mark candles only
    assert swap["BTC/USDT"].funding == store / "source/binanceusdm/BTC-USDT/funding.parquet"
    assert sorted(swap["BTC/USDT"].marks) == [HOUR, 8 * HOUR]


def test_one_venue_is_taken_whatever_its_name(store):
    assert list(find(store / "other")) == ["SOL/USD"]
    assert list(find(store / "source/binanceusdm")) == ["BTC/USDT"]
    assert list(find(store / "source/binance/ETH-USDT", exchange="kraken")) == ["ETH/USDT"]


def test_ambiguous_venues_are_refused(store):
    with pytest.raises(UserError, match=r"several venues \(binance, binanceusdm\) but not kraken"):
        find(store / "source", exchange="kraken")


def test_single_files(store, tmp_path):
    one = find(store / "source/binanceusdm/BTC-USDT/1h.parquet", market="swap")["BTC/USDT"]
    assert list(one.candles) == [HOUR]
    assert one.funding is not None
    (tmp_path / "loose").mkdir()
    (tmp_path / "loose/1h.csv").touch()
    (tmp_path / "loose/ADA_USDT-5m.csv").touch()
    assert list(find(tmp_path / "loose/1h.csv", symbols=("DOT/USDT",))) == ["DOT/USDT"]
    assert list(find(tmp_path / "loose/ADA_USDT-5m.csv")) == ["ADA/USDT"]
    with pytest.raises(UserError, match="no BASE-QUOTE; name the symbol"):
        find(tmp_path / "loose/1h.csv")
    with pytest.raises(UserError, match=r"must be one of .parquet .csv"):
        find(store / "source/binance/README.md")
    with pytest.raises(UserError, match=r"name must be <timeframe>.csv"):
        find(store / "source/binance/BTC-USDT/notes.csv")


def test_several_paths_are_joined(store):
    both = find(store / "source/binance/BTC-USDT", store / "source/binance/ETH-USDT/1h.csv")
    assert list(both) == ["BTC/USDT", "ETH/USDT"]
    pieces = find(store / "source/binance/BTC-USDT/1h.parquet", store / "source/binance/BTC-USDT/30m.parquet")
    assert sorted(pieces["BTC/USDT"].candles) == [HOUR // 2, HOUR]
    twice = find(store / "source/binance/BTC-USDT", store / "source/binance/BTC-USDT/1h.parquet")
    assert [len(paths) for paths in twice["BTC/USDT"].candles.values()] == [1, 1]


def test_one_symbol_from_two_places_is_refused(store):
    with pytest.raises(UserError, match="BTC/USDT is in two venues"):
        find(store / "source/binance/BTC-USDT", store / "source/binanceusdm/BTC-USDT")
    copy = store / "copy/binance/BTC-USDT"
    copy.mkdir(parents=True)
    (copy / "1h.parquet").touch()
    with pytest.raises(UserError, match="BTC/USDT 1h is there twice"):
        find(store / "source/binance", store / "copy")
    (copy / "1h.csv").touch()
    with pytest.raises(UserError, match="BTC/USDT 1h is there twice"):
        find(store / "copy")


def test_missing_paths_and_symbols(store):
    with pytest.raises(UserError, match="no such file or folder"):
        find(store / "nothing")
    with pytest.raises(UserError, match=r"feed.symbols: BTC/USD is not in .*did you mean BTC/USDT\?"):
        find(store / "source", symbols=("BTC/USD",))
    with pytest.raises(UserError, match="it has BTC/USDT, ETH/USDT"):
        find(store / "source", symbols=("DOGE/EUR",))
    (store / "empty").mkdir()
    with pytest.raises(UserError, match="no candles found"):
        find(store / "empty")


def test_wanted_symbols_are_sorted_and_the_settle_currency_is_accepted(store):
    assert list(find(store / "source", symbols=("ETH/USDT", "BTC/USDT:USDT"))) == ["BTC/USDT", "ETH/USDT"]


def test_the_base_file_or_the_coarsest_finer_one(store):
    files = find(store / "source")["BTC/USDT"]
    assert source_timeframe(files, HOUR) == HOUR
    assert source_timeframe(files, 4 * HOUR) == HOUR
    assert source_timeframe(files, HOUR // 2) == HOUR // 2
    for base in (HOUR // 4, HOUR // 60):
        with pytest.raises(UserError, match=r"BTC/USDT has no .*it has 30m, 1h"):
            source_timeframe(files, base)


def test_pieces_come_in_name_order(store):
    pieces = find(store / "other")["SOL/USD"].candles[60_000]
    assert [path.stem for path in pieces] == ["1m-2020", "1m-2021"]


@pytest.mark.parametrize("text", ["BTC/USDT", "BTC/USDT:USDT", "BTC-USDT", "btc_usdt"])
def test_spellings_of_a_symbol(text):
    assert canonical_symbol(text) == "BTC/USDT"


@pytest.mark.parametrize("text", ["BTCUSDT", "BTC/", "/USDT", "", "A/B/C"])
def test_misspelled_symbols(text):
    with pytest.raises(UserError, match="must be spelled BASE/QUOTE"):
        canonical_symbol(text)


def test_venue_names():
    assert venue_name("binance", "swap") == venue_name("binanceusdm", "swap") == "binanceusdm"
    assert venue_name("binance", "spot") == "binance"
    assert venue_name("bybit", "swap") == "bybit"


@pytest.mark.realdata
def test_real_sources(real_data):
    folder = real_data / "candles"
    assert list(find(folder / "roshan7869-algotrading")) == ["ADA/USDT", "BTC/USDT", "ETH/USDT", "LTC/USDT", "XRP/USDT"]
    assert list(find(folder / "roshan7869-algotrading", market="swap")) == ["BTC/USDT", "ETH/USDT"]
    assert isinstance(find(folder / "djienne-3ema")["BNB/USDT"].folder, Path)
    assert source_timeframe(find(folder / "bernini10-oraculo")["BTC/USDT"], 2 * HOUR) == HOUR
    assert np.all(
        pd.Index(find(folder / "alpergulsen-freqtrade", market="swap")) == ["BTC/USDT", "ETH/USDT", "LTC/USDT"]
    )
