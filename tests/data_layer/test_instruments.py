"""Instruments: defaults, fees, and leverage tiers from a file."""

import gzip
import json

import pytest

from trader.core.types import UserError
from trader.feeds.instruments import DEFAULT_TIERS, TradingTerms, instruments_for, read_tiers

TIERS = {
    "BTC/USDT:USDT": [
        {"minNotional": 0, "maxNotional": 50_000, "maintenanceMarginRate": 0.004, "maxLeverage": 125.0},
        {"minNotional": 50_000.0, "maxNotional": 250_000, "maintenanceMarginRate": 0.005, "maxLeverage": 100},
        {"minNotional": 250_000, "maxNotional": 10**6, "maintenanceMarginRate": 0.01, "maxLeverage": 50},
    ]
}


def test_spot_and_swap_defaults():
    (spot,) = instruments_for(("BTC/USDT",), TradingTerms("spot"))
    assert (spot.perpetual, spot.tiers, spot.maker_fee, spot.taker_fee) == (False, (), 100_000, 100_000)
    assert (spot.price_exponent, spot.tick, spot.quantity_exponent, spot.lot) == (8, 1, 8, 1)
    assert spot.source == "default steps 1e-8"
    (swap,) = instruments_for(("BTC/USDT",), TradingTerms("swap"))
    assert (swap.perpetual, swap.tiers, swap.maker_fee, swap.taker_fee) == (True, DEFAULT_TIERS, 20_000, 50_000)


def test_fees_of_the_config():
    (one,) = instruments_for(("BTC/USDT",), TradingTerms("spot", maker=0.0, taker=0.00075))
    assert (one.maker_fee, one.taker_fee) == (0, 75_000)


@pytest.mark.parametrize("pack", [lambda raw: raw, gzip.compress])
def test_tiers_of_a_file(tmp_path, pack):
    path = tmp_path / "tiers.json"
    path.write_bytes(pack(json.dumps(TIERS).encode()))
    known, unknown = instruments_for(("BTC/USDT", "ETH/USDT"), TradingTerms("swap", tiers=path))
    rows = [(t.notional_floor, t.maintenance_rate, t.maintenance_amount, t.maximum_leverage) for t in known.tiers]
    unit = 10**8
    assert rows == [
        (0, 400_000, 0, 125), (50_000 * unit, 500_000, 50 * unit, 100), (250_000 * unit, 10**6, 1300 * unit, 50),
    ]  # fmt: skip
    assert known.source.endswith(f"tiers {path}")
    assert unknown.tiers == DEFAULT_TIERS
    assert "tiers" not in unknown.source


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{",
        '{"BTC/USDT": 5}',
        '{"BTC/USDT": []}',
        '{"BTC/USDT": [{"minNotional": 5, "maintenanceMarginRate": 0.01, "maxLeverage": 5}]}',
        '{"BTC/USDT": [{"minNotional": 0, "maintenanceMarginRate": 1.5, "maxLeverage": 5}]}',
        '{"BTC/USDT": [{"minNotional": 0, "maintenanceMarginRate": 0.01, "maxLeverage": 0}]}',
        '{"BTC/USDT": [{"minNotional": 0, "maintenanceMarginRate": 0.01}]}',
        '{"BTC/USDT": [{"minNotional": null, "maintenanceMarginRate": 0.01, "maxLeverage": 5}]}',
    ],
)
def test_bad_tiers_are_refused_in_one_line(tmp_path, content):
    path = tmp_path / "tiers.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"exchange.tiers: ") as error:
        read_tiers(path)
    assert "\n" not in str(error.value)


def test_missing_and_damaged_files(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_tiers(tmp_path / "nothing.json")
    path = tmp_path / "tiers.json.gz"
    path.write_bytes(gzip.compress(json.dumps(TIERS).encode())[:40])
    with pytest.raises(UserError, match="cannot be read"):
        read_tiers(path)


@pytest.mark.realdata
def test_recorded_tiers_agree_with_the_exchange(real_data):
    """All 345 perpetuals are read (4 are dated), and the maintenance amounts are the exchange's own (`info.cum`)."""
    path = real_data / "meta/freqtrade/binance_leverage_tiers.json.gz"
    tiers = read_tiers(path)
    raw = json.loads(gzip.decompress(path.read_bytes()))
    dated = [symbol for symbol in raw if "-" in symbol.partition(":")[2]]
    assert (len(raw), len(dated), len(tiers)) == (349, 4, 345)
    checked = 0
    for symbol in raw.keys() - set(dated):
        for row, tier in zip(raw[symbol], tiers[symbol.partition(":")[0]], strict=True):
            assert tier.maintenance_amount == pytest.approx(float(row["info"]["cum"]) * 1e8, abs=2e6)
            checked += 1
    assert checked > 1000
