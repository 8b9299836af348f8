"""A rule's path through time, and a mixture of rules by what each has earned.

Each rule keeps its own shares b_r [n] and wealth W_r, as if it alone had divided the capital: W_r <- W_r (1 - sum b_r +
sum b_r x) with x [n] what each agent's capital grew by. The mixture gives rule r the share W_r / sum W: buy and hold of
rules, so its log wealth is never more than ln(number of rules) below that of the best (before costs of moving).
Shapes: R rules, n agents.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from portfolio.records import Floats, Records, drifted, with_newcomers
from portfolio.rules import Rule

MIXTURE = "mixture"


@dataclass(slots=True)
class Paths:
    """Shares float64 [R, n] and wealth float64 [R] of some rules over agents with the given numbers int64 [n]."""

    rules: tuple[Rule, ...]
    agents: NDArray[np.int64]
    shares: Floats
    wealth: Floats

    @classmethod
    def start(cls, rules: tuple[Rule, ...]) -> Paths:
        """Before the first allocation."""
        return cls(rules, np.zeros(0, np.int64), np.zeros((len(rules), 0)), np.ones(len(rules)))

    def earn(self, growth: Floats) -> None:
        """What the agents' results since the last allocation did: growth float64 [n] >= 0 of each one's capital."""
        for r in range(len(self.rules)):
            shares = self.shares[r]
            self.wealth[r] *= max(1.0 + float((shares * (growth - 1.0)).sum()), 1e-12)
            cash = max(1.0 - float(shares.sum()), 0.0)
            moved = drifted(np.append(shares, cash), np.append(growth, 1.0))
            self.shares[r] = moved[:-1]
        self.wealth /= self.wealth.max()

    def divide(self, records: Records, agents: NDArray[np.int64]) -> Floats:
        """Shares [n] of the mixture for the agents that there are now; remembers each rule's own."""
        place = {int(agent): i for i, agent in enumerate(self.agents.tolist())}
        where = np.array([place.get(int(agent), -1) for agent in agents.tolist()], np.int64)
        known = where >= 0
        fresh = np.zeros((len(self.rules), len(agents)))
        for r, rule in enumerate(self.rules):
            old = np.where(known, self.shares[r][where], 0.0) if len(self.agents) else np.zeros(len(agents))
            fresh[r] = rule.weights(replace(records, held=with_newcomers(old, records.taking_part, known)))
        self.agents, self.shares = agents.copy(), fresh
        return np.asarray(((self.wealth / self.wealth.sum())[:, None] * fresh).sum(axis=0))
