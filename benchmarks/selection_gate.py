"""Does natural selection pay? Whole sessions beside their twins, on a made-up market with an edge and on one without.

    python benchmarks/selection_gate.py [--planted 10] [--null 20] [--every 720] [--generations 20] [--after 10] [--size 200]

For each seed three sessions trade the same candles from the same founders, with the defaults of the config: *evolving*;
*frozen*, whose founders stay for ever; *random*, which replaces as many agents in each generation, drawn by lot, by
newborns that nobody bred. After `--generations` nothing is selected any more, and the profit on the candles that follow
(`--after` further generations' length) is compared: no choice has seen them. Growth is the logarithm of equity's.

Promised: with an edge planted, evolving is above both twins and the 95 % intervals of the mean growth over seeds do not
touch; without an edge, in at most one seed evolving is significantly above both twins (one-sided, paired days, stationary
bootstrap; the larger of the two p-values, Holm over seeds). Single comparisons are printed too: without an edge whoever trades
less loses less to costs, so being above one twin is not yet an edge.
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import dataclass, field

import numpy as np
import structlog
from scipy import stats as distributions

from trader.core import rng
from trader.core.clock import Level, LevelClock
from trader.core.config import Config, load
from trader.core.rng import Stream
from trader.core.rows import EQUITY, Phase
from trader.lab.stats import holm
from trader.report.intervals import draws, rule
from trader.session.composition import archetype_numbers
from trader.session.engine import Engine
from trader.session.feeds import make_feed
from trader.session.selection import SelectionLevel

KINDS = ("evolving", "frozen", "random")
DAY = 24


@dataclass
class EquityOnly:
    """A sink that keeps the equity of every frame, in 1e-8, and forgets the rest."""

    parts: list = field(default_factory=list)

    def write(self, table, values):
        if table == "equity":
            self.parts.append(values[:, EQUITY.position("equity")].astype(float))

    def write_text(self, table, values):
        pass


class ByLot(SelectionLevel):
    """Replaces as many agents as natural selection would, whoever they are, by agents that nobody bred."""

    rounds = 0

    def _ranking(self, fitness, eligible):  # noqa: ARG002 - a lot looks at nothing
        self.rounds += 1
        lots = rng.uniform(self._seed, Stream.CONTROL, self.rounds, 1_000_000 + np.arange(len(eligible)), 0)
        return np.where(eligible, lots, np.nan)


@dataclass(frozen=True)
class Outcome:
    """growth: logarithm of equity's growth after the last generation; days: the same day by day; learning: before it."""

    growth: float
    days: np.ndarray
    learning: float
    trades: int


def twin(kind: str, seed: int, mode: str, chosen: argparse.Namespace) -> Outcome:
    """One whole session."""
    frames = chosen.every * (chosen.generations + chosen.after)
    sets = [
        'feed.kind="synthetic"', f'feed.synthetic.mode="{mode}"', f"session.seed={seed}", f"session.candles={frames}",
        f"population.size={chosen.size}", f"levels.evolution.every={chosen.every}", "engine.threads=1",
        *(f"levels.{name}.enabled=false" for name in ("bandits", "self_modifier", "calibration")),  # selection alone
    ]  # fmt: skip
    sets += {"frozen": ["levels.evolution.enabled=false"], "random": ["levels.evolution.immigrants=1.0"]}.get(kind, [])
    config = load(None, sets)
    feed, sink = make_feed(config), EquityOnly()
    engine = Engine(config, feed.instruments, sink)
    if kind == "random":
        engine.levels = tuple(
            _by_lot(config, engine) if level.spec.name == "evolution" else level for level in engine.levels
        )
    selecting = chosen.every * chosen.generations
    for block in feed.blocks(chosen.every):
        first = 0
        while first < len(block) and engine.frame < frames:
            warming = int((block.phase[first:] == int(Phase.WARMUP)).sum())
            length = warming or min(len(block) - first, chosen.every - engine.frame % chosen.every)
            engine.advance(block[first : first + length])
            first += length
            if engine.frame == selecting and not warming:
                _stop_selecting(engine)
        if engine.frame >= frames:
            break
    engine.close()
    equity = np.concatenate(sink.parts)
    logs = np.log(np.maximum(equity, 1.0))
    after = logs[selecting - 1 :: DAY]
    return Outcome(
        float(logs[-1] - logs[selecting - 1]),
        np.diff(after),
        float(logs[selecting - 1] - logs[0]),
        engine.counts.trades,
    )


