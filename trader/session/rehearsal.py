"""Everything a session will call is compiled, loaded and tried before its first candle: no candle waits for that.

`compiling.py` takes the functions of every session through two candles. Levels have compiled functions, networks and
libraries of their own; they are tried by a small session of the same levels over made-up candles, whose clocks are fast
enough for each to update, and by one training of each policy with each optimizer. Nothing of it is kept, nothing of it
is random in a way that another could notice, and once per process is enough for sessions with the same levels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trader.core import rng
from trader.core.config import ExchangeConfig, FeedConfig, PoolConfig
from trader.core.rng import Stream
from trader.core.rows import Phase
from trader.core.timeframes import milliseconds
from trader.core.types import Block, Instrument
from trader.session.compiling import compile_kernels
from trader.session.composition import archetypes_of, midwife_of
from trader.session.engine import Engine
from trader.session.selection import SelectionLevel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trader.core.config import Config

_HOUR_MS: Final = milliseconds("1h")
_WARMUP: Final = 400
_TRADED: Final = 160
_GENERATION: Final = 130
"""Hours: more than the five days after which an agent is judged."""
_PERIOD: Final = 8
_AGENTS: Final = 64
_BIRTHS: Final = 40
"""Enough for every policy to train on."""

_done: set[str] = set()


class _Nowhere:
    """A sink that lets all rows go."""

    def write(self, table: str, values: NDArray[np.int64]) -> None:
        """Rows of a numeric table."""

    def write_text(self, table: str, values: Any) -> None:
        """Rows of a text table."""


def rehearse(config: Config) -> None:
    """Make ready all that a session of `config` calls.

    Raises:
        UserError: archetypes that cannot be used.
    """
    compile_kernels()
    small = _small(config)
    on = [name for name in type(small.levels).model_fields if getattr(small.levels, name).enabled]
    key = f"{on} {archetypes_of(small)} {small.population.plugins} {small.levels.bandits.forgetting}"
    if key in _done:
        return
    _done.add(key)
    engine = Engine(small, (Instrument("REHEARSAL/USDT", perpetual=True),), _Nowhere())
    for level in engine.levels:
        if isinstance(level, SelectionLevel):
            level.tells = False
    try:
        block = _candles()
        engine.advance(block[: _WARMUP + _TRADED])
        for frame in range(_WARMUP + _TRADED, len(block)):  # a living session takes them one by one
            engine.advance(block[frame : frame + 1])
        engine.finish()
    finally:
        engine.close()
    _train(small)


def _small(config: Config) -> Config:
    """The same levels with fast clocks, few agents, one market."""
    levels = config.levels
    fast: dict[str, Any] = {}
    for name in type(levels).model_fields:
        section = getattr(levels, name)
        changes: dict[str, Any] = {"every": _GENERATION if name == "evolution" else _PERIOD}
        if name == "evolution":
            changes |= {"policy_births": 1.0, "cull": 0.5}
        if name == "self_modifier":
            changes |= {"window": 4 * _PERIOD, "trial": _PERIOD}
        fast[name] = section.model_copy(update=changes)
    population = config.population.model_copy(update={"size": _AGENTS})
    if config.feed.signals is not None:  # nobody sends any here
        population = population.model_copy(update={"archetypes": None})
    return config.model_copy(
        update={
            "session": config.session.model_copy(update={"seed": 0}),
            "feed": FeedConfig(kind="synthetic", base_timeframe="1h", timeframes=("1h",)),
            "exchange": ExchangeConfig(funding=config.exchange.funding),
            "pool": PoolConfig(),  # whatever the session's own capital: here nothing may be too much or too little
            "population": population,
            "levels": levels.model_copy(update=fast),
            "engine": config.engine.model_copy(update={"threads": 1}),
        }
    )


def _candles() -> Block:
    """A lively random walk with funding every eighth hour."""
    count = _WARMUP + _TRADED + 2 * _PERIOD
    drawn = rng.uniform(0, Stream.PATH, 0, np.arange(count)[:, None], np.arange(4)[None, :])
    close = 100.0 * np.exp(np.cumsum(0.03 * (drawn[:, 0] - 0.5) + 0.004 * np.sin(np.arange(count) / 15.0)))
    opened = np.concatenate(([100.0], close[:-1]))
    high = np.maximum(opened, close) * (1.0 + 0.01 * drawn[:, 1])
    low = np.minimum(opened, close) * (1.0 - 0.01 * drawn[:, 2])
    candles = np.stack((opened, high, low, close, 1e4 * (1.0 + drawn[:, 3])), axis=1)[:, None]
    times = _HOUR_MS * np.arange(count)
    rate = np.where(np.arange(count) % 8 == 0, 1e-4, np.nan)[:, None]
    phase = np.where(np.arange(count) < _WARMUP, int(Phase.WARMUP), int(Phase.REPLAY)).astype(np.int64)
    return Block(
        times, candles, np.ones((count, 1), np.bool_), rate, np.full((count, 1), np.nan), np.zeros((count, 1), np.int64),
        phase,
    )  # fmt: skip


def _train(config: Config) -> None:
    """Every policy decides and learns once with every optimizer."""
    midwife = midwife_of(config)
    if midwife is None:
        return
    from rl.teachers import OPTIMIZERS, Transition  # torch: here only where a policy is on

    states = rng.uniform(
        0, Stream.BIRTH, 0, np.arange(_BIRTHS)[:, None], np.arange(midwife.problem.size)[None, :]
    ).astype(np.float32)
    for teacher in midwife.teachers.values():
        for optimizer in OPTIMIZERS:
            actions, _, logs = teacher.choose(states)
            for i in range(_BIRTHS):
                teacher.keep(
                    Transition(states[i], int(actions[i]), 0.1 * (i % 3), states[i - 1], float(logs[i])), own=True
                )
            teacher.train(optimizer)
        teacher.load(teacher.tree())
