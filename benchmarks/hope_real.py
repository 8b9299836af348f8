"""HOPE on real hourly candles it was never trained on: frozen, self-modifying, always on, against predicting nothing.

    TRADER_REAL_DATA=../shared/data python benchmarks/hope_real.py [--bars 20000]

Huber loss in squared deviations x 1e4 relative to predicting nothing (negative is better), with 95 % bootstrap
intervals over weeks of 168 bars. The leader of BTC is ETH, of the others BTC. This says whether next-hour returns are
predicted, not whether they can be traded.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks.hope_common import huber, interval
from memory import engine
from memory.hope import HOPE
from memory.markets import candle_features
from memory.unroll import prepare

FOLDER = "candles/roshan7869-algotrading/binance"


def weeks(values: np.ndarray) -> np.ndarray:
    whole = len(values) // 168 * 168
    return values[:whole].reshape(-1, 168).mean(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bars", type=int, default=20_000)
    args = parser.parse_args()
    root = Path(os.environ.get("TRADER_REAL_DATA", "../shared/data")) / FOLDER
    hope = HOPE()
    print(f"weights: {hope.provenance.predictor}; last {args.bars} hourly bars of each file")
    for symbol in ("BTC-USDT", "ETH-USDT", "LTC-USDT", "XRP-USDT", "ADA-USDT"):
        leader = "ETH-USDT" if symbol == "BTC-USDT" else "BTC-USDT"
        x = candle_features(root / symbol / "1h.parquet", root / leader / "1h.parquet")[-args.bars :]
        calendar = np.zeros((len(x), 4))
        force = np.full((1, len(x)), -1, np.int64)
        force[0, 64] = 1
        out, always = hope.replay(x[None], calendar)[0], hope.replay(x[None], calendar, force=force)[0]
        center, scale = _scales(hope, x)
        y = np.clip((x[1:, 0] - center[:-1]) / scale[:-1], -6, 6)
        cells = []
        for name, column in (("frozen", out[:, 9]), ("HOPE", out[:, 8]), ("always on", always[:, 8])):
            loss = huber(y - ((column - center) / scale)[:-1]) - huber(y)
            mean, low, high = interval(weeks(1e4 * loss[500:]))
            cells.append(f"{name} {mean:+6.1f} [{low:+.1f}, {high:+.1f}]")
        used = out[:, engine.O_MODIFIED].mean()
        events = out[:, engine.O_TRIGGERED].mean() * 1e4
        print(f"{symbol}: " + " | ".join(cells) + f" | in force {used:.1%}, {events:.1f} modifications per 10,000 bars")


def _scales(hope: HOPE, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    p = prepare(hope._aoff, x[None], 1, np.zeros((len(x), 4)), hope.weights.device)  # noqa: SLF001
    return p.center[0, :, 0].numpy(), p.scale[0, :, 0].numpy()


if __name__ == "__main__":
    main()
