"""Helpers of these tests: the program as a process, and a made history in files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[2]
HOUR_MS = 3_600_000
START_MS = 1_600_000_200_000 // HOUR_MS * HOUR_MS
CANDLES = 2_500
WITHOUT_TORCH = tuple(
    word for name in ("hope", "memory", "dqn", "a3c", "ppo") for word in ("--set", f"levels.{name}.enabled=false")
)
"""For tests of commands: the shipped configs have every level on, and each process would import torch for seconds."""


def trader(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program as its own process."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, "-m", "trader", *words]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300, check=False)


def write_history(folder: Path, seed: int) -> None:
    """Hourly candles of a seeded random walk with trends, in the candle store's layout."""
    random = np.random.default_rng(seed)
    steps = random.standard_normal(CANDLES) * 0.01 + 0.002 * np.sin(np.arange(CANDLES) / 90)
    close = 100 * np.exp(np.cumsum(steps))
    opened = np.concatenate([[100.0], close[:-1]])
    spread = np.abs(random.standard_normal((2, CANDLES))) * 0.004
    columns = {
        "ts": START_MS + HOUR_MS * np.arange(CANDLES, dtype=np.int64),
        "open": opened,
        "high": np.maximum(opened, close) * (1 + spread[0]),
        "low": np.minimum(opened, close) * (1 - spread[1]),
        "close": close,
        "volume": random.uniform(1e3, 1e5, CANDLES),
    }
    folder.mkdir(parents=True)
    pq.write_table(pa.table(columns), folder / "1h.parquet")
