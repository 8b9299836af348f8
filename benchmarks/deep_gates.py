"""Every level on: how much of a planted edge is earned, what is found where nothing is, and whether births are learned.

    python benchmarks/deep_gates.py planted [--seeds 0-9]
    python benchmarks/deep_gates.py null [--seeds 0-19] [--candles 6000]
    python benchmarks/deep_gates.py births DATA [--seeds 0-4] [--start 2019-01-01] [--end 2021-12-31]

Options of all: `--config`, `--candles`, `--size`, `--set KEY=VALUE ...`; the seed is of the population and, on a made-up
market, of its candles.

planted  Each seed is a market of its own (`configs/planted.toml`); its last fifth, the hold-out, is not traded. Three sessions
         on the same candles: the population, and its frozen and random twins (`trader.lab.variants`). Profit per unit of gross
         exposure out of sample, as a share of the oracle's. Promised: a mean share of at least 50 %, and its 95 % interval
         over seeds (Student) apart from those of both twins. Growth out of sample (logarithm of equity) stands beside.
null     The same on a market without an edge: the session, and without each level in turn. A level is found significant if its
         steps with it beat those without it (one-sided SPA of one strategy, stationary bootstrap), Holm over levels.
         Promised: a level is found in at most one of 20 seeds. What is found to do harm is counted beside.
births   Rewards of births whose first generation was judged, on real candles, or without DATA on the config's own; `planted`
         tells them too. Each policy, all policies together (learned), and the immigrants, who are the same births decided by
         lot. The interval is over seeds, paired: the mean of a seed's learned births minus the mean of its immigrants, of
         all, of the later half, and of those judged at the same time (a bandit prefers who did well, and times differ).
"""

from __future__ import annotations

import argparse
import logging
from collections import defaultdict
from typing import Any

import numpy as np
import structlog
from scipy import stats as distributions

from trader.core.config import Config, load
from trader.core.rows import TABLES
from trader.lab import judgement
from trader.lab.ablate import levels_on
from trader.lab.flows import KEPT, Rows
from trader.lab.history import History, load_history
from trader.lab.oracle_share import oracle_share
from trader.lab.sessions import curve_of
from trader.lab.simulation import Simulation, simulate
from trader.lab.stats import holm, superior_ability
from trader.lab.variants import MAIN, changed, twins
from trader.lab.windows import Grid, grid, lengths, split
from trader.session.births.midwife import DECIDERS

LEVEL = 0.05
IMMIGRANT = DECIDERS.index("immigrant")


def interval(values: Any) -> str:
    """Mean and Student's 95 % interval over seeds."""
    known = np.asarray(values, float)
    known = known[np.isfinite(known)]
    if len(known) < 2:
        return f"{known.mean():+.4f}" if len(known) else "unknown"
    half = float(distributions.t.ppf(0.975, len(known) - 1)) * known.std(ddof=1) / np.sqrt(len(known))
    return f"{known.mean():+.4f} [{known.mean() - half:+.4f}, {known.mean() + half:+.4f}] ({len(known)} seeds)"


class Births:
    """Rewards by decider and seed, early and late half of each session's births apart."""

    def __init__(self) -> None:
        self._means: dict[str, list[float]] = defaultdict(list)
        self._counts: dict[str, int] = defaultdict(int)

    def add(self, rows: Rows) -> None:
        """One session's rows of the table `policy`."""
        place, table = TABLES["policy"].position, rows.table("policy")
        decider, reward = table[:, place("policy")], table[:, place("reward")].view(np.float64)
        late = np.arange(len(table)) >= len(table) // 2
        groups = {name: decider == code for code, name in enumerate(DECIDERS)}
        groups["learned"] = decider != IMMIGRANT
        self._means["same generation"].append(_paired(table[:, place("time_ms")], decider != IMMIGRANT, reward))
        for name, mine in groups.items():
            self._counts[name] += int(mine.sum())
            self._means[name].append(_mean(reward[mine]))
            self._means[f"{name} late"].append(_mean(reward[mine & late]))

    def tell(self) -> None:
        """Means and paired differences."""
        for name in (*DECIDERS, "learned"):
            print(f"births {name:10s} {self._counts[name]:6,}: reward {interval(self._means[name])}")
        for late in ("", " late"):
            pairs = np.array(self._means[f"learned{late}"]) - np.array(self._means[f"immigrant{late}"])
            print(f"births learned minus immigrants{late or ' all'}: {interval(pairs)}", flush=True)
        print(f"births learned minus immigrants judged at the same time: {interval(self._means['same generation'])}")


def _paired(judged_ms: np.ndarray, learned: np.ndarray, reward: np.ndarray) -> float:
    """Mean over judgements of (mean of the learned minus mean of the immigrants), by the number of immigrants judged."""
    gaps, weights = [], []
    for moment in np.unique(judged_ms):
        here = judged_ms == moment
        if (here & learned).any() and (here & ~learned).any():
            gaps.append(reward[here & learned].mean() - reward[here & ~learned].mean())
            weights.append(int((here & ~learned).sum()))
    return float(np.average(gaps, weights=weights)) if gaps else float("nan")


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def steps_of(config: Config, history: History, main: Simulation) -> Grid:
    """The steps of a development history, as `trader evaluate` cuts them (its hold-out was cut off before)."""
    whole = lengths(config.evaluation, round(len(history) / (1.0 - config.evaluation.holdout)))
    return grid(curve_of(main, history), split(history, whole, [main]))


