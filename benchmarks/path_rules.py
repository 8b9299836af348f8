"""Which extreme of an hour came first, judged by its minutes: how often each path rule is right.

    python benchmarks/path_rules.py CANDLE_FOLDER [--coarse 60]

CANDLE_FOLDER: a source folder with 1m candles (docs/candle-store.md). For every whole hour the first minute that touches the
hour's high is compared with the first that touches its low; hours where one minute touches both are left out. Prints the share
each rule orders rightly, and P(high first) by d = (open - close) / (high - low), which `exchange.path = "random"` draws from.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

EDGES = (0.0, 0.2, 0.5, 0.8, 1.01)


def hours(path: Path, coarse: int) -> np.ndarray:
    """[n, 5]: open, high, low, close of whole hours, and 1 if the high came first, 0 if the low, NaN if undecided."""
    table = pq.read_table(path)
    ts, columns = table["ts"].to_numpy(), [table[name].to_numpy() for name in ("open", "high", "low", "close")]
    bucket = ts // (coarse * 60_000)
    out = []
    for group in np.split(np.arange(len(ts)), np.flatnonzero(np.diff(bucket)) + 1):
        if len(group) != coarse:
            continue
        opened, high, low, close = (column[group] for column in columns)
        first_high, first_low = int(np.argmax(high)), int(np.argmin(low))
        first = np.nan if first_high == first_low else float(first_high < first_low)
        out.append((opened[0], high.max(), low.min(), close[-1], first))
    return np.array(out)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--coarse", type=int, default=60)
    options = parser.parse_args()
    data = np.concatenate([hours(path, options.coarse) for path in sorted(options.folder.rglob("1m.parquet"))])
    opened, high, low, close, first = data[np.isfinite(data[:, 4])].T
    print(f"{len(first)} decided of {len(data)} candles of {options.coarse} minutes")
    d = (opened - close) / np.maximum(high - low, 1e-300)
    rules = {
        "fixed open-high-low-close": np.ones_like(first),
        "nearest extreme first": np.where(high - opened < opened - low, 1.0, 0.0),
        "colour (falling: high first)": np.where(close < opened, 1.0, np.where(close > opened, 0.0, 0.5)),
    }
    for name, says in rules.items():
        print(f"{name:<30} right {np.mean(1 - np.abs(says - first)):.1%}")
    for low_edge, high_edge in pairwise(EDGES):
        inside = (np.abs(d) >= low_edge) & (np.abs(d) < high_edge)
        agrees = np.where(d[inside] > 0, first[inside], 1 - first[inside])
        span = f"|d| in [{low_edge:.1f}, {min(high_edge, 1.0):.1f})"
        print(f"{span}  n {inside.sum():6d}  P(colour's extreme first) {agrees.mean():.3f}")


if __name__ == "__main__":
    main()
