"""The documented query why an agent had its amount: exact to the unit, for any agent and moment of a stored session."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from trader import run
from trader.core.money import AMOUNT_SCALE
from trader.session.engine import Engine
from trader.store import queries
from trader.store.store import open_store

TEXT = (Path(__file__).parents[2] / "docs" / "sql.md").read_text(encoding="utf-8")
QUERY = next(query for query in re.findall(r"```sql\n(.*?)```", TEXT, re.DOTALL) if "agent:17:" in query)


def asked(agent, time_ms):
    """The documented query for another agent and moment."""
    text = QUERY.replace("agent:17:", f"agent:{agent}:").replace("agent = 17", f"agent = {agent}")
    assert "1700000000000" in text
    return text.replace("1700000000000", str(time_ms))


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A stored session, and what every agent really had after the frame before each boundary."""
    truth = {}
    act = Engine._run_levels

    def watched(self, frame, time_ms):
        act(self, frame, time_ms)
        agents = self.books.population.roster.agent.tolist()
        truth[time_ms] = dict(zip(agents, self.books.capital().tolist(), strict=True))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, "_run_levels", watched)
        url = str(tmp_path_factory.mktemp("why") / "why.db")
        sets = {
            "feed.kind": "synthetic", "population.size": 40, "session.candles": 900, "levels.evolution.every": 200,
            "exchange.market_type": "swap", "engine.threads": 1, "feed.timeframes": ["1h"],
        }  # fmt: skip
        run(None, set=[f"{key}={value}".replace("'", '"') for key, value in sets.items()], db=url)
    return url, truth


def test_the_balance_is_exact_at_every_moment(told):
    url, truth = told
    rng = np.random.default_rng(5)
    checked, busy = 0, 0
    with open_store(url, create=False, read_only=True) as store:
        for time_ms in rng.choice(list(truth), 8, replace=False).tolist():
            for agent in rng.choice(list(truth[time_ms]), 5, replace=False).tolist():
                columns, rows = queries.sql(store, asked(agent, time_ms))
                balance = rows[-1][columns.index("balance")] if rows else 0
                assert round(float(balance) * AMOUNT_SCALE) == truth[time_ms][agent]
                checked += 1
                busy += len(rows) > 3
    assert checked == 40
    assert busy > 5
