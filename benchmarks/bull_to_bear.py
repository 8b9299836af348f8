"""Bars to recover after a bull market ends: whole sessions with HOPE, with its frozen twin, and without.

    TRADER_REAL_DATA=../shared/data python benchmarks/bull_to_bear.py [planted] [real] [--seeds 5] [--size 200]

Arms, on the same candles and seeds: *on*, as shipped; *twin*, the same net whose trigger never fires (the frozen net: what is
self-modification worth?); *off*, no sequence model. All other levels are on in each.
planted  `configs/bull-to-bear.toml`, a market of its own for each seed; all its turns from bull to bear.
real     BTC perpetuals, hourly (binanceusdm), from 150 days before a fall to 60 days after: 2020-03-12, 2021-05-12, 2021-11-10.

Bars to recover: after the turn, bars until equity is no more below its value at the turn, for good within the window (40 days);
0 if it never was, the window's length if it still is. A window's growth is the logarithm of equity over it. Model error:
mean squared error of the next return in deviations, of the frozen net and of what was in force, over the window. Intervals:
Student's 95 % over seeds of the paired difference (each seed's mean over turns). The slow weights' hash is printed; it must be
one and the same in all rows.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import structlog

from benchmarks.deep_gates import interval
from trader.core.config import Config, load
from trader.core.config_values import as_time_ms
from trader.core.timeframes import milliseconds
from trader.lab.flows import Rows
from trader.lab.history import load_history
from trader.lab.simulation import simulate

WINDOW = 960
ARMS = {"on": [], "twin": ["levels.hope.trigger_threshold=1.5"], "off": ["levels.hope.enabled=false"]}
FALLS = ("2020-03-12", "2021-05-12", "2021-11-10")
DATA = "candles/roshan7869-algotrading/binanceusdm/BTC-USDT"
DAY_MS = milliseconds("1d")


class LevelRows(Rows):
    """Keeps the rows of the sequence model too: (time, error of the frozen net, error in force, detail)."""

    def __init__(self) -> None:
        super().__init__()
        self.hope: list[tuple[int, float, float, dict[str, Any]]] = []

    def write_text(self, table: str, values: Any) -> None:
        """Rows of a text table."""
        if table == "level":
            self.hope += [(row[1], row[4], row[5], json.loads(row[7])) for row in values if row[2] == "hope"]


def recovery(curve: np.ndarray, at: int) -> tuple[int, float]:
    """Bars to recover and growth of the window that begins at a turn; curve: logarithm of equity at each close."""
    window = curve[at : at + WINDOW + 1] - curve[at]
    below = np.flatnonzero(window < 0.0)
    return (int(below[-1]) if len(below) else 0), float(window[-1])


def lived(config: Config, turns_ms: list[int]) -> tuple[np.ndarray, set[str]]:
    """Mean over turns of (bars to recover, growth, error of the frozen net, error in force), and the hashes seen."""
    rows = LevelRows()
    found = simulate(config, load_history(config), rows=rows)
    curve = np.log(np.concatenate(([found.start], found.equity)))
    lines = []
    for turn in turns_ms:
        at = int(np.searchsorted(found.times, turn))
        inside = [row for row in rows.hope if turn < row[0] <= turn + WINDOW * milliseconds("1h") and row[3]["candles"]]
        counts = np.array([row[3]["candles"] for row in inside], float)
        errors = [
            float(np.array([row[i] for row in inside]) @ counts / counts.sum()) if inside else np.nan for i in (1, 2)
        ]
        lines.append((*recovery(curve, at), *errors))
    return np.mean(lines, axis=0), {row[3]["slow_weights"] for row in rows.hope}


def compare(name: str, options: argparse.Namespace, made: Any) -> None:
    """All arms for all seeds, and the paired differences."""
    table: dict[str, list[np.ndarray]] = {arm: [] for arm in ARMS}
    hashes: set[str] = set()
    for seed in range(options.first, options.first + options.seeds):
        line = f"{name} seed {seed}:"
        for arm, sets in ARMS.items():
            common = [
                "levels.hope.every=24",
                "engine.threads=1",
                f"population.size={options.size}",
                f"session.seed={seed}",
            ]
            values, seen = lived(*made([*common, *sets]))
            table[arm].append(values)
            hashes |= seen
            line += f" {arm} {values[0]:.0f} bars, growth {values[1]:+.4f};"
        print(line, flush=True)
    for arm, lines in table.items():
        values = np.array(lines)
        print(f"{name}, {arm}: bars to recover {interval(values[:, 0])}, growth {interval(values[:, 1])}")
    on = np.array(table["on"])
    for arm in ("twin", "off"):
        other = np.array(table[arm])
        print(
            f"{name}, on minus {arm}: bars {interval(on[:, 0] - other[:, 0])}, growth {interval(on[:, 1] - other[:, 1])}"
        )
    print(
        f"{name}, model error in the windows, in force minus frozen: {interval(on[:, 3] - on[:, 2])} of {on[:, 2].mean():.3f}"
    )
    print(f"{name}, slow weights: {', '.join(sorted(hashes))}", flush=True)
    assert len(hashes) == 1, "slow weights changed"


def planted(sets: list[str]) -> tuple[Config, list[int]]:
    """The shipped config, and its turns from bull to bear."""
    config = load("configs/bull-to-bear.toml", sets)
    schedule = config.feed.synthetic.schedule
    assert schedule is not None
    bull, cycle = schedule[0][1], sum(length for _, length in schedule)
    history = load_history(config)
    return config, [int(history.times[at]) for at in range(bull, len(history) - WINDOW + 1, cycle)]


def fall(day: str) -> Any:
    """Sessions around one fall."""
    turn = int(str(as_time_ms(day)))
    data = Path(os.environ.get("TRADER_REAL_DATA", "../shared/data")) / DATA
    given = {
        "feed.kind": "replay",
        "feed.data": [str(data)],
        "feed.start": turn - 150 * DAY_MS,
        "feed.end": turn + 60 * DAY_MS,
    }

    def made(sets: list[str]) -> tuple[Config, list[int]]:
        return load("configs/perp-replay.toml", sets, given), [turn]

    return made


def main() -> None:
    """Print a line a seed, then means and differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=["planted", "real", []])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--size", type=int, default=200)
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    for part in options.parts or ["planted", "real"]:
        if part == "planted":
            compare("planted", options, planted)
        else:
            for day in FALLS:
                compare(f"BTC {day}", options, fall(day))


if __name__ == "__main__":
    main()
