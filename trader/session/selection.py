"""Level 1b, natural selection: once a generation the worst make room for children of the better ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import structlog

from agents import controls, evolution
from agents import layout as at
from agents.fitness import Fitness, estimate
from trader.core.rows import Cause, Fate, float_bits
from trader.session.grants import RULE_EQUAL, endow
from trader.session.levels import LevelSpec, LevelUpdate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from agents.population import Roster
    from trader.core.config import Config
    from trader.session.births.midwife import Midwife
    from trader.session.books import Books


log = structlog.get_logger("session")


def _benefit(fitness: Fitness, evolving: NDArray[np.bool_], control: NDArray[np.bool_]) -> dict[str, float]:
    """Mean raw daily Sharpe ratio of the evolving minus that of a control group, with its standard error."""
    ours, theirs = fitness.raw[evolving], fitness.raw[control]
    error = float(np.sqrt(ours.var() / len(ours) + theirs.var() / len(theirs)))
    return {"difference": round(float(ours.mean() - theirs.mean()), 9), "standard_error": round(error, 9)}


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
        judged = roster.living & fitness.judged
        frozen, random = controls.is_frozen(roster), controls.is_random(roster)
        eligible = judged & ~frozen & ~random
        ranking = self._ranking(fitness, eligible, population.column(at.CLOSED))
        culled = evolution.cull(ranking, self._share)
        lots = controls.draw_lots(self._seed, books.generation, roster, self._share)
        self._write(books, fitness, judged, culled | lots, frozen | random, time_ms)
        known = np.where(eligible, fitness.shrunk, np.nan)
        if self._midwife is not None:
            self._midwife.deliver(books, roster, known, time_ms)
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
                newborn = self._midwife.redecide(newborn, books.generation, roster, known)
            books.retire(culled, fitness.shrunk, Cause.SELECTION, time_ms)
            books.reap(frame, time_ms, RULE_EQUAL)
            books.birth(newborn, time_ms)
        if lots.any():
            gone = roster.take(lots)
            books.retire(self._rows(books, gone), self._aligned(books, roster, fitness), Cause.SELECTION, time_ms)
            books.reap(frame, time_ms, RULE_EQUAL)
            books.birth(
                controls.replacements(self._seed, books.generation, gone, population.next_agent, time_ms), time_ms
            )
        if count or lots.any():
            endow(books, self._compounding, self._reserve, frame, time_ms)
        after = float(np.mean(fitness.shrunk[parents])) if parents.any() else np.nan
        benefit = {
            name: _benefit(fitness, eligible, judged & group)
            for name, group in (("frozen", frozen), ("random", random))
            if (judged & group).any() and eligible.any()
        }
        born = count + int(lots.sum())
        detail = {
            "generation": books.generation, "judged": int(judged.sum()), "culled": born, "born": born,
            "benefit_of_selection": benefit,
        }  # fmt: skip
        told = {
            f"against_{name}": f"{value['difference']:+.4f} ±{value['standard_error']:.4f}"
            for name, value in benefit.items()
        }
        log.info("generation", number=books.generation, judged=int(judged.sum()), born=born, **told)
        return LevelUpdate(books.generation, before, after, kept=True, detail=detail)

    @staticmethod
    def _rows(books: Books, gone: Roster) -> NDArray[np.bool_]:
        """Where agents stand in the roster now."""
        return np.isin(books.population.roster.agent, gone.agent)

    @staticmethod
    def _aligned(books: Books, roster: Roster, fitness: Fitness) -> NDArray[np.float64]:
        """Shrunken fitness in the order of the roster now; the newborn have none."""
        known = dict(zip(roster.agent.tolist(), fitness.shrunk.tolist(), strict=True))
        return np.array([known.get(agent, np.nan) for agent in books.population.roster.agent.tolist()])

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
        books: Books, fitness: Fitness, judged_mask: NDArray[np.bool_], culled: NDArray[np.bool_],
        control: NDArray[np.bool_], time_ms: int,
    ) -> None:  # fmt: skip
        """One row for each judged agent, controls too; rank 1 is the fittest."""
        judged = np.flatnonzero(judged_mask)
        order = np.lexsort((judged, -fitness.shrunk[judged]))
        rank = np.empty(len(judged), np.int64)
        rank[order] = np.arange(1, len(judged) + 1)
        roster = books.population.roster
        fate = np.where(control, int(Fate.CONTROL), np.where(culled, int(Fate.CULLED), int(Fate.KEPT)))
        books.emit(
            "fitness",
            (
                time_ms, roster.agent[judged], books.generation, float_bits(fitness.raw[judged]),
                float_bits(fitness.shrunk[judged]), float_bits(fitness.standard_error[judged]),
                roster.archetype[judged], rank, fate[judged],
            ),
            len(judged),
        )  # fmt: skip

    def state(self) -> dict[str, Any]:
        """Nothing: what a generation leaves behind is in the books."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing to take over."""
        assert not state, "natural selection has no state of its own"
