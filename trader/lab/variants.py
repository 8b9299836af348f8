"""The sessions of an evaluation: the population with several seeds, its twins, other costs, other paths inside a candle.

Each variant is a config of its own, so it has its own hash in the registry of trials. *Frozen* twin: nothing learns but
the division of the pool; genomes stay the founders'. *Random* twin: as many births and deaths as natural selection makes,
but drawn by lot (`levels.evolution.blind`). Shadows inside a session (`population.controls`) have no capital, so a whole
population of them would be worth nothing: that is why twins are sessions of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from trader.core.config import config_hash
from trader.session.path_error import RULES
from trader.store import trials

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import BaseModel

    from trader.core.config import Config
    from trader.core.types import Instrument

MAIN: Final = "population"
FROZEN, RANDOM = "frozen", "random"
TWINS: Final = (FROZEN, RANDOM)
LEARNED: Final = ("hope", "memory", "dqn", "a3c", "ppo")
"""Levels that a twin does without."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One session: its kind and what it varies, its config, the multiple of fees in its instruments, its purpose."""

    kind: str
    seed: int
    config: Config
    multiple: float = 1.0
    purpose: str = trials.CONTROL

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.kind}-{self.seed}"

    def instruments(self, own: tuple[Instrument, ...]) -> tuple[Instrument, ...]:
        """The instruments with this variant's fees."""
        if self.multiple == 1.0:
            return own
        return tuple(
            replace(
                item, maker_fee=round(item.maker_fee * self.multiple), taker_fee=round(item.taker_fee * self.multiple)
            )
            for item in own
        )


def variants(config: Config) -> list[Variant]:
    """All sessions, the population's own first."""
    first = config.session.seed
    seeds = [changed(config, {"session.seed": first + k}) for k in range(config.evaluation.seeds)]
    found = [Variant(MAIN, each.session.seed, each, purpose=trials.EVALUATE) for each in seeds]
    for each in seeds:
        found += twins(each)
        found += list(_costs(each))
    found += [
        Variant(path_kind(rule), first, changed(config, {"exchange.path": rule}))
        for rule in RULES
        if rule != config.exchange.path
    ]
    return found


def twins(config: Config) -> list[Variant]:
    """The twins of one session; none that would be the session itself, because nothing learns in it."""
    own = config_hash(config)
    made = [Variant(twin, config.session.seed, changed(config, _twin(config, twin))) for twin in TWINS]
    return [twin for twin in made if config_hash(twin.config) != own]


def cost_kind(multiple: float) -> str:
    """Kind of a session under other costs."""
    return MAIN if multiple == 1.0 else f"costs-{multiple:g}"


def path_kind(rule: str) -> str:
    """Kind of a session under another rule for the way inside a candle."""
    return f"path-{rule}"


def _twin(config: Config, twin: str) -> dict[str, Any]:
    changes: dict[str, Any] = {f"levels.{name}.enabled": False for name in LEARNED}
    if twin == FROZEN:
        changes["levels.evolution.enabled"] = False
    elif config.levels.evolution.enabled:
        changes["levels.evolution.blind"] = True
    return changes


def _costs(config: Config) -> Iterator[Variant]:
    exchange = config.exchange
    for multiple in config.evaluation.costs:
        if multiple == 1.0:
            continue
        scaled = {
            "exchange.slippage": min(exchange.slippage * multiple, 1.0),
            "exchange.fees.maker": min(exchange.fees.maker * multiple, 1.0),
            "exchange.fees.taker": min(exchange.fees.taker * multiple, 1.0),
        }
        yield Variant(cost_kind(multiple), config.session.seed, changed(config, scaled), multiple)


def changed(config: Config, changes: Mapping[str, Any]) -> Config:
    """The config with dotted keys replaced."""
    for dotted, value in changes.items():
        config = _with(config, dotted.split("."), value)
    return config


def _with(section: Any, key: list[str], value: Any) -> Any:
    head, *rest = key
    inner: BaseModel | Any = _with(getattr(section, head), rest, value) if rest else value
    return section.model_copy(update={head: inner})
