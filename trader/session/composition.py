"""What a configuration asks for, put together: rules of the markets, archetypes in use, levels.

Levels whose libraries take long to import (torch, the bandits') are imported here and only where they are on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from agents.plugins import known
from agents.signals import SIGNAL
from trader.broker.market import ExchangeRules, Path, market_vector
from trader.core import rng
from trader.core.rng import Stream
from trader.core.timeframes import milliseconds
from trader.core.types import UserError
from trader.session.calibration import CalibrationLevel
from trader.session.grants import GrantLevel
from trader.session.selection import SelectionLevel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trader.core.config import Config
    from trader.core.types import Instrument
    from trader.session.bandits import BanditLevel
    from trader.session.births.midwife import Midwife
    from trader.session.levels import SessionLevel


def market_vectors(config: Config, instruments: tuple[Instrument, ...]) -> list[NDArray[np.int64]]:
    """The rules of every market.

    Raises:
        UserError: an instrument that cannot be counted in 64-bit integers.
    """
    exchange = config.exchange
    return [
        market_vector(
            instrument,
            ExchangeRules(
                participation=exchange.participation,
                half_spread=exchange.slippage,
                impact=exchange.impact,
                path=Path[exchange.path.upper()],
                path_seed=int(rng.hash_bits(config.session.seed, Stream.PATH, 0, m, 0)) >> 2,
                latency_ms=exchange.latency_candles * milliseconds(config.feed.base_timeframe),
            ),
        )
        for m, instrument in enumerate(instruments)
    ]


def archetypes_of(config: Config) -> tuple[str, ...]:
    """Names of the archetypes in use.

    Raises:
        UserError: the configuration names one that does not exist, or a plugin that cannot be used.
    """
    there = known(config.population.plugins)
    wanted = config.population.archetypes or tuple(
        name for name in there if name != SIGNAL or config.feed.signals is not None
    )
    for name in wanted:
        if name not in there:
            raise UserError(f"population.archetypes: there is no archetype {name!r}; there are {', '.join(there)}")
    return tuple(wanted)


def midwife_of(config: Config) -> Midwife | None:
    """Who decides births, if a policy is on."""
    if not policies_on(config):
        return None
    from trader.session.births.midwife import Midwife  # torch is imported only where it is needed

    return Midwife(config, *archetypes_by_number(config))


def policies_on(config: Config) -> bool:
    """Whether a policy decides births."""
    levels = config.levels
    return levels.evolution.enabled and (levels.dqn.enabled or levels.a3c.enabled or levels.ppo.enabled)


def archetypes_by_number(config: Config) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Numbers of the archetypes in use, ascending, and their names."""
    there = list(known(config.population.plugins))
    numbers = sorted((there.index(name), name) for name in archetypes_of(config))
    return tuple(number for number, _ in numbers), tuple(name for _, name in numbers)


def archetype_numbers(config: Config) -> NDArray[np.int64]:
    """Numbers of the archetypes in use, as they stand in the rows."""
    there = list(known(config.population.plugins))
    return np.array([there.index(name) for name in archetypes_of(config)], np.int64)


def levels_of(
    config: Config, symbols: tuple[str, ...], rules: list[NDArray[np.int64]], tiers: list[NDArray[np.int64]],
    midwife: Midwife | None,
) -> tuple[SessionLevel, ...]:  # fmt: skip
    """The enabled levels, fast to slow. symbols, rules (`market_vectors`), tiers: one for each market."""
    levels: list[SessionLevel] = []
    markets, archetypes = len(symbols), tuple(known(config.population.plugins).values())
    timeframes_ms = tuple(milliseconds(name) for name in config.feed.timeframes)
    if config.levels.hope.enabled:
        from trader.session.sequence import SequenceLevel  # torch is imported only where it is needed

        levels.append(SequenceLevel(config, symbols))
    if config.levels.memory.enabled:
        from trader.session.recollection import MemoryLevel

        levels.append(MemoryLevel(config, markets))
    if config.levels.calibration.enabled:
        levels.append(CalibrationLevel(config, len(archetypes)))
    bandits: BanditLevel | None = None
    if config.levels.bandits.enabled:
        from trader.session.bandits import BanditLevel  # its library takes a while to import

        bandits = BanditLevel(config, markets, timeframes_ms)
        levels.append(bandits)
    if config.levels.self_modifier.enabled:
        from trader.session.modifier import SelfModifierLevel

        levels.append(SelfModifierLevel(config, rules, tiers, archetypes, timeframes_ms))
    if config.levels.pool.enabled:
        levels.append(GrantLevel(config))
    if config.levels.evolution.enabled:
        levels.append(SelectionLevel(config, markets, len(timeframes_ms), archetype_numbers(config), midwife, bandits))
    if midwife is not None:
        from trader.session.births.level import PolicyLevel

        levels.extend(PolicyLevel(name, config, midwife) for name in midwife.teachers)
    return tuple(sorted(levels, key=lambda level: level.spec.every))
