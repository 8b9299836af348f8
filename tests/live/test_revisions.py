"""A closed candle that is told with other values later: a restatement is a revision, a slipped decimal is a bad row."""

from __future__ import annotations

from types import SimpleNamespace

from trader.core.rows import Received
from trader.feeds.follower import AGREEING, Follower

MINUTE = 60_000
CLOSED = (100.0, 101.0, 99.0, 100.5, 7.0)


def follower_of_one_candle():
    told = []
    client = SimpleNamespace(
        access=SimpleNamespace(stall_seconds=60.0, first_pause=1.0), rest=SimpleNamespace(markets={}), has_stream=False
    )
    follower = Follower(
        client, "BTC/USDT", "BTC/USDT", "1m", MINUTE, 10 * MINUTE, fresh=False, confirm="flag",
        deliver=lambda _rows: None, note=lambda kind, time_ms, _detail: told.append((kind, time_ms)),
        frontier=lambda: 0, silent=lambda _gone: None,
    )  # fmt: skip
    follower._accept(11 * MINUTE, CLOSED, Received.STREAM)
    return follower, told


def tell(follower, values):
    follower._on_candle(("", 11 * MINUTE, values, True))


def test_a_restatement_is_a_revision_once():
    follower, told = follower_of_one_candle()
    for _ in range(3):
        tell(follower, (100.0, 101.5, 99.0, 100.5, 7.5))
    assert told == [("revision", 11 * MINUTE)]


def test_a_slipped_decimal_is_a_bad_row_until_the_exchange_insists():
    follower, told = follower_of_one_candle()
    slipped = tuple(100.0 * value for value in CLOSED[:4]) + CLOSED[4:]
    tell(follower, slipped)
    assert told == [("bad_row", 11 * MINUTE)]
    for _ in range(AGREEING + 2):
        tell(follower, slipped)
    assert told == [("bad_row", 11 * MINUTE), ("revision", 11 * MINUTE)]


def test_the_same_values_again_say_nothing():
    follower, told = follower_of_one_candle()
    tell(follower, CLOSED)
    assert told == []
