"""Confidence as a probability: a level that learns, from closed trades, how often a score of that size made a profit.

What it learns acts on decisions from its boundary on: `v_trade.confidence` is the probability as it was told at the
decision, `v_trade.score` the |score| it was told for. Size and leverage go on following the score, whose scale genes
are made for. Old trades fade: a trade counts half after `memory` more of its archetype.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from agents import layout as at
from agents.calibration import probabilities
from trader.report.calibration import expected_calibration_error
from trader.session.levels import LevelSpec, LevelUpdate
from trader.session.outcomes import as_array, from_array, in_order

if TYPE_CHECKING:
    from trader.core.config import Config
    from trader.session.books import Books
    from trader.session.outcomes import Outcome


_RECENT: Final = 1_000
"""The level's row tells the calibration error of so many trades: all told before they were decided."""


class CalibrationLevel:
    """Counts by archetype and bin of score, and the table the agents read."""

    def __init__(self, config: Config, archetypes: int) -> None:
        settings = config.levels.calibration
        self.spec = LevelSpec(
            name="calibration",
            every=settings.every,
            parameters="probability of a profit after costs, by archetype and size of the score",
            context_flow="closed trades of all agents: score at the decision, won or lost after costs",
            objective="Brier score of the trades delivered: of |score| taken as a probability before, of what was told after",
            update_rule="isotonic regression on faded counts, partly pooled over bins and archetypes",
        )
        self._fade = 0.5 ** (1.0 / settings.memory)
        self._cases = np.zeros((archetypes, at.BINS))
        self._wins = np.zeros((archetypes, at.BINS))
        self._waiting: list[Outcome] = []
        self._told = np.zeros((0, 2))
        self._numbers = np.zeros(1, np.int64)

    def take(self, outcomes: list[Outcome]) -> None:
        """Keep closed trades until the boundary."""
        self._waiting.extend(outcomes)

    def update(self, books: Books, frame: int, time_ms: int) -> LevelUpdate:  # noqa: ARG002  # every level has these
        """Count what has closed and tell the agents the new probabilities."""
        self._numbers[0] += 1
        figures = np.array(
            [(o.archetype, o.score, o.confidence, o.pnl > 0) for o in in_order(self._waiting)], np.int64
        ).reshape(-1, 4)  # fmt: skip
        self._waiting.clear()
        kind, won = figures[:, 0], figures[:, 3].astype(np.bool_)
        bins = np.minimum(figures[:, 1] * at.BINS // 10_000, at.BINS - 1)
        fade = self._fade ** np.bincount(kind, minlength=len(self._cases))
        self._cases *= fade[:, None]
        self._wins *= fade[:, None]
        np.add.at(self._cases, (kind, bins), 1.0)
        np.add.at(self._wins, (kind, bins), won.astype(np.float64))
        books.population.calibrate(probabilities(self._cases, self._wins))
        told, raw = figures[:, 2] / 1e4, figures[:, 1] / 1e4
        self._told = np.concatenate((self._told, np.column_stack((told, won))))[-_RECENT:]
        before, after = (float(np.mean((p - won) ** 2)) if len(won) else float("nan") for p in (raw, told))
        detail = {
            "trades": len(won),
            "cases": round(float(self._cases.sum()), 3),
            "calibration_error": _known(expected_calibration_error(self._told[:, 0], self._told[:, 1] > 0)),
        }
        return LevelUpdate(int(self._numbers[0]), before, after, kept=True, detail=detail)

    def state(self) -> dict[str, Any]:
        """Counts and what waits."""
        return {
            "cases": self._cases.copy(), "wins": self._wins.copy(), "numbers": self._numbers.copy(),
            "told": self._told.copy(),
            "waiting": as_array(self._waiting),
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Become what `state` described."""
        self._cases, self._wins = np.array(state["cases"]), np.array(state["wins"])
        self._numbers[:] = state["numbers"]
        self._told = np.array(state["told"])
        self._waiting = from_array(state["waiting"])


def _known(value: float) -> float | None:
    return round(value, 9) if np.isfinite(value) else None
