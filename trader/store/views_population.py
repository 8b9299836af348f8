"""v_agent, v_fitness, v_level, v_funnel: the population and its learning;
v_policy, v_modification, v_bandit: what the levels tried.

v_agent counts an agent's closed trades (shadow trades of an unfunded agent are its own); fitness is the one at its
death, for the living the last one judged.
"""

from __future__ import annotations

from trader.core.rows import Cause, Fate, Operator, Parameter, Regime, Trigger
from trader.store.expressions import Dialect, Part, View, instrument_join, name_join


def agent(d: Dialect) -> View:
    """One row an agent, living or dead."""
    judged = "SELECT f.shrunk FROM fitness f WHERE f.run = b.run AND f.agent = b.agent ORDER BY f.seq DESC LIMIT 1"
    columns = (
        d.integer("run", "b.run"),
        d.integer("agent", "b.agent"),
        d.integer("parent_a", "NULLIF(b.parent_a, -1)"),
        d.integer("parent_b", "NULLIF(b.parent_b, -1)"),
        d.code("operator", "b.operator", Operator),
        d.named("archetype", "a", "b.archetype"),
        d.text("symbol", "i.symbol"),
        d.timeframe("timeframe", "b.timeframe"),
        *d.time("born_ms", "b.time_ms"),
        *d.time("died_ms", "d.time_ms"),
        d.code("cause", "d.cause", Cause),
        d.integer("generation", "b.generation"),
        d.number("fitness", f"COALESCE(d.fitness, ({judged}))"),
        d.integer("trades", "COALESCE(r.trades, 0)"),
        d.amount("pnl", "COALESCE(r.pnl, 0)"),
        d.text("genes", "b.genes"),
    )
    source = (
        f"birth b LEFT JOIN death d ON d.run = b.run AND d.agent = b.agent LEFT JOIN record r ON r.run = b.run"
        f" AND r.agent = b.agent {instrument_join('b')}"
        f" {name_join('a', 'archetype', 'b.run', 'b.archetype')}"
    )
    return View("v_agent", (Part(columns, source, "", "b.run", "b.seq"),))


def fitness(d: Dialect) -> View:
    """Every judgement of every generation."""
    columns = (
        d.integer("run", "f.run"),
        d.integer("agent", "f.agent"),
        d.integer("generation", "f.generation"),
        d.number("raw", "f.raw"),
        d.number("shrunk", "f.shrunk"),
        d.number("standard_error", "f.standard_error"),
        d.named("niche", "n", "f.niche"),
        d.integer("rank", "f.rank"),
        d.code("fate", "f.fate", Fate),
    )
    source = f"fitness f {name_join('n', 'niche', 'f.run', 'f.niche')}"
    return View("v_fitness", (Part(columns, source, "", "f.run", "f.seq"),))


def level(d: Dialect) -> View:
    """Every update of every level."""
    columns = (
        d.integer("run", "l.run"),
        d.integer("seq", "l.seq"),
        *d.time("time_ms", "l.time_ms"),
        d.text("level", "l.level"),
        d.integer("step", "l.step"),
        d.number("objective_before", "l.objective_before"),
        d.number("objective_after", "l.objective_after"),
        d.integer("kept", "l.kept"),
        d.text("detail", "l.detail"),
    )
    return View("v_level", (Part(columns, "level l", "", "l.run", "l.seq"),))


def funnel(d: Dialect) -> View:
    """What became of every decision, counted when the session ended."""
    columns = (
        d.integer("run", "f.run"),
        d.text("symbol", "i.symbol"),
        d.named("archetype", "a", "f.archetype"),
        d.named("stage", "n", "f.stage"),
        d.integer("count", "f.count"),
    )
    source = (
        f"funnel f {instrument_join('f')} {name_join('a', 'archetype', 'f.run', 'f.archetype')}"
        f" {name_join('n', 'stage', 'f.run', 'f.stage')}"
    )
    return View("v_funnel", (Part(columns, source, "", "f.run", "f.seq"),))


def modification(d: Dialect) -> View:
    """The self-modifier's trials, one row a gene, once the trial has ended."""
    columns = (
        d.integer("run", "m.run"),
        d.integer("agent", "m.agent"),
        *d.time("time_ms", "m.time_ms"),
        d.code("trigger", "m.trigger", Trigger),
        d.named("gene", "g", "m.gene"),
        d.number("before", "m.before"),
        d.number("after", "m.after"),
        d.number("confidence_before", "m.confidence_before"),
        d.number("confidence_after", "m.confidence_after"),
        d.number("expected", "m.expected"),
        d.number("realised", "m.realised"),
        d.integer("kept", "NULLIF(m.kept, -1)"),
        *d.time("adopted_ms", "m.adopted_ms"),
        d.integer("trial", "m.trial"),
    )
    source = f"modification m {name_join('g', 'gene', 'm.run', 'm.gene')}"
    return View("v_modification", (Part(columns, source, "", "m.run", "m.seq"),))


def bandit(d: Dialect) -> View:
    """The bandits' redeemed tickets."""
    columns = (
        d.integer("run", "b.run"),
        *d.time("time_ms", "b.time_ms"),
        d.timeframe("timeframe", "b.timeframe"),
        d.code("regime", "b.regime", Regime),
        d.code("parameter", "b.parameter", Parameter),
        d.number("arm", "b.arm"),
        d.number("propensity", "b.propensity"),
        d.integer("ticket", "b.ticket"),
        d.integer("trade", "NULLIF(b.trade, -1)"),
        d.number("reward", "b.reward"),
        d.number("mean", "b.mean"),
        d.number("effective_n", "b.effective_n"),
        d.integer("agent", "b.agent"),
        *d.time("decided_ms", "b.decided_ms"),
    )
    return View("v_bandit", (Part(columns, "bandit b", "", "b.run", "b.seq"),))


def policy(d: Dialect) -> View:
    """Births decided by a policy or the random control, with what became of the newborn."""
    columns = (
        d.integer("run", "p.run"),
        d.integer("birth", "p.birth"),
        *d.time("time_ms", "p.time_ms"),
        d.named("policy", "n", "p.policy"),
        d.named("optimizer", "o", "p.optimizer"),
        d.named("action", "a", "p.action"),
        d.number("value", "p.value"),
        d.number("reward", "p.reward"),
        d.integer("agent", "p.agent"),
    )
    source = (
        f"policy p {name_join('n', 'policy', 'p.run', 'p.policy')} {name_join('o', 'optimizer', 'p.run', 'p.optimizer')}"
        f" {name_join('a', 'action', 'p.run', 'p.action')}"
    )
    return View("v_policy", (Part(columns, source, "", "p.run", "p.seq"),))
