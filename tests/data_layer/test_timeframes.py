"""Names, lengths and grids of timeframes."""

import datetime as dt

import pytest

from trader.core.timeframes import TIMEFRAMES, divides, milliseconds, name, offset
from trader.core.types import UserError


def test_every_timeframe_round_trips_and_ascends():
    assert list(TIMEFRAMES) == ["1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "1w"]
    assert [name(milliseconds(text)) for text in TIMEFRAMES] == list(TIMEFRAMES)
    lengths = list(TIMEFRAMES.values())
    assert lengths == sorted(lengths)
    assert (milliseconds("1h"), milliseconds("1d"), milliseconds("3m")) == (3_600_000, 86_400_000, 180_000)


@pytest.mark.parametrize(
    ("text", "near"),
    [("60m", "1h"), ("1H", "1h"), ("24h", "1d"), ("10m", "1m"), ("15min", "15m"), ("1440m", "1d"), ("week", "1w")],
)
def test_unknown_names_are_refused_with_a_suggestion(text, near):
    with pytest.raises(UserError) as error:
        milliseconds(text)
    assert f"did you mean {near}?" in str(error.value)
    assert "\n" not in str(error.value)


def test_unknown_lengths_are_refused():
    with pytest.raises(UserError, match="7 ms"):
        name(7)


def test_weeks_open_on_monday_and_all_else_on_the_epoch_grid():
    week = milliseconds("1w")
    monday = dt.datetime(2023, 11, 13, tzinfo=dt.UTC)
    assert monday.weekday() == 0
    assert (int(monday.timestamp() * 1000) - offset(week)) % week == 0
    assert all(offset(length) == 0 for text, length in TIMEFRAMES.items() if text != "1w")


def test_which_timeframes_divide_which():
    hour = milliseconds("1h")
    assert [text for text, length in TIMEFRAMES.items() if divides(length, hour)] == [
        "1m",
        "3m",
        "5m",
        "15m",
        "30m",
        "1h",
    ]
    assert not divides(milliseconds("3m"), milliseconds("5m"))
    assert divides(milliseconds("12h"), milliseconds("1w"))
    assert not divides(milliseconds("1w"), milliseconds("1d"))
