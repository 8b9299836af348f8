"""Adversarial steps: NaN refused, ±1e9 and ±1e300 clipped, constants, alternation; finite outputs, memory of one size.

python benchmarks/hope_soak.py [--steps 1000000] [--backbone attention]
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from memory.hope import HOPE

PIECE = 50


def hostile(rng: np.random.Generator) -> np.ndarray:
    noise = rng.normal(size=(PIECE, 24))
    flip = (-1.0) ** np.arange(PIECE)[:, None] * np.ones(24)
    kinds = [
        noise * 1e9,
        np.full((PIECE, 24), 3.0),
        noise * 1e-12,
        flip * 1e6,
        noise * 0.01,
        np.zeros((PIECE, 24)),
        flip * 1e300,
    ]
    return kinds[int(rng.integers(len(kinds)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--backbone", default="attention")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng, hope = np.random.default_rng(args.seed), HOPE(backbone=args.backbone, trigger_threshold=0.1)
    hope.step(np.zeros(24))
    size, slow, refused, done = hope.nbytes, hope.slow_hash(), 0, 0
    first, largest, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0.0, time.perf_counter()
    while done < args.steps:
        for row in hostile(rng):
            out = hope.step(row)
            assert np.isfinite(out.prediction).all()
            assert np.isfinite(out.embedding).all()
            assert 0.0 <= out.probability <= 1.0
            largest = max(largest, float(np.abs(out.prediction).max()))
        try:
            hope.step(np.full(24, np.nan))
        except ValueError:
            refused += 1
        done += PIECE
    assert hope.nbytes == size
    assert hope.slow_hash() == slow
    last = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{done} steps, {refused} NaN rows refused of {done // PIECE}; every output finite "
        f"(largest prediction {largest:.3g}); "
        f"state {size} bytes throughout; peak RSS {first / 1024:.0f} -> {last / 1024:.0f} MB; slow weights unchanged; "
        f"{hope.clock()['episodes']:.0f} modifications, {done / (time.perf_counter() - begin):.0f} steps/s"
    )


if __name__ == "__main__":
    main()