def development(config: Config) -> History:
    """All candles but the hold-out."""
    whole = load_history(config)
    return whole.until(lengths(config.evaluation, len(whole)).development)


def planted(options: argparse.Namespace) -> None:
    """Shares of the oracle's profit, growth and births."""
    shares, growths, births = defaultdict(list), defaultdict(list), Births()
    for seed in options.seeds:
        config = configured(options, seed, [])
        history, rows = development(config), Rows((*KEPT, "policy"))
        kinds = {MAIN: config, **{twin.kind: twin.config for twin in twins(config)}}
        steps, line = None, f"planted seed {seed}:"
        for kind, each in kinds.items():
            found = simulate(each, history, rows=rows if kind == MAIN else None)
            steps = steps_of(config, history, found) if steps is None else steps
            returns = steps.returns(curve_of(found, history))
            told = oracle_share(config, history, steps, [found], returns)
            assert told is not None
            shares[kind].append(told["share"])
            growths[kind].append(float(np.log1p(returns[steps.test]).sum()))
            line += f" {kind} {told['share']:+.3f} of the oracle, growth {growths[kind][-1]:+.4f},"
            line += f" exposure {told['mean_exposure']:.4f}, {found.seconds:.0f} s;"
        births.add(rows)
        print(line, flush=True)
    for kind in shares:
        print(f"{kind}: share of the oracle {interval(shares[kind])}, growth {interval(growths[kind])}")
    for kind in list(shares)[1:]:
        print(f"population minus {kind}: growth {interval(np.array(growths[MAIN]) - np.array(growths[kind]))}")
    births.tell()


def null(options: argparse.Namespace) -> None:
    """Levels that are found to be worth something where nothing can be."""
    good, bad = [], []
    for seed in options.seeds:
        config = configured(options, seed, ["feed.synthetic.mode=null"])
        history, names = development(config), levels_on(config)
        main = simulate(config, history)
        steps = steps_of(config, history, main)
        own = steps.returns(curve_of(main, history))[steps.test]
        better, worse = [], []
        for name in names:
            other = simulate(changed(config, {f"levels.{name}.enabled": False}), history)
            without = steps.returns(curve_of(other, history))[steps.test]
            better.append(superior_ability(own[:, None], without, seed=judgement.SEED).p_value)
            worse.append(superior_ability(without[:, None], own, seed=judgement.SEED).p_value)
        found = [name for name, p in zip(names, holm(np.array(better)), strict=True) if p < LEVEL]
        harm = [name for name, p in zip(names, holm(np.array(worse)), strict=True) if p < LEVEL]
        good.append(bool(found))
        bad.append(bool(harm))
        smallest = min(zip(better, names, strict=True))
        print(
            f"null seed {seed}: growth {np.log1p(own).sum():+.4f}, smallest p {smallest[0]:.4f} ({smallest[1]}), "
            f"significant after Holm: {', '.join(found) or 'none'}; harm: {', '.join(harm) or 'none'}",
            flush=True,
        )
    print(
        f"null market: a level found in {sum(good)} of {len(good)} seeds, harm in {sum(bad)}; at most 1 of 20 promised"
    )


def births(options: argparse.Namespace) -> None:
    """Newborns on real candles."""
    told = Births()
    for seed in options.seeds:
        config = configured(options, seed, [])
        history = load_history(config) if options.data else development(config)
        rows = Rows((*KEPT, "policy"))
        found = simulate(config, history, rows=rows)
        told.add(rows)
        print(
            f"real seed {seed}: {len(history):,} frames, {len(rows.table('policy')):,} births, {found.seconds:.0f} s",
            flush=True,
        )
    told.tell()


def configured(options: argparse.Namespace, seed: int, sets: list[str]) -> Config:
    """The config of a part, with what the command line says."""
    candles = [] if options.candles is None or options.data else [f"session.candles={options.candles}"]
    size = [] if options.size is None else [f"population.size={options.size}"]
    given: dict[str, Any] = {}
    if options.data:
        given = {
            "feed.kind": "replay",
            "feed.data": [options.data],
            "feed.start": options.start,
            "feed.end": options.end,
        }
    return load(
        options.config, [*sets, *candles, *size, *options.set, f"session.seed={seed}", "engine.threads=1"], given
    )


def numbers(text: str) -> list[int]:
    """`0-9` or `3,5,8`."""
    first, _, last = text.partition("-")
    return list(range(int(first), int(last) + 1)) if last else [int(part) for part in text.split(",")]


PARTS = {
    "planted": (planted, "configs/planted.toml", "0-9", None),
    "null": (null, "configs/planted.toml", "0-19", 6_000),
    "births": (births, "configs/replay.toml", "0-4", None),
}


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=list(PARTS))
    parser.add_argument("data", nargs="?")
    parser.add_argument("--seeds")
    parser.add_argument("--config")
    parser.add_argument("--candles", type=int)
    parser.add_argument("--size", type=int)
    parser.add_argument("--start", default="2019-01-01")
    parser.add_argument("--end", default="2021-12-31")
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    run, config, seeds, candles = PARTS[options.part]
    options.config = options.config or config
    options.seeds = numbers(options.seeds or seeds)
    options.candles = options.candles or candles
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    sizes = f"candles {options.candles or 'of the config'}, size {options.size or 'of the config'}"
    print(f"{options.part}: {options.config}, {sizes}, seeds {options.seeds}, set {options.set}", flush=True)
    run(options)


if __name__ == "__main__":
    main()
