"""Ablation: HOPE alone, reading a nested memory of its own errors, and reading one whose keys say nothing.

    python benchmarks/hope_memory.py [--markets 12] [--bars 2000]

regimes: random regime markets, as HOPE was trained on. marked: the same, but one bar in twenty is marked by a volume six
deviations high and followed by a return 1.5 deviations higher: a recurring event the slow weights never saw. null: the same
marks, followed by nothing. Huber loss of the next return in its standard deviations x 1e4, from bar 500 on; differences
to HOPE alone, negative is better, with 95 % bootstrap intervals over markets; the share of the memory's answer in use.
"""

from __future__ import annotations

import argparse

import numpy as np
from hope_common import huber, interval

from memory import HOPE, RememberingHOPE
from memory.markets import regime_market

FROM, MARKED, EFFECT = 500, 0.05, 1.5


class Scrambled(RememberingHOPE):
    """The control: questions and experiences under random keys."""

    draws = np.random.default_rng(0)

    def _ask(self, embeddings):
        return super()._ask(self.draws.normal(size=embeddings.shape))


def market(kind, seed, bars):
    rng = np.random.default_rng([7000, seed])
    x = regime_market(rng, bars).features.copy()
    if kind != "regimes":
        marks = rng.random(bars) < MARKED
        x[marks, 6] += 6.0 * x[:, 6].std()
        if kind == "marked":
            x[1:, 0] += EFFECT * x[:, 0].std() * marks[:-1]
    return x


def losses(model, x):
    said = np.array([float(model.step(row).prediction[0]) for row in x])
    return huber((x[1:, 0] - said[:-1]) / x[:, 0].std())[FROM:].mean()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--markets", type=int, default=12)
    parser.add_argument("--bars", type=int, default=2000)
    arguments = parser.parse_args()
    for kind in ("regimes", "marked", "null"):
        rows, shares = [], []
        for seed in range(arguments.markets):
            x = market(kind, seed, arguments.bars)
            alone = losses(HOPE(seed=seed), x)
            reading, scrambled = RememberingHOPE(HOPE(seed=seed), seed=seed), Scrambled(HOPE(seed=seed), seed=seed)
            rows.append([alone, losses(reading, x) - alone, losses(scrambled, x) - alone])
            shares.append([float(reading.share[0]), float(scrambled.share[0])])
        table = 1e4 * np.array(rows)
        print(f"{kind}: HOPE alone {table[:, 0].mean():.0f}")
        for column, name in ((1, "reading the memory"), (2, "reading under random keys")):
            mean, low, high = interval(table[:, column])
            used = np.mean([share[column - 1] for share in shares])
            print(f"  {name:26s} {mean:+7.1f} [{low:+.1f}, {high:+.1f}]  share at the end {used:.2f}", flush=True)


if __name__ == "__main__":
    main()
