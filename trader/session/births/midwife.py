"""Who decides a birth, and what became of it: the part that natural selection talks to.

A share of each generation's births is decided by a policy or, as control, by nobody (an immigrant: a random action). A
bandit chooses among them, rewarded by what became of their newborns. A second, slow bandit chooses which optimizer
trains each policy, rewarded by the newborns of the time after. Rewards are known one judged generation later.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rl.bandits import DiscountedThompson
from rl.core.archive import from_bytes, to_bytes
from rl.teachers import OPTIMIZERS, Teacher, Transition, make_teacher
from trader.core import rng
from trader.core.rng import Stream
from trader.core.rows import Operator, float_bits
from trader.session.births.problem import BirthProblem

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from agents.population import Roster
    from trader.core.config import Config
    from trader.session.books import Books

DECIDERS: Final = ("dqn", "a3c", "ppo", "immigrant")
"""Codes of `policy.policy` are positions here; of `policy.optimizer` in OPTIMIZERS, with NO_OPTIMIZER for immigrants."""
NO_OPTIMIZER: Final = len(OPTIMIZERS)
_FLOOR: Final = 0.2
"""Probability spread evenly over all deciders: each goes on being tried, the control included."""


@dataclass(slots=True)
class _Waiting:
    """A newborn whose reward is not known yet."""

    number: int
    agent: int
    decider: int
    optimizer: int
    action: int
    value: float
    log_probability: float
    ticket: int
    market: int
    timeframe: int
    state: NDArray[np.float32]


class Midwife:
    """Decides births and takes in their results."""

    def __init__(self, config: Config, archetypes: tuple[int, ...], names: tuple[str, ...]) -> None:
        levels = config.levels
        seed = config.session.seed
        self._seed = seed
        self.share = levels.evolution.policy_births
        self.problem = BirthProblem(archetypes, names)
        draw = rng.hash_bits(seed, Stream.BIRTH, 0, np.arange(8), 0)
        seeds = [int(value) & 0x7FFFFFFF for value in draw]
        enabled = {name: getattr(levels, name) for name in DECIDERS[:-1] if getattr(levels, name).enabled}
        self.teachers: dict[str, Teacher] = {
            name: make_teacher(
                name, self.problem.size, len(self.problem.actions), settings.discount, seeds[DECIDERS.index(name)]
            )
            for name, settings in enabled.items()
        }
        arms = [*enabled, "immigrant"]
        self._choice = DiscountedThompson(arms, seed=seeds[4], reward_range=(-1.0, 1.0), floor=_FLOOR)
        self._optimizers = DiscountedThompson(list(OPTIMIZERS), seed=seeds[5], reward_range=(-1.0, 1.0), floor=_FLOOR)
        self._training: dict[str, list[Any]] = {}
        self._waiting: list[_Waiting] = []
        self._births = 0
        self.decided = dict.fromkeys(DECIDERS, 0)
        """Births so far by who decided them."""
        self._view: dict[str, NDArray[Any]] | None = None
        self.results: dict[str, list[float]] = {name: [] for name in DECIDERS}

    def see(self, features: NDArray[np.float32], regime: NDArray[np.int8], embedding: NDArray[np.float32]) -> None:
        """What is known at the last frame: features [M, K, F], regime [M, K], embedding [M, K, WIDTH]."""
        self._view = {"features": features.copy(), "regime": regime.copy(), "embedding": embedding.copy()}

    # --- births -------------------------------------------------------------------------------------------------

    def redecide(self, newborn: Roster, generation: int, roster: Roster, fitness: NDArray[np.float64]) -> Roster:
        """The newborn, a share of them decided here instead of bred: other archetype and genes, no parents.

        Which ones is a hash of the agent's number, so that a birth does not depend on how many others there are.
        """
        drawn = rng.uniform(self._seed, Stream.BIRTH, generation, newborn.agent, 0)
        chosen = np.flatnonzero(drawn < self.share)
        if len(chosen) == 0 or self._view is None:
            return newborn
        archetype, genomes, operator = newborn.archetype.copy(), newborn.genomes.copy(), newborn.operator.copy()
        parents = newborn.parent_a.copy(), newborn.parent_b.copy()
        part = newborn.take(chosen)
        states = self.problem.states(part.market, part.timeframe, self._view, roster, fitness)
        decisions = [self._choice.select() for _ in range(len(chosen))]
        deciders = np.array([DECIDERS.index(decision.arm) for decision in decisions], np.int64)
        actions = rng.integers(self._seed, Stream.BIRTH, generation, part.agent, 1, len(self.problem.actions)).astype(
            np.int64
        )
        values, logs = np.full(len(chosen), np.nan), np.zeros(len(chosen))
        for name, teacher in self.teachers.items():
            mine = np.flatnonzero(deciders == DECIDERS.index(name))
            if len(mine):
                actions[mine], values[mine], logs[mine] = teacher.choose(states[mine])
        archetype[chosen], genomes[chosen] = self.problem.newborns(
            self._seed, generation, part.agent, actions, part.genomes
        )
        for i in range(len(chosen)):
            self._births += 1
            self.decided[DECIDERS[int(deciders[i])]] += 1
            self._waiting.append(
                _Waiting(
                    self._births, int(part.agent[i]), int(deciders[i]), self._optimizer_of(int(deciders[i])),
                    int(actions[i]), float(values[i]), float(logs[i]), decisions[i].ticket, int(part.market[i]),
                    int(part.timeframe[i]), states[i],
                )
            )  # fmt: skip
        for parent in parents:
            parent[chosen] = -1
        immigrant = deciders == DECIDERS.index("immigrant")
        operator[chosen] = np.where(immigrant, int(Operator.IMMIGRANT), int(Operator.POLICY))
        return replace(
            newborn, archetype=archetype, genomes=genomes, operator=operator, parent_a=parents[0], parent_b=parents[1]
        )

    def _optimizer_of(self, decider: int) -> int:
        """Code of the optimizer that trained this decider last."""
        if DECIDERS[decider] == "immigrant":
            return NO_OPTIMIZER
        known = self._training.get(DECIDERS[decider])
        return 0 if known is None else OPTIMIZERS.index(known[0])

    def deliver(self, books: Books, roster: Roster, fitness: NDArray[np.float64], time_ms: int) -> None:
        """Rewards of newborns that have been judged (fitness [N] finite); the vanished are forgotten."""
        if not self._waiting or self._view is None:
            return
        row = {int(agent): i for i, agent in enumerate(roster.agent.tolist())}
        rewards = self.problem.reward(fitness)
        ready = [item for item in self._waiting if item.agent in row and np.isfinite(fitness[row[item.agent]])]
        self._waiting = [
            item for item in self._waiting if item.agent in row and not np.isfinite(fitness[row[item.agent]])
        ]
        if not ready:
            return
        market = np.array([item.market for item in ready])
        timeframe = np.array([item.timeframe for item in ready])
        successors = self.problem.states(market, timeframe, self._view, roster, fitness)
        for item, successor in zip(ready, successors, strict=True):
            reward = float(rewards[row[item.agent]])
            name = DECIDERS[item.decider]
            self._choice.update(item.ticket, reward)
            self.results[name].append(reward)
            transition = Transition(item.state, item.action, reward, successor, item.log_probability)
            for teacher_name, teacher in self.teachers.items():
                teacher.keep(transition, own=teacher_name == name)
        self._write(books, ready, rewards, row, time_ms)

    @staticmethod
    def _write(
        books: Books, ready: list[_Waiting], rewards: NDArray[np.float64], row: dict[int, int], time_ms: int
    ) -> None:
        """One row for each birth whose reward is known, dated when it became known."""
        books.emit(
            "policy",
            (
                time_ms, np.array([item.number for item in ready]), np.array([item.decider for item in ready]),
                np.array([item.optimizer for item in ready]), np.array([item.action for item in ready]),
                float_bits(np.array([item.value for item in ready])),
                float_bits(np.array([float(rewards[row[item.agent]]) for item in ready])),
                np.array([item.agent for item in ready]),
            ),
            len(ready),
        )  # fmt: skip

    # --- learning -----------------------------------------------------------------------------------------------

    def train(self, name: str) -> dict[str, Any]:
        """One training of a policy: judge the optimizer that trained it last, choose one, learn."""
        earned = self.results[name]
        mean = float(np.mean(earned)) if earned else float("nan")
        last = self._training.get(name)
        if last is not None and earned:
            self._optimizers.update(last[1], mean)
            del self._training[name]
            last = None
        if last is None:
            decision = self._optimizers.select(name)
            last = self._training[name] = [decision.arm, decision.ticket]
        figures = self.teachers[name].train(str(last[0]))
        self.results[name] = []
        return {"optimizer": str(last[0]), "births": len(earned), "reward": mean, "figures": figures}

    def card(self) -> str:
        """The decision problem's size in this session, in words."""
        counts = ", ".join(
            f"{'by lot' if name == 'immigrant' else name} {n:,}" for name, n in self.decided.items() if n
        )
        sizes = f"{self.problem.size} numbers of state, {len(self.problem.actions)} actions"
        return f"{self._births:,} decided ({counts or 'none yet'}); {sizes}"

    def preferences(self) -> dict[str, float]:
        """Expected reward of each decider, for the level's row."""
        means = self._choice.expectations()
        return {str(arm): round(float(mean), 6) for arm, mean in zip(self._choice.arms, means, strict=True)}

    # --- checkpoint ---------------------------------------------------------------------------------------------

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything it remembers, as one array of bytes."""
        tree = {
            "teachers": {name: teacher.tree() for name, teacher in self.teachers.items()},
            "bandits": [self._choice.to_json(), self._optimizers.to_json()],
            "training": {name: list(value) for name, value in self._training.items()},
            "births": self._births,
            "decided": dict(self.decided),
            "results": {name: list(values) for name, values in self.results.items()},
            "view": self._view,
            "waiting": [
                (w.number, w.agent, w.decider, w.optimizer, w.action, w.value, w.log_probability, w.ticket, w.market,
                 w.timeframe, w.state)
                for w in self._waiting
            ],
        }  # fmt: skip
        return {"tree": np.frombuffer(to_bytes(tree), np.uint8).copy()}

    def restore(self, state: dict[str, Any]) -> None:
        """Become what `state` described."""
        tree = from_bytes(state["tree"].tobytes(), "a checkpoint's policies")
        for name, teacher in self.teachers.items():
            teacher.load(tree["teachers"][name])
        self._choice = DiscountedThompson.from_json(tree["bandits"][0])  # type: ignore[assignment]
        self._optimizers = DiscountedThompson.from_json(tree["bandits"][1])  # type: ignore[assignment]
        self._training = {name: list(value) for name, value in tree["training"].items()}
        self._births = int(tree["births"])
        self.decided = {name: int(count) for name, count in tree["decided"].items()}
        self.results = {name: list(values) for name, values in tree["results"].items()}
        self._view = tree["view"]
        self._waiting = [_Waiting(*item) for item in tree["waiting"]]
