"""Archetypes from outside: taken in by the config, put through the battery, refused in one line when they break it."""

from __future__ import annotations

import pytest

from agents.archetypes import discovered
from agents.battery import examine, examine_file
from agents.plugins import known, load
from trader.core.config import canonical_json, config_hash, from_json
from trader.core.config import load as load_config
from trader.core.errors import UserError

GOOD = """
import numpy as np
from agents.genome import INDEX
from trader.core.features import FEATURES

MEANING = "sells what has risen and buys what has fallen, over one day"
DAY = FEATURES.index("return_24")
STRENGTH = INDEX["shape_a"]


def idea(features, genes):
    return -np.sign(features[DAY]), abs(features[DAY]) * (0.5 + genes[STRENGTH])
"""


@pytest.fixture
def write(tmp_path):
    def written(text, name="day_fade.py"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return written


@pytest.mark.parametrize("name", sorted(discovered()))
def test_the_battery_passes_every_built_in_idea(name):
    assert examine(discovered()[name]) == []


def test_a_plugin_is_an_archetype_after_the_built_in_ones(write):
    path = write(GOOD)
    assert examine_file(path) == []
    config = load_config(None, ['feed.kind="synthetic"', f'population.plugins=["{path}"]'])
    names = list(known(config.population.plugins))
    assert names == [*discovered(), "signal", "day_fade"], "numbers of the built-in ones do not move"
    assert known(config.population.plugins)["day_fade"].meaning.startswith("sells what has risen")


def test_the_hash_of_the_file_stands_for_it(write, tmp_path):
    sets = ['feed.kind="synthetic"']
    first = load_config(None, [*sets, f'population.plugins=["{write(GOOD)}"]'])
    (tmp_path / "elsewhere").mkdir()
    moved = tmp_path / "elsewhere" / "day_fade.py"
    moved.write_text(GOOD)
    assert config_hash(load_config(None, [*sets, f'population.plugins=["{moved}"]'])) == config_hash(first)
    stored = from_json(canonical_json(first))
    assert stored == first
    path = write(GOOD + "# changed\n")
    assert config_hash(load_config(None, [*sets, f'population.plugins=["{path}"]'])) != config_hash(first)
    with pytest.raises(UserError, match="is not the file it was"):
        known(stored.population.plugins)
    path.unlink()
    assert from_json(canonical_json(first)) == first, "a run can be looked at without the file"


BROKEN = {
    "no meaning": (GOOD.replace("MEANING", "ABOUT"), "MEANING is missing"),
    "no idea": (GOOD.replace("def idea", "def notion"), "idea is missing"),
    "idea is no function": (GOOD + "\nidea = 3\n", "idea must be a function"),
    "syntax": (GOOD + "\ndef (:\n", "SyntaxError"),
    "raises": (GOOD + "\nraise RuntimeError('not today')\n", "RuntimeError: not today"),
    "not compilable": (GOOD.replace("return -", "open('x'); return -"), "TypingError"),
    "one number": (GOOD.replace("return -np.sign(features[DAY]),", "return"), "Typing"),
    "not finite": (GOOD.replace("abs(features[DAY])", "np.log(features[DAY] * 0.0 - 1.0)"), "not finite"),
    "silent": (GOOD.replace("abs(features[DAY])", "0.0"), "never asks"),
    "too loud": (GOOD.replace("abs(features[DAY])", "100.0"), "too much"),
    "changes its inputs": (GOOD.replace("return -", "features[0] = 5.0; return -"), "changes its inputs"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_is_told_in_one_line(case, write):
    text, rule = BROKEN[case]
    path = write(text, name="broken.py")
    with pytest.raises(UserError, match=rule) as told:
        load(str(path))
    assert str(path) in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", ["trend.py", "1st.py", "no-word.py"])
def test_names_that_cannot_be(name, write):
    with pytest.raises(UserError, match=r"there is an archetype|plain word"):
        known((str(write(GOOD, name=name)),))


@pytest.mark.parametrize("value", ["absent.py", "notes.txt"])
def test_a_file_that_is_not_there_is_refused_with_the_config(value, tmp_path):
    with pytest.raises(UserError, match=r"population\.plugins"):
        load_config(None, ['feed.kind="synthetic"', f'population.plugins=["{tmp_path / value}"]'])


def test_a_session_trades_a_plugin(write, tmp_path):
    from trader.session.python import run

    path = write(GOOD)
    config = load_config(
        None,
        [
            'feed.kind="synthetic"', "session.candles=300", 'population.archetypes=["day_fade"]', "population.size=30",
            f'population.plugins=["{path}"]', 'feed.timeframes=["1h"]', "engine.threads=1",
        ],
    )  # fmt: skip
    session = run(config, db=f"sqlite:///{tmp_path}/p.db")
    assert set(session.trades.archetype) == {"day_fade"}
    assert len(session.trades) > 10
    assert session.config.population.plugins[0].startswith(f"{path}#sha256=")
