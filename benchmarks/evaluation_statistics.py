"""Do the statistics of `trader evaluate` keep what they promise? Size and power on made-up returns.

    python benchmarks/evaluation_statistics.py [--draws 200] [--seed 0]

1. A hundred strategies of pure noise, 500 steps: how often does the best pass naively (PSR above 0.95), and how often
   does it pass once the hundred trials are told (deflated ratio above 0.95)?
2. Superior predictive ability, 30 strategies, 300 steps: how often does it reject at 5 % when there is nothing, and how
   often when one of the thirty has a Sharpe ratio of 0.3 a step? Independent normal returns, and returns that cluster
   as markets do (GARCH with Student shocks, a common factor).
3. Probability of backtest overfitting on noise: how far it scatters, and how wide its own band says it is.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from trader.lab import stats


def best_of_noise(draws: int, strategies: int = 100, steps: int = 500, seed: int = 1) -> tuple[float, float, float]:
    """Shares of draws in which the best passes naively, and deflated; median deflated probability."""
    generator = np.random.Generator(np.random.PCG64(seed))
    naive, deflated = [], []
    for _ in range(draws):
        returns = generator.normal(size=(strategies, steps))
        ratios = stats.moments(returns).sharpe
        best = returns[ratios.argmax()]
        naive.append(float(stats.probabilistic_sharpe(best)))
        deflated.append(float(stats.deflated_sharpe(best, strategies, float(ratios.var(ddof=1)))))
    return float(np.mean(np.array(naive) > 0.95)), float(np.mean(np.array(deflated) > 0.95)), float(np.median(deflated))


def superior(
    draws: int, edge: float, strategies: int = 30, steps: int = 300, seed: int = 2, *, clustered: bool = False
) -> float:
    """Share of draws in which SPA rejects at 5 %; the first strategy has the given Sharpe ratio a step."""
    generator = np.random.Generator(np.random.PCG64(seed))
    rejected = 0
    for draw in range(draws):
        returns = (_clustered if clustered else _independent)(generator, steps, strategies)
        returns[:, 0] += edge
        rejected += stats.superior_ability(returns, seed=draw, resamples=500).p_value < 0.05
    return rejected / draws


def _independent(generator: np.random.Generator, steps: int, strategies: int) -> np.ndarray:
    return generator.normal(size=(steps, strategies))


def _clustered(generator: np.random.Generator, steps: int, strategies: int) -> np.ndarray:
    """Unit variance on average: GARCH(0.1, 0.85) with shocks of 5 degrees of freedom, half of them shared by all."""
    common = generator.standard_t(5, size=(steps + 100, 1))
    shocks = (common + generator.standard_t(5, size=(steps + 100, strategies))) / np.sqrt(2 * 5 / 3)
    variance, out = np.ones(strategies), np.empty((steps + 100, strategies))
    for t in range(steps + 100):
        out[t] = np.sqrt(variance) * shocks[t]
        variance = 0.05 + 0.1 * out[t] ** 2 + 0.85 * variance
    return out[100:]


def overfitting(draws: int, strategies: int = 50, steps: int = 500, seed: int = 3) -> tuple[float, float, float]:
    """5 % and 95 % quantile of PBO on noise, and the mean width of its band."""
    generator = np.random.Generator(np.random.PCG64(seed))
    found = [stats.overfitting(generator.normal(size=(steps, strategies)), resamples=100) for _ in range(draws)]
    low, high = np.quantile([each.probability for each in found], (0.05, 0.95))
    return float(low), float(high), float(np.mean([each.high - each.low for each in found]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of all draws: figures should hold for every one")
    given = parser.parse_args()
    draws, seed = given.draws, 1_000 * given.seed
    started = time.perf_counter()
    naive, deflated, median = best_of_noise(draws, seed=seed + 1)
    print(
        f"best of 100 noise strategies ({draws} draws): PSR > .95 in {naive:.1%}, DSR > .95 in {deflated:.1%},"
        f" median DSR {median:.2f}"
    )
    for clustered, words in ((False, "independent"), (True, "clustered")):
        size, power = (superior(draws, edge, seed=seed + 2, clustered=clustered) for edge in (0.0, 0.3))
        print(f"SPA at 5 %, {words} ({draws} draws): nothing there, rejected in {size:.1%} (bound 7 %)")
        print(f"    one Sharpe .3 a step among 30: found in {power:.1%} (bound 80 %)")
    low, high, width = overfitting(max(draws // 5, 10), seed=seed + 3)
    print(f"PBO on noise: 5 % to 95 % of draws {low:.2f} to {high:.2f}; mean width of its own band {width:.2f}")
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
