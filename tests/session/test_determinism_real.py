"""Real candles, every level of this part on: the same rows on a second run and with other thread counts."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from trader.core.rows import TABLES

LEVELS = ("bandits", "calibration", "evolution", "pool", "self_modifier")
SYMBOLS = ("BTC/USDT", "ETH/USDT", "BNB/USDT", "XRP/USDT", "ADA/USDT")
SIX_YEARS = (1_514_764_800_000, 1_704_067_200_000)
"""2018-01-01 to 2024-01-01, UTC."""


class Digest:
    """A sink that keeps a hash of every table, and counts the updates of every level."""

    def __init__(self):
        self.hashes = {name: hashlib.sha256() for name in TABLES}
        self.updates = {}

    def write(self, table, values):
        self.hashes[table].update(np.ascontiguousarray(values, np.int64).tobytes())

    def write_text(self, table, values):
        self.hashes[table].update(repr([tuple(row) for row in values]).encode())
        if table == "level":
            for row in values:
                self.updates[row[2]] = self.updates.get(row[2], 0) + 1

    def digest(self):
        return {name: found.hexdigest() for name, found in self.hashes.items()}


def traded(config, block):
    """Runs a session without keeping its rows; the digest of every table, and the updates of every level."""
    from trader.core.types import Instrument
    from trader.session.engine import Engine

    sink = Digest()
    instruments = tuple(
        Instrument(f"M{m}/USDT", perpetual=False, taker_fee=100_000) for m in range(block.candles.shape[1])
    )
    engine = Engine(config, instruments, sink)
    for first in range(0, len(block), 1_000):
        engine.advance(block[first : first + 1_000])
    engine.finish()
    engine.close()
    return sink.digest(), sink.updates


def same_everywhere(block, make_config, size, threads):
    found = []
    for count in threads:
        config = make_config('feed.timeframes=["1h", "4h"]', f"engine.threads={count}", size=size)
        found.append(traded(config, block))
    for digest, updates in found:
        assert digest == found[0][0]
        assert set(LEVELS) <= set(updates)
        assert min(updates[name] for name in LEVELS) > 5
    return found[0][1]


@pytest.mark.realdata
def test_a_stretch_of_real_candles_is_the_same_every_time(spot_hours, make_config):
    same_everywhere(spot_hours[20_000:22_000], make_config, 100, (1, 1, 2))


@pytest.mark.realdata
@pytest.mark.nightly
def test_six_years_of_real_candles_are_the_same_every_time(spot_hours, make_config):
    """Five markets, 2018 to 2023, a thousand agents."""
    inside = np.flatnonzero((spot_hours.times >= SIX_YEARS[0]) & (spot_hours.times < SIX_YEARS[1]))
    assert spot_hours.candles.shape[1] >= len(SYMBOLS)
    assert len(inside) > 50_000
    block = spot_hours[int(inside[0]) : int(inside[-1]) + 1]
    print(same_everywhere(block, make_config, 1_000, (1, 1, 2, 4)))
