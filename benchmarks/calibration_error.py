"""How near are told probabilities to the truth? Calibration error of a trade's confidence on markets with a planted edge.

    python benchmarks/calibration_error.py [--seeds 10] [--config configs/planted.toml]

Confidence is told at the decision and counted against what came, so every case is out of sample. Printed for each seed,
over all trades and over the last two thirds: calibration error (ten bins of equal mass), the same for |score| taken as a
probability, the error that chance alone would leave if trades were independent (outcomes drawn anew from the told
probabilities), and Brier scores. A seed's trades are not: agents trade alike, and a season is good or bad for all of them.
Promised: an error of at most .05 over all seeds' cases together; on how many seeds it holds alone is printed too.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from pathlib import Path

import numpy as np
import structlog

from trader import run
from trader.report.calibration import expected_calibration_error

BOUND = 0.05
DRAWS = 20


def cases(config: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Told probability, |score| and profit or not of each closed trade, in the order of decisions."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'calibration.db'}"
        trades = run(config, set={"session.seed": seed}, db=url).trades.sort_values(["decided_ms", "trade"])
    return trades["confidence"].to_numpy() / 100.0, trades["score"].to_numpy() / 100.0, trades["pnl"].to_numpy() > 0


def line(name: str, told: np.ndarray, score: np.ndarray, won: np.ndarray) -> float:
    """Print the figures of these cases; the calibration error."""
    generator = np.random.Generator(np.random.Philox(0))
    luck = np.mean([expected_calibration_error(told, generator.random(len(told)) < told) for _ in range(DRAWS)])
    error = expected_calibration_error(told, won)
    print(
        f"{name:>12} {len(told):>7} cases: error {error:.4f}, of the score {expected_calibration_error(score, won):.4f}, "
        f"chance {luck:.4f}; Brier {np.mean((told - won) ** 2):.4f}, score {np.mean((score - won) ** 2):.4f}, "
        f"rate {won.mean() * (1 - won.mean()):.4f}",
        flush=True,
    )
    return float(error)


def main() -> None:
    """Print a table and whether the promise holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--config", default="configs/planted.toml")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    wholes, parts, errors = [], [], []
    for seed in range(1, options.seeds + 1):
        told, score, won = cases(options.config, seed)
        later = slice(len(told) // 3, None)
        wholes.append((told, score, won))
        parts.append((told[later], score[later], won[later]))
        errors.append((line(f"seed {seed}", *wholes[-1]), line("last 2/3", *parts[-1])))
    together = max(
        line("all seeds", *map(np.concatenate, zip(*wholes, strict=True))),
        line("last 2/3", *map(np.concatenate, zip(*parts, strict=True))),
    )
    print(f"seeds within {BOUND}: {np.sum(np.max(errors, axis=1) <= BOUND)} of {len(errors)}")
    print(f"together {together:.4f}, promised at most {BOUND}: {'holds' if together <= BOUND else 'does not hold'}")


if __name__ == "__main__":
    main()
