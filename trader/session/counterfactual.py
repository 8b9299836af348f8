"""What would have been: pairs of agents that differ only in some genes, on the same candles, after costs.

Both of a pair are shadows: they start flat with the same account, are priced like everybody else (spread, fees, funding,
liquidation), add no demand, and are closed at the end with the fee. The result of a pair is the difference of their
log growths; its error comes from the differences in equal pieces of the time, so that one lucky trade has a large error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from agents import layout as at
from agents.decisions import refresh_rows
from agents.kernel import close_all
from agents.market_agents import MarketAgents, pack
from trader.core.rows import EXIT
from trader.session.market_run import MarketRunner

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from agents.archetypes import Archetype
    from trader.core.features import FeatureBlock
    from trader.core.types import Block

PIECES: Final = 8
ACCOUNT: Final = 10**12
"""Ten thousand units of the quote currency: large beside every minimum, small beside every candle's volume."""

_EXIT_PNL: Final = EXIT.position("trade_pnl") - 3 + at.EVENT_BODY
_LOWEST_SHARE: Final = 0.01
"""An account is never counted as less than this share of what it was."""


class Pairs(NamedTuple):
    """n pairs: log growth of the first and the second of each, error of the difference, closed trades of either."""

    first: NDArray[np.float64]
    second: NDArray[np.float64]
    error: NDArray[np.float64]
    trades_first: NDArray[np.int64]
    trades_second: NDArray[np.int64]

    @property
    def advantage(self) -> NDArray[np.float64]:
        """Second minus first."""
        return self.second - self.first


class Counterfactual:
    """The paired runs of one market.

    Args:
        m: the market's number; market, tiers: its rules; archetypes: all of the session.
        timeframes_ms: what agents decide on.
    """

    def __init__(
        self, m: int, market: NDArray[np.int64], tiers: NDArray[np.int64], archetypes: tuple[Archetype, ...],
        timeframes_ms: tuple[int, ...], *, funding: bool,
    ) -> None:  # fmt: skip
        self._market = market
        self._timeframes_ms = timeframes_ms
        self._runner = MarketRunner(m, market, tiers, archetypes, funding=funding)

    def agents(
        self, genomes: NDArray[np.float64], archetype: NDArray[np.int64], timeframe: NDArray[np.int64],
        multipliers: NDArray[np.float64], calibration: NDArray[np.float64],
    ) -> MarketAgents:  # fmt: skip
        """Fresh shadows, rows in the order given, which must be that of (timeframe, archetype)."""
        n = len(genomes)
        state = np.zeros((n, at.STATE_FIELDS), np.int64)
        state[:, at.AGENT] = np.arange(n)
        state[:, at.ARCHETYPE] = archetype
        state[:, at.TIMEFRAME_MS] = np.array(self._timeframes_ms, np.int64)[timeframe]
        state[:, at.ACTIVE] = 1
        state[:, at.CASH] = ACCOUNT
        state[:, at.PENDING] = at.NOTHING_PENDING
        watch = np.zeros((at.WATCH_FIELDS, n), np.int64)
        watch[at.WAKE] = at.NEVER
        carried: dict[str, NDArray[Any]] = {
            "state": state, "triggers": np.zeros((at.TRIGGER_FIELDS, n), np.float32), "watch": watch,
            "days": np.zeros((at.DAY_FIELDS, n)), "phenotypes": genomes, "multipliers": multipliers,
        }  # fmt: skip
        agents = pack(archetype, timeframe, self._timeframes_ms, carried, calibration)
        refresh_rows(
            agents.state, agents.habits, agents.triggers, agents.watch, np.arange(n), self._market
        )  # fmt: skip
        return agents

    def run(
        self, block: Block, features: FeatureBlock, genomes: tuple[NDArray[np.float64], NDArray[np.float64]],
        archetype: NDArray[np.int64], timeframe: NDArray[np.int64], multipliers: NDArray[np.float64],
        calibration: NDArray[np.float64],
    ) -> Pairs:  # fmt: skip
        """Both of n pairs of genomes [n, GENES] over the block."""
        n = len(archetype)
        both_timeframes, both_kinds = np.tile(timeframe, 2), np.tile(archetype, 2)
        order = np.lexsort((np.arange(2 * n), both_kinds, both_timeframes))
        agents = self.agents(
            np.concatenate(genomes)[order], both_kinds[order], both_timeframes[order],
            np.tile(multipliers, (2, 1))[order], calibration,
        )  # fmt: skip
        totals = np.zeros(at.TOTAL_FIELDS, np.int64)
        totals[at.LAST_DAY] = -1
        exits = self._exits(block, features, agents, totals)
        piece = exits[:, at.EVENT_CANDLE] * PIECES // max(len(block), 1)
        results = np.zeros((2 * n, PIECES))
        row = order[exits[:, at.EVENT_BODY]]
        np.add.at(results, (row, piece), exits[:, _EXIT_PNL] / ACCOUNT)
        cash = np.empty(2 * n)
        cash[order] = agents.state[:, at.CASH] / ACCOUNT
        closed = np.empty(2 * n, np.int64)
        closed[order] = agents.state[:, at.CLOSED]
        growth = np.log(np.maximum(cash, _LOWEST_SHARE))
        error = (results[n:] - results[:n]).std(axis=1, ddof=1) * np.sqrt(PIECES)
        return Pairs(growth[:n], growth[n:], error, closed[:n], closed[n:])

    def _exits(
        self, block: Block, features: FeatureBlock, agents: MarketAgents, totals: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Closing events of the run and of its end."""
        events = self._runner.run(block, features, agents, totals).events
        last = np.zeros((len(agents), at.EVENT_FIELDS), np.int64)
        bar = np.zeros(at.IN_FIELDS, np.int64)
        bar[at.IN_MS] = int(block.times[-1])
        bar[at.IN_OPEN : at.IN_CLOSE + 1] = totals[at.LAST_CLOSE]
        count = close_all(
            agents.state, agents.habits, agents.triggers, agents.watch, totals, bar, self._market, last
        )  # fmt: skip
        last[:count, at.EVENT_CANDLE] = len(block) - 1
        together = np.concatenate((events, last[:count]))
        return together[together[:, at.EVENT_KIND] == at.EVENT_EXIT]
