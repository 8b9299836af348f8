"""What a Sharpe ratio says once the number of trials is told: the deflated Sharpe ratio.

Bailey and López de Prado, "The Sharpe ratio efficient frontier" (2012) and "The deflated Sharpe ratio" (2014).
With s the Sharpe ratio of one step (not annual), n returns, γ₃ skewness and γ₄ kurtosis (normal: 3):
  PSR(s*) = Φ( (s − s*) √(n − 1) ÷ √(1 − γ₃ s + (γ₄ − 1) ÷ 4 · s²) )
The best of N trials without skill shows, with Euler's γ and σ the deviation of s between trials,
  s₀ = σ ((1 − γ) Φ⁻¹(1 − 1 ÷ N) + γ Φ⁻¹(1 − 1 ÷ (N e)))
and the deflated ratio is PSR(s₀). σ is here what chance alone gives, 1 ÷ √n: the trials' own ratios are not compared.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final

import numpy as np

from trader.report.metrics import Floats

EULER: Final = 0.5772156649015329
_NORMAL: Final = NormalDist()


def expected_maximum(trials: int) -> float:
    """Expected maximum of `trials` standard normal values, approximately; 0 for one."""
    if trials <= 1:
        return 0.0
    upper = _NORMAL.inv_cdf(1 - 1 / trials)
    return (1 - EULER) * upper + EULER * _NORMAL.inv_cdf(1 - 1 / (trials * math.e))


def probabilistic_sharpe(returns: Floats, benchmark: float) -> float:
    """Probability that the true Sharpe ratio of a step is above `benchmark` (same unit); NaN without variation."""
    n = len(returns)
    deviation = float(returns.std(ddof=1)) if n > 2 else 0.0
    if deviation <= 1e-15:
        return float("nan")
    ratio = float(returns.mean()) / deviation
    standard = (returns - returns.mean()) / returns.std()
    skewness, kurtosis = float(np.mean(standard**3)), float(np.mean(standard**4))
    spread = 1 - skewness * ratio + (kurtosis - 1) / 4 * ratio**2
    if spread <= 0:
        return float("nan")
    return _NORMAL.cdf((ratio - benchmark) * math.sqrt(n - 1) / math.sqrt(spread))


def deflated(returns: Floats, per_year: float, trials: int) -> dict[str, float]:
    """`best_of_chance`: annual Sharpe the best of `trials` without skill would show; `probability` of more than that."""
    if len(returns) < 3:
        return {"best_of_chance": float("nan"), "probability": float("nan")}
    benchmark = expected_maximum(trials) / math.sqrt(len(returns))
    return {
        "best_of_chance": benchmark * math.sqrt(per_year),
        "probability": probabilistic_sharpe(returns, benchmark),
    }
