"""After the rehearsal nothing is compiled and nothing is imported: no candle of a session waits for either."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROGRAM = """
import json, sys
import numpy as np
from numba.core.dispatcher import Dispatcher
from tests.session.conftest import made_up_block, run_session, small_config
from trader.core.config_levels import LevelsConfig
from trader.session.rehearsal import rehearse

compiled = []
honest = Dispatcher._compile_for_args

def spy(self, *arguments, **options):
    compiled.append(f"{self.py_func.__module__}.{self.py_func.__name__}")
    return honest(self, *arguments, **options)

Dispatcher._compile_for_args = spy
config = small_config(
    *(f"levels.{name}.enabled=true" for name in LevelsConfig.model_fields), "levels.hope.every=40",
    "levels.memory.every=20", *(f"levels.{name}.every=60" for name in ("dqn", "a3c", "ppo")),
    "levels.evolution.policy_births=0.8", *json.loads(sys.argv[1]),
)
if "unrehearsed" not in sys.argv:
    rehearse(config)
before = len(compiled), set(sys.modules)
block = made_up_block(frames=1300, markets=int(sys.argv[2]))
engine, rows = run_session(config, block, cuts=range(500, 700))
engine.state()
trained = sum("updates" in row[7] or "decisions" in row[7] for row in rows.rows("level") if row[2] in ("dqn", "a3c", "ppo"))
print(json.dumps([compiled[before[0]:], sorted(set(sys.modules) - before[1]), trained, len(rows.rows("exit"))]))
"""


def ended(*words):
    done = subprocess.run([sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("sets", "markets"), [([], "2"), (['feed.timeframes=["1h"]', "exchange.path=pessimistic"], "1")]
)
def test_nothing_is_compiled_or_imported_after_the_rehearsal(sets, markets):
    compiled, imported, trained, exits = ended(json.dumps(sets), markets)
    assert trained > 3, "policies learned"
    assert exits > 50
    assert compiled == []
    assert imported == []


def test_without_the_rehearsal_much_is():
    """So the test above can fail."""
    compiled, *_ = ended("[]", "2", "unrehearsed")
    assert len(compiled) > 10
