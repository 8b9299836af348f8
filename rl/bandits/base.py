"""What all bandits share: arms, contexts, tickets, propensities, a clock per context, and JSON state.

A bandit turns a context into probabilities over arms; the arm is drawn from exactly these probabilities, and the
one it was drawn with is logged as its propensity, so that logged data can be re-weighted to judge another bandit
(inverse propensity scoring). Rewards come late and in any order: `select` gives a ticket, `update(ticket, reward)`
redeems it once.

Time in a context is its number of selections. A reward belongs to the time of its *selection*, whenever it arrives;
so the state after a set of updates does not depend on their order (EXP3.S excepted, whose weights are inherently
sequential).

Shapes: C contexts (rows, made on demand), K arms (columns), statistics [C, K]. Rewards are mapped from
`reward_range` to [0, 1] and clipped there: one outlier must not outweigh a thousand trades.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]


class Decision(NamedTuple):
    """What `select` returns: an arm's label, the probability it was drawn with, and the ticket to redeem."""

    arm: Any
    propensity: float
    ticket: int


class Pending(NamedTuple):
    """An open ticket: row, arm label, the context's clock at selection, propensity, extra numbers of the algorithm."""

    row: int
    arm: Any
    time: int
    propensity: float
    extra: list[float]


def _freeze(key: Any) -> Hashable:
    """JSON turns tuples into lists; as keys they are tuples."""
    if isinstance(key, list | tuple):
        return tuple(_freeze(part) for part in key)
    frozen: Hashable = key.item() if isinstance(key, np.generic) else key
    return frozen


