"""What another bandit would have earned on the tickets a run has stored (off-policy evaluation).

The tickets of a run (`v_bandit`) are played again in the order they were drawn. At each, a candidate policy says with what
probability q it would have drawn the logged arm; then it learns from the logged reward, as it would have. With the logged
propensity p the estimates are those of `rl.bandits.offpolicy`: IPS, SNIPS and doubly robust. The reward model of the last
is the mean reward of an arm in its context over the tickets before this one (two cases of 1/2 to start with), so nothing
is fitted to what it judges. A candidate's context is (parameter, timeframe, regime), as the views tell it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rl.bandits import DiscountedThompson, DiscountedUCB, SlidingWindowThompson, Thompson, doubly_robust, ips, snips
from trader.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from numpy.typing import NDArray

    from rl.bandits import Bandit, Estimate

COLUMNS: Final = ("decided_ms", "ticket", "timeframe", "regime", "parameter", "arm", "propensity", "reward")
_PRIOR: Final = 2.0

POLICIES: Final[Mapping[str, Callable[[list[Any]], Bandit] | None]] = {
    "uniform": None,
    "neutral": None,
    "thompson": lambda arms: Thompson(arms, posterior="normal", sigma=0.25),
    "discounted": lambda arms: DiscountedThompson(arms, posterior="normal", sigma=0.25),
    "window": lambda arms: SlidingWindowThompson(arms, posterior="normal", sigma=0.25),
    "ucb": DiscountedUCB,
}
"""Candidates by name. uniform: every arm alike; neutral: always the multiplier 1."""


def judge(columns: Mapping[str, NDArray[Any]], newest: int = 0) -> list[dict[str, Any]]:
    """Every candidate on every parameter and on all of them (`all`), from columns of `v_bandit`, [T] each; of more than
    `newest` tickets (0: no limit) the newest.

    Each line has `parameter`, `policy`, `tickets`, `logged` (mean reward of what was drawn), and for `ips`, `snips` and
    `doubly_robust` the `value`, `standard_error` and `effective_n`; None where the policy never draws a logged arm.

    Raises:
        UserError: no ticket was stored.
    """
    if len(columns["ticket"]) == 0:
        raise UserError("the run has no tickets of bandits: was levels.bandits on, and did a boundary pass?")
    order = np.lexsort((columns["ticket"], columns["decided_ms"]))[-newest:]
    kept = {name: np.asarray(columns[name])[order] for name in COLUMNS}
    arms = sorted({float(arm) for arm in kept["arm"].tolist()})
    contexts = list(zip(*(kept[name].tolist() for name in ("parameter", "timeframe", "regime")), strict=True))
    number = np.array([arms.index(float(arm)) for arm in kept["arm"].tolist()])
    reward = kept["reward"].astype(np.float64)
    model = _model(contexts, number, reward, len(arms))
    lines = []
    for policy, make in POLICIES.items():
        chances = _chances(policy, make, arms, contexts, number, reward)
        taken = chances[np.arange(len(number)), number]
        expected = (chances * model).sum(axis=1)
        for parameter in (*dict.fromkeys(kept["parameter"].tolist()), "all"):
            rows = np.ones(len(number), np.bool_) if parameter == "all" else kept["parameter"] == parameter
            logged = kept["propensity"][rows].astype(np.float64)
            known = model[np.arange(len(number)), number][rows]
            lines.append({
                "parameter": parameter, "policy": policy, "tickets": int(rows.sum()),
                "logged": float(reward[rows].mean()),
                "ips": _figures(ips(reward[rows], logged, taken[rows])),
                "snips": _figures(snips(reward[rows], logged, taken[rows])) if taken[rows].sum() > 0 else None,
                "doubly_robust": _figures(doubly_robust(reward[rows], logged, taken[rows], known, expected[rows])),
            })  # fmt: skip
    return lines


def _model(
    contexts: Sequence[Hashable], number: NDArray[np.int64], reward: NDArray[np.float64], arms: int
) -> NDArray[np.float64]:  # fmt: skip
    """Mean reward of every arm in each ticket's context before it was redeemed, [T, K]."""
    known: dict[Hashable, NDArray[np.float64]] = {}
    table = np.empty((len(contexts), arms))
    for row, (context, column, value) in enumerate(zip(contexts, number.tolist(), reward.tolist(), strict=True)):
        counts = known.setdefault(context, np.array([[_PRIOR] * arms, [_PRIOR / 2.0] * arms]))
        table[row] = counts[1] / counts[0]
        counts[:, column] += 1.0, value
    return table


def _chances(
    policy: str, make: Callable[[list[Any]], Bandit] | None, arms: list[float], contexts: list[Any],
    number: NDArray[np.int64], reward: NDArray[np.float64],
) -> NDArray[np.float64]:  # fmt: skip
    """The probabilities with which a candidate would have drawn, [T, K]; it has learned from all tickets before."""
    if make is None:
        fixed = np.full(len(arms), 1.0 / len(arms))
        if policy == "neutral":
            fixed = np.array([float(arm == 1.0) for arm in arms])
        return np.tile(fixed, (len(contexts), 1))
    bandit = make(list(arms))
    table = np.empty((len(contexts), len(arms)))
    for row, (context, column, value) in enumerate(zip(contexts, number.tolist(), reward.tolist(), strict=True)):
        table[row] = bandit.probabilities(context)
        bandit.learn_from(context, arms[column], value)
    return table


def _figures(found: Estimate) -> dict[str, float]:
    return {name: float(value) for name, value in found._asdict().items()}
