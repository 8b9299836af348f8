"""Many sessions of one plan: run, or found finished on disk, with progress, and stopped between two blocks if asked."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import structlog

from trader.core import wall
from trader.core.config import config_hash
from trader.core.errors import UserError
from trader.core.money import to_amount
from trader.lab.history import History, load_history
from trader.lab.kept import DEFAULT, Folder, folder_of
from trader.lab.simulation import Simulation, Stopped, simulate
from trader.lab.variants import Variant
from trader.lab.windows import FEWEST_STEPS, Lengths, lengths
from trader.report.series import EquityCurve, step_of
from trader.session.composition import archetypes_of, market_vectors
from trader.session.engine import Engine
from trader.session.summary import Progress, StopFlag
from trader.store import trials

if TYPE_CHECKING:
    from trader.core.config import Config
    from trader.store.store import Store

log = structlog.get_logger("evaluate")

Report = Callable[[Progress], None] | None


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the caller wants beside the config.

    url: database with the registry of trials; folder: where finished sessions are kept; open_holdout: judge the last part
    too, and have that counted; progress: called as sessions advance; stop: looked at as they do.
    """

    url: str
    folder: Path = DEFAULT
    open_holdout: bool = False
    progress: Report = None
    stop: StopFlag | None = None

    def stopped(self) -> bool:
        """Whether somebody asked for a stop."""
        return self.stop is not None and self.stop.requested


class Sessions:
    """Runs the sessions of a plan, or finds them finished, and tells how far they are."""

    def __init__(self, config: Config, history: History, wishes: Wishes) -> None:
        self._history = history
        self._wishes = wishes
        self._folder: Folder = folder_of(wishes.folder, config, history)
        self._done = 0
        self._total = 0

    def run(self, plan: list[Variant]) -> dict[str, Simulation]:
        """Every session of the plan by name."""
        frames = len(self._history.block)
        self._total = frames * len(plan)
        found: dict[str, Simulation] = {}
        made: dict[tuple[str, float], Simulation] = {}
        for place, variant in enumerate(plan):
            self._done = place * frames
            key = config_hash(variant.config), variant.multiple  # a frozen twin may be the session without evolution
            made[key] = found[variant.name] = made[key] if key in made else self._one(variant)
        return found

    def _one(self, variant: Variant) -> Simulation:
        kept = self._folder.load(variant.name)
        if kept is not None:
            return kept
        log.info("session", kind=variant.kind, seed=variant.seed)
        history = replace(self._history, instruments=variant.instruments(self._history.instruments))
        simulation = simulate(variant.config, history, self._advanced)
        self._folder.save(variant.name, simulation)
        return simulation

    def _advanced(self, frames: int, engine: Engine) -> None:
        if self._wishes.stopped():
            raise Stopped
        if self._wishes.progress is not None:
            counts = engine.counts
            equity = engine.equity() if counts.frames else to_amount(engine.config.pool.capital)
            self._wishes.progress(Progress(self._done + frames, self._total, counts.trades, equity, counts.last_ms))


def checked_history(config: Config, wishes: Wishes) -> tuple[History, Lengths]:
    """The whole history and its parts, with all that can be wrong looked at before anything is written.

    Raises:
        UserError: a database without a registry of trials, candles that are missing or too few, archetypes or instruments
            that cannot be used, a hold-out that cannot be judged.
    """
    if wishes.url == "memory":
        raise UserError('store.url: "memory" has no registry of trials; name a database with --db')
    archetypes_of(config)
    whole = load_history(config)
    market_vectors(config, whole.instruments)
    parts = lengths(config.evaluation, len(whole))
    nothing = np.zeros(parts.development)
    step = step_of(EquityCurve(whole.times[: parts.development], nothing, 0.0, whole.base_ms))
    tested = parts.development - parts.train - parts.embargo
    _enough(tested * whole.base_ms // step, f"evaluation: {tested} candles out of sample")
    if wishes.open_holdout:  # an opening cannot be taken back
        held = parts.holdout - parts.embargo
        _enough(held * whole.base_ms // step - 1, f"evaluation.holdout: {parts.holdout} candles")
    return whole, parts


def _enough(steps: int, what: str) -> None:
    if steps < FEWEST_STEPS:
        raise UserError(
            f"{what} are {max(steps, 0)} whole steps, and at least {FEWEST_STEPS} are needed: give more candles"
        )


def enter_trials(
    store: Store, config: Config, history: History, plan: list[Variant], ratios: Mapping[str, float]
) -> None:
    """Enter every session of a plan in the registry. ratios: Sharpe ratio of a step, out of sample, by session's name."""
    data, started = history.trial_data(config.feed.timeframes), wall.utc_text()
    for each in plan:
        ratio = ratios.get(each.name, math.nan)
        trials.register(
            store, data, config_hash=config_hash(each.config), purpose=each.purpose, seed=each.seed, started_utc=started,
            sharpe=ratio if math.isfinite(ratio) else None,
        )  # fmt: skip


def curve_of(simulation: Simulation, history: History) -> EquityCurve:
    """A simulation's equity."""
    return EquityCurve(simulation.times, simulation.equity, simulation.start, history.base_ms)
