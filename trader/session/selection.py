"""Level 1b, natural selection: once a generation the worst make room for children of the better ones.

Beside those who evolve stand the controls (`agents.controls`); each generation is measured against them, on candles that
had no part in its choice, and the benefit of selection is written to the level's row and told.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import structlog

from agents import controls, evolution, heritability, progress
from agents import layout as at
from agents.fitness import Fitness, estimate
from trader.core import rng
from trader.core.rng import Stream
from trader.core.rows import Cause, Fate, float_bits
from trader.session.grants import RULE_EQUAL, endow
from trader.session.levels import LevelSpec, LevelUpdate
from trader.session.niches import niches_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from agents.population import Roster
    from trader.core.config import Config
    from trader.session.bandits import BanditLevel
    from trader.session.births.midwife import Midwife
    from trader.session.books import Books

log = structlog.get_logger("evolution")

GROUPS = ("frozen", "random")
_COUNT, _SUM, _SQUARES, _TALLIES = range(4)
_LOT = 1_000
"""Number of the draw of a lot: beyond those with which an agent's genes are drawn from the same stream."""


class SelectionLevel:
    """Generations of the population."""

    def __init__(
        self, config: Config, markets: int, timeframes: int, archetypes: NDArray[np.int64],
        midwife: Midwife | None = None, bandits: BanditLevel | None = None,
    ) -> None:  # fmt: skip
        settings = config.levels.evolution
        self.spec = LevelSpec(
            name="evolution",
            every=settings.every,
            parameters="genomes of the population",
            context_flow="daily results of every agent since its birth, after costs",
            objective="shrunken daily Sharpe ratio within the archetype",
            update_rule="truncation of the worst, tournament within the niche, grouped crossover, self-adaptive mutation",
        )
        self.tells = True
        """Whether each generation is told in the log."""
        self._settings = settings
        self._elites = config.population.elites
        self._seed = config.session.seed
        self._compounding = config.pool.compounding
        self._reserve = config.pool.reserve
        self._habitats = (markets, timeframes)
        self._archetypes = archetypes
        self._midwife = midwife
        self._bandits = bandits
        self._niches = niches_of(config)
        modifier = config.levels.self_modifier
        self._lamarckian = modifier.enabled and modifier.inheritance == "lamarckian"
        self._snapshot: dict[str, NDArray[Any]] = {
            "agent": np.zeros(0, np.int64),
            "days": np.zeros((at.DAY_FIELDS, 0)),
            "child": np.zeros(0, np.int64),
            "promised": np.zeros(0),
            "benefit": np.zeros((len(GROUPS), _TALLIES)),
            "heritability": np.zeros(heritability.TALLIES),
        }

    def update(self, books: Books, frame: int, time_ms: int) -> LevelUpdate:
        """One generation: measure, judge, cull, breed."""
        books.generation += 1
        population = books.population
        books.reap(frame, time_ms, RULE_EQUAL)
        roster = population.roster
        control = controls.is_control(roster)
        fitness = estimate(population.days(), roster.archetype + np.where(control, 1_000_000, 0))
        eligible = roster.living & fitness.judged & ~control
        measured = self._measure(books, fitness)
        judge = self._drawn(fitness, roster, books.generation) if self._settings.blind else fitness
        elite = evolution.elite(np.where(eligible, judge.shrunk, np.nan), self._elites)
        if self._niches is not None:
            self._niches.begin(population, judge.shrunk, eligible, books.generation)
        ranking = np.where(elite, np.nan, self._ranking(judge, eligible))
        culled = (
            evolution.cull(ranking, self._settings.cull)
            if self._niches is None
            else self._niches.culled(ranking, roster, self._settings.cull)
        )
        survivors = eligible & ~culled
        if not survivors.any():
            culled[:] = False
        parents = self._parents(survivors, population.column(at.CLOSED))
        self._write(books, fitness, (eligible, control & roster.living & fitness.judged, culled, elite), time_ms)
        if self._midwife is not None:
            self._midwife.deliver(books, roster, np.where(eligible, fitness.shrunk, np.nan), time_ms)
        born = self._renew(books, judge, culled, parents, frame, time_ms)
        self._remember(books)
        before, after = (
            float(np.mean(fitness.shrunk[rows])) if rows.any() else float("nan") for rows in (eligible, survivors)
        )
        detail = {
            "generation": books.generation,
            "judged": int(eligible.sum()),
            "culled": int(culled.sum()),
            "born": born,
            **measured,
            **({} if self._niches is None else self._niches.told()),
        }
        if self.tells:
            self._tell(detail)
        return LevelUpdate(books.generation, before, after, kept=True, detail=detail)

    # --- measuring ----------------------------------------------------------------------------------------------

    def _measure(self, books: Books, fitness: Fitness) -> dict[str, Any]:
        """What the generation that ends here did, beside the controls; and how much of the parents' promise children kept."""
        population = books.population
        roster, days = population.roster, population.days()
        recent = progress.since(days, roster.agent, self._snapshot["days"], self._snapshot["agent"])
        groups = {
            "evolving": roster.living & ~controls.is_control(roster),
            "frozen": roster.living & controls.is_frozen(roster),
            "random": roster.living & controls.is_random(roster),
        }
        result: dict[str, Any] = {
            "profit": {name: _mean(recent.profit, rows) for name, rows in groups.items() if rows.any()}
        }
        best = int(np.argmax(np.where(fitness.judged, fitness.raw, -np.inf))) if fitness.judged.any() else -1
        if best >= 0:
            result["best"] = {"raw": float(fitness.raw[best]), "shrunk": float(fitness.shrunk[best])}
        benefit = {}
        for row, name in enumerate(GROUPS):
            found = {
                measure: progress.difference(values, groups["evolving"], groups[name])
                for measure, values in (("profit", recent.profit), ("sharpe", recent.sharpe))
            }
            if np.isfinite(found["profit"].mean):
                benefit[name] = {
                    measure: {"mean": _known(value.mean), "standard_error": _known(value.standard_error)}
                    for measure, value in found.items()
                }
                self._snapshot["benefit"][row] += (1.0, found["profit"].mean, found["profit"].mean ** 2)
        if benefit:
            result["benefit"] = benefit
        place = {agent: row for row, agent in enumerate(roster.agent.tolist())}
        rows = np.array([place.get(agent, -1) for agent in self._snapshot["child"].tolist()], np.int64)
        children = heritability.tally(self._snapshot["promised"][rows >= 0], recent.sharpe[rows[rows >= 0]])
        result["heritability"] = _known(heritability.measured(children).slope)
        self._snapshot["heritability"] += children
        so_far = heritability.measured(self._snapshot["heritability"])
        result["heritability_so_far"] = {
            "slope": _known(so_far.slope), "standard_error": _known(so_far.standard_error),
            "children": so_far.children, "generations": so_far.generations,
        }  # fmt: skip
        if self._bandits is not None:
            first = rows >= 0
            first[first] = fitness.judged[rows[first]]
            self._bandits.judge(
                roster.agent[rows[first]], fitness.shrunk[rows[first]], self._snapshot["promised"][first]
            )  # fmt: skip
        return result

    def _remember(self, books: Books) -> None:
        """The results so far: the next generation is measured from here."""
        self._snapshot["agent"] = books.population.roster.agent.copy()
        self._snapshot["days"] = books.population.days()

    @staticmethod
    def _tell(detail: dict[str, Any]) -> None:
        told = {
            f"over_{name}": f"{group['profit']['mean']:+.4%} ± {group['profit']['standard_error'] or 0.0:.4%}"
            for name, group in detail.get("benefit", {}).items()
        }
        log.info("generation", number=detail["generation"], culled=detail["culled"], born=detail["born"], **told)

    def card(self) -> dict[str, str]:
        """Lines for the end card: the benefit of selection a generation, over all generations so far."""
        lines = {} if self._midwife is None else {"births": self._midwife.card()}
        for row, name in enumerate(GROUPS):
            count, total, squares = self._snapshot["benefit"][row].tolist()
            if count >= 2:
                mean = total / count
                error = float(np.sqrt(max(squares / count - mean * mean, 0.0) / (count - 1)))
                lines[f"over {name}"] = (
                    f"{mean:+.3%} ± {error:.3%} profit an agent and generation, evolving minus {name} ({count:.0f} generations)"
                )
        so_far = heritability.measured(self._snapshot["heritability"])
        if np.isfinite(so_far.slope):
            lines["heritability"] = (
                f"{so_far.slope:+.2f} ± {so_far.standard_error:.2f} of what parents promised, kept by {so_far.children} children"
                f" of {so_far.generations} generations"
            )
        return lines

    # --- acting -------------------------------------------------------------------------------------------------

    def _renew(
        self, books: Books, fitness: Fitness, culled: NDArray[np.bool_], parents: NDArray[np.bool_], frame: int,
        time_ms: int,
    ) -> int:  # fmt: skip
        """Replace the culled by children and the random controls by new ones; returns how many children were born."""
        population, roster = books.population, books.population.roster
        replaced = roster.living & controls.is_random(roster)
        count = int(culled.sum())
        newborn = self._children(books, fitness, parents, count, time_ms) if count else None
        if newborn is not None:
            if self._niches is not None:
                self._niches.enrol(newborn)
            self._promise(roster, fitness, newborn)
            books.retire(culled, fitness.shrunk, Cause.SELECTION, time_ms)
        else:
            self._snapshot["child"], self._snapshot["promised"] = np.zeros(0, np.int64), np.zeros(0)
        if replaced.any():
            drawn = controls.random_agents(
                self._seed, books.generation, population.next_agent + count, int(replaced.sum()), *self._habitats,
                self._archetypes, time_ms,
            )  # fmt: skip
            newborn = drawn if newborn is None else newborn.join(drawn)
            books.retire(replaced, fitness.shrunk, Cause.REPLACED, time_ms)
        if newborn is not None:
            books.reap(frame, time_ms, RULE_EQUAL)
            books.birth(newborn, time_ms)
            endow(books, self._compounding, self._reserve, frame, time_ms)
        return count

    def _children(self, books: Books, fitness: Fitness, parents: NDArray[np.bool_], count: int, time_ms: int) -> Roster:
        roster, bandits = books.population.roster, self._bandits
        if self._lamarckian:
            roster = replace(roster, genomes=books.population.phenotypes())
        newborn = evolution.breed(
            self._seed, books.generation, roster, np.where(parents, fitness.shrunk, np.nan), count,
            books.population.next_agent, time_ms, self._settings.tournament, *self._habitats,
            self._settings.immigrants, self._archetypes,
            None if bandits is None else lambda born, rows: bandits.strengths(born, rows, roster, time_ms),
            None if self._niches is None else self._niches.niches(books.population),
        )  # fmt: skip
        if self._niches is not None:
            newborn = self._niches.born(newborn, books.generation, roster.agent)
        if self._midwife is None:
            return newborn
        known = np.where(roster.living & fitness.judged & ~controls.is_control(roster), fitness.shrunk, np.nan)
        return self._midwife.redecide(newborn, books.generation, roster, known)

    def _promise(self, roster: Roster, fitness: Fitness, newborn: Roster) -> None:
        """What each child's parents had achieved, on average: heritability is measured against it."""
        shrunk = dict(zip(roster.agent.tolist(), fitness.shrunk.tolist(), strict=True))
        first = np.array([shrunk.get(agent, np.nan) for agent in newborn.parent_a.tolist()])
        second = np.array([shrunk.get(agent, np.nan) for agent in newborn.parent_b.tolist()])
        promised = np.where(newborn.parent_b >= 0, (first + second) / 2.0, first)
        bred = np.isfinite(promised)  # immigrants have no parents
        self._snapshot["child"], self._snapshot["promised"] = newborn.agent[bred], promised[bred]

    def _drawn(self, fitness: Fitness, roster: Roster, generation: int) -> Fitness:
        """By lot instead of by results: the random twin of a population has its births and deaths, and no selection."""
        lots = rng.uniform(self._seed, Stream.CONTROL, generation, roster.agent, _LOT)
        return replace(fitness, shrunk=np.where(fitness.judged, lots, np.nan))

    @staticmethod
    def _ranking(fitness: Fitness, eligible: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Whom to cull first: the lowest shrunken fitness. Doing nothing is worth nothing, which is more than losing."""
        return np.where(eligible, fitness.shrunk, np.nan)

    def _parents(self, survivors: NDArray[np.bool_], closed: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Who may have children: those that have shown something, that is, closed a trade; all, if nobody has.

        Agents that never traded are neither better nor worse than nothing; if they bred, their abstention would spread
        wherever most trading loses, and with it nothing that is known to pay. Where parents are drawn by lot, all may.
        """
        shown = survivors & (closed > 0)
        return shown if shown.any() and not self._settings.blind else survivors

    @staticmethod
    def _write(books: Books, fitness: Fitness, masks: tuple[NDArray[np.bool_], ...], time_ms: int) -> None:
        """One row for each judged agent; rank 1 is the fittest of those who evolve, and of the controls."""
        eligible, control, culled, elite = masks
        roster = books.population.roster
        fate = np.full(len(roster), int(Fate.KEPT), np.int64)
        fate[elite], fate[culled], fate[control] = int(Fate.ELITE), int(Fate.CULLED), int(Fate.CONTROL)
        for group in (eligible, control):
            judged = np.flatnonzero(group)
            order = np.lexsort((judged, -fitness.shrunk[judged]))
            rank = np.empty(len(judged), np.int64)
            rank[order] = np.arange(1, len(judged) + 1)
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
        """Results at the last generation, what the last children were promised, and the benefit so far."""
        niches = {} if self._niches is None else self._niches.state()
        return {name: values.copy() for name, values in self._snapshot.items()} | {
            f"niches.{name}": values for name, values in niches.items()
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Become what `state` described."""
        self._snapshot = {name: np.array(state[name]) for name in self._snapshot}
        if self._niches is not None:
            self._niches.restore({name.removeprefix("niches."): values for name, values in state.items()})


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _mean(values: NDArray[np.float64], rows: NDArray[np.bool_]) -> float | None:
    chosen = values[rows & np.isfinite(values)]
    return float(chosen.mean()) if len(chosen) else None