def _by_lot(config: Config, engine: Engine) -> ByLot:
    return ByLot(config, len(engine.instruments), len(config.feed.timeframes), archetype_numbers(config))


def _stop_selecting(engine: Engine) -> None:
    engine.levels = tuple(level for level in engine.levels if level.spec.name != "evolution")
    engine.clock = LevelClock(tuple(Level(level.spec.name, level.spec.every) for level in engine.levels))


def outcomes(mode: str, seeds: range, chosen: argparse.Namespace) -> dict[str, list[Outcome]]:
    """All sessions of a mode, each seed printed as it ends."""
    found: dict[str, list[Outcome]] = {kind: [] for kind in KINDS}
    for seed in seeds:
        for kind in KINDS:
            found[kind].append(twin(kind, seed, mode, chosen))
        told = "  ".join(
            f"{kind} {found[kind][-1].growth:+.4f} (learning {found[kind][-1].learning:+.3f}, "
            f"{found[kind][-1].trades:,} trades)" for kind in KINDS
        )  # fmt: skip
        print(f"{mode} seed {seed}: {told}", flush=True)
    return found


def interval(values: np.ndarray) -> tuple[float, float]:
    """95 % interval of a mean over seeds (Student)."""
    reach = distributions.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - reach), float(values.mean() + reach)


def chance(ours: np.ndarray, theirs: np.ndarray, seed: int) -> float:
    """One-sided p-value of ours > theirs, days in pairs: stationary bootstrap of the centred difference."""
    difference = ours - theirs
    centred = difference - difference.mean()
    means = np.concatenate([centred[index].mean(axis=1) for index in draws(len(centred), rule(difference), seed)])
    return float((1 + np.count_nonzero(means >= difference.mean())) / (1 + len(means)))


def planted_gate(found: dict[str, list[Outcome]]) -> bool:
    """Print the intervals; whether evolving stands apart above both twins."""
    bounds = {}
    for kind in KINDS:
        growth = np.array([outcome.growth for outcome in found[kind]])
        bounds[kind] = interval(growth)
        print(
            f"  {kind:<9} mean growth {growth.mean():+.4f}, 95 % interval {bounds[kind][0]:+.4f} to {bounds[kind][1]:+.4f}"
        )
    return all(bounds["evolving"][0] > bounds[kind][1] for kind in KINDS[1:])


def significant(found: dict[str, list[Outcome]]) -> int:
    """Print it and return in how many seeds evolving is above both twins, at 5 % after Holm."""
    p_values = {
        kind: np.array([
            chance(ours.days, theirs.days, seed)
            for seed, (ours, theirs) in enumerate(zip(found["evolving"], found[kind], strict=True))
        ])
        for kind in KINDS[1:]
    }  # fmt: skip
    p_values["both"] = np.maximum(p_values["frozen"], p_values["random"])
    for kind, values in p_values.items():
        adjusted = holm(values)
        print(
            f"  above {kind:<7} smallest p {values.min():.4f}, after Holm {adjusted.min():.4f}; "
            f"significant {int((adjusted < 0.05).sum())} of {len(values)}"
        )
    return int((holm(p_values["both"]) < 0.05).sum())


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser()
    for name, default in (
        ("planted", 10),
        ("null", 20),
        ("every", 720),
        ("generations", 20),
        ("after", 10),
        ("size", 200),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args(words)


def main() -> None:
    """Print both gates."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    chosen = arguments()
    if chosen.planted:
        apart = planted_gate(outcomes("planted", range(1, 1 + chosen.planted), chosen))
        print(
            f"planted edge, {chosen.planted} seeds: evolving above both twins, intervals apart: {apart}; promised True"
        )
    if chosen.null:
        count = significant(outcomes("null", range(1, 1 + chosen.null), chosen))
        print(f"null market, {chosen.null} seeds: significant after Holm {count}; promised at most 1")


if __name__ == "__main__":
    main()
