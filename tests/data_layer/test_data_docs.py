"""The documents name what the code has: every feature has its line, every timeframe is listed."""

import re
from pathlib import Path

from trader.core.features import FEATURES, WARMUP
from trader.core.indicators import TAPS
from trader.core.timeframes import TIMEFRAMES

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_every_feature_has_its_line_in_order():
    text = (DOCS / "features.md").read_text()
    table = text.split("## The columns")[1].split("## Rules")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert tuple(name for row in rows for name in re.findall(r"`(\w+)`", row)) == FEATURES


def test_constants_are_as_documented():
    text = (DOCS / "features.md").read_text()
    assert f"`WARMUP` = {WARMUP} candles" in text
    assert f"over the last {TAPS} candles" in text
    assert f"Timeframes: {' '.join(TIMEFRAMES)}." in (DOCS / "candle-store.md").read_text()
