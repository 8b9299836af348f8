"""Time of one allocation at 1,000 agents, for every rule: promised at most 10 ms. Run: python benchmarks/pool_rules.py"""

from __future__ import annotations

import time

import numpy as np

from portfolio import risk
from portfolio.mixing import MIXTURE, Paths
from portfolio.pool import plan
from portfolio.records import Records
from portfolio.rules import discovered

AGENTS, EPOCHS, REPEATS = 1000, 32, 15


def main() -> None:
    """Print the median milliseconds of earn, divide, cap and plan together."""
    rng = np.random.default_rng(0)
    kind, place = rng.integers(0, 8, AGENTS), rng.integers(0, 5, AGENTS)
    records = Records(
        np.ones(AGENTS, np.bool_), np.full(AGENTS, 60.0), rng.normal(0, 0.01, AGENTS), rng.uniform(0.001, 0.05, AGENTS),
        kind, kind * 5 + place, np.full(AGENTS, 1.0 / AGENTS), rng.normal(0, 0.02, (EPOCHS, AGENTS)),
    )  # fmt: skip
    rules = discovered()
    for name, used in {**{name: (rule,) for name, rule in rules.items()}, MIXTURE: tuple(rules.values())}.items():
        paths, capital, spent = Paths.start(used), np.full(AGENTS, 10**11), []
        for _ in range(REPEATS):
            start = time.perf_counter()
            if len(paths.agents):
                paths.earn(1.0 + rng.normal(0, 0.01, AGENTS))
            goal = risk.amounts(paths.divide(records, np.arange(AGENTS)), 10**14)
            goal, _ = risk.capped(goal, 10**14, risk.Caps(0.01, 0.3, 0.4), kind, place, records.taking_part)
            plan(goal, capital, capital, 10**13, 500_000)
            spent.append((time.perf_counter() - start) * 1e3)
        print(f"{name:20s} {np.median(spent):6.2f} ms")


if __name__ == "__main__":
    main()
