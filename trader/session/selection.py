"""Level 1b, natural selection: once a generation the worst make room for children of the better ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from agents import evolution
from agents import layout as at
from agents.fitness import Fitness, estimate
from trader.core.rows import Cause, Fate, float_bits
from trader.session.grants import RULE_EQUAL, endow
from trader.session.levels import LevelSpec, LevelUpdate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trader.core.config import Config
    from trader.session.births.midwife import Midwife
    from trader.session.books import Books


class SelectionLevel:
    """Generations of the population."""

    def __init__(self, config: Config, markets: int, timeframes: int, midwife: Midwife | None = None) -> None:
        settings = config.levels.evolution
        self.spec = LevelSpec(
            name="evolution",
            every=settings.every,
            parameters="genomes of the population",
            context_flow="daily results of every agent since its birth, after costs",
            objective="shrunken daily Sharpe ratio within the archetype",
            update_rule="truncation of the worst, tournament, grouped crossover, self-adaptive mutation",
        )
        self._share = settings.cull
        self._tournament = settings.tournament
        self._seed = config.session.seed
        self._compounding = config.pool.compounding
        self._reserve = config.pool.reserve
        self._habitats = (markets, timeframes)
        self._midwife = midwife

    def update(self, books: Books, frame: int, time_ms: int) -> LevelUpdate:
        """One generation: judge, cull, breed."""
        books.generation += 1
        population = books.population
        books.reap(frame, time_ms, RULE_EQUAL)
        roster = population.roster
        fitness = estimate(population.days(), roster.archetype)
        eligible = roster.living & fitness.judged
        ranking = self._ranking(fitness, eligible, population.column(at.CLOSED))
        culled = evolution.cull(ranking, self._share)
        self._write(books, fitness, eligible, culled, time_ms)
        judged = np.where(eligible, fitness.shrunk, np.nan)
        if self._midwife is not None:
            self._midwife.deliver(books, roster, judged, time_ms)
        parents = eligible & ~culled
        before = float(np.mean(fitness.shrunk[eligible])) if eligible.any() else np.nan
        count = int(culled.sum()) if parents.any() else 0
        if count:
            chances = np.where(parents, fitness.shrunk, np.nan)
            newborn = evolution.breed(
                self._seed, books.generation, roster, chances, count, population.next_agent, time_ms,
                self._tournament, *self._habitats,
            )  # fmt: skip
            if self._midwife is not None:
                newborn = self._midwife.redecide(newborn, books.generation, roster, judged)
            books.retire(culled, fitness.shrunk, Cause.SELECTION, time_ms)
            books.reap(frame, time_ms, RULE_EQUAL)
            books.birth(newborn, time_ms)
            endow(books, self._compounding, self._reserve, frame, time_ms)
        after = float(np.mean(fitness.shrunk[parents])) if parents.any() else np.nan
        detail = {"generation": books.generation, "judged": int(eligible.sum()), "culled": count, "born": count}
        return LevelUpdate(books.generation, before, after, kept=True, detail=detail)

    @staticmethod
    def _ranking(fitness: Fitness, eligible: NDArray[np.bool_], closed: NDArray[np.int64]) -> NDArray[np.float64]:
        """Shrunken fitness; agents that never closed a trade in all that time come last."""
        ranking = np.where(eligible, fitness.shrunk, np.nan)
        idle = eligible & (closed == 0)
        if idle.any():
            ranking[idle] = np.nanmin(ranking) - 1.0
        return ranking

    @staticmethod
    def _write(
        books: Books, fitness: Fitness, eligible: NDArray[np.bool_], culled: NDArray[np.bool_], time_ms: int
    ) -> None:
        """One row for each judged agent; rank 1 is the fittest."""
        judged = np.flatnonzero(eligible)
        order = np.lexsort((judged, -fitness.shrunk[judged]))
        rank = np.empty(len(judged), np.int64)
        rank[order] = np.arange(1, len(judged) + 1)
        roster = books.population.roster
        books.emit(
            "fitness",
            (
                time_ms, roster.agent[judged], books.generation, float_bits(fitness.raw[judged]),
                float_bits(fitness.shrunk[judged]), float_bits(fitness.standard_error[judged]),
                roster.archetype[judged], rank, np.where(culled[judged], int(Fate.CULLED), int(Fate.KEPT)),
            ),
            len(judged),
        )  # fmt: skip

    def state(self) -> dict[str, Any]:
        """Nothing: what a generation leaves behind is in the books."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing to take over."""
        assert not state, "natural selection has no state of its own"