class Bandit(ABC):
    """Base class. `arms`: a number of arms (labels 0, 1, ...) or their labels (JSON-able and hashable).

    floor: probability mass spread evenly over all arms, so that no propensity is below floor / K. seed: of all draws.
    Contexts are any JSON-able hashable keys (None is one too); a row is made when a key is first seen.
    """

    statistics: ClassVar[tuple[str, ...]] = ()  # names of the [C, K] arrays
    counters: ClassVar[tuple[str, ...]] = ("clock",)  # names of the [C] arrays
    settings: ClassVar[tuple[str, ...]] = ()  # names of the constructor's own numbers

    def __init__(
        self,
        arms: int | Sequence[Hashable],
        *,
        seed: int = 0,
        reward_range: tuple[float, float] = (0.0, 1.0),
        floor: float = 0.0,
    ) -> None:
        self.arms: list[Any] = list(range(arms)) if isinstance(arms, int) else [_freeze(arm) for arm in arms]
        if not self.arms or len(set(self.arms)) != len(self.arms):
            raise ValueError(f"arms are at least one and distinct, got {self.arms}")
        low, high = reward_range
        if not low < high or not 0.0 <= floor < 1.0:
            raise ValueError(f"need reward_range low < high and floor in [0, 1), got {reward_range} and {floor}")
        self.reward_range, self.floor = (float(low), float(high)), floor
        self.rng = np.random.default_rng(seed)
        self.rows: dict[Hashable, int] = {}
        self.pending: dict[int, Pending] = {}
        self.next_ticket = 0
        self._allocate(8)

    # ---- what an algorithm defines

    @abstractmethod
    def _probabilities(self, rows: IntArray) -> FloatArray:
        """Selection probabilities [B, K] for rows [B]."""

    @abstractmethod
    def _learn(self, row: int, column: int, age: int, reward: float, weight: float, ticket: Pending) -> None:
        """Take a reward in [0, 1] of a selection `age` selections ago in that row (0: the last one)."""

    @abstractmethod
    def expectations(self, context: Any = None) -> FloatArray:
        """Estimated mean reward of each arm, [K], in the reward's own unit."""

    def _advance(self, row: int, column: int) -> list[float]:  # noqa: ARG002  # memories look at it
        """The clock of a row moves by one because `column` was selected; what is returned goes onto the ticket."""
        self.clock[row] += 1
        return []

    def _prior(self, name: str) -> float:  # noqa: ARG002  # subclasses look at it
        """Value of a statistic before any data."""
        return 0.0

    # ---- selection and update

    def select(self, context: Any = None) -> Decision:
        """Draw an arm for this context."""
        return self.select_many([context])[0]

    def select_many(self, contexts: Sequence[Any]) -> list[Decision]:
        """Draw an arm for each context at once; the same context twice uses the state before this call for both."""
        rows = np.array([self.row(context) for context in contexts], dtype=np.int64)
        distinct, inverse = np.unique(rows, return_inverse=True)
        return self._draw(rows, self._probabilities(distinct)[inverse], [[] for _ in rows])

    def probabilities(self, context: Any = None) -> FloatArray:
        """What `select` would draw from now, [K]; a pure read for a context that was seen before."""
        chances = self._probabilities(np.array([self.row(context)]))[0]
        return (1.0 - self.floor) * chances + self.floor / len(self.arms)

    def _draw(self, rows: IntArray, probabilities: FloatArray, extras: Sequence[list[float]]) -> list[Decision]:
        """Draw from the probabilities, advance the clocks, open tickets."""
        probabilities = (1.0 - self.floor) * probabilities + self.floor / len(self.arms)
        cumulative = probabilities.cumsum(axis=1)
        uniform = self.rng.random(len(rows)) * cumulative[:, -1]
        columns = np.minimum((cumulative <= uniform[:, None]).sum(axis=1), len(self.arms) - 1)
        decisions = []
        for row, column, p, extra in zip(rows.tolist(), columns.tolist(), probabilities, extras, strict=True):
            time = int(self.clock[row])
            extra = [*self._advance(row, column), *extra]  # noqa: PLW2901  # the ticket's numbers
            ticket, self.next_ticket = self.next_ticket, self.next_ticket + 1
            arm, propensity = self.arms[column], float(p[column])
            self.pending[ticket] = Pending(row, arm, time, propensity, extra)
            decisions.append(Decision(arm, propensity, ticket))
        return decisions

    def update(self, ticket: int, reward: float, weight: float = 1.0) -> None:
        """Redeem a ticket, at any time and in any order. A ticket whose arm was removed is closed without effect.

        weight scales the observation (0.5: half a reward's worth of evidence). Raises KeyError for a ticket that is
        unknown or was already redeemed, ValueError for a reward that is not finite or a negative weight.
        """
        if not np.isfinite(reward) or not weight >= 0.0:
            raise ValueError(f"reward must be finite and weight >= 0, got {reward} and {weight}")
        try:
            pending = self.pending.pop(ticket)
        except KeyError:
            raise KeyError(f"ticket {ticket} is unknown or was already redeemed") from None
        if pending.arm not in self.arms:
            return
        low, high = self.reward_range
        scaled = min(max((float(reward) - low) / (high - low), 0.0), 1.0)
        age = int(self.clock[pending.row]) - 1 - pending.time
        self._learn(pending.row, self.arms.index(pending.arm), age, scaled, weight, pending)

    def learn_from(self, context: Any, arm: Hashable, reward: float) -> None:
        """Learn from a reward of an arm that somebody else drew in this context (logged data). Raises ValueError for an
        arm that is unknown."""
        row, column = self.row(context), self.arms.index(_freeze(arm))
        ticket, self.next_ticket = self.next_ticket, self.next_ticket + 1
        time = int(self.clock[row])
        propensity = float(self.probabilities(context)[column])
        self.pending[ticket] = Pending(row, self.arms[column], time, propensity, self._advance(row, column))
        self.update(ticket, reward)

    def forget(self, ticket: int) -> None:
        """Close a ticket whose reward will never come. Raises KeyError if it is not open."""
        del self.pending[ticket]

    # ---- arms and contexts

    def row(self, context: Any = None) -> int:
        """Row of a context, made on demand."""
        if type(context) is tuple:  # as it will mostly be: known already, and made of nothing that needs freezing
            known = self.rows.get(context)
            if known is not None:
                return known
        key = _freeze(context)
        row = self.rows.get(key)
        if row is None:
            row = self.rows[key] = len(self.rows)
            if row >= len(self.clock):
                self._allocate(2 * len(self.clock))
        return row

    def add_arm(self, arm: Hashable) -> None:
        """A new arm, without data, in every context. Raises ValueError if it exists."""
        arm = _freeze(arm)
        if arm in self.arms:
            raise ValueError(f"arm {arm!r} exists")
        for name in self.statistics:
            array = getattr(self, name)
            column = np.full((len(array), 1), self._prior(name), dtype=array.dtype)
            setattr(self, name, np.concatenate([array, column], axis=1))
        self.arms.append(arm)

    def remove_arm(self, arm: Hashable) -> None:
        """Drop an arm and its data. Raises ValueError if it is unknown or the last one."""
        arm = _freeze(arm)
        if arm not in self.arms or len(self.arms) == 1:
            raise ValueError(f"arm {arm!r} is unknown or the last one")
        column = self.arms.index(arm)
        for name in self.statistics:
            setattr(self, name, np.delete(getattr(self, name), column, axis=1))
        self.arms.pop(column)

    def _allocate(self, capacity: int) -> None:
        """Room for `capacity` rows; existing ones are kept."""
        for name in (*self.statistics, *self.counters):
            shape = (capacity, len(self.arms)) if name in self.statistics else (capacity,)
            grown = np.full(shape, self._prior(name))
            old = getattr(self, name, None)
            if old is not None:
                grown[: len(old)] = old
            setattr(self, name, grown)

    clock: FloatArray

    def _to_reward(self, unit: FloatArray) -> FloatArray:
        """[0, 1] back to the reward's own unit."""
        low, high = self.reward_range
        return low + (high - low) * unit

    # ---- state

    def state_dict(self) -> dict[str, Any]:
        """JSON-able: arms, contexts, statistics, open tickets, generator. `json.dumps` of it is `to_json()`."""
        used = len(self.rows)
        return {
            "kind": type(self).__name__,
            "settings": {name: getattr(self, name) for name in self.settings},
            "reward_range": list(self.reward_range),
            "floor": self.floor,
            "arms": self.arms,
            "contexts": list(self.rows),
            "arrays": {name: getattr(self, name)[:used].tolist() for name in (*self.statistics, *self.counters)},
            "pending": [[ticket, *pending] for ticket, pending in self.pending.items()],
            "next_ticket": self.next_ticket,
            "rng": self.rng.bit_generator.state,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`: continues with the same draws. Raises ValueError for another kind of bandit."""
        if state["kind"] != type(self).__name__:
            raise ValueError(f"state of a {state['kind']}, not of a {type(self).__name__}")
        for name in self.settings:
            setattr(self, name, state["settings"][name])
        self.reward_range, self.floor = tuple(state["reward_range"]), state["floor"]
        self.arms = [_freeze(arm) for arm in state["arms"]]
        self.rows = {_freeze(key): row for row, key in enumerate(state["contexts"])}
        for name in (*self.statistics, *self.counters):
            self.__dict__.pop(name, None)
        self._allocate(max(8, len(self.rows)))
        for name, values in state["arrays"].items():
            if values:
                getattr(self, name)[: len(values)] = values
        self.pending = {t[0]: Pending(t[1], _freeze(t[2]), t[3], t[4], t[5]) for t in state["pending"]}
        self.next_ticket = state["next_ticket"]
        self.rng.bit_generator.state = state["rng"]

    def to_json(self) -> str:
        """The whole state as JSON text (floats round-trip exactly)."""
        return json.dumps(self.state_dict())

    @classmethod
    def from_json(cls, text: str) -> Bandit:
        """A bandit of this class from `to_json`."""
        state = json.loads(text)
        bandit = cls(len(state["arms"]))
        bandit.load_state_dict(state)
        return bandit
