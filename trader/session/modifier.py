"""Level 1a, the self-modifier: an agent's genes change within its life, on trial, and come back when that was worse.

At its boundary the level looks at agents whose decision at this very close is in question: those that just queued an entry
(should they have?), those that stayed out by little (should they not have?), those that lose. For each the network of
`agents.modifier` proposes a bounded change. Agent and changed agent are run as a pair of shadows over the last `window`
candles, after costs. The change is adopted if both hold: the calibrated confidence in the decision rises by `points`
(in a trade: the probability of a profit at that score; in staying out: one minus it), and the expected advantage is above
`margin` of its standard errors. Then the same candle is decided again with the changed genes: an entry queued at this close
is withdrawn, and what leaves instead has the new confidence and leverage.

Adopted changes are an overlay: the genome an agent was born with stays in the roster, the genes it acts by are the
population's phenotypes. After `trial` candles (longer while there are too few trades) the same pair is run over the candles
since the adoption: what the change was really worth, on candles that had no part in choosing it. If it was worse, the
overlay is taken off. The network learns from every pair, adopted or not. Controls are never touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from agents import controls, genome, signals
from agents import layout as at
from agents.decisions import decide, told_confidences
from agents.market_agents import score_block
from agents.modifier import MODIFIABLE, Proposer, changed
from trader.broker import market as rule
from trader.core import rng
from trader.core.features import FEATURES
from trader.core.rng import Stream
from trader.core.rows import OrderKind, Regime, Reject, Trigger, float_bits
from trader.core.timeframes import DAY_MS
from trader.session.counterfactual import Counterfactual
from trader.session.event_rows import write_events
from trader.session.funnel import DECIDED
from trader.session.levels import LevelSpec, LevelUpdate, from_text_array, text_array
from trader.session.market_run import MarketResult, bars_of
from trader.session.recent import Recent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from agents.archetypes import Archetype
    from agents.market_agents import MarketAgents
    from trader.core.config import Config
    from trader.core.features import FeatureBlock
    from trader.core.types import Block
    from trader.session.books import Books

NEAR: Final = 0.7
"""A score of at least this share of the threshold is a near miss."""
LOSING: Final = 0.3
"""Share of profitable trades below which an agent with `_RECORD` of them is losing."""
_RECORD: Final = 5
_LONGEST: Final = 3
"""A trial without enough trades lasts at most so many times its length."""

_INPUTS: Final = len(MODIFIABLE) + len(FEATURES) + len(Regime) + len(Trigger) + 4


class Trial(NamedTuple):
    """A change that is being tried: `before` and `after` are whole rows of genes."""

    number: int
    trigger: int
    adopted_frame: int
    adopted_ms: int
    confidence_before: float
    confidence_after: float
    expected: float
    before: list[float]
    after: list[float]


class Candidates(NamedTuple):
    """Agents of one market that are looked at: their rows in the market, why, and their score now."""

    m: int
    rows: NDArray[np.int64]
    trigger: NDArray[np.int64]
    score: NDArray[np.float64]

    def repeated(self, times: int) -> Candidates:
        """Each of them so many times, one after the other."""
        return Candidates(
            self.m, np.repeat(self.rows, times), np.repeat(self.trigger, times), np.repeat(self.score, times)
        )  # fmt: skip


class SelfModifierLevel:
    """The network, the trials, and the frames on which pairs are run."""

    def __init__(
        self, config: Config, rules: Sequence[NDArray[np.int64]], tiers: Sequence[NDArray[np.int64]],
        archetypes: tuple[Archetype, ...], timeframes_ms: tuple[int, ...],
    ) -> None:  # fmt: skip
        settings = config.levels.self_modifier
        self.spec = LevelSpec(
            name="self_modifier",
            every=settings.every,
            parameters="weights of the network that proposes; the overlays of the agents' genes",
            context_flow="decisions in question, and the last candles on which agent and changed agent are compared",
            objective="log growth a day over ended trials: of the agent unchanged before, of the changed one after",
            update_rule="evolution strategies on paired counterfactual advantages; adopt on trial, roll back when worse",
        )
        self._settings = settings
        self._seed = config.session.seed
        self._base_ms = timeframes_ms[0]
        self._archetypes = archetypes
        self._tiers = tiers
        self._funding = config.exchange.funding
        self._pairs = [
            Counterfactual(m, rules[m], tiers[m], archetypes, timeframes_ms, funding=config.exchange.funding)
            for m in range(len(rules))
        ]
        self.proposer = Proposer(_INPUTS, config.session.seed)
        self._longest = _LONGEST * settings.trial + settings.every
        self.recent = Recent(max(settings.window, self._longest))
        self.trials: dict[int, Trial] = {}
        self._numbers = np.zeros(2, np.int64)  # updates made, trials begun

    def see(self, block: Block, features: FeatureBlock) -> None:
        """Keep the newest frames."""
        self.recent.add(block, features)

    # --- the boundary -----------------------------------------------------------------------------------------------

    def update(self, books: Books, frame: int, time_ms: int) -> LevelUpdate:
        """End the trials that are due, then look at decisions in question."""
        self._numbers[0] += 1
        ended = self._end_trials(books, frame, time_ms)
        detail: dict[str, Any] = {"looked": 0, "adopted": 0, "decided_again": 0, "step": 0.0}
        self._look(books, self._candidates(books, frame, time_ms), frame, time_ms, detail)
        detail |= {
            "kept": sum(kept for kept, _, _ in ended), "rolled_back": sum(not kept for kept, _, _ in ended),
            "on_trial": len(self.trials), "step": round(detail["step"], 9),
        }  # fmt: skip
        before, after = (float(np.mean([line[i] for line in ended])) if ended else float("nan") for i in (1, 2))
        return LevelUpdate(int(self._numbers[0]), before, after, kept=detail["kept"] > 0, detail=detail)

    def _candidates(self, books: Books, frame: int, time_ms: int) -> list[Candidates]:
        """Whose decision is in question, at most `budget` agents, drawn by lot."""
        block, features = self.recent.last(1)
        found = []
        for m, part in enumerate(books.population.slices()):
            market = books.population.markets[m]
            if not block.present[-1, m] or len(market) == 0:
                continue
            score = self._scores(market, features, m)
            trigger = self._triggers(books, m, score, time_ms)
            roster = books.population.roster.take(part)
            trigger[controls.is_control(roster) | ~roster.living | (roster.archetype == signals.number())] = 0
            trigger[np.isin(roster.agent, np.fromiter(self.trials, np.int64, len(self.trials)))] = 0
            rows = np.flatnonzero(trigger)
            if len(rows):
                found.append(Candidates(m, rows, trigger[rows], score[rows]))
        agents = np.concatenate(
            [books.population.markets[c.m].state[c.rows, at.AGENT] for c in found] or [np.zeros(0, np.int64)]
        )
        if len(agents) <= self._settings.budget:
            return found
        lots = rng.uniform(self._seed, Stream.MODIFIER, frame + 1, agents, 10_000)
        lots += np.concatenate([c.trigger for c in found]) == int(Trigger.LOSSES)  # nothing is decided there now
        largest = np.partition(lots, self._settings.budget - 1)[self._settings.budget - 1]
        limited, first = [], 0
        for c in found:
            chosen = lots[first : first + len(c.rows)] <= largest
            first += len(c.rows)
            if chosen.any():
                limited.append(Candidates(c.m, c.rows[chosen], c.trigger[chosen], c.score[chosen]))
        return limited

    def _scores(self, market: MarketAgents, features: FeatureBlock, m: int) -> NDArray[np.float64]:
        """Scores of a market's agents at the last close; NaN where their timeframe did not close or is not valid."""
        out = np.full((1, len(market)), np.nan, np.float32)
        score_block(
            market, self._archetypes, features.features[:, m], features.closed[:, m], features.valid[:, m],
            features.regime[:, m], out,
        )  # fmt: skip
        return out[0].astype(np.float64)

    @staticmethod
    def _triggers(books: Books, m: int, score: NDArray[np.float64], time_ms: int) -> NDArray[np.int64]:
        """Why each agent of a market is looked at; 0: it is not."""
        market = books.population.markets[m]
        state, threshold = market.state, market.habits[:, at.THRESHOLD]
        flat = (state[:, at.SIDE] == 0) & (state[:, at.ACTIVE] == 1) & np.isfinite(score)
        idle = flat & (state[:, at.PENDING] == at.NOTHING_PENDING) & (time_ms >= state[:, at.COOL_UNTIL])
        queued = (
            flat & (state[:, at.PENDING] == int(OrderKind.ENTRY)) & (state[:, at.PENDING_DECIDED] == time_ms)
        )  # fmt: skip
        size = np.abs(score)
        losing = (state[:, at.CLOSED] >= _RECORD) & (state[:, at.WINS] < LOSING * state[:, at.CLOSED])
        trigger = np.where(idle & (size < threshold) & losing, int(Trigger.LOSSES), 0)
        trigger = np.where(idle & (size < threshold) & (size >= NEAR * threshold), int(Trigger.NEAR_MISS), trigger)
        return np.where(queued, int(Trigger.ENTRY), trigger)

    def _look(
        self, books: Books, candidates: list[Candidates], frame: int, time_ms: int, detail: dict[str, Any]
    ) -> None:  # fmt: skip
        """Propose for all at once, compare market by market, learn from all, and adopt what passes."""
        if not candidates:
            return
        repeat = self._settings.proposals
        several = [c.repeated(repeat) for c in candidates]
        block, features = self.recent.last(self._settings.window)
        markets = books.population.markets
        agents = np.concatenate([markets[c.m].state[c.rows, at.AGENT] for c in several])
        genomes = np.concatenate([markets[c.m].phenotypes[c.rows] for c in several])
        inputs = np.concatenate([self._inputs(markets[c.m], c, features) for c in several])
        numbers = agents * repeat + np.arange(len(agents)) % repeat
        proposal = self.proposer.propose(inputs, numbers, frame + 1)
        proposed = changed(genomes, proposal.change)
        advantage = np.empty(len(agents))
        days = len(block) * self._base_ms / DAY_MS
        first = 0
        for c in several:
            mine = slice(first, first + len(c.rows))
            first += len(c.rows)
            genes = genomes[mine], proposed[mine]
            pairs = self._pairs[c.m].run(block, features, genes, *self._traits(markets[c.m], c.rows))
            advantage[mine] = pairs.advantage
            now, then = self._confidence(c.m, markets[c.m], c.rows, features, genes, books)
            passes = (then - now >= self._settings.points) & (pairs.advantage > 0.0)
            passes &= pairs.advantage > self._settings.margin * pairs.error
            best = np.flatnonzero(self._best(passes, pairs.advantage - self._settings.margin * pairs.error))
            for i in best.tolist():
                self._numbers[1] += 1
                self.trials[int(agents[mine][i])] = Trial(
                    int(self._numbers[1]), int(c.trigger[i]), frame, time_ms, float(now[i]), float(then[i]),
                    float(pairs.advantage[i] / days), genes[0][i].tolist(), genes[1][i].tolist(),
                )  # fmt: skip
            if len(best):
                markets[c.m].phenotypes[c.rows[best]] = genes[1][best]
                books.population.express(c.m, c.rows[best])
                detail["decided_again"] += self._decide_again(books, c.m, c.rows[best])
            detail["adopted"] += len(best)
        detail["looked"] = len(agents) // repeat
        detail["step"] = self.proposer.learn(proposal, advantage)

    def _traits(
        self, market: MarketAgents, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:  # fmt: skip
        """What a pair has in common: archetype, timeframe, multipliers and the calibration table."""
        return (
            market.state[rows, at.ARCHETYPE], self._timeframes(market, rows), market.multipliers[rows], market.calibration,
        )  # fmt: skip

    def _best(self, passes: NDArray[np.bool_], worth: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Of the changes of one agent that pass, the one whose advantage is surest."""
        table = np.where(passes, worth, -np.inf).reshape(-1, self._settings.proposals)
        best = np.zeros(table.shape, np.bool_)
        best[np.arange(len(table)), np.argmax(table, axis=1)] = True
        return passes & best.ravel()

    @staticmethod
    def _timeframes(market: MarketAgents, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Index of the timeframe of each row."""
        return np.searchsorted(market.segments, rows, side="right").astype(np.int64) - 1

    def _inputs(self, market: MarketAgents, candidates: Candidates, features: FeatureBlock) -> NDArray[np.float64]:
        """What the network sees of each agent: genes, its market's features and regime, why it is looked at, its record."""
        rows, m = candidates.rows, candidates.m
        k = self._timeframes(market, rows)
        state = market.state[rows]
        units = 2.0 * genome.to_unit(market.phenotypes[rows])[:, MODIFIABLE] - 1.0
        seen = np.nan_to_num(features.features[-1, m, k].astype(np.float64)) / 4.0
        regime = np.eye(len(Regime))[features.regime[-1, m, k].astype(np.int64)]
        why = np.eye(len(Trigger) + 1)[candidates.trigger][:, 1:]
        closed = state[:, at.CLOSED]
        account = np.maximum(state[:, at.CASH] + state[:, at.MARGIN], 1)
        record = np.column_stack((
            candidates.score, np.abs(candidates.score) - market.habits[rows, at.THRESHOLD],
            (state[:, at.WINS] + 1.0) / (closed + 2.0) - 0.5, np.tanh(10.0 * state[:, at.PNL] / account),
        ))  # fmt: skip
        return np.concatenate((units, seen, regime, why, record), axis=1)

    def _confidence(
        self, m: int, market: MarketAgents, rows: NDArray[np.int64], features: FeatureBlock,
        genomes: tuple[NDArray[np.float64], NDArray[np.float64]], books: Books,
    ) -> NDArray[np.float64]:  # fmt: skip
        """Calibrated confidence, in percent, in what each agent would decide at the last close with either genes: [2, n]."""
        both = np.concatenate((rows, rows))
        timeframe, kinds = self._timeframes(market, both), market.state[both, at.ARCHETYPE]
        order = np.lexsort((np.arange(len(both)), kinds, timeframe))
        shadows = self._pairs[m].agents(
            np.concatenate(genomes)[order], kinds[order], timeframe[order], market.multipliers[both][order],
            market.calibration,
        )  # fmt: skip
        last = slice(len(features.closed) - 1, None)
        out = np.full((1, len(both)), np.nan, np.float32)
        score_block(
            shadows, self._archetypes, features.features[last, m], features.closed[last, m], features.valid[last, m],
            features.regime[last, m], out,
        )  # fmt: skip
        score = np.nan_to_num(out[0].astype(np.float64))
        told = told_confidences(shadows.habits, np.abs(score)) / 100.0
        trades = np.abs(score) >= shadows.habits[:, at.THRESHOLD]
        if not books.population.rules[m][rule.PERPETUAL]:
            trades &= score > 0.0
        confidence = np.empty(len(both))
        confidence[order] = np.where(trades, told, 100.0 - told)
        return confidence.reshape(2, len(rows))

    def _decide_again(self, books: Books, m: int, rows: NDArray[np.int64]) -> int:
        """Withdraw what was queued at the last close and decide it anew; returns the number of decisions that changed."""
        population = books.population
        market, rules = population.markets[m], population.rules[m]
        block, features = self.recent.last(1)
        bar = bars_of(block, m, rules, funding=self._funding)[0]
        score = self._scores(market, features, m)
        timeframe = self._timeframes(market, rows)
        events = np.zeros((len(rows), at.EVENT_FIELDS), np.int64)
        taken_back = np.zeros(len(population), np.bool_)
        taken_back[population.slices()[m].start + rows] = True
        books.withdraw(taken_back, Reject.WITHDRAWN, int(block.times[-1]))
        count = different = 0
        for row, k in zip(rows.tolist(), timeframe.tolist(), strict=True):
            state = market.state[row]
            before = state[[at.PENDING, at.PENDING_SIDE, at.PENDING_CONFIDENCE, at.PENDING_LEVERAGE]].copy()
            state[at.PENDING] = at.NOTHING_PENDING
            state[at.HELD] = 0
            books.funnel.add(m, int(state[at.ARCHETYPE]), DECIDED, 1)
            population.totals[m][at.DECISIONS] += 1
            count = decide(
                market.state, market.habits, row, 0, bar, True, float(score[row]),  # compiled: by position
                float(features.atr[-1, m, k]), int(features.regime[-1, m, k]), rules, self._tiers[m], events, count,
            )  # fmt: skip
            after = state[[at.PENDING, at.PENDING_SIDE, at.PENDING_CONFIDENCE, at.PENDING_LEVERAGE]]
            different += bool((before != after).any())
        population.refresh(m, rows)
        if count:
            nothing = MarketResult(np.zeros((0, at.EVENT_FIELDS), np.int64), np.zeros((0, at.OUT_FIELDS), np.int64))
            results = [nothing] * len(population.markets)
            results[m] = MarketResult(events[:count], nothing.out)
            books.other_orders += write_events(books, block, results).orders
        return different

    # --- trials -----------------------------------------------------------------------------------------------------

    def _end_trials(self, books: Books, frame: int, time_ms: int) -> list[tuple[bool, float, float]]:
        """Judge the trials that are old enough: (kept, growth a day unchanged, growth a day changed)."""
        population = books.population
        place = {agent: row for row, agent in enumerate(population.roster.agent.tolist())}
        ended = []
        for agent in [agent for agent in self.trials if agent not in place]:
            self._write(books, time_ms, agent, self.trials.pop(agent), float("nan"), -1)
        due: dict[tuple[int, int], list[int]] = {}
        for agent, trial in self.trials.items():
            age = frame - trial.adopted_frame
            if age >= self._settings.trial:
                due.setdefault((int(population.roster.market[place[agent]]), age), []).append(agent)
        for (m, age), agents in sorted(due.items()):
            ended += self._judge(books, m, age, agents, time_ms)
        return ended

    def _judge(
        self, books: Books, m: int, age: int, agents: list[int], time_ms: int
    ) -> list[tuple[bool, float, float]]:  # fmt: skip
        market = books.population.markets[m]
        rows = np.flatnonzero(np.isin(market.state[:, at.AGENT], agents))
        trials = [self.trials[agent] for agent in market.state[rows, at.AGENT].tolist()]
        block, features = self.recent.last(age)
        genes = (np.array([trial.before for trial in trials]), np.array([trial.after for trial in trials]))
        pairs = self._pairs[m].run(block, features, genes, *self._traits(market, rows))
        days = len(block) * self._base_ms / DAY_MS
        few = np.maximum(pairs.trades_first, pairs.trades_second) < self._settings.trial_trades
        ended = []
        for i, trial in enumerate(trials):
            if few[i] and age + self._settings.every <= self._longest:
                continue
            agent = int(market.state[rows[i], at.AGENT])
            kept = bool(pairs.advantage[i] >= 0.0)
            self._write(books, time_ms, agent, trial, float(pairs.advantage[i] / days), int(kept))
            del self.trials[agent]
            if not kept:
                market.phenotypes[rows[i]] = trial.before
            ended.append((kept, float(pairs.first[i] / days), float(pairs.second[i] / days)))
        books.population.express(m, rows)
        return ended

    @staticmethod
    def _write(books: Books, time_ms: int, agent: int, trial: Trial, realised: float, kept: int) -> None:
        """One row for each gene that was changed."""
        before, after = np.array(trial.before), np.array(trial.after)
        genes = np.flatnonzero(before != after)

        def real(value: float) -> NDArray[np.int64]:
            return float_bits(np.full(len(genes), value))

        books.emit(
            "modification",
            (
                time_ms, agent, trial.trigger, genes, float_bits(before[genes]), float_bits(after[genes]),
                real(trial.confidence_before), real(trial.confidence_after), real(trial.expected), real(realised), kept,
                trial.adopted_ms, trial.number,
            ),
            len(genes),
        )  # fmt: skip

    def finish(self, books: Books, time_ms: int) -> None:
        """The session ends: trials that are under way are told as such."""
        for agent, trial in sorted(self.trials.items()):
            self._write(books, time_ms, agent, trial, float("nan"), -1)
        self.trials.clear()

    # --- checkpoint -------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Network, trials (JSON text in bytes: numbers come back exactly) and kept frames."""
        return {
            "trials": text_array([[agent, *trial] for agent, trial in self.trials.items()]), "numbers": self._numbers.copy(),
            **{f"network.{name}": values for name, values in self.proposer.state().items()},
            **{f"recent.{name}": values for name, values in self.recent.state().items()},
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Become what `state` described."""
        self.trials = {agent: Trial._make(values) for agent, *values in from_text_array(state["trials"])}
        self._numbers[:] = state["numbers"]
        for part, owner in (("network.", self.proposer), ("recent.", self.recent)):
            owner.restore({name[len(part) :]: values for name, values in state.items() if name.startswith(part)})
