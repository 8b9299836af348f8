"""Regret of the bandits on the switching and on the stationary problem.

    python benchmarks/bandits_regret.py [--reps 100] [--steps 10000]

Switching: 4 Bernoulli arms, one at .6 and three at .4; the best moves every 1,000 steps. Dynamic regret: shortfall
of the chosen arm's mean against the best at that time. Stationary: Bernoulli (.5, .45, .4, .3), and the first problem
without switches. Mean over repetitions with standard error; repetitions run side by side as contexts of one bandit.
Gates: discounted and sliding-window Thompson below .6 of Thompson on the switching problem, at most 3 times on both
stationary ones; exit code 1 if one is missed.
"""

import argparse
import sys

import numpy as np

from rl.bandits import (
    UCB1,
    DiscountedThompson,
    DiscountedUCB,
    Exp3S,
    SlidingWindowThompson,
    SlidingWindowUCB,
    Thompson,
)

BANDITS = {
    "UCB1": lambda seed: UCB1(4, seed=seed),
    "Thompson": lambda seed: Thompson(4, seed=seed),
    "Thompson, normal": lambda seed: Thompson(4, seed=seed, posterior="normal"),
    "D-UCB .99 textbook": lambda seed: DiscountedUCB(4, seed=seed, discount=0.99, idle_discount=0.99),
    "DiscountedUCB": lambda seed: DiscountedUCB(4, seed=seed),
    "SW-UCB 300 textbook": lambda seed: SlidingWindowUCB(4, seed=seed, window=300, horizon=300),
    "SlidingWindowUCB": lambda seed: SlidingWindowUCB(4, seed=seed),
    "Exp3S": lambda seed: Exp3S(4, seed=seed, horizon=10_000, switches=10),
    "D-TS .99 textbook": lambda seed: DiscountedThompson(4, seed=seed, discount=0.99, idle_discount=0.99),
    "D-TS .995 textbook": lambda seed: DiscountedThompson(4, seed=seed, discount=0.995, idle_discount=0.995),
    "DiscountedThompson": lambda seed: DiscountedThompson(4, seed=seed),
    "SW-TS 300 textbook": lambda seed: SlidingWindowThompson(4, seed=seed, window=300, horizon=300),
    "SlidingWindowThompson": lambda seed: SlidingWindowThompson(4, seed=seed),
}


def switching(step):
    means = np.full(4, 0.4)
    means[(step // 1000) % 4] = 0.6
    return means


def stationary(step):  # noqa: ARG001
    return np.array([0.5, 0.45, 0.4, 0.3])


def constant(step):  # noqa: ARG001
    return np.array([0.6, 0.4, 0.4, 0.4])


def regret(make, problem, repetitions, steps, seed=0):
    """Regret of each repetition, [repetitions]. Problem randomness is the same for every bandit."""
    rng = np.random.default_rng([seed, 1])
    bandit = make(seed)
    contexts = list(range(repetitions))
    total = np.zeros(repetitions)
    for step in range(steps):
        means = problem(step)
        success = rng.random((repetitions, 4)) < means
        for context, decision in enumerate(bandit.select_many(contexts)):
            total[context] += means.max() - means[decision.arm]
            bandit.update(decision.ticket, success[context, decision.arm])
    return total


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--reps", type=int, default=100)
    parser.add_argument("--steps", type=int, default=10_000)
    arguments = parser.parse_args()
    results = {}
    print("regret".ljust(24), "switching".rjust(18), ".5 .45 .4 .3".rjust(18), ".6 .4 .4 .4".rjust(18))
    for name, make in BANDITS.items():
        results[name] = [
            regret(make, problem, arguments.reps, arguments.steps) for problem in (switching, stationary, constant)
        ]
        cells = (f"{r.mean():10.1f} ± {r.std(ddof=1) / len(r) ** 0.5:5.1f}" for r in results[name])
        print(name.ljust(24), *cells, flush=True)
    print(f"uniform play on the switching problem: {0.15 * arguments.steps:.0f}")
    failed = False
    base = results["Thompson"]
    for name in ("DiscountedThompson", "SlidingWindowThompson"):
        ratio = [r.mean() / b.mean() for r, b in zip(results[name], base, strict=True)]
        holds = ratio[0] < 0.6 and max(ratio[1:]) <= 3.0
        failed |= not holds
        print(
            f"{name} / Thompson: switching {ratio[0]:.3f} (promised < .6), stationary {ratio[1]:.2f} and "
            f"{ratio[2]:.2f} (promised <= 3): {'holds' if holds else 'MISSED'}"
        )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
